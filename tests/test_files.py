from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time

import pytest
from making import ended_well, in_child

from rye_telemetry.files import FileLock, make_private_dir, open_fd, read_file, replace_file, write_all


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture(params=[0, 0o022, 0o777])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_new_files_and_directories_are_private_under_any_umask(tmp_path, umask):
    make_private_dir(str(tmp_path / "a" / "b" / "c"))
    os.close(open_fd(str(tmp_path / "a" / "new"), os.O_RDWR | os.O_CREAT))
    os.close(open_fd(str(tmp_path / "a" / "exclusive"), os.O_RDWR | os.O_CREAT | os.O_EXCL))
    replace_file(str(tmp_path / "a" / "replaced"), b"x")
    assert [mode_of(path) for path in sorted((tmp_path / "a").iterdir()) if path.is_file()] == [0o600] * 3
    assert [mode_of(tmp_path / part) for part in ("a", "a/b", "a/b/c")] == [0o700] * 3


def test_a_directory_that_exists_keeps_its_mode(tmp_path):
    (tmp_path / "a").mkdir(mode=0o755)
    make_private_dir(str(tmp_path / "a" / "b"))
    assert mode_of(tmp_path / "a") == 0o755


def test_a_file_where_a_directory_should_be_is_said(tmp_path):
    (tmp_path / "a").write_text("x")
    with pytest.raises(NotADirectoryError):
        make_private_dir(str(tmp_path / "a"))


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_a_planted_symlink_is_never_opened(tmp_path, target):
    (tmp_path / "there").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / target)
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
        with pytest.raises(OSError, match="symbolic links"):
            open_fd(str(tmp_path / "link"), flags)
    assert (tmp_path / "there").read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_planted_symlink_is_replaced_and_not_written_through(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "file").symlink_to("precious")
    replace_file(str(tmp_path / "file"), b"new")
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "file").read_text() == "new"


def test_files_never_take_the_place_of_a_standard_descriptor(tmp_path):
    code = "import os, sys; from rye_telemetry.files import open_fd\nos.close(0), os.close(1)\nsys.exit(open_fd(sys.argv[1], os.O_RDWR | os.O_CREAT))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "f")], check=False, stdout=subprocess.DEVNULL)
    assert done.returncode >= 3


def test_a_failed_replacement_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="file"):
        replace_file(str(tmp_path / "file"), b"new")
    assert os.listdir(tmp_path) == ["file"]


def test_a_short_write_goes_on(tmp_path):
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, True)
    data = os.urandom(300_000)
    got = []

    def drain():
        while part := os.read(read_end, 1 << 16):
            got.append(part)

    reader = threading.Thread(target=drain)
    reader.start()
    write_all(write_end, data)
    os.close(write_end)
    reader.join()
    os.close(read_end)
    assert b"".join(got) == data


def test_a_whole_file_is_read(tmp_path):
    data = os.urandom(3 << 20)
    (tmp_path / "f").write_bytes(data)
    assert read_file(str(tmp_path / "f")) == data


@pytest.fixture
def lock(tmp_path):
    made = FileLock(str(tmp_path / "lock"))
    yield made
    made.close()


def test_a_lock_keeps_out_another_object_another_thread_and_another_process(tmp_path, lock):
    assert lock.acquire()
    other = FileLock(lock.path)
    assert not other.acquire()
    seen = []
    thread = threading.Thread(target=lambda: (lock.release(), lock.close(), seen.append(lock.acquire())))
    thread.start()
    thread.join()
    assert seen == [False]
    assert not other.acquire()

    def child():
        assert not lock.acquire()

    assert ended_well(in_child(child))
    lock.release()
    assert other.acquire()
    other.close()


def test_a_lock_waits_no_longer_than_told(lock):
    holder = FileLock(lock.path)
    assert holder.acquire()
    began = time.monotonic()
    assert not lock.acquire(wait_s=0.03)
    assert 0.03 <= time.monotonic() - began < 0.3
    holder.release()
    assert lock.acquire(wait_s=0.03)
    holder.close()


def test_a_waiting_thread_gets_the_lock_when_it_is_free(lock):
    assert lock.acquire()
    got = []
    thread = threading.Thread(target=lambda: got.append(lock.acquire(wait_s=5)))
    thread.start()
    time.sleep(0.01)
    lock.release()
    thread.join()
    assert got == [True]
    lock.release()


def test_a_lock_is_free_when_its_holder_is_killed(tmp_path, lock):
    code = "import sys, time; from rye_telemetry.files import FileLock\nassert FileLock(sys.argv[1]).acquire()\nprint(1, flush=True)\ntime.sleep(60)"
    # The object must live: a lock that nobody refers to is let go.
    code = code.replace("assert FileLock(sys.argv[1]).acquire()", "lock = FileLock(sys.argv[1]); lock.acquire()")
    with subprocess.Popen([sys.executable, "-c", code, lock.path], stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        assert not lock.acquire()
        holder.kill()
    assert lock.acquire()


def test_a_forked_child_does_not_keep_its_parents_lock_alive(lock):
    assert lock.acquire()
    read_end, write_end = os.pipe()
    pid = in_child(lambda: (os.close(write_end), os.read(read_end, 1)))
    lock.release()
    lock.close()
    other = FileLock(lock.path)
    assert other.acquire()
    other.close()
    os.close(write_end)
    os.close(read_end)
    assert ended_well(pid)


def test_a_child_that_outlives_its_parent_does_not_keep_the_parents_lock(lock):
    read_end, write_end = os.pipe()

    def parent():
        assert lock.acquire()
        if not os.fork():
            os.close(write_end)
            os.read(read_end, 1)
            os._exit(0)

    assert ended_well(in_child(parent))
    assert lock.acquire(wait_s=2)
    os.close(write_end)
    os.close(read_end)


def test_a_forked_child_may_lock_though_a_thread_of_its_parent_held_the_lock(lock):
    held, go = threading.Event(), threading.Event()

    def hold():
        assert lock.acquire()
        held.set()
        go.wait()
        lock.release()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    read_end, write_end = os.pipe()

    def child():
        assert not lock.acquire()
        lock.release()  # of the parent's lock: nothing
        os.write(write_end, b"x")
        assert lock.acquire(wait_s=5)

    pid = in_child(child)
    os.close(write_end)
    assert os.read(read_end, 1) == b"x"
    os.close(read_end)
    go.set()
    thread.join()
    assert ended_well(pid)


def test_a_closed_lock_opens_again(lock):
    assert lock.acquire()
    lock.release()
    lock.close()
    assert not lock.is_open()
    assert lock.acquire()
    assert lock.is_in_place()


def test_a_lock_whose_file_was_replaced_is_not_in_place(lock):
    assert lock.acquire()
    os.unlink(lock.path)
    assert not lock.is_in_place()
    os.close(os.open(lock.path, os.O_CREAT, 0o600))
    assert not lock.is_in_place()
