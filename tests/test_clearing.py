from __future__ import annotations

import gzip
import json
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest
import yaml
from making import HOSTILE_IDS, ended_well, holding, in_child, line, make_run, make_start, segments

from rye_telemetry.errors import InvalidRecord, StateBusy
from rye_telemetry.lines import encode_json, encode_line
from rye_telemetry.store import TelemetryStore


@pytest.fixture
def state(store):
    return store.path.parent


def stands_anywhere(state, item_id):
    """Say in which files below the state directory the id stands as a value."""
    needles = {encode_json(item_id).encode(), json.dumps(item_id).encode()}
    found = []
    for path in Path(state).rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            data = gzip.decompress(data) if path.suffix == ".gz" else data
            if any(needle in data for needle in needles):
                found.append(str(path.relative_to(state)))
    return found


def archive_of(state):
    path = state / "telemetry" / "journal" / "archive"
    path.mkdir(exist_ok=True)
    return path


def checkpoint(*items, checkpoint_id="c"):
    entries = [{"item_type": t, "item_id": i, "state": {"counts": {"success": n}}} for t, i, n in items]
    return encode_line("checkpoint", {"checkpoint_id": checkpoint_id, "items": entries})


def test_clear_deletes_an_item_wherever_it_stands_and_leaves_the_others_exact(store, state):
    for n in range(10):
        store.record_execution("y", "tool", "success", n, path="/y.py")
        store.record_execution("z", "tool", "failure", n, error="boom")
    store.append("start", make_start(run_id="open", item_id="y"))
    store.append("abandoned", {"run_id": "open", "ended_at": "2026-11-20T12:00:00.000Z"})
    store.journal.append(
        checkpoint(("tool", "y", 5), ("tool", "z", 7)) + checkpoint(("tool", "y", 5), checkpoint_id="d")
    )
    store.close()
    with open(segments(state)[0], "ab") as f:
        torn = line(item_id="y")
        f.write(b'{"damaged":"y"\n{"damaged":"z"\n' + torn[:120] + b"\n")
        f.write(torn[: torn.index(b'"item_id":"y') + len(b'"item_id":"y')] + b"\n")
    (archive_of(state) / "2020-W01-0001.ndjson.gz").write_bytes(gzip.compress(line(item_id="y") + line(item_id="z")))
    (archive_of(state) / "2020-W02-0001.ndjson.gz").write_bytes(gzip.compress(line(item_id="y")))
    with holding(state / "telemetry" / "journal.lock"):
        store.record_execution("y", "tool", "success", 1)
        store.record_execution("z", "tool", "success", 1)
    journal_dir = state / "telemetry" / "journal"
    (journal_dir / "spill" / "x.ndjson.1.2.tmp").write_bytes(line(item_id="y"))
    (state / "telemetry.yaml.tmp").write_bytes(b'"y":')
    assert stands_anywhere(state, "y")
    before = store.get("z")
    assert before["total_runs"] == 19
    assert store.clear("y") == 10 + 1 + 5 + 5 + 1 + 1 + 1
    assert stands_anywhere(state, "y") == []
    assert subprocess.run(["grep", "-ra", '"y"', state], check=False, capture_output=True).stdout == b""
    assert store.get("y") is None
    assert store.get("z") == before
    assert list(yaml.safe_load(store.path.read_text())["items"]) == ["z"]
    assert [reason for *_, reason in store.damage()] == [store.damage()[0][3]]
    assert store.clear("y") == 0
    assert store.rebuild() == 19
    (journal,) = segments(state)
    assert b'"item_id":"y' not in journal.read_bytes()
    assert b'"open"' not in journal.read_bytes()
    assert b"/y.py" not in (state / "telemetry" / "index.sqlite").read_bytes()


@pytest.mark.parametrize("item_id", sorted({*HOSTILE_IDS} - {":", ","}))  # of these two every line of JSON is full
def test_any_id_can_be_cleared_and_leaves_nothing(store, state, item_id):
    store.record_execution(item_id, "tool", "success", 1, path=b"/\xff")
    store.record_execution(f"other {item_id[:400]}", "tool", "success", 1)
    assert store.clear(item_id) == 1
    assert stands_anywhere(state, item_id) == []
    assert store.totals()["total_runs"] == 1


def test_a_damaged_line_that_names_the_item_in_any_spelling_goes(store, state):
    store.record_execution("日本語", "tool", "success", 1)
    store.close()
    with open(segments(state)[0], "ab") as f:
        f.write('{"damaged":"日本語"\n'.encode() + b'{"damaged":"\\u65e5\\u672c\\u8a9e"\n{"damaged":"other"\n')
    assert store.clear("日本語") == 1
    assert len(store.damage()) == 1


def test_clear_of_a_type_leaves_the_other_types(store, state):
    for item_type in ("tool", "directive", "knowledge"):
        store.record_execution("x", item_type, "success", 1)
    store.close()
    with open(segments(state)[0], "ab") as f:
        f.write(line(item_id="gone")[:-9] + b"\n" + line(item_id="stays", item_type="directive")[:-9] + b"\n")
    assert store.clear(item_type="tool") == 1
    assert {item["type"] for item in store.items().values()} == {"directive", "knowledge"}
    assert stands_anywhere(state, "gone") == []
    assert stands_anywhere(state, "stays") != []


def test_clear_of_an_item_in_one_type_leaves_it_in_the_other(store):
    store.record_execution("x", "directive", "success", 1)
    store.record_execution("x", "tool", "success", 1)
    assert store.clear("x", "directive") == 1
    assert store.get("x")["type"] == "tool"
    assert list(store.items()) == ["x"]  # nobody had it before now
    assert store.clear("x", "knowledge") == 0
    assert store.clear("x") == 1


def test_clear_of_an_id_deletes_it_in_every_type(store):
    store.record_execution("x", "directive", "success", 1)
    store.record_execution("x", "tool", "success", 1)
    assert store.clear("x") == 2
    assert store.totals()["total_items"] == 0


def test_clear_takes_the_key_that_telemetry_yaml_shows(store, state):
    store.record_execution("x", "directive", "success", 1)
    store.record_execution("x", "tool", "success", 1)
    assert store.clear("tool::x") == 1
    assert [item["type"] for item in store.items().values()] == ["directive"]


def test_an_id_that_looks_like_a_key_is_cleared_and_nothing_else(store, state):
    for item_type, item_id in (("directive", "x"), ("tool", "x"), ("tool", "tool::x")):
        store.record_execution(item_id, item_type, "success", 1)
    assert store.clear("tool::x") == 1
    assert {(item["type"], item["item_id"]) for item in store.items().values()} == {("directive", "x"), ("tool", "x")}


def test_clear_of_everything_leaves_an_empty_snapshot_and_no_history(store, state):
    store.record_execution("x", "tool", "success", 1)
    store.record_execution("y", "directive", "success", 1)
    (archive_of(state) / "2020-W01-0001.ndjson.gz").write_bytes(gzip.compress(line()))
    (state / "telemetry.yaml.imported").write_text("items: {}\n")
    (state / "telemetry.yaml.foreign.2").write_text("items: {}\n")
    store.close()
    with open(segments(state)[0], "ab") as f:
        f.write(b"damage")
    assert store.clear() == 3
    assert yaml.safe_load(store.path.read_text()) == {"version": 1, "updated": None, "items": {}}
    assert [path for path in (state / "telemetry" / "journal").rglob("*") if path.is_file()] == []
    assert sorted(os.listdir(state)) == ["telemetry", "telemetry.lock", "telemetry.yaml"]
    store.record_execution("x", "tool", "success", 1)
    assert store.get("x")["total_runs"] == 1
    assert store.damage() == []


def test_clear_where_nothing_was_recorded_is_zero(store):
    assert store.clear() == 0
    assert store.clear("x") == 0


def test_an_unknown_type_is_refused(store):
    with pytest.raises(InvalidRecord):
        store.clear("x", "tools")


FOREIGN = """\
version: 1
items:
  y: {type: tool, total_runs: 3, success_count: 3, last_run: 2026-01-02T03:04:05Z, paths: [/y.py]}
  z: {type: tool, total_runs: 1, success_count: 1, last_run: 2026-01-02T03:04:05Z, paths: [null]}
  1.10: {type: tool, total_runs: 1, success_count: 1}
  w: {type: [unknown], total_runs: 1}
"""


def test_clear_reaches_files_of_other_programs(store, state):
    state.mkdir()
    store.path.write_text(FOREIGN)
    assert store.totals()["total_runs"] == 5
    store.path.write_text(FOREIGN)  # it wrote again
    assert store.totals()["total_runs"] == 5
    (state / "telemetry.yaml.unreadable").write_text("y: [")
    (state / "telemetry.yaml.unreadable.2").write_text("items: {z: {last_run: 2026-99-99T00:00:00Z}}")
    assert store.clear("y") == 3
    assert sorted(path.name for path in state.glob("telemetry.yaml.*")) == [
        "telemetry.yaml.foreign",
        "telemetry.yaml.imported",
        "telemetry.yaml.unreadable.2",
    ]
    for name in ("foreign", "imported"):
        kept = yaml.safe_load((state / f"telemetry.yaml.{name}").read_text())
        assert list(kept["items"]) == ["z", 1.1, "w"]
        assert "/y.py" not in (state / f"telemetry.yaml.{name}").read_text()
    assert store.get("z")["last_run"] == "2026-01-02T03:04:05.000Z"
    assert store.clear("1.1") == 1
    assert list(yaml.safe_load((state / "telemetry.yaml.imported").read_text())["items"]) == ["z", "w"]
    assert store.clear("w") == 0
    assert list(yaml.safe_load((state / "telemetry.yaml.imported").read_text())["items"]) == ["z"]
    assert store.totals()["total_runs"] == 1


def test_other_processes_record_during_clears_and_lose_nothing(store, state):
    def record():
        with TelemetryStore(state) as recording:
            for _ in range(100):
                recording.record_execution("keep", "tool", "success", 1)
                recording.record_execution("gone", "tool", "success", 1)

    pids = [in_child(record) for _ in range(3)]
    cleared = sum(store.clear("gone") for _ in range(8))
    assert ended_well(*pids)
    cleared += store.clear("gone")
    assert store.get("keep")["total_runs"] == 300
    assert store.get("gone") is None
    assert cleared <= 300
    assert stands_anywhere(state, "gone") == []


def test_a_record_during_a_clear_in_another_thread_is_kept(store):
    for _ in range(50):
        store.record_execution("keep", "tool", "success", 1)
    thread = threading.Thread(target=lambda: [store.clear("gone") for _ in range(10)])
    thread.start()
    recorded = 50
    while thread.is_alive():
        store.record_execution("keep", "tool", "success", 1)
        recorded += 1
        time.sleep(0.001)  # else the journal grows faster than it is rewritten
    thread.join()
    assert store.get("keep")["total_runs"] == recorded


def test_clear_says_when_the_lock_is_kept(store, state, monkeypatch):
    store.record_execution("x", "tool", "success", 1)
    monkeypatch.setattr(
        "rye_telemetry.projector.CHANGE_WAIT_S", 0.05
    )  # a number, not a function: ten seconds otherwise
    with holding(state / "telemetry.lock"), pytest.raises(StateBusy, match="try again"):
        store.clear("x")
    assert store.clear("x") == 1


def test_the_runs_of_other_items_keep_every_byte(store, state):
    fields = make_run(run_id="kept", item_id="z", invented={"a": [1, 2]}, path="/\udcff")
    store.append("run", fields)
    store.append("run", make_run(run_id="gone", item_id="y"))
    lines = segments(state)[0].read_bytes().splitlines()
    store.clear("y")
    assert segments(state)[0].read_bytes().splitlines() == lines[:2]
