"""The journal: append-only NDJSON segments, the one truth. Everything else is read from here.

Layout below the state directory (docs/journal.md):
    telemetry/journal.lock                     the append lock
    telemetry/journal/2026-W47-0001.ndjson     a segment: at most one ISO week and 10 MiB
    telemetry/journal/spill/ID.ndjson          lines of a writer that could not have the lock in time
    telemetry/journal/archive/*.ndjson.gz      closed segments
"""

from __future__ import annotations

import _thread
import errno
import os
import time

from rye_telemetry.errors import JournalCorrupt, StateBusy, StateUnavailable
from rye_telemetry.files import (
    FileLock,
    make_private_dir,
    open_fd,
    read_file,
    replace_file,
    sync_dir,
    try_unlink,
    write_all,
)
from rye_telemetry.lines import decode_line, encode_line, instant_text, new_run_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rye_telemetry.model import Fields

SUFFIX = ".ndjson"
APPEND_WAIT_S = 0.05
SPILLING_WAIT_S = 0.001  # after a wait in vain; enough for another thread of ours to be done
CHANGE_WAIT_S = 10.0
MAX_SEGMENT_BYTES = 10 * 1024 * 1024
HEADER_BYTES = 4096
_HINTS = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some of your quota there",
    errno.EROFS: "make it writable, or point RYE_STATE_DIR to a place that is",
    errno.EACCES: "make it yours and writable, or point RYE_STATE_DIR to a place that is",
    errno.EPERM: "make it yours and writable, or point RYE_STATE_DIR to a place that is",
    errno.ENOTDIR: "move the file away that stands where this directory should be",
    errno.EISDIR: "move the directory away that stands where this file should be",
    errno.ELOOP: "remove the symbolic link there",
    errno.ENOENT: "create the directory above it, or set RYE_STATE_DIR",
}


def state_unavailable(path: str, error: OSError) -> StateUnavailable:
    """Return the error that says what is wrong with the state directory and what to do."""
    hint = _HINTS.get(error.errno or 0, "run `rye-telemetry doctor`")
    return StateUnavailable(f"{error.filename or path}: {error.strerror or error}: {hint}")


class Segment:
    """One journal file as found; `order` is (year, week, number)."""

    __slots__ = ("archived", "name", "order", "path")

    def __init__(self, name: str, path: str, order: tuple[int, int, int], *, archived: bool) -> None:
        self.name = name
        self.path = path
        self.order = order
        self.archived = archived


class Journal:
    """Appends lines, and lists and reads segments. Threads and forked children may share it."""

    def __init__(self, state_dir: str, *, sync: bool = False, max_segment_bytes: int = MAX_SEGMENT_BYTES) -> None:
        self.home = os.path.join(state_dir, "telemetry")
        self.directory = os.path.join(self.home, "journal")
        self.spill_dir = os.path.join(self.directory, "spill")
        self.reports_dir = os.path.join(self.home, "reports")  # written by commands, each removed with its run's end
        self.archive_dir = os.path.join(self.directory, "archive")
        self.lock = FileLock(os.path.join(self.home, "journal.lock"))
        self.sync = sync
        self._end = -1
        self.max_segment_bytes = max_segment_bytes
        self._spilling = False
        self._busy: set[int] = set()  # threads that are at it
        self._drop_segment()

    # -- append

    def append(self, data: bytes, *, wait_s: float = APPEND_WAIT_S) -> None:
        """Keep whole lines: on return they survive a kill of anything. StateUnavailable when they could not be kept.

        Waits at most `wait_s` for other writers, then puts the lines beside the segments, where readers look too.
        """
        try:
            if not self._append_locked(data, min(wait_s, SPILLING_WAIT_S) if self._spilling else wait_s):
                self._spill(data)
        except OSError as e:
            raise state_unavailable(self.directory, e) from e

    def _append_locked(self, data: bytes, wait_s: float) -> bool:
        me = _thread.get_ident()
        if me in self._busy and self.lock.is_mine():  # both, for an interrupt may leave one behind
            return False  # a signal handler of this thread in the middle of a write: its lines are spilled
        try:
            self._busy.add(me)
            return self._append_alone(data, wait_s)
        finally:
            self._busy.discard(me)

    def _append_alone(self, data: bytes, wait_s: float) -> bool:
        for _ in range(3):
            try:
                locked = self.lock.acquire(wait_s=wait_s)
            except FileNotFoundError:
                make_private_dir(self.directory)
                continue
            except OSError as e:
                if e.errno in (errno.ENOLCK, errno.EOPNOTSUPP):
                    return False
                raise
            self._spilling = not locked
            if not locked:
                return False
            try:
                if self._write(data):
                    return True
            finally:
                self.lock.release()
            self.lock.close()  # somebody removed the lock file under us: a new one, or we would exclude nobody
        return False

    def _write(self, data: bytes) -> bool:
        size = self._ready_segment()
        if size is None:
            return False
        if size != self._end and size and os.pread(self._fd, 1, size - 1) != b"\n":
            data = b"\n" + data  # the line before was torn by a kill: the damage stays in it
        try:
            write_all(self._fd, data)
            if self.sync:
                os.fsync(self._fd)
        except OSError:
            self._end = -1
            os.ftruncate(self._fd, size)
            raise
        self._end = size + len(data)
        return True

    def _ready_segment(self) -> int | None:
        """Return the size of the segment that is now open and newest; None when the lock guards nothing any more."""
        try:
            stamp = os.stat(self.directory).st_mtime_ns
        except FileNotFoundError:
            make_private_dir(self.directory)
            stamp = -1
        if stamp == self._stamp and time.time() < self._week_end:
            try:
                found = os.stat(self._path)
            except FileNotFoundError:
                pass
            else:
                if (found.st_dev, found.st_ino) == self._identity and found.st_size < self.max_segment_bytes:
                    return found.st_size
        if not self.lock.is_in_place():
            return None
        return self._choose_segment()

    def _choose_segment(self) -> int:
        self._drop_segment()
        now = time.time()
        path = self._newest_path(_week_of(now))
        self._fd = open_fd(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        found = os.fstat(self._fd)
        if not found.st_size:
            self._begin_segment(now)
            found = os.fstat(self._fd)
        self._path, self._identity = path, (found.st_dev, found.st_ino)
        self._stamp = os.stat(self.directory).st_mtime_ns
        self._week_end = (now // 86400 + 1) * 86400  # looked at again each UTC day: simple, and never late for a week
        return found.st_size

    def _newest_path(self, wanted: tuple[int, int]) -> str:
        """Return the segment to write in week `wanted`: never an older one than there is, archived or not."""
        found = self.segments()
        newest = found[-1] if found else None
        if newest is None or newest.order[:2] < wanted:
            return self._path_of((*wanted, 1))
        if newest.archived or os.path.getsize(newest.path) >= self.max_segment_bytes:
            return self._path_of((*newest.order[:2], newest.order[2] + 1))
        return newest.path

    def _begin_segment(self, now: float) -> None:
        try:
            write_all(self._fd, segment_header(now))
        except OSError:
            os.ftruncate(self._fd, 0)
            raise
        if self.sync:
            sync_dir(self.directory)

    def _drop_segment(self) -> None:
        fd = getattr(self, "_fd", -1)
        self._stamp, self._week_end, self._end = -2, 0.0, -1
        self._fd, self._path, self._identity = -1, "", (-1, -1)
        if fd >= 0:  # closed last: a child forked in between must not take another file for it
            os.close(fd)

    def _path_of(self, order: tuple[int, int, int]) -> str:
        return os.path.join(self.directory, f"{order[0]:04d}-W{order[1]:02d}-{order[2]:04d}{SUFFIX}")

    def _spill(self, data: bytes) -> None:
        path = os.path.join(self.spill_dir, new_run_id(time.time_ns()) + SUFFIX)
        try:
            replace_file(path, data, sync=self.sync)
        except FileNotFoundError:  # the first one here, or a `clear` swept the directory
            make_private_dir(self.spill_dir)
            replace_file(path, data, sync=self.sync)

    # -- read

    def segments(self, *, archived: bool = True) -> list[Segment]:
        """Return every segment, oldest first; one that is both live and archived counts as live."""
        found: dict[str, Segment] = {}
        if archived:
            _scan_segments(self.archive_dir, SUFFIX + ".gz", found, archived=True)
        _scan_segments(self.directory, SUFFIX, found, archived=False)
        return sorted(found.values(), key=lambda segment: segment.order)

    def spills(self) -> list[str]:
        try:
            with os.scandir(self.spill_dir) as entries:
                found = [e.name for e in entries if e.name.endswith(SUFFIX) and e.is_file(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [os.path.join(self.spill_dir, name) for name in sorted(found)]

    def fold_spills(self, *, limit: int | None = None) -> int:
        """Move spilled lines into the newest segment; return how many files. A kill in between doubles lines, not runs."""
        folded = 0
        for path in self.spills()[:limit]:
            try:
                data = read_file(path)
            except OSError:  # folded by another, or not ours to read: `doctor` names it
                continue
            if not self._append_locked(data if data.endswith(b"\n") else data + b"\n", 0.0):
                break
            try_unlink(path)
            folded += 1
        return folded

    # -- change

    def rewrite(self, keep: Callable[[bytes], bytes | None]) -> int:
        """Rewrite every segment, archive and spill line by line under the append lock; return how many lines went.

        `keep` gets a line without its newline and returns the line to keep, or None. The projection lock is held.
        """
        if not self.lock.acquire(wait_s=CHANGE_WAIT_S):
            raise StateBusy(f"{self.lock.path} is held by another process: try again when it has ended")
        try:
            self._drop_segment()
            return sum(self._rewrite_file(path, keep) for path in self._all_files())
        finally:
            self.lock.release()

    def _all_files(self) -> list[str]:
        return [segment.path for segment in self.segments()] + self.spills()

    def _rewrite_file(self, path: str, keep: Callable[[bytes], bytes | None]) -> int:
        old = read_segment(path).split(b"\n")
        if old[-1] == b"":
            old.pop()
        new = [kept for line in old if (kept := keep(line)) is not None]
        if new == old:
            return 0
        if not any(not line.startswith(b'{"v":1,"kind":"segment"') for line in new):
            os.unlink(path)
            return len(old) - len(new)
        data = b"".join(line + b"\n" for line in new)
        if path.endswith(".gz"):
            import gzip

            data = gzip.compress(data, mtime=0)
        replace_file(path, data, sync=self.sync)
        return len(old) - len(new)

    def close(self) -> None:
        """Let go of every file, unless another thread writes; `append` opens them again."""
        if self.lock.is_open() and self.lock.acquire():
            self._drop_segment()
            self.lock.release()
        self.lock.close()


def segment_header(now: float, **more: object) -> bytes:
    at_ns = int(now * 1e9)
    return encode_line("segment", {"generation": new_run_id(at_ns), "created_at": instant_text(at_ns), **more})


def read_header(path: str) -> Fields:
    """Return the first line of a segment; an empty mapping when it has none that can be read."""
    try:
        if path.endswith(".gz"):
            head = read_segment(path)[:HEADER_BYTES]
        else:
            fd = open_fd(path, os.O_RDONLY)
            try:
                head = os.read(fd, HEADER_BYTES)
            finally:
                os.close(fd)
        fields = decode_line(head.partition(b"\n")[0])
    except ValueError:
        return {}
    return fields if fields["kind"] == "segment" else {}


def read_segment(path: str) -> bytes:
    """Return all bytes of a segment or archive; JournalCorrupt when an archive cannot be unpacked."""
    data = read_file(path)
    if not path.endswith(".gz"):
        return data
    import gzip
    import zlib

    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as e:
        raise JournalCorrupt(f"{path} is not whole gzip ({e}): move it out of the journal, or restore it") from e


def read_chunks(path: str, offset: int, *, limit: int = 1 << 22) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, whole lines) from `offset` to the last newline, in pieces of about `limit` bytes."""
    if path.endswith(".gz"):
        data = read_segment(path)
        if offset < len(data):
            yield offset, data[offset:]
        return
    fd = open_fd(path, os.O_RDONLY)
    try:
        while True:
            data = os.pread(fd, limit, offset)
            end = data.rfind(b"\n") + 1
            while not end and len(data) == limit:  # one line longer than a piece
                limit *= 2
                data = os.pread(fd, limit, offset)
                end = data.rfind(b"\n") + 1
            if not end:
                return
            yield offset, data[:end]
            offset += end
    finally:
        os.close(fd)


def _scan_segments(directory: str, suffix: str, found: dict[str, Segment], *, archived: bool) -> None:
    try:
        with os.scandir(directory) as entries:  # a FIFO or a link of that name is no segment; `doctor` names it
            names = [
                entry.name for entry in entries if entry.name.endswith(suffix) and entry.is_file(follow_symlinks=False)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        stem = name[: -len(suffix)]
        year, _, rest = stem.partition("-W")
        week, _, number = rest.partition("-")
        if year.isdecimal() and week.isdecimal() and number.isdecimal():
            order = (int(year), int(week), int(number))
            found[stem] = Segment(stem, os.path.join(directory, name), order, archived=archived)


def _week_of(now: float) -> tuple[int, int]:
    """Return the ISO year and week in UTC; the week belongs to the year of its Thursday."""
    days = int(now // 86400)
    thursday = days - (days + 3) % 7 + 3  # 1970-01-01 was a Thursday
    t = time.gmtime(thursday * 86400)
    return t.tm_year, (t.tm_yday - 1) // 7 + 1
