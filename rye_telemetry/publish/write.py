"""A user's file: read with what it is, and replaced in one step where it still is that. Its old bytes stay, or all new ones."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from typing import NamedTuple

from rye_telemetry.errors import FileNotReplaced, FileUnreadable
from rye_telemetry.files import O_NONBLOCK, open_fd, sync_dir, try_unlink, write_all

MAX_BYTES = 16 * 1024 * 1024
_MUST_STAY = ("user.", "system.")  # `system.` holds the access lists; labels are given by the system's own rules
_HINTS = {
    errno.EACCES: "its folder must take a new file: check the permissions of both",
    errno.EPERM: "its folder must take a new file: check the permissions and attributes (lsattr) of both",
    errno.EROFS: "it is on a file system that is mounted read-only",
    errno.ENOSPC: "make room, then try again",
    errno.EDQUOT: "make room, then try again",
    errno.EBUSY: "it is mounted by itself: mount its folder instead",
}


class Found(NamedTuple):
    """A file as it was read: at most one byte more than `MAX_BYTES`, its path without symlinks, and its status then."""

    data: bytes
    real_path: str
    status: os.stat_result


def read_file(path: str) -> Found:
    """Read a regular file, through symlinks. FileUnreadable for what is none, at once, whatever it is."""
    try:
        real_path = os.path.realpath(path, strict=True)
        return Found(*_look(real_path))
    except OSError as e:
        hint = "check the name" if isinstance(e, FileNotFoundError) else "check its permissions"
        raise FileUnreadable(f"{path!r} cannot be read: {e.strerror}: {hint}") from e


def replace_file(found: Found, new: bytes, *, sync: bool = True) -> None:
    """Put `new` where `found` was read, with its mode, owner, group, access lists and attributes.

    FileNotReplaced where that is not possible, or where the file is not as it was read; then nothing has changed.
    """
    if new == found.data:
        return
    _check_replaceable(found)
    try:
        _replace(found, new, sync=sync)
    except OSError as e:
        hint = _HINTS.get(e.errno or 0, "try again")
        raise FileNotReplaced(f"{found.real_path!r} stays as it was: {e.strerror or e}: {hint}") from e


def _look(real_path: str) -> tuple[bytes, str, os.stat_result]:
    if not stat.S_ISREG(os.lstat(real_path).st_mode):  # before it is opened: a device may act on that
        raise FileUnreadable(f"{real_path!r} is not a regular file: name one")
    fd = open_fd(real_path, os.O_RDONLY | O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise FileUnreadable(f"{real_path!r} is no longer a regular file: try again")
        return _read_up_to(fd, MAX_BYTES + 1), real_path, status
    finally:
        os.close(fd)


def _read_up_to(fd: int, most: int) -> bytes:
    parts = []
    while most and (part := os.read(fd, min(most, 1 << 20))):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


def _check_replaceable(found: Found) -> None:
    path = found.real_path
    if len(found.data) > MAX_BYTES:
        raise FileNotReplaced(f"{path!r} is over {MAX_BYTES >> 20} MiB: it stays as it was")
    if found.status.st_nlink > 1:
        raise FileNotReplaced(
            f"{path!r} has {found.status.st_nlink} names (hard links), and a new file would leave the others behind:"
            f" give it a file of its own (cp -p FILE COPY && mv COPY FILE), then try again"
        )
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise FileNotReplaced(
            f"{path!r} may not be written and stays as it was: check its permissions, attributes (lsattr) and file system"
        )


def _replace(found: Found, new: bytes, *, sync: bool) -> None:
    folder = os.path.dirname(found.real_path)
    temporary = os.path.join(folder, f".rye-telemetry.{os.getpid()}.{time.time_ns():x}.tmp")
    try:
        _write_new(temporary, found, new, sync=sync)
        _check_unchanged(found)
        os.replace(temporary, found.real_path)
    finally:
        try_unlink(temporary)
    if sync:
        with contextlib.suppress(OSError):  # the new file is there; a folder may be one that can be written, not read
            sync_dir(folder)


def _write_new(temporary: str, found: Found, new: bytes, *, sync: bool) -> None:
    """Write the new file; it has no name until it is whole, where the system knows such files: a kill leaves none then."""
    fd = _open_nameless(os.path.dirname(temporary))
    is_nameless = fd >= 0
    if not is_nameless:
        fd = open_fd(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        _take_over(fd, found)
        write_all(fd, new)  # then the kernel takes away what vouches for the old bytes, capabilities first of all
        if sync:
            os.fsync(fd)
        if is_nameless:
            # With a `src_dir_fd`, of whatever worth, Python calls linkat, which follows this link as told.
            os.link(f"/proc/self/fd/{fd}", temporary, src_dir_fd=fd, follow_symlinks=True)
    finally:
        os.close(fd)


def _open_nameless(folder: str) -> int:
    if sys.platform != "linux" or not os.path.isdir("/proc/self/fd"):
        return -1
    try:
        return open_fd(folder, os.O_WRONLY | os.O_TMPFILE)
    except OSError:  # this file system has none; or the folder may not be written, which the named one will say
        return -1


def _take_over(fd: int, found: Found) -> None:
    """Give the new file the owner, group, attributes, access lists and mode of the old one, or refuse."""
    if sys.platform == "win32":
        return
    old, new = found.status, os.fstat(fd)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        try:
            os.fchown(fd, old.st_uid, old.st_gid)
        except OSError as e:
            raise FileNotReplaced(
                f"{found.real_path!r} belongs to user {old.st_uid} and group {old.st_gid}, and a new file of ours cannot:"
                f" it stays as it was; let its owner do this, or chown it"
            ) from e
    _copy_attributes(found.real_path, fd)
    os.fchmod(fd, stat.S_IMODE(old.st_mode))  # last: a change of owner takes bits away, and of access lists others


def _copy_attributes(path: str, fd: int) -> None:
    if sys.platform != "linux":
        return
    old, new = _attributes(path), _attributes(fd)
    for name in old.keys() | new.keys():
        if old.get(name) == new.get(name):
            continue
        try:
            if name in old:
                os.setxattr(fd, name, old[name])
            else:  # an access list that the folder gives to what is made in it
                os.removexattr(fd, name)
        except OSError:
            if name.startswith(_MUST_STAY):
                raise


def _attributes(place: str | int) -> dict[str, bytes]:
    if sys.platform != "linux":
        return {}
    try:
        return {name: os.getxattr(place, name) for name in os.listxattr(place)}
    except OSError as e:
        if e.errno == errno.ENOTSUP:
            return {}
        raise


def _check_unchanged(found: Found) -> None:
    try:
        data, _, status = _look(found.real_path)
    except (FileUnreadable, OSError) as e:
        raise FileNotReplaced(f"{found.real_path!r} went away meanwhile: try again") from e
    if _identity(status) != _identity(found.status) or data != found.data:
        raise FileNotReplaced(f"{found.real_path!r} was changed meanwhile, and stays as it is: try again")


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_nlink,
    )
