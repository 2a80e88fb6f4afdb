"""The filesystem below the state directory, and the locks on it."""

from __future__ import annotations

import errno
import os
import shutil
import time
from typing import TYPE_CHECKING

from rye_telemetry.doctor.finding import Finding, fine, problem, size_text, warning
from rye_telemetry.doctor.places import ELSEWHERE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rye_telemetry.doctor.places import Place

LITTLE_BYTES = 50 * 1000 * 1000
# What shares files between machines: a lock there may hold on one of them only.
NETWORK_TYPES = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "gpfs", "glusterfs", "ocfs2", "beegfs")
)
NETWORK_FUSE = frozenset(("fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.glusterfs", "fuse.davfs2", "fuse.gcsfuse"))
HELD_FOR_S = 1.0
POLL_S = 0.05


def check_space(path: str) -> Finding:
    free = shutil.disk_usage(path).free
    inodes = _free_inodes(path)
    if inodes == 0:
        return warning("space", "no file can be made there: all inodes are taken", "remove files there, " + ELSEWHERE)
    if free < LITTLE_BYTES:
        return warning("space", f"{size_text(free)} free", f"free some space there, {ELSEWHERE}")
    return fine("space", f"{size_text(free)} free")


def _free_inodes(path: str) -> int | None:
    if not hasattr(os, "statvfs"):
        return None
    found = os.statvfs(path)
    return found.f_favail if found.f_files else None


def check_filesystem(path: str, *, mounts: str = "/proc/self/mountinfo") -> Finding:
    if hasattr(os, "statvfs") and os.statvfs(path).f_flag & os.ST_RDONLY:
        return problem("filesystem", f"{path} is on a read-only filesystem", f"make it writable, {ELSEWHERE}")
    kind = filesystem_type(os.path.realpath(path), mounts)
    if kind is None:
        return fine("filesystem", "its type is not known on this system")
    if kind in NETWORK_TYPES or kind in NETWORK_FUSE:
        cure = "point RYE_STATE_DIR to a local disk, or use it from one machine at a time"
        return warning("filesystem", f"{kind}, a network filesystem: locks may not hold between machines", cure)
    return fine("filesystem", kind)


def filesystem_type(path: str, mounts: str) -> str | None:
    """Return the type of the filesystem that an absolute path is on; None where the system does not say."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    best, kind = "", None
    for line in lines:
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = _unescaped(fields[4])
        is_above = path == point or path.startswith(point.rstrip("/") + "/")
        if is_above and len(point) >= len(best):  # a later mount hides an earlier one at the same point
            best, kind = point, after.split(" ")[0]
    return kind


def _unescaped(text: str) -> str:
    for code in ("040", "011", "012", "134"):
        text = text.replace(f"\\{code}", chr(int(code, 8)))
    return text


def check_flock(places: Sequence[Place], *, probe: bool) -> Finding:
    """Whether a lock keeps a second one out; tried on a file that nobody locks, which is not written."""
    if not probe:
        return fine("flock", "not tried while telemetry is off")
    path = next((place.path for place in places if place.name.endswith((".ndjson", "telemetry.yaml"))), None)
    if path is None or os.name != "posix":
        return fine("flock", "not tried: nothing is stored yet" if path is None else "not tried on this system")
    first, second = _open(path), _open(path)
    try:
        return _lock_twice(first, second)
    finally:
        os.close(first)
        os.close(second)


def _lock_twice(first: int, second: int) -> Finding:
    import fcntl

    trouble = "a lock does not keep a second one out"
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return fine("flock", "locks hold")
    except OSError as e:
        if e.errno == errno.EBADF:
            return fine("flock", "not tried: this filesystem locks only files that are open for writing")
        trouble = e.strerror or str(e)
    return problem(
        "flock", trouble, "point RYE_STATE_DIR to a local disk: without locks each record makes a file of its own"
    )


def check_lock(check: str, path: str, *, probe: bool) -> Finding:
    """Whether nobody holds the lock for long; a lock that is held for a moment is the store at work.

    Without `probe` nothing is locked, and what the system tells has to do.
    """
    try:
        fd = _open(path)
    except FileNotFoundError:
        return fine(check, "not there yet")
    try:
        deadline = time.monotonic() + HELD_FOR_S
        while not (_is_free(fd) if probe else lock_holder(os.fstat(fd)) is None):
            if time.monotonic() > deadline:
                holder = lock_holder(os.fstat(fd))
                cure = "if that process hangs, end it; records are put aside meanwhile, and none is lost"
                return warning(check, f"held now by {holder or 'a process that the system does not name'}", cure)
            time.sleep(POLL_S)
    finally:
        os.close(fd)
    return fine(check, "free")


def _is_free(fd: int) -> bool:
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here at all: `flock` says so
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def lock_holder(status: os.stat_result, *, locks: str = "/proc/locks") -> str | None:
    """Return `process 123 (name)` when the system tells who holds a lock on this file."""
    try:
        with open(locks, encoding="ascii", errors="replace") as file:
            rows = [line.split() for line in file if " FLOCK " in line and " -> " not in line]
    except OSError:
        return None
    file_id = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for row in rows:
        if row[5] == file_id:
            name = _process_name(row[4])
            return f"process {row[4]} ({name})" if name else f"a process that got it from process {row[4]}, now gone"
    return None


def _process_name(pid: str) -> str | None:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def _open(path: str) -> int:
    from rye_telemetry.files import open_fd

    return open_fd(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
