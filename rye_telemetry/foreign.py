"""A `telemetry.yaml` that another program wrote: imported once as a checkpoint, never overwritten."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from rye_telemetry.files import read_file
from rye_telemetry.lines import MAX_LINE_BYTES, encode_json, encode_line
from rye_telemetry.model import (
    ENDED,
    ITEM_TYPES,
    MAX_DURATION_MS,
    OUTCOME_ALIASES,
    check_item_id,
    clean_text,
    utf8_text,
)
from rye_telemetry.totals import MAX_COUNT, Totals, totals_to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rye_telemetry.journal import Journal

MAX_BYTES = 64 * 1024 * 1024
ITEMS_A_LINE = 50
MAX_ENTRIES_BYTES = MAX_LINE_BYTES - 1000  # in one line, which says a little more


def adopt(path: str, journal: Journal, *, first: bool) -> str:
    """Import the file when no journal was ever projected here, else set it aside; return what was done.

    The checkpoint's id is the file's hash, so a kill between the two steps imports it once all the same.
    """
    aside = _free_name(path + ".imported") if first else _free_name(path + ".foreign")
    if not first:
        _set_aside(path, aside)
        return f"{path} was written by another program: it is kept as {aside}"
    try:
        data = read_file(path)
        lines, refused = checkpoint_lines(data)
    except ValueError as e:
        aside = _free_name(path + ".unreadable")
        _set_aside(path, aside)
        return f"{path} was written by another program and cannot be read ({e}): it is kept as {aside}"
    if lines:
        journal.append(b"".join(lines))
    _set_aside(path, aside)
    said = f"{path} was written by another program: it was imported and is kept as {aside}"
    return said + (f"; not imported: {', '.join(refused[:5])}" if refused else "")


def _set_aside(path: str, aside: str) -> None:
    os.replace(path, aside)
    if not os.path.islink(aside):
        os.chmod(aside, 0o600)  # as private as all else here, whatever its writer thought


def checkpoint_lines(data: bytes) -> tuple[list[bytes], list[str]]:
    """Return journal lines that carry a foreign file's totals, and what of it was refused; ValueError as read_totals."""
    items, refused = read_totals(data)
    source = hashlib.sha256(data).hexdigest()
    lines: list[bytes] = []
    entries: list[bytes] = []
    for totals in items:
        entry = _entry_json(totals)
        if len(entry) > MAX_ENTRIES_BYTES:
            refused.append(f"the paths of {totals.item_id[:60]!r} (too many)")
            totals.paths = []
            entry = _entry_json(totals)
        if sum(map(len, entries)) + len(entry) > MAX_ENTRIES_BYTES or len(entries) == ITEMS_A_LINE:
            lines.append(_checkpoint_line(source, len(lines), entries))
            entries = []
        entries.append(entry)
    if entries:
        lines.append(_checkpoint_line(source, len(lines), entries))
    return lines, refused


def _entry_json(t: Totals) -> bytes:
    head = f'{{"item_type":{encode_json(t.item_type)},"item_id":{encode_json(t.item_id)},"state":'
    return f"{head}{totals_to_json(t)}}}".encode()


def _checkpoint_line(source: str, number: int, entries: list[bytes]) -> bytes:
    head = encode_line("checkpoint", {"checkpoint_id": f"{source}-{number}", "source": "telemetry.yaml"})
    return head[:-2] + b',"items":[' + b",".join(entries) + b"]}\n"


def read_totals(data: bytes) -> tuple[list[Totals], list[str]]:
    """Return the totals of a RYE `telemetry.yaml` and what in it could not be read; ValueError when it is none."""
    import yaml

    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    try:
        document = yaml.load(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (a safe loader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as e:
        raise ValueError(str(e).replace("\n", " ")[:200] or "not YAML") from e
    entries = document.get("items") if isinstance(document, dict) else None
    if entries is None and isinstance(document, dict) and document.keys() <= {"version", "updated", "items"}:
        entries = {}
    if not isinstance(entries, dict):
        raise ValueError("it has no mapping `items`")  # noqa: TRY004 (one error for whatever a file may be)
    items, refused = [], []
    for item_id, entry in entries.items():
        try:
            items.append(_item_totals(item_id, entry))
        except (ValueError, TypeError, OverflowError) as e:  # InvalidRecord too
            refused.append(f"{_shown(item_id)} ({e})")
    return items, refused


def type_of(entry: object) -> str:
    """Return the type that a foreign entry counts as."""
    if not isinstance(entry, dict):
        raise TypeError("not a mapping")
    item_type = entry.get("type", "tool")
    if item_type not in ITEM_TYPES:
        raise ValueError(f"type {_shown(item_type)} is unknown")
    return str(item_type)


def _item_totals(key: object, entry: Mapping[str, object]) -> Totals:
    totals = Totals(type_of(entry), check_item_id(key if isinstance(key, str) else str(key)))
    for name, value in entry.items():
        word, found, rest = str(name).rpartition("_count")
        outcome = OUTCOME_ALIASES.get(word, word)
        if found and not rest and outcome in ENDED:
            totals.counts[outcome] += _count(value)
    if "total_runs" not in entry:  # knowledge counts how often it was read
        totals.counts["success"] += _count(entry.get("access_count"))
    total = max(_count(entry.get("total_runs")), totals.total_runs)
    totals.counts["partial"] += total - totals.total_runs  # ended, but nobody knows how
    totals.http_calls, totals.subprocess_calls = _count(entry.get("http_calls")), _count(entry.get("subprocess_calls"))
    average = entry.get("avg_duration_ms")
    if type(average) in (int, float) and 0 <= average <= MAX_DURATION_MS and total:  # type: ignore[operator]
        totals.duration_count = min(total, MAX_COUNT)
        totals.duration_sum_ms = float(average) * totals.duration_count  # type: ignore[arg-type]
    _read_last(totals, entry)
    paths = entry.get("paths")
    totals.paths = [utf8_text(path) for path in paths if isinstance(path, str)] if isinstance(paths, list) else []
    return totals


def _read_last(totals: Totals, entry: Mapping[str, object]) -> None:
    last_run = entry.get("last_run", entry.get("last_accessed"))
    totals.last_run = _instant(last_run) if last_run is not None else None
    outcome = entry.get("last_outcome", "success" if "last_accessed" in entry else None)
    if isinstance(outcome, str):
        outcome = OUTCOME_ALIASES.get(outcome, outcome)
        totals.last_outcome = outcome if outcome in ENDED else None
    error = entry.get("last_error")
    totals.last_error = clean_text(error) if isinstance(error, str) else None


def _shown(value: object) -> str:
    """Return a value for a message; only its type, where aliases could make it endless."""
    return repr(value)[:60] if isinstance(value, (str, bool, float)) else f"a {type(value).__name__}"


def _count(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise ValueError(f"{_shown(value)} is no count")
    return value


def _instant(value: object) -> str:
    """Return an instant in our form; YAML readers turn unquoted ones into datetimes. A naive one is UTC."""
    from datetime import date, datetime, timezone

    if isinstance(value, str):
        value = datetime.fromisoformat(value.replace("Z", "+00:00"))
    if not isinstance(value, datetime):
        if not isinstance(value, date):
            raise TypeError(f"last_run is a {type(value).__name__}")
        value = datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    value = value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)
    return value.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _free_name(path: str) -> str:
    name, number = path, 1
    while os.path.lexists(name):
        number += 1
        name = f"{path}.{number}"
    return name
