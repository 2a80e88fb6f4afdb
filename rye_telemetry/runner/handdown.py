"""What a child is told about its run, by environment variables, and what it may tell back, by a file."""

from __future__ import annotations

import os

from rye_telemetry.files import make_private_dir, open_fd, try_unlink
from rye_telemetry.lines import decode_json
from rye_telemetry.model import is_run_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from rye_telemetry.model import Fields

RUN_ID = "RYE_RUN_ID"
PARENT_RUN_ID = "RYE_PARENT_RUN_ID"
REPORT = "RYE_REPORT"
TRACEPARENT = "TRACEPARENT"
MAX_REPORT_BYTES = 1024 * 1024
MAX_COUNT = 2**53 - 1
COUNTS = (
    "http_calls",
    "subprocess_calls",
    "items_discovered",
    "items_succeeded",
    "items_failed",
    "items_skipped",
)
_HEX = frozenset("0123456789abcdef")


def parent_run_id(env: Mapping[str, str]) -> str | None:
    """Return the id of the run that we stand in; anything that is no run id is nobody's."""
    found = env.get(RUN_ID, "")
    return found if is_run_id(found) else None


def child_environment(env: Mapping[str, str], *, run_id: str, report: str | None) -> dict[str, str]:
    """Return the child's environment: ours, with its run, the run around it, and its place in the trace."""
    child = dict(env)
    child.pop(PARENT_RUN_ID, None)
    child.pop(REPORT, None)
    parent = parent_run_id(env)
    if parent:
        child[PARENT_RUN_ID] = parent
    child[RUN_ID] = run_id
    child[TRACEPARENT] = trace_parent(env.get(TRACEPARENT, ""), run_id)
    if report:
        child[REPORT] = report
    return child


def trace_parent(given: str, run_id: str) -> str:
    """Return a W3C trace context: the given trace goes on with this run as its span, else the run begins one."""
    digits = run_id.replace("-", "")
    span = digits[16:]  # the random part of a UUIDv7
    parts = given.strip().split("-")
    valid = (
        len(parts) >= 4
        and [len(part) for part in parts[:4]] == [2, 32, 16, 2]
        and all(set(part) <= _HEX for part in parts[:4])
        and parts[0] != "ff"
        and set(parts[1]) != {"0"}
        and set(parts[2]) != {"0"}
    )
    return f"00-{parts[1]}-{span}-{parts[3]}" if valid else f"00-{digits}-{span}-01"


def make_report(state_dir: str, run_id: str) -> str:
    """Create the file that the child may append JSON lines to."""
    path = report_path(state_dir, run_id)
    try:
        fd = open_fd(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except FileNotFoundError:
        make_private_dir(os.path.dirname(path))
        fd = open_fd(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.close(fd)
    return path


def report_path(state_dir: str, run_id: str) -> str:
    return os.path.join(state_dir, "telemetry", "reports", f"{run_id}.ndjson")


def take_report(path: str) -> Fields:
    """Read and remove a report: counts add up, `error` is the last, the rest is `metrics`.

    Lines that are no JSON objects, and what stands behind the first MiB, are counted as `report_rejected`.
    """
    try:
        fd = open_fd(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        try_unlink(path)
        return {}
    try:
        data = b"" if os.fstat(fd).st_size == 0 else os.read(fd, MAX_REPORT_BYTES + 1)
    except OSError:
        data = b""
    finally:
        os.close(fd)
        try_unlink(path)
    return fold_report(data) if data else {}


def fold_report(data: bytes) -> Fields:
    counts = dict.fromkeys(COUNTS, 0)
    found: Fields = {}
    metrics: Fields = {}
    rejected = 0
    for raw in data.split(b"\n"):
        if not raw.strip():
            continue
        try:
            line = decode_json(raw.decode())
        except ValueError:
            line = None
        if type(line) is not dict:
            rejected += 1
            continue
        for name, value in line.items():
            if name in counts:
                counts[name] += value if type(value) is int and 0 <= value <= MAX_COUNT else 0
            elif name == "error":
                found["error"] = str(value)
            else:
                metrics[str(name)[:100]] = value
    found.update({name: min(count, MAX_COUNT) for name, count in counts.items() if count})
    if rejected:
        found["report_rejected"] = rejected
    if metrics:
        found["metrics"] = metrics
    return found
