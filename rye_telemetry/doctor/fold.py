"""Every line of the journal folded into an index in memory, line by line where one stands in the way."""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import TYPE_CHECKING, NamedTuple

from rye_telemetry import queries
from rye_telemetry.errors import JournalCorrupt, StateTooNew
from rye_telemetry.index import Index
from rye_telemetry.journal import read_chunks, read_header
from rye_telemetry.totals import totals_to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rye_telemetry.journal import Segment
    from rye_telemetry.projector import Projector

    Progress = Callable[[int, int], None]
    Key = tuple[str, str]  # item type, item id

# What an index may raise on a line that is JSON of ours in form and not in meaning.
_REFUSALS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, sqlite3.Error)


class Line(NamedTuple):
    """A line that could not be read, by its place."""

    path: str
    offset: int
    reason: str


class Counted(NamedTuple):
    """What an index says: each item's state as JSON, and how many runs have each outcome."""

    states: dict[Key, str]
    runs: dict[str, int]


class JournalFold:
    """What reading the whole journal found; `at_cursors` is what an index with the cursors given must hold."""

    def __init__(self, projector: Projector, *, progress: Progress | None = None) -> None:
        self.projector = projector
        self.index = Index.create(":memory:")
        self.good: list[Segment] = []
        self.unreadable: list[Line] = []
        self.damaged: list[Line] = []
        self.too_new: list[Line] = []
        self.unfinished: list[Line] = []
        self.size_bytes = 0
        self.at_cursors: Counted | None = None
        self._paths: dict[str, str] = {}
        self._progress = progress
        self._done = 0

    def sort_files(self) -> None:
        """Tell the segments that can be read from those that cannot."""
        for segment in self.projector.journal.segments():
            if self._can_read(segment.path):
                self.good.append(segment)
                self.size_bytes += os.path.getsize(segment.path)

    def _can_read(self, path: str) -> bool:
        """Say whether it is a file of ours that can be read; a FIFO is never opened: that would wait for its writer."""
        try:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                self.unreadable.append(Line(path, 0, "not a regular file"))
                return False
            covers = read_header(path).get("covers", [])
            if not isinstance(covers, list) or not all(isinstance(name, str) for name in covers):
                self.unreadable.append(Line(path, 0, "its first line names no segments that it covers"))
                return False
        except StateTooNew as e:
            self.too_new.append(Line(path, 0, str(e)))
            return False
        except (OSError, JournalCorrupt) as e:
            self.unreadable.append(Line(path, 0, str(e)))
            return False
        return True

    def read(self, cursors: Mapping[str, int] | None) -> None:
        """Fold what an index with these cursors has read, then everything else, spills included."""
        segments = self.projector.uncovered(self.good)
        self.index.begin()
        read_to: dict[str, int] = {}
        if cursors is not None:
            for segment in segments:
                read_to[segment.name] = self._fold(segment.name, segment.path, 0, cursors.get(segment.name, 0))
            self.at_cursors = self._counted()
        for segment in segments:
            self._fold(segment.name, segment.path, read_to.get(segment.name, 0), None)
            self._look_at_end(segment)
        for path in self.projector.journal.spills():
            if self._can_read(path):
                self._fold(os.path.basename(path), path, 0, None)
        for name, offset, _, reason in queries.read_damage(self.index):
            self.damaged.append(Line(self._paths.get(name, name), offset, reason))

    def _counted(self) -> Counted:
        states = {key: totals_to_json(totals) for key, (_, totals) in self.index.totals.items()}
        return Counted(states, count_runs(self.index))

    def _fold(self, name: str, path: str, start: int, end: int | None) -> int:
        """Fold whole lines from `start`, up to `end` where that is given; return where it stopped."""
        self._paths[name] = path
        reached = start
        try:
            for offset, data in read_chunks(path, start):
                is_last = end is not None and offset + len(data) >= end
                whole = data if end is None else data[: data.rfind(b"\n", 0, max(0, end - offset)) + 1]
                self._apply(name, path, offset, whole)
                reached = offset + len(whole)
                self._show(len(whole))
                if is_last:
                    break
        except (OSError, JournalCorrupt) as e:  # it was whole a moment ago
            self.unreadable.append(Line(path, start, str(e)))
        return reached

    def _show(self, size_bytes: int) -> None:
        self._done += size_bytes
        if self._progress:
            self._progress(min(self._done, self.size_bytes), self.size_bytes)

    def _apply(self, name: str, path: str, offset: int, data: bytes) -> None:
        try:
            self.index.apply(name, offset, data)
        except (StateTooNew, *_REFUSALS):
            self._apply_each(name, path, offset, data)

    def _apply_each(self, name: str, path: str, offset: int, data: bytes) -> None:
        """Apply line by line: one applied before changes nothing."""
        for raw in data.split(b"\n"):
            try:
                self.index.apply(name, offset, raw)
            except StateTooNew as e:
                self.too_new.append(Line(path, offset, str(e)))
            except _REFUSALS as e:
                self.damaged.append(Line(path, offset, f"a line that cannot be counted: {e!r}"[:200]))
            offset += len(raw) + 1

    def _look_at_end(self, segment: Segment) -> None:
        """Note a last line without its newline: a write that a kill or a full disk cut short."""
        if segment.archived:
            return
        try:
            with open(segment.path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 1))
                if size and file.read(1) != b"\n":
                    self.unfinished.append(Line(segment.path, size, "the last line has no end"))
        except OSError:  # gone meanwhile
            pass

    def open_runs(self) -> frozenset[str]:
        """Return the ids of runs that began and are not known to be over."""
        rows = self.index.db.execute("SELECT run_id FROM runs WHERE outcome='running'").fetchall()
        return frozenset(row[0] for row in rows).difference(self.projector.abandoned_runs(self.index, -1))

    def close(self) -> None:
        self.index.close()


def count_runs(index: Index) -> dict[str, int]:
    return dict(index.db.execute("SELECT outcome, count(*) FROM runs GROUP BY outcome").fetchall())
