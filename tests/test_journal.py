from __future__ import annotations

import gzip
import multiprocessing
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest
from making import as_nobody, ended_well, holding, in_child, line, mounted, open_the_way_to, segments, wait_until

from rye_telemetry.errors import JournalCorrupt, StateBusy, StateUnavailable
from rye_telemetry.files import FileLock
from rye_telemetry.journal import Journal, _week_of, read_chunks, read_header, read_segment
from rye_telemetry.lines import decode_line

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def journal(state):
    made = Journal(str(state))
    yield made
    made.close()


def lines_of(state):
    """Return every line of segments and spills but the headers, newlines cut; each must be whole."""
    found = []
    for path in [*segments(state), *sorted((state / "telemetry" / "journal" / "spill").glob("*.ndjson"))]:
        data = path.read_bytes()
        assert data.endswith(b"\n")
        found += [raw for raw in data[:-1].split(b"\n") if not raw.startswith(b'{"v":1,"kind":"segment"')]
    return found


def test_what_was_appended_stands_in_a_segment_of_this_week_after_its_header(state, journal):
    journal.append(b"one\ntwo\n")
    journal.append(b"three\n")
    (path,) = segments(state)
    year, week, _ = time.strftime("%G %V %u", time.gmtime()).split()
    assert path.name == f"{year}-W{week}-0001.ndjson"
    header = decode_line(path.read_bytes().partition(b"\n")[0])
    assert header["kind"] == "segment"
    assert header["generation"] == read_header(str(path))["generation"]
    assert lines_of(state) == [b"one", b"two", b"three"]


@pytest.mark.parametrize(
    ("day", "week"),
    [
        ("2026-11-20", (2026, 47)),
        ("2027-01-01", (2026, 53)),
        ("2027-01-04", (2027, 1)),
        ("2024-12-30", (2025, 1)),
        ("2021-01-03", (2020, 53)),
        ("1970-01-01", (1970, 1)),
        ("2000-02-29", (2000, 9)),
    ],
)
def test_weeks_are_iso_weeks(day, week):
    import calendar

    midnight = calendar.timegm(time.strptime(day, "%Y-%m-%d"))
    assert _week_of(midnight) == _week_of(midnight + 86399.9) == week


def test_every_file_and_directory_is_private_under_any_umask(state):
    for umask in (0, 0o777):
        before = os.umask(umask)
        try:
            journal = Journal(str(state / str(umask)))
            journal.append(line())
            with holding(journal.lock.path):
                journal.append(line())
            journal.close()
        finally:
            os.umask(before)
    for folder, _, files in os.walk(state):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        assert {stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) for name in files} <= {0o600}


def test_lock_held_by_another_process_costs_a_bounded_wait_and_the_lines_are_spilled(state, journal):
    journal.append(b"before\n")
    with holding(journal.lock.path):
        began = time.monotonic()
        journal.append(b"during\n")
        assert time.monotonic() - began < 0.15
        began = time.monotonic()
        for _ in range(10):  # having waited in vain once, it does not wait again
            journal.append(b"again\n")
        assert time.monotonic() - began < 0.15
        assert len(journal.spills()) == 11
        assert journal.fold_spills() == 0
    journal.append(b"after\n")
    assert journal.fold_spills() == 11
    assert journal.spills() == []
    assert lines_of(state) == [b"before", b"after", b"during"] + [b"again"] * 10


def test_the_holder_of_the_lock_may_be_stopped(state, journal):
    journal.append(b"a\n")
    with holding(journal.lock.path) as holder:
        holder.send_signal(signal.SIGSTOP)
        journal.append(b"b\n")
        assert len(journal.spills()) == 1
        holder.send_signal(signal.SIGCONT)


def test_a_spill_is_complete_or_not_there(state, journal):
    journal.append(b"a\n")
    with holding(journal.lock.path):
        journal.append(b"b\n")
    spill_dir = state / "telemetry" / "journal" / "spill"
    (spill_dir / "0-half.ndjson.123.abc.tmp").write_bytes(b"half")
    assert [os.path.basename(path) for path in journal.spills()] == [path.name for path in spill_dir.glob("*.ndjson")]


def test_append_puts_a_torn_last_line_on_a_line_of_its_own(state, journal):
    journal.append(b"whole\n")
    with open(segments(state)[0], "ab") as f:
        f.write(b'{"torn')
    journal.append(b"next\n")
    assert lines_of(state) == [b"whole", b'{"torn', b"next"]


def test_a_new_process_sees_a_torn_last_line_too(state, journal):
    journal.append(b"whole\n")
    journal.close()
    with open(segments(state)[0], "ab") as f:
        f.write(b"torn")
    other = Journal(str(state))
    other.append(b"next\n")
    other.close()
    assert lines_of(state) == [b"whole", b"torn", b"next"]


def append_many(state, who, count):
    journal = Journal(state)
    for n in range(count):
        journal.append(f"{who}-{n}\n".encode())


def test_eight_processes_append_and_no_line_is_lost_doubled_or_torn(state):
    processes = [FORK.Process(target=append_many, args=(str(state), who, 200)) for who in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(lines_of(state)) == sorted(f"{who}-{n}".encode() for who in range(8) for n in range(200))


def test_forked_children_and_threads_share_one_journal(state, journal):
    journal.append(b"0-0-0\n")

    def work(who, thread):
        for n in range(50):
            journal.append(f"{who}-{thread}-{n}\n".encode())

    def threads(who):
        running = [threading.Thread(target=work, args=(who, thread)) for thread in range(4)]
        for thread in running:
            thread.start()
        return running

    mine = threads(9)  # fork while they append: their locks must not stay taken in the child
    pids = [in_child(lambda who=who: [thread.join() for thread in threads(who)]) for who in (1, 2, 3)]
    for thread in mine:
        thread.join()
    assert ended_well(*pids)
    expected = [f"{who}-{thread}-{n}".encode() for who in (1, 2, 3, 9) for thread in range(4) for n in range(50)]
    assert sorted(lines_of(state)) == sorted([b"0-0-0", *expected])


def test_killed_writers_leave_whole_lines_and_at_most_one_torn_one_each(state):
    acknowledged = []
    for _ in range(6):
        read_end, write_end = os.pipe()

        def child(write_end=write_end):
            journal = Journal(str(state))
            for n in range(100_000):
                journal.append(f"{os.getpid()}-{n}\n".encode())
                os.write(write_end, n.to_bytes(4, "big"))

        pid = in_child(child)
        os.close(write_end)
        data = os.read(read_end, 4)
        time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)
        while part := os.read(read_end, 1 << 16):
            data += part
        os.close(read_end)
        os.waitpid(pid, 0)
        acknowledged += [f"{pid}-{n}".encode() for n in range(len(data) // 4)]
    assert set(acknowledged) <= set(lines_of(state))
    assert len(lines_of(state)) == len(set(lines_of(state)))


def test_a_segment_rolls_when_it_is_large(state):
    journal = Journal(str(state), max_segment_bytes=500)
    for n in range(30):
        journal.append(b"%050d\n" % n)
    journal.close()
    found = segments(state)
    assert [path.stem[-4:] for path in found] == [f"{n:04d}" for n in range(1, len(found) + 1)]
    assert len(found) >= 4
    assert all(500 <= path.stat().st_size < 600 for path in found[:-1])
    assert lines_of(state) == [b"%050d" % n for n in range(30)]


def test_another_process_rolled_and_this_one_follows(state, journal):
    journal.append(b"a\n")
    other = Journal(str(state), max_segment_bytes=10)
    other.append(b"b\n")
    other.close()
    assert len(segments(state)) == 2
    journal.append(b"c\n")
    assert segments(state)[1].read_bytes().endswith(b"b\nc\n")


def test_a_new_week_begins_a_segment_and_a_clock_set_back_never_reopens_an_older_one(state, journal):
    journal.append(b"x\n")
    (this_week,) = segments(state)
    last_week = this_week.with_name("2020-W01-0007.ndjson")
    this_week.rename(last_week)
    journal.append(b"now\n")  # last week's is the newest: a new one
    assert segments(state) == [last_week, this_week]
    next_week = this_week.with_name("9998-W01-0003.ndjson")
    this_week.rename(next_week)
    journal.append(b"then\n")  # the clock was ahead: it goes on there
    assert segments(state) == [last_week, next_week]
    assert next_week.read_bytes().endswith(b"now\nthen\n")


def test_segments_order_by_number_and_not_by_name(state, journal):
    journal.append(b"x\n")
    (first,) = segments(state)
    stem = first.stem[:-4]
    first.with_name(f"{stem}9999.ndjson").write_bytes(b"")
    first.with_name(f"{stem}10000.ndjson").write_bytes(b"")
    first.with_name("not-a-segment.ndjson").write_bytes(b"")
    assert [segment.order[2] for segment in journal.segments()] == [1, 9999, 10000]


def test_an_archived_segment_is_never_begun_again(state, journal):
    journal.append(b"old\n")
    (path,) = segments(state)
    archive = path.parent / "archive"
    archive.mkdir()
    (archive / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    journal.append(b"new\n")
    assert [segment.name[-4:] for segment in journal.segments()] == ["0001", "0002"]
    assert b"old\n" in read_segment(journal.segments()[0].path)


def test_a_segment_both_live_and_archived_counts_once(state, journal):
    journal.append(b"x\n")
    (path,) = segments(state)
    (path.parent / "archive").mkdir()
    (path.parent / "archive" / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    (segment,) = journal.segments()
    assert not segment.archived


def test_the_directory_is_made_again_when_it_is_removed_under_a_running_process(state, journal):
    import shutil

    journal.append(b"gone\n")
    for what in (state, state / "telemetry", state / "telemetry" / "journal"):
        shutil.rmtree(what)
        journal.append(b"kept\n")
        assert lines_of(state) == [b"kept"]
        with holding(journal.lock.path):  # and not the lock that was removed
            journal.append(b"spilled\n")
            assert len(journal.spills()) == 1
        journal.append(b"free again\n")


def test_a_segment_replaced_under_a_running_writer_is_found(state, journal):
    journal.append(b"a\n")
    (path,) = segments(state)
    copy = path.with_name("copy")
    before = path.parent.stat().st_mtime_ns
    copy.write_bytes(path.read_bytes() + b"b\n")
    copy.rename(path)
    os.utime(path.parent, ns=(before, before))  # as if in the same tick of the clock
    journal.append(b"c\n")
    assert lines_of(state) == [b"a", b"b", b"c"]


def test_an_empty_segment_gets_its_header(state, journal):
    journal.append(b"a\n")
    (path,) = segments(state)
    path.write_bytes(b"")
    journal.close()
    journal.append(b"b\n")
    assert read_header(str(path))["kind"] == "segment"
    assert lines_of(state) == [b"b"]


@pytest.mark.parametrize("planted", ["telemetry/journal.lock", "telemetry/journal/{segment}"])
def test_a_planted_symlink_is_refused_with_what_to_do(tmp_path, state, journal, planted):
    journal.append(b"x\n")
    path = state / planted.format(segment=segments(state)[0].name)
    journal.close()
    path.unlink()
    (tmp_path / "precious").write_bytes(b"precious")
    path.symlink_to(tmp_path / "precious")
    with pytest.raises(StateUnavailable, match=f"{path.name}.*remove the symbolic link"):
        journal.append(b"y\n")
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_file_where_the_state_directory_should_be_is_said(tmp_path):
    (tmp_path / "state").write_text("x")
    with pytest.raises(StateUnavailable, match="move the file away"):
        Journal(str(tmp_path / "state")).append(b"x\n")


def test_a_directory_of_another_user_is_said(tmp_path):
    (tmp_path / "state").mkdir(mode=0o500)
    open_the_way_to(tmp_path / "state")

    def work():
        with pytest.raises(StateUnavailable, match="make it yours and writable"):
            Journal(str(tmp_path / "state")).append(b"x\n")

    assert as_nobody(work)


def test_a_full_disk_is_said_and_leaves_no_half_line(state):
    def child():
        journal = Journal(str(state))
        journal.append(b"first\n")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        size = segments(state)[0].stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1000, resource.RLIM_INFINITY))
        with pytest.raises(StateUnavailable, match="File too large"):
            journal.append(b"x" * 3000 + b"\n")
        assert lines_of(state) == [b"first"]
        journal.append(b"small\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        journal.append(b"x" * 3000 + b"\n")
        assert lines_of(state) == [b"first", b"small", b"x" * 3000]

    assert ended_well(in_child(child))


def test_a_disk_full_at_the_first_line_leaves_no_half_header(state):
    def child():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, resource.RLIM_INFINITY))
        journal = Journal(str(state))
        with pytest.raises(StateUnavailable):
            journal.append(b"x\n")
        assert segments(state)[0].stat().st_size == 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        journal.append(b"y\n")
        assert lines_of(state) == [b"y"]
        assert read_header(str(segments(state)[0]))

    assert ended_well(in_child(child))


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "disk") as place:
        yield place


def test_on_a_full_filesystem_appends_fail_whole_and_go_on_when_there_is_room(small_disk):
    state = small_disk / "state"
    journal = Journal(str(state))
    kept = []

    def fill():
        for n in range(1000):
            text = b"%d" % n + b"x" * 3000
            journal.append(text + b"\n")
            kept.append(text)

    with pytest.raises(StateUnavailable, match="free some space there"):
        fill()
    assert lines_of(state) == kept
    os.truncate(segments(state)[0], segments(state)[0].stat().st_size - 3001 - len(str(len(kept) - 1)))
    journal.append(b"room\n")
    assert lines_of(state) == [*kept[:-1], b"room"]
    journal.close()


def test_durability_fsync_reaches_the_disk_before_it_returns(state):
    journal = Journal(str(state), sync=True)
    strace = subprocess.run(["which", "strace"], capture_output=True, check=False)
    journal.append(b"a\n")
    journal.close()
    assert lines_of(state) == [b"a"]
    if strace.returncode:
        return
    code = "import sys; from rye_telemetry.journal import Journal; Journal(sys.argv[1], sync=True).append(b'b\\n')"
    done = subprocess.run(
        ["strace", "-f", "-e", "trace=fsync,write", sys.executable, "-c", code, str(state)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.index('"b\\n"') < done.stderr.index("fsync(")


def test_rewrite_keeps_what_it_is_told_and_deletes_files_that_hold_nothing(state, journal):
    journal.append(b"a\nb\na\n")
    with holding(journal.lock.path):
        journal.append(b"b\n")
    archive = state / "telemetry" / "journal" / "archive"
    archive.mkdir()
    (archive / "2020-W01-0001.ndjson.gz").write_bytes(gzip.compress(b"b\na\nb\n"))
    (archive / "2020-W02-0001.ndjson.gz").write_bytes(gzip.compress(b"b\n"))
    assert journal.rewrite(lambda raw: None if raw == b"b" else raw) == 5
    assert lines_of(state) == [b"a", b"a"]
    assert journal.spills() == []
    assert [path.name for path in archive.iterdir()] == ["2020-W01-0001.ndjson.gz"]
    assert gzip.decompress((archive / "2020-W01-0001.ndjson.gz").read_bytes()) == b"a\n"


def test_rewrite_never_loses_what_other_processes_and_threads_append_meanwhile(state, journal):
    stop = threading.Event()
    mine = []
    journal.append(b"none\n")

    def append():
        n = 0
        while not stop.is_set():
            journal.append(b"mine-%d\n" % n)
            mine.append(b"mine-%d" % n)
            n += 1

    processes = [FORK.Process(target=append_many, args=(str(state), who, 300)) for who in range(2)]
    thread = threading.Thread(target=append)
    for running in (*processes, thread):
        running.start()
    rounds = 0
    while any(process.is_alive() for process in processes) or rounds < 5:
        journal.rewrite(lambda raw: None if raw == b"none" else raw + b" ")
        rounds += 1
    for process in processes:
        process.join()
    stop.set()
    thread.join()
    expected = [f"{who}-{n}".encode() for who in range(2) for n in range(300)] + mine
    assert sorted(raw.rstrip() for raw in lines_of(state)) == sorted(expected)


def test_a_thread_that_appends_during_a_rewrite_waits_no_longer_than_always(state, journal):
    journal.append(b"a\n")
    began, done = threading.Event(), threading.Event()

    def slow(raw):
        began.set()
        assert done.wait(5)
        return raw

    rewriter = threading.Thread(target=journal.rewrite, args=(slow,))
    rewriter.start()
    began.wait()
    at = time.monotonic()
    journal.append(b"b\n")
    assert time.monotonic() - at < 0.2
    done.set()
    rewriter.join()
    journal.fold_spills()
    assert lines_of(state) == [b"a", b"b"]


def test_a_change_says_when_the_lock_is_kept(state, journal, monkeypatch):
    journal.append(b"a\n")
    monkeypatch.setattr("rye_telemetry.journal.CHANGE_WAIT_S", 0.05)  # a number, not a function: ten seconds otherwise
    with holding(journal.lock.path), pytest.raises(StateBusy, match="held by another process: try again"):
        journal.rewrite(lambda raw: raw)


def test_the_lock_file_removed_by_hand_is_made_again(state, journal):
    journal.append(b"a\n")
    os.unlink(journal.lock.path)
    journal.close()
    journal.append(b"b\n")
    other = FileLock(journal.lock.path)
    assert other.acquire()
    other.close()
    assert lines_of(state) == [b"a", b"b"]


def test_chunks_end_at_newlines_and_hold_everything_up_to_the_last(tmp_path):
    data = b"".join(b"x" * n + b"\n" for n in range(300)) + b"torn"
    path = tmp_path / "segment"
    path.write_bytes(data)
    got = list(read_chunks(str(path), 0, limit=100))
    assert b"".join(part for _, part in got) == data[:-4]
    assert all(part.endswith(b"\n") and data[at : at + len(part)] == part for at, part in got)


def test_an_archive_that_is_not_whole_is_said(tmp_path):
    for data in (b"", b"garbage", gzip.compress(b"x" * 1000)[:-9], gzip.compress(b"x") + b"junk" * 5):
        path = tmp_path / "2020-W01-0001.ndjson.gz"
        path.write_bytes(data)
        if data:
            with pytest.raises(JournalCorrupt, match="move it out of the journal"):
                read_segment(str(path))


def test_an_interrupt_leaves_the_journal_usable(state, journal):
    """^C comes at any moment; a host that goes on afterwards must not find its own lock taken."""

    def child():
        journal = Journal(str(state))
        interrupted = 0
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0007)  # one at a time: the next may not meet the handler below
                while True:
                    journal.append(b"x\n")
            except KeyboardInterrupt:
                interrupted += 1
        assert interrupted > 10
        journal.append(b"last\n")
        assert journal.spills() == []

    assert ended_well(in_child(child))
    wait_until(lambda: lines_of(state)[-1:] == [b"last"])
