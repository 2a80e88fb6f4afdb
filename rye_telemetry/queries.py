"""Questions to an open index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rye_telemetry.errors import RunNotFound
from rye_telemetry.lines import decode_json
from rye_telemetry.model import RUN_FIELDS, utf8_text
from rye_telemetry.totals import totals_from_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rye_telemetry.index import Index
    from rye_telemetry.model import Fields

_JSON_COLUMNS = ("inputs", "tags", "metrics", "git_dirty", "extra")
_SELECT_RUN = "SELECT " + ", ".join(
    f"items.{name}" if name in ("item_type", "item_id") else f"runs.{name}" for name in (*RUN_FIELDS, "extra")
)
_FROM = " FROM runs JOIN items USING (item)"
MAX_CANDIDATES = 5
MAX_LIMIT = 2**62  # SQLite counts with 64 bits


def read_items(index: Index, *, item_id: str | None = None, item_type: str | None = None) -> dict[str, Fields]:
    """Return {key: item} in the order of keys: published fields, rates, percentiles, open runs, recent outcomes.

    An id that no item has is read as a key: `tool::x` where another type had `x` first.
    """
    found = _item_rows(index, item_id=item_id, item_type=item_type)
    if not found and item_id is not None:
        found = _item_rows(index, key=item_id, item_type=item_type)
    running = _running(index)
    return {key: _item(kind, ident, state, running.get(number, 0)) for number, key, kind, ident, state in found}


def _item_rows(index: Index, **equal: str | None) -> list[tuple[int, str, str, str, str]]:
    where, values = _where(equal)
    return index.db.execute(
        f"SELECT item, key, item_type, item_id, state FROM items{where} ORDER BY key",  # noqa: S608 (constants)
        values,
    ).fetchall()


def _running(index: Index) -> dict[int, int]:
    rows = index.db.execute(
        "SELECT item, count(*) FROM runs INDEXED BY runs_open WHERE outcome='running' GROUP BY item"
    )
    return dict(rows.fetchall())


def _item(item_type: str, item_id: str, state: str, running: int) -> Fields:
    totals = totals_from_json(item_type, item_id, state)
    return {
        "item_id": item_id,
        **totals.published(),
        "success_rate": totals.success_rate,
        "p50_duration_ms": totals.percentile_ms(0.50),
        "p95_duration_ms": totals.percentile_ms(0.95),
        "running": running,
        "recent": [outcome for _, outcome in totals.recent],
    }


def read_runs(
    index: Index,
    *,
    since: str | None,
    until: str | None,
    limit: int,
    run_ids: Sequence[str] | None = None,
    **equal: str | None,
) -> list[Fields]:
    """Return runs newest first; `equal` names columns of items and runs, None means any; `run_ids` are all there may be."""
    where, values = _where(equal)
    if run_ids is not None:
        where += (" AND " if where else " WHERE ") + f"run_id IN ({','.join('?' * len(run_ids))})"
        values += map(utf8_text, run_ids)
    for condition, value in (("started_at >= ?", since), ("started_at < ?", until)):
        if value is not None:
            where += (" AND " if where else " WHERE ") + condition
            values.append(utf8_text(value))
    rows = index.db.execute(
        f"{_SELECT_RUN}{_FROM}{where} ORDER BY started_at DESC, run_id DESC LIMIT ?",
        (*values, min(limit, MAX_LIMIT)),
    )
    return [_run(row) for row in rows]


def read_run(index: Index, prefix: str) -> Fields:
    """Return the run whose id starts with `prefix`; RunNotFound when there is none, or more than one."""
    prefix = utf8_text(prefix)
    rows = index.db.execute(
        f"{_SELECT_RUN}{_FROM} WHERE run_id >= ? AND run_id < ? ORDER BY run_id LIMIT ?",
        (prefix, prefix + "\U0010ffff", MAX_CANDIDATES + 1),
    ).fetchall()
    if not prefix or not rows:
        raise RunNotFound(f"no run has an id that starts with {prefix!r}: see `rye-telemetry runs list`")
    if len(rows) > 1 and rows[0][0] != prefix:
        names = ", ".join(row[0] for row in rows[:MAX_CANDIDATES]) + (", …" if len(rows) > MAX_CANDIDATES else "")
        raise RunNotFound(f"{prefix!r} fits several runs: {names}: give more of the id")
    return _run(rows[0])


def read_damage(index: Index) -> list[tuple[str, int, int, str]]:
    """Return (segment, offset, size, reason) of every journal line that could not be read."""
    return list(index.db.execute("SELECT segment, offset, size_bytes, reason FROM damage ORDER BY segment, offset"))


def _run(row: tuple[object, ...]) -> Fields:
    run: Fields = dict(zip((*RUN_FIELDS, "extra"), row, strict=True))
    for name in _JSON_COLUMNS:
        if run[name] is not None:
            run[name] = decode_json(run[name])
    run.update(run.pop("extra") or {})
    return run


def _where(equal: dict[str, str | None]) -> tuple[str, list[object]]:
    given = {name: utf8_text(value) for name, value in equal.items() if value is not None}
    text = " AND ".join(f"{name}=?" for name in given)
    return (f" WHERE {text}" if text else ""), list(given.values())


def read_places(index: Index) -> list[tuple[tuple[str, str], list[str]]]:
    """Return ((type, id), recorded paths) of every item."""
    rows = index.db.execute("SELECT item_type, item_id, paths FROM items ORDER BY item")
    return [((item_type, item_id), decode_json(paths)) for item_type, item_id, paths in rows]
