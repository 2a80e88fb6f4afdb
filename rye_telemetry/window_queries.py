"""Questions to an open index about some of an item's runs: those since an instant, or of one version of its file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rye_telemetry.model import utf8_text
from rye_telemetry.totals import Totals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rye_telemetry.index import Index
    from rye_telemetry.model import Fields

AT_ONCE = 500  # SQLite before 3.32 takes 999 values a question
# What `Totals.add_run` counts.
_COUNTED = ("outcome", "ended_at", "duration_ms", "http_calls", "subprocess_calls", "path", "error")
_SELECT = f"SELECT started_at, {', '.join(_COUNTED)} FROM runs WHERE item=? AND outcome!='running'"  # noqa: S608 (constants)


def read_window(
    index: Index, item_type: str, item_id: str, *, since: str | None = None, content_hash: str | None = None
) -> Fields:
    """Return an item's published fields, rate, percentiles and `first_run`, over those of its ended runs that fit.

    `since` is an instant as stored, with milliseconds. Only runs that the index has one by one are counted: what a
    checkpoint stands for has no instants any more. Where nothing fits, counts are 0 and the rest is None.
    """
    totals = Totals(item_type, item_id)
    first_run = None
    question, values = _SELECT, [_number(index, item_type, item_id)]
    for condition, value in ((" AND started_at>=?", since), (" AND content_hash=?", content_hash)):
        if value is not None:
            question += condition
            values.append(utf8_text(value))
    for started_at, *counted in index.db.execute(f"{question} ORDER BY started_at, run_id", values):
        first_run = first_run or started_at
        totals.add_run(dict(zip(_COUNTED, counted, strict=True)))
    return {
        **totals.published(),
        "success_rate": totals.success_rate,
        "p50_duration_ms": totals.percentile_ms(0.50),
        "p95_duration_ms": totals.percentile_ms(0.95),
        "first_run": first_run,
    }


def _number(index: Index, item_type: str, item_id: str) -> object:
    """Return the item's number; None, which no run has, where it is unknown."""
    row = index.db.execute(
        "SELECT item FROM items WHERE item_type=? AND item_id=?", (utf8_text(item_type), utf8_text(item_id))
    ).fetchone()
    return row and row[0]


def read_first_runs(index: Index, items: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return {(type, id): when its earliest run started} of those items whose runs the index has all of."""
    named: dict[int, tuple[tuple[str, str], int]] = {}
    for item in items:
        row = index.db.execute(
            "SELECT item, total_runs FROM items WHERE item_type=? AND item_id=?", tuple(map(utf8_text, item))
        ).fetchone()
        if row:
            named[row[0]] = (item, row[1])
    numbers = list(named)
    firsts = [
        first for begin in range(0, len(numbers), AT_ONCE) for first in _firsts(index, numbers[begin : begin + AT_ONCE])
    ]
    # Where the totals count more, the first may be among those that only a checkpoint knows.
    return {named[number][0]: first for number, first, ended in firsts if ended >= named[number][1]}


def _firsts(index: Index, numbers: list[int]) -> list[tuple[int, str, int]]:
    """Return (item, earliest start, ended runs) of each; a lookup has the answers, and open runs are few."""
    places = ",".join("?" * len(numbers))
    firsts = index.db.execute(
        f"SELECT item, min(started_at), count(*) FROM runs WHERE item IN ({places}) GROUP BY item",  # noqa: S608 (places)
        numbers,
    ).fetchall()
    open_runs = index.db.execute(
        "SELECT item, count(*) FROM runs INDEXED BY runs_open"  # noqa: S608 (places)
        f" WHERE outcome='running' AND item IN ({places}) GROUP BY item",
        numbers,
    )
    running = dict(open_runs.fetchall())
    return [(number, first, count - running.get(number, 0)) for number, first, count in firsts]
