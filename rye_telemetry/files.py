"""Private files, locks that wait no longer than told, atomic replacement."""

from __future__ import annotations

import _thread
import errno
import os
import stat
import sys
import time

if sys.platform != "win32":
    import fcntl

# A writer holds the lock for some microseconds, less than any sleep: 8 writers on 2 cores record a third more this way.
YIELDS = 3
_yield_core = getattr(os, "sched_yield", lambda: None)
FIRST_FREE_FD = 3  # a file of ours on 0, 1 or 2 would receive what the command, or Python, prints
O_BINARY = getattr(os, "O_BINARY", 0)
O_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
O_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
O_NONBLOCK = getattr(os, "O_NONBLOCK", 0)  # a FIFO planted in a file's place must not make us wait


def open_fd(path: str, flags: int) -> int:
    """Open a file, never through a symlink at its end or on a standard descriptor; a new one is 0600 under any umask."""
    flags |= O_BINARY | O_CLOEXEC | O_NOFOLLOW
    try:
        fd = os.open(path, flags & ~os.O_CREAT if not flags & os.O_EXCL else flags, 0o600)
        new = bool(flags & os.O_EXCL)
    except FileNotFoundError:
        if not flags & os.O_CREAT or flags & os.O_EXCL:
            raise
        fd = os.open(path, flags, 0o600)
        new = True
    if new and hasattr(os, "fchmod"):
        os.fchmod(fd, 0o600)
    if sys.platform == "win32" or fd >= FIRST_FREE_FD:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD)
    finally:
        os.close(fd)


def make_private_dir(path: str, *, again: bool = False) -> None:
    """Create a directory and its missing parents, each as 0700 under any umask."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
        return
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if parent == path or again:
            raise
        make_private_dir(parent)
        make_private_dir(
            path, again=True
        )  # at most once: below /proc the parent is there and nothing can be made in it
        return
    os.chmod(path, 0o700)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; a short write goes on, and raises the error that cut it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_file(path: str) -> bytes:
    """Read a whole regular file without following a symlink at its end."""
    fd = open_fd(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        parts = []
        while part := os.read(fd, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def replace_file(path: str, data: bytes, *, temporary: str = "", sync: bool = False) -> None:
    """Put `data` at `path` so that a reader finds the old bytes or the new ones, never less.

    A `temporary` name of its own is for a caller who holds a lock: what a killed one left there is overwritten.
    """
    temporary = temporary or f"{path}.{os.getpid()}.{time.time_ns():x}.tmp"
    fd = open_fd(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        try:
            write_all(fd, data)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)
        if sync:
            sync_dir(os.path.dirname(path))
    except BaseException:
        try_unlink(temporary)
        raise


def sync_dir(path: str) -> None:
    """Let the names in a directory outlive a power cut, where this system can."""
    if os.name == "posix":
        fd = os.open(path, os.O_RDONLY | O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def try_unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


# What must not be halfway when another thread forks, for the child would wait for ever on a lock of Python's imports or of
# SQLite's whose holder it has not got.
between_forks = _thread.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=between_forks.acquire, after_in_parent=between_forks.release, after_in_child=between_forks.release
    )

# A forked child must not keep its parent's locks alive: flock belongs to the open file, which both share.
_lock_fds: set[int] = set()
_fork_guard = _thread.allocate_lock()


def _drop_inherited_locks() -> None:
    global _fork_guard  # noqa: PLW0603 (another thread of the parent may have held it)
    _fork_guard = _thread.allocate_lock()
    for fd in _lock_fds:
        os.close(fd)
    _lock_fds.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_inherited_locks)


def _release_whole(guard: _thread.RLock) -> None:
    try:
        while True:
            guard.release()
    except RuntimeError:  # no longer ours
        pass


class FileLock:
    """A lock on a file that is never replaced; free again when its holder dies, however it dies.

    It keeps other processes and other threads out alike; a forked child opens the file anew and holds nothing.
    """

    __slots__ = ("_guard", "_pid", "fd", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1
        self._pid = os.getpid()
        # Reentrant, and given back whole: an interrupt can fall into `release`, and the thread must not lock itself out.
        self._guard = _thread.RLock()

    def acquire(self, *, wait_s: float = 0.0) -> bool:
        """Take the lock, trying again for at most `wait_s`; say whether it was had. OSError where the file cannot be."""
        deadline = time.monotonic() + wait_s
        self._know_own_process()
        guard = self._guard
        if not guard.acquire(wait_s > 0, wait_s if wait_s > 0 else -1):
            return False
        try:
            locked = self._acquire_file(deadline)
        except BaseException:  # an interrupt too: nobody may be left waiting for a lock that is not in use
            self.release()
            raise
        if not locked:
            guard.release()
        return locked

    def _acquire_file(self, deadline: float) -> bool:
        if self.fd < 0:
            fd = open_fd(self.path, os.O_RDWR | os.O_CREAT | O_NONBLOCK)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                raise OSError(errno.EINVAL, "not a regular file", self.path)
            self.fd = fd
            _lock_fds.add(fd)
        for _ in range(YIELDS):
            if _try_lock(self.fd):
                return True
            _yield_core()
        pause = 0.000_05
        while not _try_lock(self.fd):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.005)
        return True

    def _know_own_process(self) -> None:
        """Forget, in a forked child, what the parent's threads held when it was forked."""
        if self._pid != os.getpid():
            with _fork_guard:
                if self._pid != os.getpid():
                    self._guard = _thread.RLock()
                    self.fd = -1
                    self._pid = os.getpid()

    def release(self) -> None:
        """Give back a lock that this thread has; nothing, where another thread or a forked child's parent has it."""
        if self._pid != os.getpid() or not self._guard.acquire(False):
            return
        if self.fd >= 0:
            _unlock(self.fd)
        _release_whole(self._guard)

    def is_mine(self) -> bool:
        """Say whether this thread has the lock."""
        return self._guard._is_owned()  # type: ignore[attr-defined, no-any-return]  # noqa: SLF001 (as `threading` does)

    def is_open(self) -> bool:
        return self.fd >= 0 and self._pid == os.getpid()

    def is_in_place(self) -> bool:
        """Say whether the locked file is still the one at its path; false after somebody removed the directory."""
        try:
            there = os.stat(self.path)
        except OSError:
            return False  # it went, or cannot be reached any more
        here = os.fstat(self.fd)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def close(self) -> None:
        """Let go of the file, unless another thread has the lock; `acquire` opens it again."""
        self._know_own_process()
        if self._guard.acquire(False):
            self._drop()
            _release_whole(self._guard)

    def _drop(self) -> None:
        if self._pid == os.getpid() and self.fd in _lock_fds:
            _lock_fds.discard(self.fd)
            os.close(self.fd)
        self.fd = -1

    __del__ = _drop


if sys.platform != "win32":

    def _try_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)

else:  # Windows: byte-range locks

    def _try_lock(fd: int) -> bool:
        import msvcrt

        os.lseek(fd, 0x7FFF0000, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(fd: int) -> None:
        import msvcrt

        os.lseek(fd, 0x7FFF0000, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
