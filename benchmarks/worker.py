"""Runs inside the environment that has rye-telemetry: records, counts, rebuilds, and says what that took as JSON.

Times are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

ITEMS = 1000
NS_PER_MS = 1_000_000
# A history lies before whatever is recorded beside it.
SPREAD_NS = 90 * 86400 * 1000 * NS_PER_MS
BATCH = 500
PROCESS = {"host": "0" * 32, "boot": "00000000-0000-0000-0000-000000000000", "ns": 4026531836, "pid": 1, "started": 1}


def item_id(number: int) -> str:
    return f"item-{number % ITEMS:04d}"


def make_history(state_dir: str, runs: int) -> dict[str, float]:
    """Append runs as `run-with` does, a start and an end each, by the library's lines and journal; then project."""
    from rye_telemetry.journal import Journal
    from rye_telemetry.store import TelemetryStore

    journal = Journal(state_dir)
    first_ns = time.time_ns() - SPREAD_NS
    for start in range(0, runs, BATCH):
        numbers = range(start, min(start + BATCH, runs))
        lines = [run_lines(number, first_ns + number * SPREAD_NS // runs) for number in numbers]
        journal.append(b"".join(lines), wait_s=10.0)
    journal.close()
    began = time.monotonic()
    with TelemetryStore(state_dir) as store:
        found = store.totals()["total_runs"]
    return {"runs": found, "project_s": time.monotonic() - began}


def run_lines(number: int, at_ns: int) -> bytes:
    """Return the two lines of one run; one in ten failed."""
    from rye_telemetry.lines import encode_line, instant_text, new_run_id

    duration_ms = 1 + number * 37 % 1000
    failed = number % 10 == 0
    run: dict[str, object] = {
        "run_id": new_run_id(at_ns),
        "item_type": "tool",
        "item_id": item_id(number),
        "started_at": instant_text(at_ns),
        "project_path": "/home/someone/project",
    }
    end = {
        "outcome": "failure" if failed else "success",
        "ended_at": instant_text(at_ns + duration_ms * NS_PER_MS),
        "duration_ms": duration_ms,
        "exit_code": int(failed),
        "error": "exited with status 1" if failed else None,
        "http_calls": number % 3 or None,
    }
    return encode_line("start", {**run, "process": PROCESS}) + encode_line("run", {**run, **end})


def record(state_dir: str, count: int) -> dict[str, float]:
    """Record `count` runs, each acknowledged before the next, after a line on stdin says go."""
    from rye_telemetry.store import TelemetryStore

    names = [item_id(number) for number in range(count)]
    store = TelemetryStore(state_dir)
    print("ready", flush=True)
    sys.stdin.readline()
    record_execution = store.record_execution
    began = time.monotonic()
    record_execution(names[0], "tool", "success", 12.5)
    first = time.monotonic()
    for name in names[1:]:
        record_execution(name, "tool", "success", 12.5)
    ended = time.monotonic()
    store.close()
    closed = time.monotonic()
    return {"began": began, "first": first, "ended": ended, "closed": closed, "count": count}


def count(state_dir: str, runs: int) -> dict[str, float]:
    """Ask the store for each item alone, and say how many of `runs` it knows."""
    from rye_telemetry.store import TelemetryStore

    with TelemetryStore(state_dir) as store:
        items = (store.get(item_id(number)) for number in range(min(ITEMS, runs)))
        return {"runs": sum(item["total_runs"] for item in items if item)}


def rebuild(state_dir: str, _: int) -> dict[str, float]:
    from rye_telemetry.store import TelemetryStore

    with TelemetryStore(state_dir) as store:
        began = time.monotonic()
        runs = store.rebuild()
        return {"runs": runs, "rebuild_s": time.monotonic() - began}


def link(state_dir: str, runs_a_commit: int) -> dict[str, float]:
    """Link every commit of the repository in this home to so many runs; then project."""
    from rye_telemetry.lines import instant_text
    from rye_telemetry.store import TelemetryStore

    place = str(Path(state_dir).parents[2] / "repository")
    asked = ["git", "-C", place, "rev-list", "main"]
    commits = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    first_ns = time.time_ns() - SPREAD_NS
    now = instant_text(time.time_ns())
    with TelemetryStore(state_dir) as store:
        runs = [
            json.loads(run_lines(number, first_ns + number * NS_PER_MS).split(b"\n")[1])
            for number in range(len(commits))
        ]
        store.record_lines(("run", {**run, "git_repo": place}) for run in runs)
        said = {"repo": place, "evidence": "hook", "commit_source": "llm", "linked_at": now}
        for number, commit in enumerate(commits):
            ids = {runs[(number + step * 7919) % len(runs)]["run_id"] for step in range(runs_a_commit)}
            store.record_lines(("link", {"run_id": run_id, "commit_hash": commit, **said}) for run_id in ids)
        return {"links": sum(map(len, store.links(commits).values()))}


def record_files(state_dir: str, count: int) -> dict[str, int]:
    """Record three runs of each file that lies below the home's project, by its path."""
    from rye_telemetry.store import TelemetryStore

    files = sorted(Path("project/.ai").resolve().glob("*/item-*"))
    types = {"directives": "directive", "tools": "tool"}
    with TelemetryStore(state_dir) as store:
        for number, path in enumerate(files * 3):
            item_type = types[path.parent.name]
            store.record_execution(path.stem, item_type, "success", 1.5 + number % 100, path=str(path))
    if len(files) != count:
        raise SystemExit(f"{count} files were wanted, {len(files)} are there")
    return {"items": len(files)}


TASKS = {
    "items": record_files,
    "link": link,
    "history": make_history,
    "record": record,
    "count": count,
    "rebuild": rebuild,
}

if __name__ == "__main__":
    _, task, directory, number = sys.argv
    print(json.dumps(TASKS[task](directory, int(number))), flush=True)
