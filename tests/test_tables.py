from __future__ import annotations

import functools
from datetime import datetime, timezone

import pytest

from rye_telemetry import tables
from rye_telemetry.tables import Look, ago_text, duration_text, percent_text, printable, shorten

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
LOOK = Look(now=NOW)
EVIL = "\x1b[2J\x1b[31mevil\x1b[0m\x1b[0m\r\n\x07\u202e\x9b31m"


def make_item(**changes):
    item = {
        "item_id": "x",
        "type": "tool",
        "total_runs": 3,
        **{f"{outcome}_count": 0 for outcome in tables.MARKS},
        "success_count": 2,
        "failure_count": 1,
        "avg_duration_ms": 1500.0,
        "p50_duration_ms": 12.3,
        "p95_duration_ms": 90_000.0,
        "http_calls": 1,
        "subprocess_calls": 2,
        "last_run": "2026-11-20T11:57:00.000Z",
        "last_outcome": "failure",
        "last_error": "boom",
        "paths": ["/p/x.py"],
        "success_rate": 0.667,
        "running": 0,
        "recent": ["success", "success", "failure"],
    }
    return item | changes


def make_run(**changes):
    run = {
        "run_id": "0193aaaa-bbbb-7ccc-8ddd-eeeeffff0000",
        "item_id": "x",
        "item_type": "tool",
        "outcome": "success",
        "duration_ms": 5.0,
        "started_at": "2026-11-20T11:00:00.000Z",
        "agent": None,
        "tags": None,
    }
    return run | changes


def test_totals_are_readable_at_80_columns():
    items = {name: make_item(item_id=name) for name in ("x", "a/very/long/id/" * 10 + "end")}
    text = tables.totals_table(items, LOOK)
    assert max(map(len, text.splitlines())) <= 80
    assert "Tools" in text
    assert "3 min ago" in text
    assert "66.7%" in text
    assert "..F" in text
    assert "long/id/end" in text


def test_each_type_has_a_table_of_its_own():
    text = tables.totals_table({t: make_item(type=t, item_id=t) for t in ("tool", "directive", "knowledge")}, LOOK)
    assert [text.index(heading) for heading in ("Tools", "Directives", "Knowledge")] == sorted(
        text.index(heading) for heading in ("Tools", "Directives", "Knowledge")
    )


def test_nothing_recorded_is_said():
    assert "No runs" in tables.totals_table({}, LOOK)
    assert "No runs" in tables.runs_table([], LOOK)


def test_an_item_that_only_runs_yet_has_dashes():
    item = make_item(
        total_runs=0,
        running=1,
        avg_duration_ms=None,
        p50_duration_ms=None,
        p95_duration_ms=None,
        success_rate=None,
        last_run=None,
        last_outcome=None,
        last_error=None,
        recent=[],
        paths=[],
        success_count=0,
        failure_count=0,
    )
    assert "running" in tables.totals_table({"x": item}, LOOK)
    assert "1 running" in tables.item_sheet(item, LOOK)


def test_an_item_in_full_shows_what_is_known():
    text = tables.item_sheet(make_item(paths=["/a", "/b"]), LOOK)
    for part in (
        "x (tool)",
        "3: 2 success, 1 failure",
        "66.7%",
        "1.5 s average",
        "1 HTTP, 2 subprocess",
        "3 min ago",
        "boom",
        "/a",
        "/b",
    ):
        assert part in text


def test_a_run_in_full_leaves_out_what_is_not_known():
    text = tables.run_sheet(make_run(tags={"k": "v"}), LOOK)
    assert "k=v" in text
    assert "agent" not in text


@pytest.mark.parametrize("colour", [False, True])
def test_recorded_text_never_reaches_the_terminal_as_it_is(colour):
    look = Look(now=NOW, colour=colour)
    item = make_item(item_id="x", last_error=EVIL, paths=[EVIL], last_outcome="failure")
    shown = [
        tables.item_sheet(item, look),
        tables.totals_table({EVIL: item}, look),
        tables.runs_table([make_run(item_id=EVIL, agent=EVIL, run_id=EVIL)], look),
        tables.run_sheet(make_run(error=EVIL, tags={EVIL: EVIL}, **{EVIL: EVIL}), look),
        tables.status_head(
            {
                "enabled": True,
                "decided_by": EVIL,
                "state_dir": EVIL,
                "last_updated": None,
                "total_runs": 1,
                "total_items": 1,
            },
            look,
        ),
    ]
    for text in shown:
        ours = {f"\x1b[{code}m" for code in (*tables.COLOURS.values(), 0)} if colour else set()
        bare = functools.reduce(lambda bare, sequence: bare.replace(sequence, ""), ours, text)
        assert bare.replace("\n", "").isprintable()
        assert "\x1b[2J" not in text


def test_colour_marks_outcomes_and_nothing_else():
    assert "\x1b[31mF\x1b[0m" in tables.totals_table({"x": make_item()}, Look(now=NOW, colour=True))
    assert "\x1b" not in tables.totals_table({"x": make_item()}, LOOK)


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (None, "-"),
        (0, "0.00 ms"),
        (0.5, "0.50 ms"),
        (5, "5.0 ms"),
        (9.94, "9.9 ms"),
        (9.96, "10 ms"),
        (999, "999 ms"),
        (999.6, "1.0 s"),
        (59_000, "59.0 s"),
        (60_000, "1.0 min"),
        (3_600_000, "1.0 h"),
        (90_000_000, "1.0 d"),
        (1e13, "115741 d"),
    ],
)
def test_durations(duration_ms, text):
    assert duration_text(duration_ms) == text


@pytest.mark.parametrize(("share", "text"), [(None, "-"), (1, "100%"), (0, "0.0%"), (0.667, "66.7%"), (0.999, "99.9%")])
def test_percentages(share, text):
    assert percent_text(share) == text


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (None, "-"),
        ("2026-11-20T11:59:58.000Z", "just now"),
        ("2026-11-20T11:59:30.000Z", "30 s ago"),
        ("2026-11-20T11:57:00.000Z", "3 min ago"),
        ("2026-11-20T09:00:00.000Z", "3 h ago"),
        ("2026-11-01T12:00:00.000Z", "19 d ago"),
        ("2026-11-20T12:00:30.000Z", "just now"),
        ("2027-11-20T12:00:30.000Z", "2027-11-20"),
        ("nonsense", "nonsense"),
    ],
)
def test_how_long_ago(instant, text):
    assert ago_text(instant, NOW) == text


def test_a_shortened_id_keeps_its_end():
    assert shorten("a/b/c/d/e/f", 8) == "…c/d/e/f"
    assert shorten("short", 8) == "short"


def test_what_is_printable_stays():
    assert printable("日本語 é 🐙") == "日本語 é 🐙"
    assert printable("a\x1b[0mb\n") == "a\\x1b[0mb\\n"
