"""Index and `telemetry.yaml` held against the journal."""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import TYPE_CHECKING

from rye_telemetry import liveness, snapshot
from rye_telemetry.doctor.finding import Finding, fine, named, plural, problem, size_text, warning
from rye_telemetry.doctor.fold import Counted, count_runs
from rye_telemetry.errors import IndexUnusable
from rye_telemetry.files import read_file
from rye_telemetry.index import Index
from rye_telemetry.snapshot import render_item
from rye_telemetry.totals import totals_from_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rye_telemetry.doctor.fold import Key
    from rye_telemetry.journal import Segment
    from rye_telemetry.model import Fields
    from rye_telemetry.projector import Projector

REBUILD = "rye-telemetry rebuild"
INTEGRITY_WAIT_S = 2.0
_ROW_ERRORS = (ValueError, TypeError, LookupError, AttributeError)


class IndexReading:
    """The index on disk as one read transaction saw it; `counted` is None when its rows cannot be read."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.cursors: dict[str, int] | None = None
        self.counted: Counted | None = None
        self.published: dict[str, Fields] = {}
        self.own_faults: list[str] = []

    def read(self, index: Index, segments: Sequence[Segment], projector: Projector) -> None:
        index.db.execute("BEGIN")
        try:
            if not projector.cursors_fit(index, list(segments)):
                self.findings.append(_will_be_rebuilt("it is of an earlier state of the journal"))
                return
            self.cursors = {name: cursor[3] for name, cursor in index.cursors().items()}
            self._read_items(index)
        finally:
            index.db.execute("ROLLBACK")

    def _read_items(self, index: Index) -> None:
        states: dict[Key, str] = {}
        rows = index.db.execute(
            "SELECT item_type, item_id, key, total_runs, state, coalesce(block, '')"
            " FROM items LEFT JOIN blocks USING (key)"
        ).fetchall()
        for item_type, item_id, key, total_runs, state, block in rows:
            states[item_type, item_id] = state
            try:
                fields = totals_from_json(item_type, item_id, state).published()
            except _ROW_ERRORS:
                self.own_faults.append(f"{item_type} {item_id} cannot be read")
                continue
            if fields["total_runs"]:
                self.published[key] = fields
            if total_runs != fields["total_runs"] or (fields["total_runs"] and block != render_item(key, fields)):
                self.own_faults.append(f"{item_type} {item_id} is not the same in every column")
        self.counted = Counted(states, count_runs(index))


def read_index(projector: Projector, segments: Sequence[Segment]) -> IndexReading:
    """Look at the index without mending it: file, format, integrity, stamp, and what it says."""
    reading = IndexReading()
    path = projector.index_path
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        reading.findings.append(_missing_index(path, segments))
        return reading
    if not stat.S_ISREG(status.st_mode):
        reading.findings.append(problem("index", f"{path} is not a regular file", f"remove it, then: {REBUILD}"))
        return reading
    try:
        index = Index.open(path, read_only=True, wait_s=INTEGRITY_WAIT_S)
    except (IndexUnusable, UnicodeDecodeError) as e:  # SQLite's own messages quote what it cannot read
        reading.findings.append(problem("index", str(e), REBUILD))
        return reading
    try:
        if _is_whole(index, reading):
            reading.findings.append(_stamp(projector, status.st_size))
            reading.read(index, segments, projector)
    except sqlite3.OperationalError as e:
        cure = "nothing has to be done: the next projection mends or remakes it"
        reading.findings.append(warning("index", f"{path} cannot be read now: {e}", cure))
    except (sqlite3.Error, ValueError) as e:
        reading.findings.append(problem("index", f"{path}: {e}", REBUILD))
    finally:
        index.close()
    return reading


def _missing_index(path: str, segments: Sequence[Segment]) -> Finding:
    if not segments:
        return fine("index", f"{path} (not there yet)")
    return warning("index", f"{path} is missing; the next reading command makes it anew", REBUILD)


def _is_whole(index: Index, reading: IndexReading) -> bool:
    said = [str(row[0]) for row in index.db.execute("PRAGMA integrity_check(20)")]
    if said == ["ok"]:
        reading.findings.append(fine("index-integrity", "ok"))
        return True
    reading.findings.append(problem("index-integrity", f"SQLite says: {named(said)}", REBUILD))
    return False


def _stamp(projector: Projector, size_bytes: int) -> Finding:
    state = _stamp_state(projector)
    if state == "clean":
        return fine("index", f"{projector.index_path}, {size_text(size_bytes)}")
    if state == "dirty":
        cure = "nothing has to be done: the next projection goes on where it ended"
        return warning("index", "a process is bringing it up to date, or was killed doing so", cure)
    if state == "none":
        return _will_be_rebuilt(f"{projector.lock.path} does not say that a projection made it")
    boot = "; this is normal after a restart of the machine" if _is_of_other_boot(projector) else ""
    return _will_be_rebuilt(f"it is not what the last projection left{boot}")


def _stamp_state(projector: Projector) -> str:
    try:
        return projector.stamp_state()
    except OSError:  # no file: `files` says so
        return "none"


def _is_of_other_boot(projector: Projector) -> bool:
    from rye_telemetry.lines import decode_json

    try:
        stamp = decode_json(read_file(projector.lock.path).decode())
    except (OSError, ValueError):
        return False
    return isinstance(stamp, dict) and stamp.get("boot") != liveness.boot_id()


def _will_be_rebuilt(found: str) -> Finding:
    return warning("index", f"{found}; the next reading command makes it anew", REBUILD)


def check_agreement(reading: IndexReading, expected: Counted | None) -> Iterator[Finding]:
    """Hold the index against a fold of the lines that it has read."""
    if reading.counted is None:
        return
    faults = list(reading.own_faults)
    if expected is not None:
        faults += _differences(reading.counted, expected)
    if faults:
        yield problem("index-agreement", f"the index is not what the journal says: {named(faults)}", REBUILD)
    elif expected is None:
        yield fine("index-agreement", "not compared: the journal cannot be read whole")
    else:
        amount = f"{plural(len(expected.states), 'item')}, {plural(sum(expected.runs.values()), 'run')}"
        yield fine("index-agreement", f"{amount}: as in the journal")


def _differences(found: Counted, expected: Counted) -> list[str]:
    differ = []
    for key in sorted(found.states.keys() | expected.states.keys()):
        mine, right = found.states.get(key), expected.states.get(key)
        if mine != right:
            differ.append(f"{key[0]} {key[1]} has {_runs_text(key, mine)}, the journal {_runs_text(key, right)}")
    if not differ and found.runs != expected.runs:
        listed, journaled = sum(found.runs.values()), sum(expected.runs.values())
        differ.append(f"it lists {plural(listed, 'run')}, the journal {journaled:,}")
    return differ


def _runs_text(key: Key, state: str | None) -> str:
    if state is None:
        return "no such item"
    try:
        return plural(totals_from_json(*key, state).total_runs, "run")
    except _ROW_ERRORS:
        return "an entry that cannot be read"


def check_snapshot(projector: Projector, reading: IndexReading) -> Finding:
    """Whether `telemetry.yaml` is there, parses, and says what the index says."""
    path = projector.snapshot_path
    if not os.path.lexists(path):
        if not reading.published:
            return fine("telemetry-yaml", f"{path} (not there yet)")
        return warning("telemetry-yaml", f"{path} is missing; the next reading command writes it", REBUILD)
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return problem("telemetry-yaml", f"{path} is not a regular file", "move it away, then: " + REBUILD)
    return _compare_snapshot(path, reading) if snapshot.is_ours(path) else _foreign(projector, path)


def _compare_snapshot(path: str, reading: IndexReading) -> Finding:
    items, reason = _snapshot_items(path)
    if items is None:
        return problem("telemetry-yaml", f"{path} cannot be read: {reason}", REBUILD)
    if reading.counted is not None and items != reading.published:
        keys = dict.fromkeys([*reading.published, *items])
        differ = [str(key) for key in keys if items.get(key) != reading.published.get(str(key))]
        return problem("telemetry-yaml", f"{path} and the index differ on {named(differ)}", REBUILD)
    return fine("telemetry-yaml", f"{path}, {plural(len(items), 'item')}")


def _foreign(projector: Projector, path: str) -> Finding:
    found = f"{path} was not written by rye-telemetry"
    if _stamp_state(projector) == "none":
        return fine("telemetry-yaml", f"{found}; the first projection imports it and keeps it")
    aside = f"{path}.foreign"
    return warning("telemetry-yaml", found, f"keep it under another name (mv {path} {aside}), then: {REBUILD}")


def _snapshot_items(path: str) -> tuple[dict[str, object] | None, str]:
    import yaml

    try:
        document = yaml.load(read_file(path), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (a safe loader)
        items = document["items"]
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, LookupError, TypeError) as e:
        return None, " ".join(str(e).split())[:200]
    return (items, "") if isinstance(items, dict) else (None, "`items` is no mapping")
