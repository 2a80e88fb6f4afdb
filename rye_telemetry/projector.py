"""Keeps index and `telemetry.yaml` in step with the journal, under the projection lock.

The lock file, `telemetry.lock`, is never replaced and holds the stamp: which index file, of which size and time, and which
`telemetry.yaml` the last projection left behind, and in which boot. A file that differs was changed by something else, or by a
power cut, and is made anew from the journal.
"""

from __future__ import annotations

import _thread
import gc
import os
import time

from rye_telemetry import liveness, snapshot
from rye_telemetry.errors import IndexUnusable, StateBusy, StateUnavailable
from rye_telemetry.files import O_NONBLOCK, FileLock, open_fd, try_unlink
from rye_telemetry.index import NAME as INDEX_NAME
from rye_telemetry.index import Index
from rye_telemetry.journal import CHANGE_WAIT_S, read_chunks, read_header, state_unavailable
from rye_telemetry.lines import decode_json, encode_json, encode_line, instant_text
from rye_telemetry.sqlite import sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rye_telemetry.journal import Journal, Segment
    from rye_telemetry.model import Fields

    Progress = Callable[[int, int], None]

# What a recording process applies at most before it goes on; about 10 ms and 150 ms here. A reader applies everything.
RECORD_BYTES = 64 * 1024
EXIT_BYTES = 4 * 1024 * 1024
RECORD_OPEN_RUNS = 50
RECORD_SPILLS = 200
_ID_SIGNS = frozenset("0123456789abcdef-")
READ_OPEN_RUNS = 100_000
BUSY_WAIT_S = 1.0


class Projector:
    """Owns the projection lock, the index file and `telemetry.yaml` of one state directory."""

    def __init__(self, state_dir: str, journal: Journal) -> None:
        self.journal = journal
        self.snapshot_path = os.path.join(state_dir, snapshot.NAME)
        self.index_path = os.path.join(state_dir, "telemetry", INDEX_NAME)
        self.lock = FileLock(os.path.join(state_dir, "telemetry.lock"))
        self.notices: list[str] = []
        self.thread = 0  # which one works here: a signal handler in it must not begin again in the middle
        self._read_to: dict[str, int] = {}

    def acquire(self, *, wait_s: float = 0.0) -> bool:
        """Take the projection lock; false when another process, thread, or this one further up has it."""
        if self.thread == _thread.get_ident() or not self.lock.acquire(wait_s=wait_s):
            return False
        if self.lock.is_in_place():
            return True
        self.lock.close()  # its directory was removed: a new file, or we would exclude nobody
        return self.lock.acquire(wait_s=wait_s)

    # -- for a process that records

    def follow(self, *, limit_bytes: int = RECORD_BYTES) -> None:
        """Project what is new, if nobody else does and it is little; at most two rounds, no waiting, no new directory."""
        for _ in range(2):
            try:
                if not self.acquire():
                    return
            except OSError as e:
                raise state_unavailable(self.lock.path, e) from e
            try:
                self.thread = _thread.get_ident()
                if not self.catch_up(limit_bytes=limit_bytes):
                    return
            except sqlite3.Error as e:
                raise StateUnavailable(f"{self.index_path}: {e}: run `rye-telemetry doctor`") from e
            finally:
                self.thread = 0
                self.lock.release()
            if not self._has_more():
                return

    def _has_more(self) -> bool:
        """Look once more: a writer that found the lock taken relies on it."""
        newest = self.journal.segments(archived=False)[-1:]
        return any(self._size(segment) > self._read_to.get(segment.name, 0) for segment in newest)

    # -- the round

    def catch_up(self, *, limit_bytes: int | None = None, progress: Progress | None = None) -> bool:
        """Bring index and snapshot up to the journal; the caller holds the lock. False: too much for `limit_bytes`.

        One transaction a round, cursors included, so each line counts exactly once wherever a kill comes.
        """
        state = self.stamp_state()
        if state != "clean" or not self._snapshot_is_ours_and_whole():
            self._adopt_foreign_snapshot(first=state == "none")
        self.journal.fold_spills(limit=None if limit_bytes is None else RECORD_SPILLS)
        try:
            if state in ("clean", "dirty"):
                index = Index.open(self.index_path, wait_s=BUSY_WAIT_S if limit_bytes is None else 0.0)
                try:
                    if self._round(index, state, limit_bytes, progress):
                        return True
                finally:
                    index.close()
        except (IndexUnusable, ValueError):  # a value that no projection wrote
            pass
        except sqlite3.DatabaseError as e:
            if _is_of_the_disk(e):
                raise
            if limit_bytes is not None and "locked" in str(e):  # somebody looks at it; a reader has the time
                return False
        return self.rebuild(limit_bytes, progress)

    def _round(self, index: Index, state: str, limit_bytes: int | None, progress: Progress | None) -> bool:
        """Apply what is new and publish it; False when the index is of another journal."""
        segments = self.journal.segments()
        if not self.cursors_fit(index, segments):
            return False
        self._read_to = {name: cursor[3] for name, cursor in index.cursors().items()}
        unread = any(self._size(s) > self._read_to.get(s.name, 0) for s in segments if not s.archived)
        limit = RECORD_OPEN_RUNS if limit_bytes else READ_OPEN_RUNS
        if unread or self.abandoned_runs(index, limit):
            self._write_stamp("dirty")
            index.begin()
            self.apply(index, segments, limit_bytes, progress)
            self._close_abandoned(index, limit, limit_bytes)
            index.commit()
        elif state == "clean" and self._snapshot_is_ours_and_whole():
            return True
        self._publish(index)
        return True

    def rebuild(self, limit_bytes: int | None, progress: Progress | None) -> bool:
        """Make the index anew beside the old one; False when that is too much for a recording process."""
        segments = self.uncovered(self.journal.segments())
        if limit_bytes is not None and sum(map(self._size, segments)) > max(limit_bytes, EXIT_BYTES):
            return False
        beside = self.index_path + ".new"
        self._write_stamp("rebuilding")
        index = Index.create(beside)
        try:
            index.begin()
            self._read_to = {}
            with_gc = gc.isenabled()
            gc.disable()  # nothing made here refers to itself; looking for it costs a tenth of the time
            try:
                self.apply(index, segments, None, progress)
            finally:
                if with_gc:
                    gc.enable()
            self._close_abandoned(index, READ_OPEN_RUNS, None)
            for segment in self.journal.segments():
                if segment.name not in self._read_to:  # a checkpoint stands for it: it counts as read
                    index.set_cursor(segment.name, *self._identity(segment), self._size(segment))
            index.commit()
            index.add_lookups()
        finally:
            index.close()
        try_unlink(self.index_path + "-journal")
        os.replace(beside, self.index_path)
        index = Index.open(self.index_path)
        try:
            self._publish(index)
        finally:
            index.close()
        return True

    def _close_abandoned(self, index: Index, limit: int, limit_bytes: int | None) -> None:
        """Close runs whose process is gone, once what it may have said at its end has been read."""
        runs = self.abandoned_runs(index, limit)
        if runs:
            self.journal.append(self.abandoned_lines(runs))
            for run_id in runs:  # what its command reported, nobody will read
                if _ID_SIGNS.issuperset(run_id):
                    try_unlink(os.path.join(self.journal.reports_dir, run_id + ".ndjson"))
            self.apply(index, self.uncovered(self.journal.segments()), limit_bytes)

    def apply(
        self, index: Index, segments: list[Segment], limit_bytes: int | None, progress: Progress | None = None
    ) -> None:
        cursors = index.cursors()
        total = sum(map(self._size, segments)) if progress else 0
        done = 0
        for segment in segments:
            offset = cursors[segment.name][3] if segment.name in cursors else 0
            if segment.archived and offset:
                continue
            if segment.name in cursors and self._size(segment) <= offset:
                self._read_to[segment.name] = offset
                continue
            before = offset
            end = self._size(segment)  # who writes on meanwhile is read the next time
            for at, data in read_chunks(segment.path, offset, limit=limit_bytes or 1 << 22):
                index.apply(segment.name, at, data)
                offset = at + len(data)
                if progress:
                    done += len(data)
                    progress(done, total)
                if limit_bytes is not None:
                    limit_bytes -= len(data)
                if offset >= end or (limit_bytes is not None and limit_bytes <= 0):
                    break
            if offset != before or segment.name not in cursors:
                index.set_cursor(segment.name, *self._identity(segment), offset)
            self._read_to[segment.name] = offset
            if limit_bytes is not None and limit_bytes <= 0:
                return

    @staticmethod
    def _size(segment: Segment) -> int:
        try:
            return os.path.getsize(segment.path)
        except FileNotFoundError:
            return 0

    @staticmethod
    def _identity(segment: Segment) -> tuple[int, int, str]:
        found = os.stat(segment.path)
        return found.st_dev, found.st_ino, str(read_header(segment.path).get("generation", ""))

    def cursors_fit(self, index: Index, segments: list[Segment]) -> bool:
        """Say whether what the index has read is still what the journal's files hold."""
        there = {segment.name: segment for segment in segments}
        cursors = index.cursors()
        for name, (device, inode, generation, offset) in cursors.items():
            segment = there.get(name)
            if segment is None:
                return False
            if segment.archived:
                continue
            try:
                found = os.stat(segment.path)
            except FileNotFoundError:
                return False
            if (found.st_dev, found.st_ino) != (device, inode) or found.st_size < offset:
                return False
            if found.st_size > offset and read_header(segment.path).get("generation", "") != generation:
                return False
        return not any(read_header(there[name].path).get("covers") for name in there.keys() - cursors.keys())

    @staticmethod
    def uncovered(segments: list[Segment]) -> list[Segment]:
        """Leave out the segments that a checkpoint stands for."""
        covered: set[object] = set()
        for segment in segments:
            covers = read_header(segment.path).get("covers")
            if isinstance(covers, list):
                covered.update(map(str, covers))
        return [segment for segment in segments if segment.name not in covered]

    def abandoned_runs(self, index: Index, limit: int) -> list[str]:
        """Return the ids of open runs whose process is certainly gone."""
        return [
            run_id
            for run_id, process in index.open_runs(limit)
            if process is not None and liveness.is_gone(decode_json(process))
        ]

    @staticmethod
    def abandoned_lines(runs: list[str]) -> bytes:
        now = instant_text(time.time_ns())
        return b"".join(encode_line("abandoned", {"run_id": run_id, "ended_at": now}) for run_id in runs)

    # -- what was published

    def _publish(self, index: Index) -> None:
        snapshot.write_snapshot(self.snapshot_path, index.blocks(), updated=index.updated())
        self._write_stamp("clean")

    def secure(self) -> None:
        """Let the index outlive a power cut, once after it changed: a reader has the milliseconds, a recorder has not."""
        if self._read_stamp().get("state") == "clean":
            fd = open_fd(self.index_path, os.O_RDWR)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            self._write_stamp("safe")

    def _write_stamp(self, state: str) -> None:
        stamp: Fields = {"state": state, "boot": liveness.boot_id()}
        if state in ("clean", "safe"):
            stamp["index"] = _mark_of(self.index_path)
            stamp["snapshot"] = _mark_of(self.snapshot_path)
        text = encode_json(stamp).encode() + b"\n"
        os.pwrite(self.lock.fd, text, 0)
        os.ftruncate(self.lock.fd, len(text))

    def _read_stamp(self) -> Fields:
        try:
            fd = open_fd(self.lock.path, os.O_RDONLY | O_NONBLOCK)
        except OSError:
            return {}
        try:
            stamp = decode_json(os.read(fd, 4096).decode())
        except ValueError:
            return {}
        finally:
            os.close(fd)
        return stamp if isinstance(stamp, dict) else {}

    def stamp_state(self) -> str:
        """Return none (never projected), clean, dirty (killed in between: SQLite mends that) or changed."""
        stamp = self._read_stamp()
        state = stamp.get("state")
        if state is None:
            return "none"
        if state not in ("clean", "safe", "dirty") or (state != "safe" and stamp.get("boot") != liveness.boot_id()):
            return "changed"
        if state == "dirty":
            return "dirty"
        return "clean" if stamp.get("index") == _mark_of(self.index_path) else "changed"

    def _snapshot_is_ours_and_whole(self) -> bool:
        return self._read_stamp().get("snapshot") == _mark_of(self.snapshot_path)

    def _adopt_foreign_snapshot(self, *, first: bool) -> None:
        """Take over a `telemetry.yaml` that another program wrote; never overwrite it."""
        try:
            if snapshot.is_ours(self.snapshot_path):
                return
        except OSError:
            return
        from rye_telemetry.foreign import adopt

        notice = adopt(self.snapshot_path, self.journal, first=first)
        self.notices.append(notice)

    def rebuild_now(self, progress: Progress | None = None) -> None:
        """Take the lock and make everything derived anew."""
        self.take()
        try:
            self.thread = _thread.get_ident()
            self.journal.fold_spills()
            self.rebuild(None, progress)
        finally:
            self.thread = 0
            self.lock.release()

    def take(self) -> None:
        """Take the lock for a change of the journal; StateBusy when another process keeps it."""
        try:
            if not self.acquire(wait_s=CHANGE_WAIT_S):
                raise StateBusy(f"{self.lock.path} is held by another process: try again when it has ended")
        except OSError as e:
            raise state_unavailable(self.lock.path, e) from e

    def forget(self) -> None:
        """Delete everything derived; the caller holds the lock."""
        for path in (self.index_path, self.index_path + "-journal", self.index_path + ".new"):
            try_unlink(path)


def _is_of_the_disk(error: sqlite3.DatabaseError) -> bool:
    """Say whether the disk failed, is full or read-only, rather than the database: a rebuild would fail too."""
    text = str(error)
    return (
        isinstance(error, sqlite3.OperationalError)
        and "malformed" not in text
        and ("disk" in text or "readonly" in text)
    )


def _mark_of(path: str) -> list[int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_ino, found.st_size, found.st_mtime_ns]
