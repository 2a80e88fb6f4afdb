"""Totals over some of an item's runs, and when items were first run."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import NOON_NS, line, look_at, make_run, make_start

from rye_telemetry import window_queries
from rye_telemetry.lines import encode_json, encode_line, instant_text, new_run_id
from rye_telemetry.model import ENDED
from rye_telemetry.store import TelemetryStore
from rye_telemetry.totals import Totals, totals_to_json

ONE, OTHER = "1" * 64, "2" * 64


def at(minutes):
    return instant_text(NOON_NS + minutes * 60_000_000_000)


def run(minutes, **changes):
    return make_run(**{"started_at": at(minutes), "ended_at": at(minutes + 1), **changes})


def checkpoint(item_id, *outcomes, name="c"):
    """A line that stands for runs which are not in the journal one by one."""
    totals = Totals("tool", item_id)
    for outcome in outcomes:
        totals.add_run({"outcome": outcome, "ended_at": at(-100), "duration_ms": 1})
    entry = f'{{"item_type":"tool","item_id":{encode_json(item_id)},"state":{totals_to_json(totals)}}}'
    return encode_line("checkpoint", {"checkpoint_id": name})[:-2] + f',"items":[{entry}]}}\n'.encode()


@pytest.fixture
def record(store):
    def record(*runs):
        store.record_lines([("run", each) for each in runs])

    return record


def test_a_window_without_bounds_says_what_the_item_says(store, record):
    record(
        run(0, outcome="failure", error="boom", path="/p/a.py", http_calls=2),
        run(1, outcome="success", duration_ms=100, path="/p/b.py", subprocess_calls=3),
        run(2, outcome="cancelled", duration_ms=None),
        run(3, outcome="timeout", duration_ms=7.25, error="too slow"),
        run(0, item_id="y"),
    )
    item, found = store.get("x"), store.window("tool", "x")
    assert found.pop("first_run") == at(0)
    assert item.pop("item_id") == "x"
    assert (item.pop("running"), item.pop("recent")) == (0, ["failure", "success", "cancelled", "timeout"])
    assert found == item
    assert found["last_error"] == "too slow"


def test_a_window_counts_runs_from_its_instant_on(store, record):
    record(*(run(minute, outcome="failure" if minute < 5 else "success") for minute in range(10)))
    found = store.window("tool", "x", since=at(4))
    assert (found["total_runs"], found["failure_count"], found["success_rate"]) == (6, 1, 0.833)
    assert found["first_run"] == at(4)
    assert store.window("tool", "x", since=at(9))["total_runs"] == 1
    assert store.window("tool", "x", since=at(10))["total_runs"] == 0


def test_a_window_counts_one_version_alone(store, record):
    record(
        run(0, content_hash=ONE, duration_ms=10),
        run(1, content_hash=OTHER, duration_ms=20, outcome="failure"),
        run(2, content_hash=ONE, duration_ms=30),
        run(3, duration_ms=1000),
    )
    found = store.window("tool", "x", content_hash=ONE)
    assert (found["total_runs"], found["avg_duration_ms"], found["success_rate"]) == (2, 20, 1)
    assert (found["first_run"], found["last_run"]) == (at(0), at(3))
    assert store.window("tool", "x", content_hash=ONE, since=at(1))["total_runs"] == 1
    assert store.window("tool", "x", content_hash=OTHER)["p95_duration_ms"] == 20
    assert store.window("tool", "x", content_hash="")["total_runs"] == 0


def test_a_window_leaves_out_open_runs_and_runs_of_a_namesake(store, record):
    store.record_lines([("start", make_start(started_at=at(0)))])
    record(run(1), run(2, item_type="directive", outcome="failure"))
    assert store.window("tool", "x")["total_runs"] == 1
    assert store.window("tool", "x")["first_run"] == at(1)
    assert store.window("directive", "x")["failure_count"] == 1


def test_a_window_in_which_nothing_ran_is_all_zeros_and_nones(store, record):
    record(run(0))
    for found in (
        store.window("tool", "x", since=at(5)),
        store.window("tool", "unknown"),
        store.window("a\udcff", "x"),
    ):
        assert {found[f"{outcome}_count"] for outcome in ENDED} == {0}
        assert [found[name] for name in ("success_rate", "avg_duration_ms", "p50_duration_ms", "p95_duration_ms")] == [
            None
        ] * 4
        assert (found["last_run"], found["last_error"], found["first_run"], found["paths"]) == (None, None, None, [])


def test_a_window_does_not_count_what_only_a_checkpoint_knows(store, record):
    store.journal.append(checkpoint("x", "failure", "failure"))
    record(run(0))
    assert store.get("x")["total_runs"] == 3
    assert store.window("tool", "x")["total_runs"] == 1


@settings(database=None, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 20), st.sampled_from(ENDED), st.none() | st.floats(0, 1e6), st.sampled_from([ONE, OTHER])
        ),
        max_size=30,
    ),
    st.integers(-1, 21),
    st.sampled_from([None, ONE]),
)
def test_a_window_is_the_totals_of_the_runs_that_fit(tmp_path, drawn, minute, content_hash):
    runs = [
        run(begin, outcome=outcome, duration_ms=duration, content_hash=version)
        for begin, outcome, duration, version in drawn
    ]
    expected = Totals("tool", "x")
    fitting = [each for each in runs if each["started_at"] >= at(minute)]
    for each in fitting:
        if content_hash in (None, each["content_hash"]):
            expected.add_run(each)
    with TelemetryStore(tmp_path / new_run_id(NOON_NS)) as store:
        store.record_lines([("run", each) for each in runs])
        found = store.window("tool", "x", since=at(minute), content_hash=content_hash)
    exact = [f"{outcome}_count" for outcome in ENDED] + ["total_runs", "last_run"]
    assert {name: found[name] for name in exact} == {name: expected.published()[name] for name in exact}
    assert found["success_rate"] == expected.success_rate
    assert found["avg_duration_ms"] == pytest.approx(expected.avg_duration_ms)
    assert found["p95_duration_ms"] == expected.percentile_ms(0.95)


def test_first_runs_are_told_for_each_item_that_was_asked_for(store, record):
    record(run(3), run(1), run(2), run(0, item_id="y"), run(7, item_type="directive"), run(0, item_id="unasked"))
    found = store.first_runs(iter([("tool", "x"), ("tool", "y"), ("directive", "x"), ("tool", "never")]))
    assert found == {("tool", "x"): at(1), ("tool", "y"): at(0), ("directive", "x"): at(7)}
    assert store.first_runs([]) == {}


def test_the_first_run_is_not_known_where_runs_are_only_totals_any_more(store, record):
    store.journal.append(checkpoint("x", "success") + checkpoint("z", "success", "failure", name="d"))
    record(run(0), run(0, item_id="y"))
    store.record_lines([("start", make_start(item_id="z", started_at=at(1))) for _ in range(3)])
    assert store.get("z")["running"] == 3
    assert store.first_runs([("tool", "x"), ("tool", "y"), ("tool", "z")]) == {("tool", "y"): at(0)}


def test_a_run_that_is_still_open_may_be_the_first(store, record):
    store.record_lines([("start", make_start(started_at=at(0)))])
    record(run(1))
    assert store.first_runs([("tool", "x")]) == {("tool", "x"): at(0)}


def test_first_runs_of_more_items_than_one_question_takes(store, record, monkeypatch):
    monkeypatch.setattr(window_queries, "AT_ONCE", 7)
    record(*(run(n, item_id=f"i{n}") for n in range(30)))
    items = [("tool", f"i{n}") for n in range(30)]
    assert store.first_runs(items) == {item: at(n) for n, item in enumerate(items)}


def test_a_store_that_may_not_write_answers_both(store, record):
    record(run(0), run(5))
    store.close()
    before = look_at(store.directory)
    reader = TelemetryStore(store.directory, read_only=True)
    assert reader.window("tool", "x", since=at(1))["total_runs"] == 1
    assert reader.first_runs([("tool", "x")]) == {("tool", "x"): at(0)}
    assert look_at(store.directory) == before


def test_both_questions_are_answered_by_lookups(store, record):
    """Else a question about one item would cost as much as all there ever was."""
    record(run(0), run(1))
    store.rebuild()

    def plans(index):
        asked = []
        index.db.set_trace_callback(asked.append)
        window_queries.read_window(index, "tool", "x", since=at(0))
        window_queries.read_first_runs(index, [("tool", "x")])
        index.db.set_trace_callback(None)
        return [row[3] for question in asked for row in index.db.execute(f"EXPLAIN QUERY PLAN {question}")]

    steps = store.ask(plans)
    assert [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step] == []
    assert [step.split("INDEX ")[1].split()[0] for step in steps if "runs" in step] == [
        "runs_by_item",
        "runs_by_item",
        "runs_open",
    ]
    assert ["COVERING INDEX" in step for step in steps if "runs" in step] == [False, True, False]


def test_a_line_with_a_hash_that_is_none_harms_nothing(store):
    store.journal.append(line(content_hash=5) + line(content_hash=["a"]) + line(content_hash=ONE))
    assert store.window("tool", "x")["total_runs"] == 3
    assert store.window("tool", "x", content_hash=ONE)["total_runs"] == 1
