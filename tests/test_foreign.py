from __future__ import annotations

import os

import pytest
import yaml
from making import look_at

from rye_telemetry.foreign import checkpoint_lines, read_totals
from rye_telemetry.lines import MAX_LINE_BYTES
from rye_telemetry.store import TelemetryStore

RYE = """\
version: 1
updated: 2026-02-03T10:11:12.345678+00:00
items:
  deploy/prod:
    type: directive
    total_runs: 45
    success_count: 40
    failure_count: 2
    timeout_count: 1
    cancelled_count: 2
    avg_duration_ms: 150.5
    http_calls: 12
    subprocess_calls: 3
    last_run: 2026-02-03T10:11:12.345678+00:00
    last_outcome: failed
    last_error: "boom: at line 3"
    paths:
    - /home/u/.ai/directives/deploy/prod.md
  fetch:
    type: tool
    total_runs: 2
    success_count: 1
    failure_count: 0
    timeout_count: 0
    skipped_count: 1
    avg_duration_ms: 0.1
    http_calls: 0
    subprocess_calls: 0
    last_run: '2026-02-03T12:11:12+02:00'
    last_outcome: success
    last_error: null
    paths: [null]
  api-notes:
    type: knowledge
    access_count: 7
    last_accessed: 2026-01-31
  naive:
    type: tool
    total_runs: 1
    success_count: 1
    last_run: 2026-02-03 10:11:12
    last_outcome: success
    paths: []
"""


@pytest.fixture
def state(store):
    store.path.parent.mkdir()
    return store.path.parent


def test_a_rye_file_is_imported_exactly_and_kept(store, state):
    store.path.write_text(RYE)
    items = store.items()
    item = items["deploy/prod"]
    assert {name: item[name] for name in yaml.safe_load(RYE)["items"]["deploy/prod"]} == {
        "type": "directive",
        "total_runs": 45,
        "success_count": 40,
        "failure_count": 2,
        "timeout_count": 1,
        "cancelled_count": 2,
        "avg_duration_ms": 150.5,
        "http_calls": 12,
        "subprocess_calls": 3,
        "last_run": "2026-02-03T10:11:12.345Z",
        "last_outcome": "failure",
        "last_error": "boom: at line 3",
        "paths": ["/home/u/.ai/directives/deploy/prod.md"],
    }
    assert (items["fetch"]["total_runs"], items["fetch"]["partial_count"], items["fetch"]["paths"]) == (2, 1, [])
    assert (items["fetch"]["last_run"], items["fetch"]["avg_duration_ms"]) == ("2026-02-03T10:11:12.000Z", 0.1)
    assert (items["api-notes"]["total_runs"], items["api-notes"]["last_run"]) == (7, "2026-01-31T00:00:00.000Z")
    assert items["naive"]["last_run"] == "2026-02-03T10:11:12.000Z"
    assert (state / "telemetry.yaml.imported").read_text() == RYE
    assert "imported and is kept as" in store.notices[0]
    assert list(yaml.safe_load(store.path.read_text())["items"]) == sorted(items)
    assert store.rebuild() == 55


def test_it_is_imported_once_and_runs_add_to_it(store, state):
    store.path.write_text(RYE)
    store.record_execution("deploy/prod", "directive", "success", 1000)
    with TelemetryStore(state) as other:
        other.record_execution("deploy/prod", "directive", "success", 1000)
    item = store.get("deploy/prod")
    assert (item["total_runs"], item["success_count"]) == (47, 42)
    assert item["avg_duration_ms"] == round((45 * 150.5 + 2000) / 47, 3)
    assert item["p50_duration_ms"] == 1000
    assert len(list(state.glob("telemetry.yaml.*"))) == 1


def test_a_kill_after_the_import_and_before_the_file_was_moved_imports_it_once(store, state):
    lines, _ = checkpoint_lines(RYE.encode())
    store.journal.append(b"".join(lines))
    store.path.write_text(RYE)
    assert store.totals()["total_runs"] == 55


def test_a_file_that_another_program_writes_later_is_set_aside_and_never_overwritten(store, state):
    store.record_execution("x", "tool", "success", 1)
    store.close()
    store.path.write_text(RYE)
    with TelemetryStore(state) as recording:
        recording.record_execution("x", "tool", "success", 1)
    assert (state / "telemetry.yaml.foreign").read_text() == RYE
    store.path.write_text(RYE + "# again\n")
    assert store.totals()["total_runs"] == 2
    assert (state / "telemetry.yaml.foreign").read_text() == RYE
    assert (state / "telemetry.yaml.foreign.2").read_text() == RYE + "# again\n"
    assert list(yaml.safe_load(store.path.read_text())["items"]) == ["x"]
    assert "is kept as" in store.notices[0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"tool: [",
        b"\xff\xfe\x00",
        b"[]",
        b"5",
        b"items: 5",
        b"items:\n  x: {last_run: 2026-99-99T00:00:00Z}",
        b"? [a]\n: 1",
        b"a: &a [*a]\nitems: []",
        b"[" * 5000,
        b"!!python/object:os.system {}",
    ],
)
def test_a_file_that_cannot_be_read_is_set_aside_and_recording_goes_on(store, state, data):
    store.path.write_bytes(data)
    store.record_execution("x", "tool", "success", 1)
    assert (state / "telemetry.yaml.unreadable").read_bytes() == data
    assert store.get("x")["total_runs"] == 1
    assert "cannot be read" in store.notices[0]


def test_what_is_wrong_in_one_item_refuses_that_item_by_name(store, state):
    store.path.write_text(
        "items:\n"
        "  good: {type: tool, total_runs: 1, success_count: 1}\n"
        '  "": {type: tool, total_runs: 1}\n'
        '  "a\\nb": {type: tool, total_runs: 1}\n'
        "  text: hello\n"
        "  bad date: {type: tool, last_run: yesterday}\n"
        "  first: {type: tool, last_run: 0001-01-01T00:00:00+10:00}\n"
    )
    assert list(store.items()) == ["good"]
    for name in ("''", "'a\\nb'", "'text'", "'bad date'", "'first'"):
        assert name in store.notices[0]


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ("total_runs: 2, success_count: 2, avg_duration_ms: .nan", {"total_runs": 2, "avg_duration_ms": None}),
        ("total_runs: 2, success_count: 2, avg_duration_ms: .inf", {"avg_duration_ms": None}),
        ("total_runs: 2, success_count: 2, avg_duration_ms: -1", {"avg_duration_ms": None}),
        ("total_runs: 2, success_count: 2, avg_duration_ms: 1.0e+300", {"avg_duration_ms": None}),
        ("total_runs: 2, success_count: 2, avg_duration_ms: true", {"avg_duration_ms": None}),
        ("total_runs: 9007199254740991, avg_duration_ms: 5", {"total_runs": 9007199254740991, "avg_duration_ms": 5.0}),
        ("total_runs: 3, failed_count: 1, error_count: 1, success_count: 1", {"failure_count": 2, "partial_count": 0}),
        (
            "total_runs: 1, success_count: 1, last_outcome: [y], last_error: [z]",
            {"type": "tool", "last_outcome": None},
        ),
        ("total_runs: 1, success_count: 1, paths: /a", {"paths": []}),
        ("total_runs: 1, success_count: 1, paths: [/a, null, 5]", {"paths": ["/a"]}),
    ],
)
def test_values_that_cannot_be_are_left_out(store, state, entry, shown):
    store.path.write_text(f"items:\n  x: {{{entry}}}\n")
    item = store.get("x")
    assert {name: item[name] for name in shown} == shown
    assert store.damage() == []


@pytest.mark.parametrize(
    "entry",
    [
        "total_runs: -5",
        "total_runs: many",
        "total_runs: 1.5",
        "success_count: true",
        "total_runs: 99999999999999999999",
        "type: [x]",
        "type: toool",
    ],
)
def test_an_item_whose_numbers_or_type_cannot_be_is_refused_by_name(store, entry):
    store.path.parent.mkdir()
    store.path.write_text(f"items:\n  x: {{{entry}}}\n  y: {{type: tool, total_runs: 1, success_count: 1}}\n")
    assert list(store.items()) == ["y"]
    assert "'x'" in store.notices[0]


def test_a_large_file_is_imported_whole_in_lines_that_can_be_read(store, state):
    items = {
        f"item {n}": {
            "type": "tool",
            "total_runs": n,
            "success_count": n,
            "last_error": "é" * 1900,
            "paths": [f"/{n}/{p:0100d}" for p in range(20)],
        }
        for n in range(1, 201)
    }
    items["vast"] = {"type": "tool", "total_runs": 3, "success_count": 3, "paths": [f"/{p:0400d}" for p in range(1000)]}
    data = yaml.dump({"items": items}, Dumper=yaml.CSafeDumper).encode()
    lines, refused = checkpoint_lines(data)
    assert max(map(len, lines)) <= MAX_LINE_BYTES
    assert refused == ["the paths of 'vast' (too many)"]
    store.path.write_bytes(data)
    assert store.totals()["total_runs"] == sum(range(1, 201)) + 3
    assert store.damage() == []
    assert store.get("item 7")["paths"] == items["item 7"]["paths"]


def test_a_read_only_look_counts_it_and_leaves_it(store, state):
    store.path.write_text(RYE)
    before = look_at(state)
    with TelemetryStore(state, read_only=True) as looking:
        assert looking.totals()["total_runs"] == 55
    assert look_at(state) == before


def test_a_symlink_is_neither_imported_nor_written_through(store, state, tmp_path):
    (tmp_path / "precious.yaml").write_text(RYE)
    store.path.symlink_to(tmp_path / "precious.yaml")
    store.record_execution("x", "tool", "success", 1)
    assert (tmp_path / "precious.yaml").read_text() == RYE
    assert not os.path.islink(store.path)
    assert store.totals()["total_runs"] == 1


def test_totals_of_every_item_are_read():
    totals, refused = read_totals(RYE.encode())
    assert [t.item_id for t in totals] == ["deploy/prod", "fetch", "api-notes", "naive"]
    assert refused == []
