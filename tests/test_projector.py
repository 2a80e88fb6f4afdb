from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from making import (
    as_nobody,
    dead_process,
    ended_well,
    holding,
    in_child,
    line,
    make_start,
    mounted,
    open_the_way_to,
    segments,
)

from rye_telemetry import queries
from rye_telemetry.errors import StateUnavailable
from rye_telemetry.index import Index
from rye_telemetry.store import TelemetryStore

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def state(store):
    return store.path.parent


@pytest.fixture
def index_path(state):
    return state / "telemetry" / "index.sqlite"


def published(state):
    return {
        key: item["total_runs"] for key, item in yaml.safe_load((state / "telemetry.yaml").read_text())["items"].items()
    }


@pytest.fixture
def history(store):
    for n in range(200):
        store.record_execution(f"i{n % 5}", "tool", "success" if n % 3 else "failure", n)
    store.append("start", make_start(run_id="dead", item_id="i0", process=dead_process()))
    before = store.totals()
    store.close()
    assert before["total_runs"] == 201
    return before


def of_another_version(path):
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()


def spoil_middle(path, seed):
    rng = random.Random(seed)
    data = bytearray(path.read_bytes())
    at = rng.randrange(100, len(data) - 2000)
    data[at : at + 1500] = rng.randbytes(1500)
    path.write_bytes(data)


def empty_of_rows(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript("DELETE FROM runs; UPDATE items SET state='{}'")


SPOILED = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(b"\x00" * path.stat().st_size),
    "text": lambda path: path.write_text("tool: ["),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "truncated oddly": lambda path: os.truncate(path, 5001),
    "random": lambda path: path.write_bytes(os.urandom(path.stat().st_size)),
    "random in the middle": lambda path: spoil_middle(path, 1),
    "random elsewhere": lambda path: spoil_middle(path, 2),
    "longer": lambda path: path.write_bytes(path.read_bytes() + os.urandom(5000)),
    "another version": of_another_version,
    "a directory": lambda path: (path.unlink(), path.mkdir()),
    "a link": lambda path: (path.unlink(), path.symlink_to("/etc/passwd")),
    "emptied of rows": empty_of_rows,
    "garbage beside it as a journal": lambda path: path.with_name("index.sqlite-journal").write_bytes(os.urandom(9000)),
    "half an index beside it": lambda path: path.with_name("index.sqlite.new").write_bytes(os.urandom(9000)),
    "the stamp lost": lambda path: (path.parents[1] / "telemetry.lock").write_bytes(b""),
    "the stamp spoiled": lambda path: (path.parents[1] / "telemetry.lock").write_bytes(b'{"state":["clean"]}'),
    "another boot": lambda path: (path.parents[1] / "telemetry.lock").write_bytes(b'{"state":"clean","boot":"x"}'),
}


@pytest.mark.parametrize("how", [how for how in SPOILED if how != "a directory"])
def test_whatever_happens_to_the_index_the_answers_are_right(store, state, index_path, history, how):
    SPOILED[how](index_path)
    assert store.totals() == history
    assert store.notices == []
    assert store.totals() == history
    assert published(state) == {key: item["total_runs"] for key, item in history["items"].items()}
    store.record_execution("i0", "tool", "success", 1)
    assert store.totals()["total_runs"] == 202


@pytest.mark.parametrize("how", SPOILED)
def test_whatever_happens_to_the_index_recording_goes_on(state, index_path, history, how):
    SPOILED[how](index_path)
    with TelemetryStore(state) as recording:
        recording.record_execution("i0", "tool", "success", 1)
    with TelemetryStore(state, read_only=True) as looking:
        assert looking.totals()["total_runs"] == 202


def test_a_directory_where_the_index_should_be_is_said_and_the_answers_are_right(store, index_path, history):
    SPOILED["a directory"](index_path)
    assert store.totals() == history
    assert "index.sqlite" in store.notices[0]


def test_an_index_spoiled_behind_the_stamp_is_rebuilt_when_a_question_finds_out(store, state, index_path, history):
    found = index_path.stat()
    spoil_all_but_the_head(index_path)
    os.utime(index_path, ns=(found.st_atime_ns, found.st_mtime_ns))
    with TelemetryStore(state, read_only=True) as looking:
        assert looking.totals()["total_runs"] == 201
    assert store.totals() == history
    assert len(store.runs(limit=999)) == 201


def spoil_all_but_the_head(path):
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    with path.open("r+b") as f:  # in place: the stamp knows the inode
        f.write(data)


def test_telemetry_yaml_that_was_deleted_or_edited_comes_back(store, state, history):
    path = state / "telemetry.yaml"
    whole = path.read_text()
    path.unlink()
    store.get("i0")
    assert path.read_text() == whole
    path.write_text(whole.replace("total_runs: 41", "total_runs: 99"))
    store.get("i0")
    assert path.read_text() == whole
    assert sorted(os.listdir(state)) == ["telemetry", "telemetry.lock", "telemetry.yaml"]


def test_kill_9_at_any_moment_of_recording_and_projecting_counts_every_acknowledged_run_once(store, state):
    """A loop of killed writers that project at every record, and of readers."""
    code = (
        "import sys\nfrom rye_telemetry.store import TelemetryStore\nstore = TelemetryStore(sys.argv[1])\n"
        "while True:\n"
        "    store.record_execution('x', 'tool', 'success', 1)\n    sys.stdout.write('.'); sys.stdout.flush()\n"
        "    store.projector.follow()"
    )
    rng = random.Random(5)
    low = high = 0
    for _ in range(10):
        writers = [subprocess.Popen([sys.executable, "-c", code, state], stdout=subprocess.PIPE) for _ in range(2)]
        acknowledged = sum(len(writer.stdout.read(1)) for writer in writers)
        time.sleep(rng.uniform(0, 0.03))
        for writer in writers:
            writer.kill()
        for writer in writers:
            acknowledged += len(writer.stdout.read())
            writer.stdout.close()
            writer.wait()
        low, high = low + acknowledged, high + acknowledged + len(writers)
        total = store.get("x")["total_runs"]
        assert low <= total <= high
        low, high = total, total
        assert published(state) == {"x": total}
    lines = sum(path.read_bytes().count(b'"kind":"run"') for path in segments(state))
    assert store.rebuild() == lines == low


def test_kill_9_of_a_rebuild_leaves_the_next_one_to_do(store, state, history):
    for n in range(15):

        def child():
            with TelemetryStore(state) as rebuilding:
                while True:
                    rebuilding.rebuild()

        pid = in_child(child)
        time.sleep(0.001 * n)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert store.totals() == history


def test_a_kill_between_folding_a_spill_and_deleting_it_doubles_nothing(store, state):
    store.record_execution("x", "tool", "success", 1)
    with holding(state / "telemetry" / "journal.lock"):
        store.record_execution("x", "tool", "success", 1)
        (spill,) = store.journal.spills()
        data = Path(spill).read_bytes()
    assert store.get("x")["total_runs"] == 2
    for _ in range(2):  # folded, and still there
        Path(spill).write_bytes(data)
        assert store.get("x")["total_runs"] == 2
    assert store.rebuild() == 2
    assert store.damage() == []


def test_a_journal_that_was_rewritten_is_read_anew(store, state, history):
    (path,) = segments(state)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:101]))  # in place, shorter
    assert store.totals()["total_runs"] == 100
    copy = path.with_name("copy")
    copy.write_bytes(b"".join(lines[:51]))
    copy.rename(path)
    assert store.totals()["total_runs"] == 50
    copy.write_bytes(b"".join([lines[0], *lines[2:151]]))  # as `clear` leaves it, and longer than what was read
    copy.rename(path)
    assert as_a_rebuild_has_it(store)["total_runs"] == 149
    from rye_telemetry.journal import segment_header

    path.write_bytes(segment_header(0.0) + b"".join(lines[10:190]))  # in place, longer, another one
    assert as_a_rebuild_has_it(store)["total_runs"] == 180


def as_a_rebuild_has_it(store):
    followed = store.totals()
    store.rebuild()
    assert store.totals() == followed
    return followed


def test_segments_removed_under_a_running_process_are_forgotten(store, state, history):
    shutil.rmtree(state / "telemetry" / "journal")
    assert store.totals()["total_runs"] == 0
    store.record_execution("x", "tool", "success", 1)
    assert store.totals()["total_runs"] == 1


def test_the_whole_directory_removed_under_a_running_process_begins_again(store, state, history):
    store.record_execution("x", "tool", "success", 1)
    store.get("x")
    shutil.rmtree(state)
    assert store.totals()["total_runs"] == 0
    assert not state.exists()
    store.record_execution("x", "tool", "success", 1)
    store.projector.follow()
    assert published(state) == {"x": 1}
    inode = (state / "telemetry" / "index.sqlite").stat().st_ino
    with holding(state / "telemetry.lock"):  # and not the lock that was removed
        assert not store.projector.acquire()
    assert store.get("x")["total_runs"] == 1
    assert (state / "telemetry" / "index.sqlite").stat().st_ino == inode


def test_many_segments_are_read_in_order_and_archived_ones_too(store, state):
    import gzip

    store.journal.max_segment_bytes = 2000
    for n in range(60):
        store.record_execution("x", "tool", "success", n)
    assert len(segments(state)) > 5
    before = store.totals()
    archive = state / "telemetry" / "journal" / "archive"
    archive.mkdir()
    for path in segments(state)[:3]:
        (archive / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert store.totals() == before
    assert store.rebuild() == 60
    assert store.totals() == before


def test_covered_segments_are_left_out(store, state):
    for _ in range(3):
        store.record_execution("x", "tool", "success", 7)
    item = store.get("x")
    store.close()
    (path,) = segments(state)
    from rye_telemetry.journal import segment_header
    from rye_telemetry.lines import decode_json, encode_line

    index = Index.open(str(state / "telemetry" / "index.sqlite"))
    carried = decode_json(index.db.execute("SELECT state FROM items").fetchone()[0])
    index.close()
    later = path.with_name("9998-W01-0001.ndjson")
    entry = {"item_type": "tool", "item_id": "x", "state": carried}
    later.write_bytes(
        segment_header(0.0, covers=[path.stem]) + encode_line("checkpoint", {"checkpoint_id": "c", "items": [entry]})
    )
    assert store.get("x") == item  # a kill before the covered segment went
    path.unlink()
    assert store.get("x") == item
    assert store.rebuild() == 3


def test_a_recording_process_leaves_a_large_rebuild_to_a_reader(store, state, index_path):
    store.record_execution("x", "tool", "success", 1)
    data = b"".join(line(run_id=f"r{n}", error="e" * 1500) for n in range(3500))
    store.journal.append(data)
    store.close()
    index_path.unlink()
    began = time.monotonic()
    with TelemetryStore(state) as recording:
        recording.record_execution("x", "tool", "success", 1)
    assert time.monotonic() - began < 0.3
    assert not index_path.exists()
    assert store.get("x")["total_runs"] == 3502


def test_somebody_looking_at_the_index_costs_no_answer_and_no_record(store, state, index_path, history):
    db = sqlite3.connect(index_path)
    db.execute("BEGIN")
    db.execute("SELECT count(*) FROM runs").fetchone()
    with TelemetryStore(state) as recording:
        recording.record_execution("i0", "tool", "success", 1)
        assert recording.notices == []
    assert TelemetryStore(state, read_only=True).totals()["total_runs"] == 202
    assert store.totals()["total_runs"] == 202
    db.close()
    assert store.totals()["total_runs"] == 202


def test_recording_is_told_little_when_the_snapshot_cannot_be_written(store, state):
    (state / "telemetry.yaml").mkdir(parents=True)
    store.record_execution("x", "tool", "success", 1)
    assert "telemetry.yaml was not brought up to date" in store.notices[0]
    assert store.get("x")["total_runs"] == 1


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "disk", "512k") as place:
        yield place


def test_a_disk_full_for_the_index_takes_back_no_record_and_questions_are_answered(small_disk):
    with TelemetryStore(small_disk / "state") as store:
        store.record_execution("x", "tool", "success", 1)
        assert store.get("x")["total_runs"] == 1
        room = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
        (small_disk / "ballast").write_bytes(b"x" * (room - 12_000))
        recorded = 1
        with contextlib.suppress(StateUnavailable):
            while recorded < 1000:
                store.record_execution(f"item {recorded}", "tool", "success", 1, error="e" * 500)
                recorded += 1
        assert 10 < recorded < 1000
        assert store.totals()["total_runs"] == recorded
        assert store.notices
        with pytest.raises(StateUnavailable):
            store.record_execution("x", "tool", "failure", 1, error="e" * 5000)
        assert store.totals()["total_runs"] == recorded
        (small_disk / "ballast").unlink()
        store.record_execution("x", "tool", "success", 1)
        assert store.totals()["total_runs"] == recorded + 1
        assert store.damage() == []
    assert sum(published(small_disk / "state").values()) == recorded + 1


def test_a_read_only_filesystem_is_answered_from_and_recording_says_so(small_disk):
    state = small_disk / "state"
    with TelemetryStore(state) as store:
        store.record_execution("x", "tool", "success", 1)
        store.append("start", make_start(run_id="r", process=dead_process()))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with TelemetryStore(state) as store:
        assert store.get("x")["abandoned_count"] == 1
        assert store.get("x")["total_runs"] == 2
        assert len(store.notices) == 1
        with pytest.raises(StateUnavailable, match="make it writable"):
            store.record_execution("x", "tool", "success", 1)
        with pytest.raises(StateUnavailable, match="make it writable"):
            store.clear("x")
        with pytest.raises(StateUnavailable, match="make it writable"):
            store.rebuild()


def test_a_file_too_large_for_the_index_is_no_loss(state):
    def child():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with TelemetryStore(state) as store:
            store.record_execution("x", "tool", "success", 1)
            resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
            for n in range(50):
                store.record_execution(f"i{n}", "tool", "success", 1)
            assert store.totals()["total_runs"] == 51

    assert ended_well(in_child(child))


def test_anothers_directory_is_answered_from(store, state, history):
    store.close()
    for path in [state, *sorted(state.rglob("*"))]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    open_the_way_to(state)

    def look():
        with TelemetryStore(state) as looking:
            assert looking.totals()["total_runs"] == 201
            assert "make it yours and writable" in looking.notices[0]

    assert as_nobody(look)


def test_a_directory_that_cannot_be_read_is_said(store, state, history):
    store.close()
    open_the_way_to(state)
    state.chmod(0o755)

    def look():
        for read_only in (True, False):
            with (
                TelemetryStore(state, read_only=read_only) as looking,
                pytest.raises(StateUnavailable, match="make it yours"),
            ):
                looking.totals()

    assert as_nobody(look)


def test_a_notice_is_told_once(store, state):
    (state / "telemetry.yaml").mkdir(parents=True)
    for _ in range(3):
        store.journal.append(line(run_id="r"))
        assert store.get("x")["total_runs"] == 1
    assert len(store.notices) == 1


def test_rebuild_shows_its_progress(store, state, history):
    seen = []
    assert store.rebuild(lambda done, total: seen.append((done, total))) == 201
    done, total = seen[-1]
    assert done == total == sum(path.stat().st_size for path in segments(state))


def test_following_publishes_what_another_process_left_unpublished(store, state):
    store.record_execution("x", "tool", "success", 1)
    for n in range(20):
        store.journal.append(line(run_id=f"r{n}"))
    store.projector.follow()
    assert published(state) == {"x": 21}


def test_a_reader_makes_the_index_outlive_a_power_cut(store, state, history):
    """The stamp of another boot means rebuild, unless a reader had waited for the disk."""
    lock = state / "telemetry.lock"
    assert b'"state":"safe"' in lock.read_bytes()
    lock.write_bytes(lock.read_bytes().replace(b'"boot":"', b'"boot":"0'))
    inode = (state / "telemetry" / "index.sqlite").stat().st_ino
    assert store.totals() == history
    assert (state / "telemetry" / "index.sqlite").stat().st_ino == inode


def test_after_a_power_cut_an_index_that_nobody_waited_for_is_made_anew(store, state):
    store.record_execution("x", "tool", "success", 1)
    store.close()
    lock = state / "telemetry.lock"
    assert b'"state":"clean"' in lock.read_bytes()
    inode = (state / "telemetry" / "index.sqlite").stat().st_ino
    lock.write_bytes(lock.read_bytes().replace(b'"boot":"', b'"boot":"0'))
    with contextlib.closing(sqlite3.connect(state / "telemetry" / "index.sqlite")):
        assert store.get("x")["total_runs"] == 1
    assert (state / "telemetry" / "index.sqlite").stat().st_ino != inode


def test_a_transaction_killed_half_written_never_reaches_the_index_made_anew(store, state, index_path, history):
    code = (
        "import os, sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], isolation_level=None)\ndb.execute('PRAGMA cache_size=2')\n"
        "db.execute('BEGIN')\ndb.execute('UPDATE runs SET error=hex(randomblob(3000))')\nos.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, index_path], check=False)
    beside = index_path.with_name("index.sqlite-journal")
    assert beside.stat().st_size > 10_000
    index_path.unlink()
    store.journal.append(b"".join(line(run_id=f"r{n}", item_id=f"new {n}") for n in range(50)))
    with TelemetryStore(state) as recording:  # it rebuilds and asks nothing
        recording.record_execution("x", "tool", "success", 1)
    assert not beside.exists()
    index = Index.open(str(index_path))
    assert sum(item["total_runs"] for item in queries.read_items(index).values()) == 252
    assert len(queries.read_runs(index, since=None, until=None, limit=999)) == 252
    index.close()


def test_nobody_projects_in_the_middle_of_a_projection(store, state, history):
    """As a signal handler or a progress bar might."""
    seen = []

    def look(*_):
        if not seen:
            seen.append((store.projector.acquire(), store.totals()["total_runs"]))
            store.record_execution("x", "tool", "success", 1)

    assert store.rebuild(look) == 202
    assert seen == [(False, 201)]


def test_open_runs_are_judged_after_their_end_was_read(store, state):
    store.append("start", make_start(run_id="r", process=dead_process() | {"host": "away"}))
    store.get("x")
    process = dead_process()
    data = line("start", run_id="q", process=process) + line(run_id="q")
    store.journal.append(data)
    assert store.get("x")["abandoned_count"] == 0
    assert not any(b'"abandoned"' in path.read_bytes() for path in segments(state))
    index = Index.open(str(state / "telemetry" / "index.sqlite"))
    assert len(queries.read_runs(index, since=None, until=None, limit=9)) == 2
    index.close()
