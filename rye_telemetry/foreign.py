"""A `telemetry.yaml` that another program wrote: imported once as a checkpoint, never overwritten."""

from __future__ import annotations

import hashlib
import math
import os
from typing import TYPE_CHECKING

from rye_telemetry.errors import InvalidRecord
from rye_telemetry.files import read_file
from rye_telemetry.lines import encode_json, encode_line
from rye_telemetry.model import ENDED, ITEM_TYPES, check_item_id, clean_text
from rye_telemetry.totals import Totals, totals_to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rye_telemetry.journal import Journal
    from rye_telemetry.model import Fields

MAX_BYTES = 64 * 1024 * 1024
ITEMS_A_LINE = 50  # a line has a size limit, see lines.MAX_LINE_BYTES


def adopt(path: str, journal: Journal, *, first: bool) -> str:
    """Import the file when no journal was ever projected here, else set it aside; return what was done.

    The checkpoint's id is the file's hash, so a kill between the two steps imports it once all the same.
    """
    aside = _free_name(path + ".imported") if first else _free_name(path + ".foreign")
    if not first:
        os.replace(path, aside)
        return f"{path} was written by another program: it is kept as {aside}"
    try:
        data = read_file(path)
        lines, refused = checkpoint_lines(data)
    except ValueError as e:
        aside = _free_name(path + ".unreadable")
        os.replace(path, aside)
        return f"{path} was written by another program and cannot be read ({e}): it is kept as {aside}"
    if lines:
        journal.append(b"".join(lines))
    os.replace(path, aside)
    said = f"{path} was written by another program: it was imported and is kept as {aside}"
    return said + (f"; not imported: {', '.join(refused[:5])}" if refused else "")


def checkpoint_lines(data: bytes) -> tuple[list[bytes], list[str]]:
    """Return journal lines that carry a foreign file's totals, and what of it could not be read; ValueError as read_totals."""
    items, refused = read_totals(data)
    entries = [
        f'{{"item_type":{encode_json(t.item_type)},"item_id":{encode_json(t.item_id)},"state":{totals_to_json(t)}}}'
        for t in items
    ]
    source = hashlib.sha256(data).hexdigest()
    lines = []
    for start in range(0, len(entries), ITEMS_A_LINE):
        head = encode_line("checkpoint", {"checkpoint_id": f"{source}-{start}", "source": "telemetry.yaml"})
        lines.append(head[:-2] + f',"items":[{",".join(entries[start : start + ITEMS_A_LINE])}]}}\n'.encode())
    return lines, refused


def read_totals(data: bytes) -> tuple[list[Totals], list[str]]:
    """Return the totals of a RYE `telemetry.yaml` and what in it could not be read; ValueError when it is none."""
    import yaml

    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    try:
        document = yaml.load(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (a safe loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as e:
        raise ValueError(str(e).replace("\n", " ")[:200] or "not YAML") from e
    entries = document.get("items") if isinstance(document, dict) else None
    if entries is None and isinstance(document, dict):
        entries = {}
    if not isinstance(entries, dict):
        raise ValueError("it has no mapping `items`")
    items, refused = [], []
    for item_id, entry in entries.items():
        try:
            items.append(_item_totals(item_id, entry))
        except (ValueError, TypeError, InvalidRecord) as e:
            refused.append(f"{str(item_id)[:60]!r} ({e})")
    return items, refused


def _item_totals(key: object, entry: Mapping[str, object]) -> Totals:
    if not isinstance(entry, dict):
        raise TypeError("not a mapping")
    item_type = entry.get("type")
    item_id = key if isinstance(key, str) else str(key)
    totals = Totals(item_type if item_type in ITEM_TYPES else "tool", check_item_id(item_id))
    for outcome in ENDED:
        totals.counts[outcome] = _count(entry.get(f"{outcome}_count"))
    total = max(_count(entry.get("total_runs")), totals.total_runs)
    totals.counts["partial"] += total - totals.total_runs  # ended, but nobody knows how
    totals.http_calls, totals.subprocess_calls = _count(entry.get("http_calls")), _count(entry.get("subprocess_calls"))
    average = entry.get("avg_duration_ms")
    if isinstance(average, (int, float)) and math.isfinite(average) and average >= 0 and total:
        totals.duration_count, totals.duration_sum_ms = total, float(average) * total
    last_run = entry.get("last_run")
    totals.last_run = _instant(last_run) if last_run is not None else None
    outcome = entry.get("last_outcome")
    totals.last_outcome = outcome if outcome in ENDED else None
    error = entry.get("last_error")
    totals.last_error = clean_text(error) if isinstance(error, str) else None
    paths = entry.get("paths")
    totals.paths = [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []
    return totals


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def _instant(value: object) -> str:
    """Return an instant in our form; YAML readers turn unquoted ones into datetimes. A naive one is UTC."""
    from datetime import date, datetime, timezone

    if isinstance(value, str):
        value = datetime.fromisoformat(value.replace("Z", "+00:00"))
    if not isinstance(value, datetime):
        if not isinstance(value, date):
            raise TypeError(f"last_run is {value!r}")
        value = datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    value = value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)
    return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"


def _free_name(path: str) -> str:
    name, number = path, 1
    while os.path.lexists(name):
        number += 1
        name = f"{path}.{number}"
    return name
