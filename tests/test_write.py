"""A user's file is replaced whole, with all that it had beside its bytes, or stays as it was."""

from __future__ import annotations

import os
import random
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from making import as_nobody, ended_well, in_child, mounted, open_the_way_to, wait_until

from rye_telemetry.errors import FileNotReplaced, FileUnreadable
from rye_telemetry.publish.write import MAX_BYTES, read_file, replace_file

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="attributes as Linux has them")
OLD, NEW = b"old\r\nbytes", b"new bytes\n"


@pytest.fixture
def folder(tmp_path):
    """A folder in which any user can make files."""
    open_the_way_to(tmp_path / "x")
    place = tmp_path / "folder"
    place.mkdir()
    place.chmod(0o777)
    return place


@pytest.fixture
def item(folder):
    path = folder / "item.md"
    path.write_bytes(OLD)
    return path


def refused(found, new=NEW):
    """Check that a file is left alone, with nothing beside it, and return why."""
    folder = Path(found.real_path).parent
    before = sorted(folder.iterdir())
    with pytest.raises(FileNotReplaced) as e:
        replace_file(found, new)
    assert sorted(folder.iterdir()) == before
    return str(e.value)


def access_list(uid, *, default=False):
    """Return the attribute by which a file, or what is made in a folder, may be written by one more user."""
    undefined = 0xFFFFFFFF
    entries = [(1, 6, undefined), (2, 6, uid), (4, 4, undefined), (16, 6, undefined), (32, 0, undefined)]
    name = "system.posix_acl_default" if default else "system.posix_acl_access"
    return name, struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


# -- reading


def test_a_file_is_read_with_its_path_and_its_status(item):
    found = read_file(str(item))
    assert (found.data, found.real_path) == (OLD, os.path.realpath(item))
    assert found.status.st_ino == item.stat().st_ino


def test_a_symlink_is_read_through_its_folders_too(item, tmp_path):
    (tmp_path / "other").symlink_to(item.parent)
    (item.parent / "again").symlink_to("item.md")
    assert read_file(str(tmp_path / "other" / "again")).real_path == os.path.realpath(item)


def test_a_relative_path_is_read(item, monkeypatch):
    monkeypatch.chdir(item.parent)
    assert read_file("item.md").real_path == os.path.realpath(item)


def test_no_more_is_read_than_one_byte_too_much(folder):
    path = folder / "large"
    with path.open("wb") as f:
        f.truncate(100 * MAX_BYTES)
    found = read_file(str(path))
    assert len(found.data) == MAX_BYTES + 1
    assert "over 16 MiB" in refused(found)


@pytest.mark.parametrize("kind", ["fifo", "folder", "socket", "device"])
def test_what_is_no_regular_file_is_refused_at_once(folder, kind):
    path = folder / "item.md"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        bound = socket.socket(socket.AF_UNIX)
        bound.bind(str(path))
        bound.close()
    else:
        path = Path(os.devnull)
    began = time.monotonic()
    with pytest.raises(FileUnreadable, match="not a regular file"):
        read_file(str(path))
    assert time.monotonic() - began < 1


def test_a_missing_file_and_a_loop_of_links_are_refused_with_their_name(folder):
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    for name in ("missing.md", "loop", "dangling"):
        with pytest.raises(FileUnreadable, match=name):
            read_file(str(folder / name))


def test_a_file_that_may_not_be_read_is_refused(item):
    def work():
        with pytest.raises(FileUnreadable, match="Permission denied: check its permissions"):
            read_file(str(item))

    item.chmod(0)
    assert as_nobody(work)


# -- what stays


def test_a_file_gets_its_new_bytes_and_nothing_is_left_beside_it(item):
    replace_file(read_file(str(item)), NEW)
    assert item.read_bytes() == NEW
    assert os.listdir(item.parent) == ["item.md"]


def test_the_same_bytes_touch_nothing(item):
    before = item.stat()
    replace_file(read_file(str(item)), OLD)
    assert item.stat() == before


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o664, 0o777, 0o4755, 0o2755])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_the_mode_stays_under_any_umask(item, mode, umask):
    item.chmod(mode)
    before = os.umask(umask)
    try:
        replace_file(read_file(str(item)), NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(item.stat().st_mode) == mode
    assert item.read_bytes() == NEW


@AS_ROOT
def test_the_owner_and_the_group_stay_when_root_writes(item):
    item.chmod(0o4755)
    os.chown(item, 1234, 4321)
    item.chmod(0o4755)
    replace_file(read_file(str(item)), NEW)
    found = item.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 4321, 0o4755)


@AS_ROOT
def test_a_file_of_another_owner_is_refused_however_open_it_is(item):
    item.chmod(0o666)
    assert as_nobody(lambda: self_refused(item, "belongs to user 0"))
    assert item.read_bytes() == OLD


def self_refused(item, words):
    assert words in refused(read_file(str(item)))


@AS_ROOT
def test_a_group_that_the_owner_is_not_in_is_refused(item):
    os.chown(item, 65534, 4321)
    assert as_nobody(lambda: self_refused(item, "group 4321"))
    assert (item.read_bytes(), item.stat().st_gid) == (OLD, 4321)


@AS_ROOT
def test_the_group_of_a_file_stays_in_a_folder_that_gives_its_own(item):
    item.parent.chmod(0o2777)
    os.chown(item.parent, 0, 4321)
    os.chown(item, 65534, 65534)
    assert as_nobody(lambda: replace_file(read_file(str(item)), NEW))
    assert (item.read_bytes(), item.stat().st_gid) == (NEW, 65534)


@ON_LINUX
def test_attributes_and_access_lists_stay(item):
    name, value = access_list(4321)
    os.setxattr(item, "user.colour", b"red\0")
    os.setxattr(item, name, value)
    before = {each: os.getxattr(item, each) for each in os.listxattr(item)}
    mode = item.stat().st_mode
    replace_file(read_file(str(item)), NEW)
    assert {each: os.getxattr(item, each) for each in os.listxattr(item)} == before
    assert {name, "user.colour"} <= before.keys()
    assert (item.stat().st_mode, item.read_bytes()) == (mode, NEW)


@ON_LINUX
def test_a_folder_gives_its_default_access_list_to_new_files_and_not_to_a_replaced_one(item):
    os.setxattr(item.parent, *access_list(4321, default=True))
    replace_file(read_file(str(item)), NEW)
    assert not [name for name in os.listxattr(item) if "acl" in name]
    (item.parent / "other").write_bytes(b"")
    assert [name for name in os.listxattr(item.parent / "other") if "acl" in name]


@ON_LINUX
@AS_ROOT
def test_capabilities_do_not_pass_to_other_bytes(item):
    value = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    os.setxattr(item, "security.capability", value)
    replace_file(read_file(str(item)), NEW)
    assert "security.capability" not in os.listxattr(item)


def test_a_symlink_stays_a_link_and_its_target_is_written(item, tmp_path):
    link = tmp_path / "link.md"
    link.symlink_to("folder/item.md")
    replace_file(read_file(str(link)), NEW)
    assert os.readlink(link) == "folder/item.md"
    assert item.read_bytes() == NEW
    assert not item.is_symlink()


@pytest.mark.parametrize("name", ["x" * 255, "日" * 85, b"\xff\xfe.md", " - item\n.md", "-rf"])
def test_any_name_can_be_replaced(folder, name):
    path = os.path.join(os.fsencode(folder), os.fsencode(name))
    with open(path, "wb") as f:
        f.write(OLD)
    replace_file(read_file(os.fsdecode(path)), NEW)
    with open(path, "rb") as f:
        assert f.read() == NEW


# -- what is refused


def test_a_hard_linked_file_is_refused_with_a_way_out_that_works(item):
    other = item.with_name("other.md")
    os.link(item, other)
    said = refused(read_file(str(item)))
    assert "2 names" in said
    assert "cp -p FILE COPY && mv COPY FILE" in said
    assert item.samefile(other)
    subprocess.run(["sh", "-c", 'cp -p "$1" "$1.copy" && mv "$1.copy" "$1"', "sh", item], check=True)
    replace_file(read_file(str(item)), NEW)
    assert (item.read_bytes(), other.read_bytes()) == (NEW, OLD)


def test_a_file_that_got_a_second_name_meanwhile_is_refused(item):
    found = read_file(str(item))
    os.link(item, item.with_name("other.md"))
    assert "changed meanwhile" in refused(found)


def test_a_read_only_file_stays_as_it_was(item):
    item.chmod(0o444)
    os.chown(item, *((65534, 65534) if os.geteuid() == 0 else (-1, -1)))
    assert as_nobody(lambda: self_refused(item, "may not be written"))
    assert item.read_bytes() == OLD


def test_a_folder_that_takes_no_new_file_is_refused(item):
    os.chown(item, *((65534, 65534) if os.geteuid() == 0 else (-1, -1)))
    item.parent.chmod(0o555)
    assert as_nobody(lambda: self_refused(item, "its folder must take a new file"))
    item.parent.chmod(0o755)
    assert item.read_bytes() == OLD


@AS_ROOT
def test_a_file_in_a_sticky_folder_that_is_not_ours_is_refused(item):
    item.parent.chmod(0o1777)
    item.chmod(0o666)
    assert as_nobody(lambda: self_refused(item, "stays as it was"))


@AS_ROOT
@ON_LINUX
def test_a_file_that_may_not_be_changed_by_anyone_is_refused(item):
    if subprocess.run(["chattr", "+i", item], capture_output=True, check=False).returncode:
        pytest.skip("no such attribute on this file system")
    try:
        assert "attributes (lsattr)" in refused(read_file(str(item)))
    finally:
        subprocess.run(["chattr", "-i", item], check=True)
    assert item.read_bytes() == OLD


@AS_ROOT
@ON_LINUX
def test_a_file_that_is_mounted_by_itself_is_refused(item, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(OLD)
    if subprocess.run(["mount", "--bind", source, item], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        assert "mounted by itself" in refused(read_file(str(item)))
    finally:
        subprocess.run(["umount", "-l", item], check=True)
    assert source.read_bytes() == OLD


def test_a_full_file_system_leaves_the_old_file_and_no_other(tmp_path):
    with mounted(tmp_path / "small") as place:
        path = place / "item.md"
        path.write_bytes(OLD)
        filled = subprocess.run(["dd", "if=/dev/zero", f"of={place}/filler"], capture_output=True, check=False)
        assert b"No space" in filled.stderr
        for size in (1, 4097, 1_000_000):
            assert "No space left on device: make room" in refused(read_file(str(path)), b"y" * size)
        assert path.read_bytes() == OLD
        (place / "filler").unlink()
        replace_file(read_file(str(path)), NEW)
        assert path.read_bytes() == NEW


@AS_ROOT
def test_a_read_only_file_system_is_said_to_be_one(tmp_path):
    with mounted(tmp_path / "small") as place:
        path = place / "item.md"
        path.write_bytes(OLD)
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        assert "may not be written" in refused(read_file(str(path)))


# -- what others do meanwhile


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"theirs"),
        lambda path: path.write_bytes(OLD[::-1]),
        lambda path: path.write_bytes(OLD),  # the same bytes at another time: somebody saved it
        lambda path: os.replace(_copy(path), path),
        lambda path: path.chmod(0o640),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: (path.unlink(), path.symlink_to("elsewhere")),
    ],
    ids=["bytes", "as long", "saved", "another file", "mode", "gone", "folder", "fifo", "link"],
)
def test_what_changed_meanwhile_is_left_to_whoever_changed_it(item, change):
    found = read_file(str(item))
    time.sleep(0.02)  # a file's time has the steps of the kernel's clock
    change(item)
    assert "meanwhile" in refused(found)


def _copy(path):
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    return copy


def test_bytes_that_changed_behind_the_same_size_and_time_are_seen(item):
    found = read_file(str(item))
    item.write_bytes(OLD[::-1])
    os.utime(item, ns=(found.status.st_atime_ns, found.status.st_mtime_ns))
    assert "changed meanwhile" in refused(found)
    assert item.read_bytes() == OLD[::-1]


def test_an_editor_that_saves_by_replacing_never_meets_half_a_file(item):
    """Every version that it reads is whole, and its own last one is kept or has our line behind it."""
    stop = threading.Event()
    versions = []

    def edit():
        number = 0
        while not stop.is_set():
            number += 1
            text = b"version %d\n" % number * 2000
            item.with_name("save").write_bytes(text)
            os.replace(item.with_name("save"), item)
            versions.append(text)
            time.sleep(0.001)

    editor = threading.Thread(target=edit)
    editor.start()
    wait_until(lambda: versions)
    done = refusals = 0
    try:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            found = read_file(str(item))
            time.sleep(random.choice((0, 0.001)))
            whole = found.data.removesuffix(b"baked\n")
            assert whole.count(whole.splitlines(keepends=True)[0]) == 2000, "half a file"
            try:
                replace_file(found, whole + b"baked\n")
                done += 1
            except FileNotReplaced:
                refusals += 1
    finally:
        stop.set()
        editor.join()
    assert done > 20
    assert refusals > 20
    assert sorted(os.listdir(item.parent)) == ["item.md"]


def test_two_who_replace_at_once_never_undo_each_other_unsaid(item):
    """Each adds to a count and says how often that was done; a replace after the last look is possible, and rare."""
    item.write_bytes(b"0")
    rounds = 400

    def work(out):
        done = 0
        while done < rounds:
            found = read_file(str(item))
            try:
                replace_file(found, b"%d" % (int(found.data) + 1), sync=False)
            except FileNotReplaced:
                continue
            done += 1
        os.write(out, b"x")

    read_end, write_end = os.pipe()
    assert ended_well(*(in_child(work, write_end) for _ in range(2)))
    os.close(read_end)
    os.close(write_end)
    assert rounds <= int(item.read_bytes()) <= 2 * rounds
    assert os.listdir(item.parent) == ["item.md"]


WRITER = """
import sys
from rye_telemetry.publish.write import read_file, replace_file
path = sys.argv[1]
print("ready", flush=True)
for n in range(10**9):
    try:
        replace_file(read_file(path), b"%d\\n" % (n % 7) * 300_000)
    except KeyboardInterrupt:
        sys.exit(130)
"""
# Where it cannot be named by its descriptor, a new file has a name from the start.
WITHOUT_PROC = ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
BOTH_WAYS = pytest.mark.parametrize(
    "prefix", [[], pytest.param(WITHOUT_PROC, marks=[AS_ROOT, ON_LINUX])], ids=["nameless", "named"]
)


def start_writer(item, prefix):
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", WRITER, item], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    if process.stdout.readline() != b"ready\n":
        assert prefix, process.communicate()
        pytest.skip("nothing can be mounted here")
    return process


def is_whole(data):
    return data == OLD or (len(data) == 600_000 and len(set(data)) == 2)


@BOTH_WAYS
def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new_one(item, prefix):
    halves = 0
    for _ in range(20):
        process = start_writer(item, prefix)
        time.sleep(random.random() * 0.03)
        process.kill()
        process.communicate()
        assert is_whole(item.read_bytes())
        others = [path for path in item.parent.iterdir() if path != item]
        assert all(path.name.startswith(".rye-telemetry.") for path in others)
        halves += sum(not is_whole(path.read_bytes()) for path in others)
        for path in others:
            path.unlink()
    assert prefix or not halves, "a file has a name only when it is whole"


@BOTH_WAYS
def test_an_interrupt_leaves_nothing_behind(item, prefix):
    for _ in range(10):
        process = start_writer(item, prefix)
        time.sleep(0.01 + random.random() * 0.03)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert is_whole(item.read_bytes())
        assert os.listdir(item.parent) == ["item.md"]


@AS_ROOT
@ON_LINUX
def test_a_system_that_knows_no_nameless_files_is_served_all_the_same(item):
    item.chmod(0o751)
    os.setxattr(item, "user.colour", b"red")
    code = (
        "import sys; from rye_telemetry.publish.write import *; replace_file(read_file(sys.argv[1]), b'new bytes\\n')"
    )
    done = subprocess.run([*WITHOUT_PROC, sys.executable, "-c", code, item], capture_output=True, check=False)
    if b"mount" in done.stderr:
        pytest.skip("nothing can be mounted here")
    assert done.returncode == 0, done.stderr
    assert (item.read_bytes(), stat.S_IMODE(item.stat().st_mode)) == (NEW, 0o751)
    assert os.getxattr(item, "user.colour") == b"red"
    assert os.listdir(item.parent) == ["item.md"]
