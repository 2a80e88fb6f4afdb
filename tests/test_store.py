from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import (
    HOSTILE_IDS,
    by_every_yaml_reader,
    dead_process,
    ended_well,
    holding,
    in_child,
    line,
    look_at,
    make_run,
    make_start,
    segments,
)

from rye_telemetry.errors import InvalidRecord, RunNotFound, StateTooNew, StateUnavailable
from rye_telemetry.lines import encode_line
from rye_telemetry.model import MAX_DURATION_MS
from rye_telemetry.store import TelemetryStore, open_store

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def state(store):
    return store.path.parent


def published(store):
    return yaml.safe_load(store.path.read_text())["items"]


def test_the_file_exists_after_the_first_record_and_holds_every_published_field(store):
    store.record_execution("x", "tool", "failure", 12.5, 3, 2, "boom", "/p/x.py")
    document = yaml.safe_load(store.path.read_text())
    assert list(document) == ["version", "updated", "items"]
    assert document["version"] == 1
    item = document["items"]["x"]
    assert document["updated"] == item["last_run"]
    assert item == {
        "type": "tool",
        "total_runs": 1,
        "success_count": 0,
        "failure_count": 1,
        "timeout_count": 0,
        "cancelled_count": 0,
        "abandoned_count": 0,
        "partial_count": 0,
        "avg_duration_ms": 12.5,
        "http_calls": 3,
        "subprocess_calls": 2,
        "last_run": item["last_run"],
        "last_outcome": "failure",
        "last_error": "boom",
        "paths": ["/p/x.py"],
    }


def test_path_is_telemetry_yaml_directly_in_the_directory_and_nothing_is_made_before_it_is_needed(tmp_path):
    store = TelemetryStore(tmp_path / "deep" / "state")
    assert store.path == tmp_path / "deep" / "state" / "telemetry.yaml"
    assert store.get("x") is None
    assert store.totals() == {"total_items": 0, "total_runs": 0, "last_updated": None, "items": {}}
    assert store.rebuild() == 0
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_the_default_directory_is_the_users(home):
    assert TelemetryStore().path == home / ".local" / "state" / "rye" / "telemetry.yaml"


def test_get_gives_totals_rates_and_percentiles(store):
    for duration in range(1, 101):
        store.record_execution("x", "tool", "success" if duration % 4 else "failure", duration, http_calls=1)
    item = store.get("x")
    assert item["total_runs"] == item["http_calls"] == 100
    assert item["success_rate"] == 0.75
    assert item["avg_duration_ms"] == 50.5
    assert item["p50_duration_ms"] == pytest.approx(50, rel=0.02)
    assert item["p95_duration_ms"] == pytest.approx(95, rel=0.02)
    assert item["recent"] == ["success" if n % 4 else "failure" for n in range(91, 101)]
    assert item["running"] == 0
    assert store.get("y") is None
    assert store.get("x", "directive") is None


def test_a_duration_that_is_none_poisons_nothing_and_is_kept_as_text(store):
    store.record_execution("x", "tool", "success", 10)
    for duration in (math.nan, math.inf, -math.inf, -1, MAX_DURATION_MS * 10, 10**400, -(10**5000)):
        store.record_execution("x", "tool", "success", duration)
    store.record_execution("x", "tool", "success", None)
    item = store.get("x")
    assert (item["total_runs"], item["avg_duration_ms"], item["p95_duration_ms"]) == (9, 10, 10)
    assert [run["refused"]["duration_ms"] for run in store.runs() if "refused" in run][-1] == "nan"
    assert store.damage() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"item_id": ""}, "empty"),
        ({"item_id": "a\nb"}, r"U\+000A"),
        ({"item_id": "x" * 10_000}, "10000 characters"),
        ({"item_id": 5}, "must be text"),
        ({"item_type": "tools"}, "item type"),
        ({"outcome": "running"}, "outcome"),
        ({"outcome": "ok"}, "outcome"),
        ({"duration_ms": "5"}, "duration_ms"),
        ({"http_calls": -1}, "http_calls"),
        ({"subprocess_calls": 1.5}, "subprocess_calls"),
        ({"path": 5}, "path"),
        ({"path": "/" + "x" * 5000}, "5001 characters"),
    ],
)
def test_what_cannot_be_recorded_is_refused_and_nothing_is_written(store, state, changes, said):
    good = {"item_id": "x", "item_type": "tool", "outcome": "success", "duration_ms": 5}
    with pytest.raises(InvalidRecord, match=said):
        store.record_execution(**(good | changes))
    assert not state.exists()


def test_a_line_too_long_for_any_reader_is_refused_and_not_acknowledged(store):
    with pytest.raises(InvalidRecord, match="too large"):
        store.append("run", make_run(metrics={"text": "x" * 300_000}))
    assert store.get("x") is None


def test_a_path_may_be_any_file_name(store, tmp_path):
    store.record_execution("x", "tool", "success", 1, path=tmp_path / "a")
    store.record_execution("x", "tool", "success", 1, path=b"/not-utf8-\xff\xe9")
    store.record_execution("x", "tool", "success", 1, path="/new\nline")
    paths = [str(tmp_path / "a"), "/not-utf8-\\udcff\\udce9", "/new\nline"]
    assert store.get("x")["paths"] == paths
    for name, document in by_every_yaml_reader(store.path.read_text()):
        assert document["items"]["x"]["paths"] == paths, name
    assert len(store.runs()) == 3
    assert store.rebuild() == 3
    assert store.get("x")["paths"] == paths


@pytest.mark.parametrize("error", ["", "line\nline", "\x1b[31m", "é\udcff", "x" * 10_000, ValueError("an object")])
def test_any_error_is_recorded(store, error):
    store.record_execution("x", "tool", "failure", 1, error=error)
    shown = store.get("x")["last_error"]
    assert shown[:4] == str(error).encode("utf-8", "backslashreplace").decode()[:4]
    assert len(shown) < 2100
    for name, document in by_every_yaml_reader(store.path.read_text()):
        assert document["items"]["x"]["last_error"] == shown, name


def test_every_hostile_id_comes_back_from_the_file_and_from_get(store):
    ids = list(dict.fromkeys(HOSTILE_IDS))
    for item_id in ids:
        store.record_execution(item_id, "tool", "success", 1)
    store.close()
    for name, document in by_every_yaml_reader(store.path.read_text()):
        assert sorted(document["items"]) == sorted(ids), name
    for item_id in ids:
        assert store.get(item_id)["item_id"] == item_id
        assert store.get(item_id)["total_runs"] == 1


def test_the_same_id_in_two_types_is_two_items_and_the_later_is_keyed_with_its_type(store):
    store.record_execution("x", "directive", "success", 1)
    store.record_execution("x", "tool", "failure", 2)
    store.record_execution("x", "tool", "failure", 2)
    store.close()
    assert list(published(store)) == ["tool::x", "x"]
    assert store.get("x")["type"] == "directive"
    assert store.get("x", "tool")["total_runs"] == 2
    assert store.get("tool::x")["type"] == "tool"
    assert store.get("x", "knowledge") is None


def test_an_id_that_looks_like_a_key_is_an_id(store):
    for item_type, item_id in (("directive", "x"), ("tool", "x"), ("tool", "tool::x"), ("knowledge", "tool::x")):
        store.record_execution(item_id, item_type, "success", 1)
    assert {key: (item["type"], item["item_id"]) for key, item in store.items().items()} == {
        "x": ("directive", "x"),
        "tool::x": ("tool", "x"),
        "tool::tool::x": ("tool", "tool::x"),
        "knowledge::tool::x": ("knowledge", "tool::x"),
    }
    assert store.get("tool::x")["item_id"] == "tool::x"


def test_outcome_aliases_are_one_outcome(store):
    store.record_execution("x", "tool", "failed", 1)
    assert store.get("x")["failure_count"] == 1


def test_totals_name_everything(store):
    store.record_execution("a", "tool", "success", 1)
    store.record_execution("b", "directive", "success", 1)
    totals = store.totals()
    assert (totals["total_items"], totals["total_runs"], set(totals["items"])) == (2, 2, {"a", "b"})
    assert totals["last_updated"] == max(item["last_run"] for item in totals["items"].values())
    assert set(store.totals(item_type="tool")["items"]) == {"a"}


def test_last_error_is_null_after_a_success(store):
    store.record_execution("x", "tool", "failure", 1, error="boom")
    assert store.get("x")["last_error"] == "boom"
    store.record_execution("x", "tool", "success", 1)
    assert store.get("x")["last_error"] is None


# -- many writers


def record_many(state, item_id, count):
    with TelemetryStore(state) as store:
        for _ in range(count):
            store.record_execution(item_id, "tool", "success", 1)


def test_eight_processes_record_and_nothing_is_lost_or_doubled(store, state):
    processes = [FORK.Process(target=record_many, args=(state, f"i{n % 3}", 60)) for n in range(8)]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        store.get("i0")
    for process in processes:
        process.join()
    assert {key: item["total_runs"] for key, item in store.items().items()} == {"i0": 180, "i1": 180, "i2": 120}
    assert sum(item["total_runs"] for item in published(store).values()) == 480
    assert store.damage() == []
    assert store.rebuild() == 480


def test_forked_children_share_their_parents_store_while_its_threads_record(store):
    store.record_execution("x", "tool", "success", 1)
    stop = threading.Event()
    mine = []

    def record():
        while not stop.is_set():
            store.record_execution("mine", "tool", "success", 1)
            mine.append(1)

    thread = threading.Thread(target=record)
    thread.start()

    def child():
        for _ in range(20):
            store.record_execution("x", "tool", "success", 1)
        assert store.get("x")["total_runs"] >= 21
        store.close()

    pids = [in_child(child) for _ in range(5)]
    assert ended_well(*pids)
    stop.set()
    thread.join()
    assert store.get("x")["total_runs"] == 101
    assert store.get("mine")["total_runs"] == len(mine)


def test_threads_share_one_store_that_records_asks_and_clears(store):
    problems = []

    def work(who):
        try:
            for n in range(15):
                store.record_execution(f"i{who}", "tool", "success", 1)
                assert store.get(f"i{who}")["total_runs"] == n + 1
                store.clear("nothing")
        except BaseException as e:  # noqa: BLE001 (whatever it is, the test fails with it)
            problems.append(e)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert store.totals()["total_runs"] == 60
    assert store.notices == []


def test_asyncio_tasks_share_one_store(store):
    async def work(n):
        await asyncio.sleep(0)
        store.record_execution(f"i{n % 3}", "tool", "success", 1)
        await asyncio.to_thread(store.record_execution, "threads", "tool", "success", 1)

    async def together():
        await asyncio.gather(*(work(n) for n in range(60)))

    asyncio.run(together())
    assert store.totals()["total_runs"] == 120


def test_get_sees_records_of_other_processes_at_once(store, state):
    store.record_execution("x", "tool", "success", 1)
    for n in range(5):
        assert ended_well(in_child(record_many, state, "x", 1))
        assert store.get("x")["total_runs"] == n + 2


def test_an_acknowledged_record_survives_kill_9(store, state):
    code = (
        "import sys\nfrom rye_telemetry import TelemetryStore\nstore = TelemetryStore(sys.argv[1])\n"
        "while True:\n    store.record_execution('x', 'tool', 'success', 1)\n    sys.stdout.write('.')\n    sys.stdout.flush()"
    )
    seen = 0
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", code, state], stdout=subprocess.PIPE) as writer:
            writer.stdout.read(1)
            time.sleep(0.02)
            writer.kill()
            acknowledged = 1 + len(writer.stdout.read())
        total = store.get("x")["total_runs"]
        assert seen + acknowledged <= total <= seen + acknowledged + 1
        seen = total
    assert published(store)["x"]["total_runs"] == seen
    assert store.rebuild() == seen


def test_records_of_a_process_that_ends_are_in_the_file(store, state):
    code = "import sys\nfrom rye_telemetry import TelemetryStore\nstore = TelemetryStore(sys.argv[1])\nfor _ in range(50): store.record_execution('x', 'tool', 'success', 1)"
    subprocess.run([sys.executable, "-c", code, state], check=True)
    assert published(store)["x"]["total_runs"] == 50


def test_an_exit_projection_never_makes_a_removed_directory_again(store, state):
    import shutil

    store.record_execution("x", "tool", "success", 1)
    store.record_execution("x", "tool", "success", 1)
    shutil.rmtree(state)
    store.close()
    assert not state.exists()


def test_a_closed_store_may_be_used_again(store):
    store.record_execution("x", "tool", "success", 1)
    store.close()
    store.record_execution("x", "tool", "success", 1)
    assert store.get("x")["total_runs"] == 2


def test_a_store_leaves_no_descriptor_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for n in range(5):
        with TelemetryStore(tmp_path / str(n)) as store:
            store.record_execution("x", "tool", "success", 1)
            store.get("x")
            store.clear("x")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("name", ["josé ☃", "a b#?%41&c=d", 'it\'s "quoted"', b"not-utf8-\xff", "new\nline"])
def test_the_state_directory_may_have_any_name(tmp_path, name):
    state = os.path.join(os.fsencode(tmp_path), name if isinstance(name, bytes) else name.encode())
    with TelemetryStore(os.fsdecode(state)) as store:
        store.record_execution("x", "tool", "success", 1)
        assert store.get("x")["total_runs"] == 1
        assert store.notices == []
        assert store.rebuild() == 1
    assert os.listdir(tmp_path) == [os.fsdecode(os.path.basename(state))]
    assert b"index.sqlite" in os.listdir(os.path.join(state, b"telemetry"))
    with TelemetryStore(os.fsdecode(state), read_only=True) as store:
        assert store.get("x")["total_runs"] == 1


# -- runs


def test_runs_come_newest_first_and_are_filtered(store):
    for n, agent in enumerate(["a", "b", "a"]):
        store.append(
            "run", make_run(run_id=f"r{n}", agent=agent, started_at=f"2026-11-2{n}T12:00:00.000Z", item_id=f"i{n}")
        )
    assert [run["run_id"] for run in store.runs()] == ["r2", "r1", "r0"]
    assert [run["run_id"] for run in store.runs(agent="a")] == ["r2", "r0"]
    assert [run["run_id"] for run in store.runs(item_id="i1")] == ["r1"]
    assert [run["run_id"] for run in store.runs(limit=1)] == ["r2"]
    assert len(store.runs(limit=10**30)) == 3
    span = {"since": "2026-11-21T00:00:00.000Z", "until": "2026-11-22T12:00:00.000Z"}
    assert [run["run_id"] for run in store.runs(**span)] == ["r1"]


def test_every_field_of_a_run_comes_back(store):
    fields = make_run(
        path="/p",
        content_hash="0" * 64,
        exit_code=3,
        signal="SIGTERM",
        error="e",
        http_calls=1,
        subprocess_calls=2,
        parent_run_id="p",
        session_id="s",
        agent="a",
        workflow="w",
        caller="c",
        model="m",
        inputs={"a": "str"},
        tags={"k": "v"},
        metrics={"deep": {"er": [1, 2.5, None, True]}},
        items_discovered=10,
        items_succeeded=5,
        items_failed=4,
        items_skipped=1,
        git_repo="/r",
        git_branch="b",
        git_commit_hash="h",
        git_dirty=True,
        git_worktree="/wt",
        project_path="/pp",
        invented={"by": "a later version"},
    )
    store.append("run", fields)
    assert store.run(fields["run_id"]) == fields
    assert store.rebuild() == 1
    assert store.run(fields["run_id"][:14]) == fields


def test_a_run_is_named_by_an_unambiguous_prefix(store):
    store.append("run", make_run(run_id="abc1"))
    store.append("run", make_run(run_id="abc2"))
    store.append("run", make_run(run_id="abc"))
    assert store.run("abc2")["run_id"] == "abc2"
    assert store.run("abc")["run_id"] == "abc"
    with pytest.raises(RunNotFound, match="several runs: abc, abc1, abc2"):
        store.run("ab")
    for prefix in ("", "x", "abc3", "%", "\udcff"):
        with pytest.raises(RunNotFound):
            store.run(prefix)


def test_questions_may_hold_text_that_is_not_utf8(store):
    store.record_execution("x", "tool", "success", 1)
    assert store.get("\udcff") is None
    assert store.runs(agent="\udcff", since="\udcff") == []
    assert store.clear("\udcff") == 0


# -- damage


DAMAGE = [
    b"garbage",
    b"\x00" * 50,
    b"\xff\xfe",
    b"[" * 5000,
    b'{"v":1,"kind":"run","run_id":"d"}',
    b'{"v":1,"kind":"nonsense"}',
    line(run_id="d", item_id="x", duration_ms=1)[:-20],
    line(run_id="d").replace(b'"duration_ms":5', b'"duration_ms":NaN')[:-1],
    line(run_id="d").replace(b'"duration_ms":5', b'"duration_ms":1e999')[:-1],
    line(run_id="d").replace(b'"duration_ms":5', b'"duration_ms":' + b"9" * 400)[:-1],
    line(run_id="d").replace(b'"duration_ms":5', b'"exit_code":1e999')[:-1],
    line(run_id="d").replace(b'"duration_ms":5', b'"exit_code":99999999999999999999')[:-1],
    line(run_id="d").replace(b'"duration_ms":5', b'"metrics":{"a":1e999}')[:-1],
    line(run_id="d").replace(b'"duration_ms":5', b'"metrics":' + b"[" * 5000 + b"]" * 5000)[:-1],
    line(run_id="d").replace(b'"item_id":"x"', b'"item_id":"\\ud800"')[:-1],
    line(run_id="d", ended_at="zzzz")[:-1],
    encode_line("checkpoint", {"checkpoint_id": "c"})[:-1],
    encode_line("checkpoint", {"checkpoint_id": "c", "items": [5]})[:-1],
    encode_line("checkpoint", {"checkpoint_id": ["c"], "items": []})[:-1],
    *(
        encode_line(
            "checkpoint",
            {
                "checkpoint_id": f"c{n}",
                "items": [{"item_type": "tool", "item_id": "x", "state": {"counts": {"success": 5}} | state}],
            },
        )[:-1]
        for n, state in enumerate(
            [
                {"counts": {"success": "5"}},
                {"counts": {"bogus": 5}},
                {"counts": []},
                {"duration_sum_ms": "5"},
                {"duration_sum_ms": 10**300},
                {"histogram": [[1]]},
                {"histogram": [[10**9, 1]]},
                {"histogram": 5},
                {"recent": 5},
                {"recent": [[5, "success"]]},
                {"last_run": 5},
                {"last_run": "zzz"},
                {"paths": "abc"},
                {"http_calls": "x"},
                {"surprise": 1},
            ]
        )
    ),
]


@pytest.mark.parametrize("where", ["end", "middle", "alone"])
@pytest.mark.parametrize("raw", DAMAGE)
def test_a_damaged_line_is_named_and_counts_for_nothing(store, state, raw, where):
    store.record_execution("x", "tool", "success", 10)
    if where == "alone":
        assert store.get("x")["total_runs"] == 1
    store.close()
    with open(segments(state)[0], "ab") as f:
        f.write(raw + b"\n")
    if where == "middle":
        store.record_execution("x", "tool", "success", 20)
    item = store.get("x")
    expected = 2 if where == "middle" else 1
    assert (item["total_runs"], item["avg_duration_ms"]) == (expected, 15 if expected == 2 else 10)
    (damage,) = store.damage()
    data = segments(state)[0].read_bytes()
    assert damage[0] == segments(state)[0].stem
    assert data[damage[1] : damage[1] + damage[2]] == raw
    assert damage[3]
    assert store.runs()[0]["item_id"] == "x"
    assert list(published(store)) == ["x"]
    assert list(store.items()) == ["x"]
    assert store.rebuild() == expected
    assert store.damage() == [damage]


STRANGE = [
    {"inputs": "text"},
    {"tags": 5},
    {"metrics": [1, 2]},
    {"inputs": "null"},
    {"agent": 5},
    {"agent": ["x"]},
    {"exit_code": "three"},
    {"exit_code": True},
    {"path": 5},
    {"error": {"a": 1}},
    {"process": "x"},
    {"v2_field": "x", "extra": 5, "item": 7},
    {"run_id": "\x00"},
    {"path": "\ud800"},
    *({"metrics": {"deep": eval("[" * depth + "]" * depth)}} for depth in (20, 60, 90)),
]


@pytest.mark.parametrize("strange", STRANGE)
def test_a_field_of_a_strange_type_never_stops_an_answer(store, strange):
    store.append("run", make_run(run_id="r1"))
    store.append("run", make_run(**{"run_id": "r2"} | strange))
    assert store.get("x")["total_runs"] == 2
    assert store.damage() == []
    assert len(store.runs()) == 2
    for name, value in strange.items():
        if name in ("inputs", "tags", "metrics") and "deep" not in str(value):
            assert value in [run[name] for run in store.runs()]
    assert store.rebuild() == 2


@pytest.mark.parametrize("depth", [*range(880, 1000, 7)])
def test_a_field_nested_as_deep_as_the_reader_can_go_never_stops_an_answer(store, state, depth):
    store.append("run", make_run(run_id="r1"))
    store.close()
    deep = line(run_id="r2").replace(b'"duration_ms":5', b'"metrics":' + b"[" * depth + b"]" * depth)
    with open(segments(state)[0], "ab") as f:
        f.write(deep)
    assert store.get("x")["total_runs"] + len(store.damage()) == 2
    assert len(store.runs()) + len(store.damage()) == 2


def test_what_was_recorded_on_a_shallow_stack_is_read_on_a_deep_one(store):
    def deeper(frames):
        return deeper(frames - 1) if frames else store.runs()

    metrics = []
    for _ in range(700):
        metrics = [metrics]
    thread = threading.Thread(target=lambda: (store.append("run", make_run(metrics=metrics)), store.get("x")))
    thread.start()
    thread.join()
    (run,) = deeper(500)
    assert run["metrics"] == "nested too deeply to be kept"
    assert store.damage() == []


def test_counts_cannot_grow_past_what_the_index_holds(store):
    for n in range(1100):
        store.journal.append(line(run_id=f"r{n}", http_calls=2**53 - 1))
    assert store.get("x")["http_calls"] == 2**53 - 1


def test_a_torn_last_line_waits_and_is_named_once_the_next_is_written(store, state):
    store.record_execution("x", "tool", "success", 1)
    store.close()
    with open(segments(state)[0], "ab") as f:
        f.write(line(run_id="torn")[:40])
    assert store.get("x")["total_runs"] == 1
    assert store.damage() == []
    store.record_execution("x", "tool", "success", 1)
    assert store.get("x")["total_runs"] == 2
    assert len(store.damage()) == 1


def test_lines_of_a_newer_version_are_refused_on_reading_and_recording_goes_on(store, state):
    store.record_execution("x", "tool", "success", 1)
    store.close()
    with open(segments(state)[0], "ab") as f:
        f.write(b'{"v":2,"kind":"run","surprise":1}\n')
    before = segments(state)[0].read_bytes()
    with TelemetryStore(state) as other:
        other.record_execution("x", "tool", "success", 1)
        assert "upgrade rye-telemetry" in other.notices[0]
    for question in (
        store.totals,
        store.runs,
        store.rebuild,
        lambda: store.get("x"),
        lambda: store.clear("x"),
        store.clear,
    ):
        with pytest.raises(StateTooNew, match="upgrade rye-telemetry"):
            question()
    assert segments(state)[0].read_bytes().startswith(before)
    with TelemetryStore(state, read_only=True) as looking, pytest.raises(StateTooNew):
        looking.get("x")


def test_an_archive_that_is_broken_is_said_and_recording_goes_on(store, state):
    from rye_telemetry.errors import JournalCorrupt

    store.record_execution("x", "tool", "success", 1)
    archive = state / "telemetry" / "journal" / "archive"
    archive.mkdir()
    (archive / "2020-W01-0001.ndjson.gz").write_bytes(b"broken")
    store.close()
    store.record_execution("x", "tool", "success", 1)
    with pytest.raises(JournalCorrupt, match=r"2020-W01-0001\.ndjson\.gz"):
        store.get("x")
    (archive / "2020-W01-0001.ndjson.gz").unlink()
    assert store.get("x")["total_runs"] == 2


# -- locks


def test_lock_held_by_another_process_delays_nothing_and_get_sees_what_was_spilled(store, state):
    store.record_execution("x", "tool", "success", 1)
    with holding(state / "telemetry" / "journal.lock"):
        began = time.monotonic()
        for _ in range(5):
            store.record_execution("x", "tool", "success", 1)
        assert time.monotonic() - began < 0.4
        assert store.get("x")["total_runs"] == 6
        assert TelemetryStore(state, read_only=True).get("x")["total_runs"] == 6
        assert store.journal.spills()
    assert store.get("x")["total_runs"] == 6
    assert store.journal.spills() == []
    assert published(store)["x"]["total_runs"] == 6


def test_projection_lock_held_by_another_process_recording_goes_on_and_reading_says_so(store, state):
    store.record_execution("x", "tool", "success", 1)
    with holding(state / "telemetry.lock"):
        began = time.monotonic()
        for _ in range(100):
            store.record_execution("x", "tool", "success", 1)
        assert time.monotonic() - began < 0.5
        before = look_at(state)
        assert store.get("x")["total_runs"] == 101  # waits five seconds, then reads the journal itself
        assert look_at(state) == before
    (notice,) = store.notices
    assert "telemetry.lock is held by another process" in notice
    store.close()
    assert store.get("x")["total_runs"] == published(store)["x"]["total_runs"] == 101


def test_a_signal_handler_may_record_at_any_moment(store):
    def child():
        recorded = []

        def handler(*_):
            recorded.append(store.record_execution("handler", "tool", "success", 1))
            signal.setitimer(signal.ITIMER_REAL, 0.0007)

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0007)
        until = time.monotonic() + 0.25
        mine = 0
        while time.monotonic() < until:
            store.record_execution("main", "tool", "success", 1)
            mine += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert recorded
        assert store.get("handler")["total_runs"] == len(recorded)
        assert store.get("main")["total_runs"] == mine

    assert ended_well(in_child(child))


# -- two phases


def test_a_run_is_running_until_its_end(store):
    start = make_start(run_id="r1")
    store.append("start", start)
    item = store.get("x")
    assert (item["total_runs"], item["running"], item["last_run"]) == (0, 1, None)
    assert store.run("r1")["outcome"] == "running"
    assert published(store) == {}
    store.append("run", make_run(run_id="r1"))
    item = store.get("x")
    assert (item["total_runs"], item["running"], item["success_count"]) == (1, 0, 1)
    assert len(store.runs()) == 1


def test_a_run_whose_process_is_gone_is_abandoned_at_the_next_look(store):
    store.append("start", make_start(run_id="r1", process=dead_process(), path="/p"))
    item = store.get("x")
    assert (item["total_runs"], item["abandoned_count"], item["running"], item["success_rate"]) == (1, 1, 0, None)
    assert (item["last_outcome"], item["paths"], item["recent"]) == ("abandoned", ["/p"], ["abandoned"])
    assert item["last_error"]
    assert store.run("r1")["outcome"] == "abandoned"
    assert store.run("r1")["ended_at"] is not None
    assert store.get("x") == item
    assert store.rebuild() == 1
    assert store.get("x") == item


def test_abandoned_runs_are_closed_by_a_recording_process_too(store):
    store.append("start", make_start(run_id="r1", process=dead_process()))
    assert store.get("y") is None  # the index knows the start
    store.close()
    store.record_execution("y", "tool", "success", 1)
    store.close()
    assert published(store)["x"]["abandoned_count"] == 1


@pytest.mark.parametrize("change", [{"host": "another"}, {"ns": 1}])
def test_a_run_of_another_host_or_pid_namespace_is_never_judged(store, change):
    store.append("start", make_start(run_id="r1", process=dead_process() | change))
    for _ in range(2):
        assert store.get("x")["running"] == 1


@pytest.mark.parametrize("process", [{"pid": 10**30}, {"pid": "1"}, {"host": 5}, {"ns": []}])
def test_a_strange_process_never_stops_an_answer(store, process):
    store.append("start", make_start(run_id="r1", process=dead_process() | process))
    assert store.get("x")["running"] == 1


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    "order",
    [
        "start end abandoned",
        "start abandoned end",
        "abandoned start end",
        "end abandoned start",
        "end start abandoned",
        "abandoned end start",
    ],
)
def test_an_end_beats_abandoned_whichever_comes_first(store, order, apart):
    store.append("run", make_run(run_id="r0", outcome="failure", error="e", ended_at="2020-01-01T00:00:00.000Z"))
    lines = {
        "start": line("start", run_id="r1", process=dead_process()),
        "end": line(run_id="r1", ended_at="2026-11-20T12:00:00.000Z"),
        "abandoned": encode_line("abandoned", {"run_id": "r1", "ended_at": "2026-11-20T13:00:00.000Z"}),
    }
    for word in order.split():
        store.journal.append(lines[word])
        if apart:
            store.get("x")
    item = store.get("x")
    assert (item["total_runs"], item["success_count"], item["abandoned_count"], item["running"]) == (2, 1, 0, 0)
    assert (item["last_run"], item["last_outcome"], item["last_error"]) == ("2026-11-20T12:00:00.000Z", "success", None)
    assert item["recent"] == ["failure", "success"]
    assert item["avg_duration_ms"] == 5
    assert store.run("r1")["outcome"] == "success"
    assert store.rebuild() == 2
    assert store.get("x") == item


def test_what_was_slow_and_not_gone_leaves_what_a_checkpoint_carried(store):
    carried = {"counts": {"success": 12}, "last_run": "2026-01-10T00:00:00.000Z", "last_outcome": "success"}
    carried["recent"] = [[f"2026-01-{n:02d}T00:00:00.000Z", "success"] for n in range(1, 11)]
    store.append(
        "checkpoint", {"checkpoint_id": "c", "items": [{"item_type": "tool", "item_id": "x", "state": carried}]}
    )
    store.append("start", make_start(run_id="r1", process=dead_process()))
    assert store.get("x")["recent"] == ["success"] * 9 + ["abandoned"]
    store.append("run", make_run(run_id="r1", outcome="timeout", ended_at="2026-11-20T12:00:00.000Z"))
    item = store.get("x")
    assert (item["total_runs"], item["timeout_count"], item["abandoned_count"]) == (13, 1, 0)
    assert item["recent"] == ["success"] * 8 + ["timeout"]
    assert (item["last_run"], item["last_outcome"]) == ("2026-11-20T12:00:00.000Z", "timeout")


# -- looking without touching


def answers(store):
    return store.totals(), store.runs(), store.damage()


def make_history(store, state):
    store.record_execution("x", "tool", "success", 1, path="/p")
    store.get("x")
    with open(segments(state)[0], "ab") as f:
        f.write(b"garbage\n")
    store.append("start", make_start(run_id="r1", process=dead_process()))
    store.record_execution("y", "directive", "failure", 2)
    with holding(state / "telemetry" / "journal.lock"):
        store.record_execution("z", "tool", "success", 1)
    store.close()


@pytest.mark.parametrize("spoil", [None, "index.sqlite", "index.sqlite-garbage", "telemetry.yaml", "telemetry.lock"])
def test_a_read_only_store_changes_nothing_and_gives_the_same_answers(store, state, spoil):
    make_history(store, state)
    if spoil == "index.sqlite-garbage":
        (state / "telemetry" / "index.sqlite").write_bytes(b"garbage" * 999)
    elif spoil:
        (state / spoil if "." in spoil and "sqlite" not in spoil else state / "telemetry" / spoil).unlink()
    before = look_at(state)
    with TelemetryStore(state, read_only=True) as looking:
        found = answers(looking)
        assert looking.get("x")["abandoned_count"] == 1
        assert looking.get("z")["total_runs"] == 1
    assert look_at(state) == before
    totals, runs, damage = found
    assert {run["run_id"] for run in runs} == {run["run_id"] for run in store.runs()}
    assert {key: item["total_runs"] for key, item in totals["items"].items()} == {
        key: item["total_runs"] for key, item in store.items().items()
    }
    assert damage == store.damage()


def test_a_read_only_store_opens_nothing_for_writing_and_locks_nothing(store, state):
    make_history(store, state)
    code = "import sys\nfrom rye_telemetry import TelemetryStore\nstore = TelemetryStore(sys.argv[1], read_only=True)\nassert store.totals()['total_runs'] == 4"
    command = [
        "strace",
        "-f",
        "-e",
        "trace=openat,open,creat,flock,mkdir,rename,unlink",
        sys.executable,
        "-B",
        "-c",
        code,
        state,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no strace")
    assert done.returncode == 0, done.stderr
    touched = [text for text in done.stderr.splitlines() if str(state) in text or "flock" in text]
    assert touched
    assert not [
        text
        for text in touched
        if any(word in text for word in ("O_WRONLY", "O_RDWR", "O_CREAT", "flock", "mkdir", "rename", "unlink"))
    ]


def test_a_read_only_store_beside_one_that_records_sees_everything_acknowledged(store, state):
    looking = TelemetryStore(state, read_only=True)
    stop = threading.Event()
    acknowledged = [0]

    def record():
        while not stop.is_set():
            store.record_execution("x", "tool", "success", 1)
            acknowledged[0] += 1

    thread = threading.Thread(target=record)
    thread.start()
    try:
        while acknowledged[0] < 300:
            before = acknowledged[0]
            item = looking.get("x")
            assert (item["total_runs"] if item else 0) >= before
    finally:
        stop.set()
        thread.join()
    assert store.get("x")["total_runs"] == acknowledged[0]


def test_open_store_takes_the_directory_from_the_environment(tmp_path):
    env = {"RYE_STATE_DIR": str(tmp_path / "here")}
    with open_store(env, durability="fsync") as store:
        store.record_execution("x", "tool", "success", 1)
    assert (tmp_path / "here" / "telemetry.yaml").exists()
    with open_store(env, read_only=True) as store:
        assert store.get("x")["total_runs"] == 1


def test_recording_into_what_is_no_directory_is_said(tmp_path):
    (tmp_path / "state").write_text("x")
    with TelemetryStore(tmp_path / "state") as store:
        with pytest.raises(StateUnavailable, match="move the file away"):
            store.record_execution("x", "tool", "success", 1)
        with pytest.raises(StateUnavailable, match="move the file away"):
            store.get("x")


# -- rebuilding and following are one


kinds = st.sampled_from(["start", "run", "abandoned", "again", "project", "checkpoint"])
events = st.lists(
    st.tuples(
        kinds,
        st.integers(0, 6),  # run
        st.sampled_from([("tool", "a"), ("directive", "a"), ("tool", "tool::a"), ("tool", "b")]),
        st.sampled_from(["success", "failure", "timeout", "abandoned"]),
        st.integers(0, 20),  # second
        st.none() | st.integers(0, 1000),
    ),
    max_size=25,
)


def line_of(event):
    kind, run, (item_type, item_id), outcome, second, duration = event
    at = f"2026-11-20T12:00:{second:02d}.000Z"
    if kind == "abandoned":
        return encode_line("abandoned", {"run_id": f"r{run}", "ended_at": at})
    if kind == "checkpoint":
        state = {"counts": {outcome: 2}, "last_run": at, "last_outcome": outcome, "recent": [[at, outcome]]}
        items = [{"item_type": item_type, "item_id": item_id, "state": state}]
        return encode_line("checkpoint", {"checkpoint_id": f"c{run}", "items": items})
    if kind == "start":
        return line(
            "start", run_id=f"r{run}", item_type=item_type, item_id=item_id, started_at=at, process={"host": "?"}
        )
    return line(
        run_id=f"r{run}",
        item_type=item_type,
        item_id=item_id,
        started_at=at,
        ended_at=at,
        outcome=outcome,
        duration_ms=duration,
        error=None if outcome == "success" else f"e{second}",
        path=f"/{run}\udcff",
    )


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events)
def test_following_the_journal_in_any_steps_gives_what_one_rebuild_gives(tmp_path_factory, given_events):
    with TelemetryStore(tmp_path_factory.mktemp("state")) as store:
        store.append("run", make_run(run_id="first", item_id="first"))
        for event in given_events:
            if event[0] == "project":
                store.projector.follow()
            else:
                store.journal.append(line_of(event))
        followed = store.totals(), store.runs(limit=99), store.path.read_text()
        store.rebuild()
        assert (store.totals(), store.runs(limit=99), store.path.read_text()) == followed
        assert TelemetryStore(store.directory, read_only=True).totals() == followed[0]
