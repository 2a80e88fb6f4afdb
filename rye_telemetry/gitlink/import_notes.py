"""`commits import-notes`: the links that a colleague's notes carry."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rye_telemetry import link_queries
from rye_telemetry.commits import patch_ids, read_commits
from rye_telemetry.errors import GitUnusable
from rye_telemetry.gitlink.notes import REF
from rye_telemetry.lines import instant_text
from rye_telemetry.linking import commit_line, guess_source, link_line
from rye_telemetry.model import is_run_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rye_telemetry.commits import Commit
    from rye_telemetry.gitlink.repository import Repository
    from rye_telemetry.linking import Line
    from rye_telemetry.model import Fields
    from rye_telemetry.store import TelemetryStore

MAX_NOTE_BYTES = 1 << 20


def import_notes(
    store: TelemetryStore, repository: Repository, ref: str, *, dry_run: bool, env: Mapping[str, str]
) -> Fields:
    """Link the runs that notes name to the commits they stand at; evidence `note`.

    Returns `ref`, `linked`, `known` (links that stood already), `rejected` (lines that name no run) and `dry_run`.
    GitUnusable for a ref that is not there.
    """
    notes, rejected = _read_notes(repository, ref)
    commits = {commit.commit_hash: commit for commit in read_commits(repository.git, list(notes))}
    stored = store.links(commits)
    pairs = [(commits[name], run_id) for name, runs in notes.items() if name in commits for run_id in runs]
    new = [
        (commit, run_id)
        for commit, run_id in pairs
        if not any(
            link["run_id"] == run_id and "note" in link["all_evidence"] for link in stored.get(commit.commit_hash, ())
        )
    ]
    if new and not dry_run:
        store.record_lines(_lines(repository, new, env))
        store.publish()
    return {
        "ref": ref,
        "linked": [
            {
                "commit": commit.commit_hash,
                "run_id": run_id,
                **_item(store, run_id),
                "evidence": "note",
                "from_commit": None,
            }
            for commit, run_id in new
        ],
        "known": len(pairs) - len(new),
        "rejected": rejected,
        "dry_run": dry_run,
    }


def _read_notes(repository: Repository, ref: str) -> tuple[dict[str, list[str]], int]:
    """Return {commit: run ids}, and how many lines name none."""
    if ref.startswith("-") or not ref.startswith("refs/"):
        raise GitUnusable(f"{ref!r} is no whole name of a ref: write one such as {REF}")
    if repository.git.run("rev-parse", "--verify", "--quiet", ref).code:
        raise GitUnusable(f"there is no {ref} here: fetch it, `git fetch origin {REF}:{REF}`")
    told = repository.git.run("notes", f"--ref={ref}", "list").out.decode("ascii", "replace")
    pairs = [line.split() for line in told.splitlines()]
    blobs = repository.git.run(
        "cat-file", "--batch", stdin="".join(f"{pair[0]}\n" for pair in pairs if len(pair) == 2).encode()
    ).out
    found: dict[str, list[str]] = {}
    rejected = 0
    for (_, commit), text in zip((pair for pair in pairs if len(pair) == 2), _contents(blobs), strict=False):
        lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
        runs = [line for line in lines if is_run_id(line)]
        rejected += len(lines) - len(runs)
        if runs:
            found[commit] = list(dict.fromkeys(runs))
    return found, rejected


def _contents(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        words = data[at:end].split(b" ")
        size = int(words[2]) if len(words) == 3 and words[2].isdigit() else -1
        yield data[end + 1 : end + 1 + min(size, MAX_NOTE_BYTES)] if size >= 0 else b""
        at = end + 1 + (size + 1 if size >= 0 else 0)


def _lines(repository: Repository, new: list[tuple[Commit, str]], env: Mapping[str, str]) -> Iterator[Line]:
    commits = {commit.commit_hash: commit for commit, _ in new}
    known = patch_ids(repository.git, commits.values())
    now = instant_text(time.time_ns())
    for commit in commits.values():
        yield commit_line(commit, repo=repository.name, branch=None, patch_id=known.get(commit.commit_hash))
    for commit, run_id in new:
        yield link_line(
            run_id,
            commit.commit_hash,
            repo=repository.name,
            evidence="note",
            source=guess_source(commit, env),
            author=commit.author,
            linked_at=now,
        )


def _item(store: TelemetryStore, run_id: str) -> Fields:
    found = store.ask(lambda index: link_queries.read_briefly(index, run_id))
    return {"item_type": found["item_type"], "item_id": found["item_id"]}
