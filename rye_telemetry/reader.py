"""An index that holds every acknowledged line, for a question: the one on disk, or one in memory that writes nothing."""

from __future__ import annotations

import _thread
import contextlib
import os
from typing import TYPE_CHECKING

from rye_telemetry import snapshot
from rye_telemetry.errors import IndexUnusable, StateUnavailable
from rye_telemetry.files import make_private_dir, read_file
from rye_telemetry.foreign import checkpoint_lines
from rye_telemetry.index import Index
from rye_telemetry.journal import state_unavailable
from rye_telemetry.projector import READ_OPEN_RUNS
from rye_telemetry.sqlite import sqlite3

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from rye_telemetry.projector import Projector

    Answer = TypeVar("Answer")

READ_WAIT_S = 5.0
LOOKS = 3


def ask(projector: Projector, question: Callable[[Index], Answer]) -> Answer:
    """Put a question to the index on disk, brought up to the journal and locked; to one in memory where it cannot be had."""
    try:
        return _ask_on_disk(projector, question)
    except (sqlite3.DatabaseError, ValueError):  # damaged where no projection looked
        projector.rebuild_now()
        return _ask_on_disk(projector, question)


def _ask_on_disk(projector: Projector, question: Callable[[Index], Answer]) -> Answer:
    trouble = _take(projector)
    if trouble:
        _tell(projector, trouble)
        return ask_in_memory(projector, question)
    try:
        projector.thread = _thread.get_ident()
        with contextlib.closing(_caught_up(projector)) as index:
            return question(index)
    finally:
        projector.thread = 0
        projector.lock.release()


def _caught_up(projector: Projector) -> Index:
    """Bring the index on disk up to the journal and open it; one in memory where the disk does not let us."""
    try:
        projector.catch_up()
        projector.secure()
        if not projector.journal.spills():
            return Index.open(projector.index_path)
        # They could not be folded in: another process keeps the append lock.
    except (StateUnavailable, IndexUnusable, OSError, sqlite3.OperationalError) as e:
        _tell(projector, f"{projector.snapshot_path} was not brought up to date: {e}")
    return _filled_in_memory(projector)


def _tell(projector: Projector, notice: str) -> None:
    if notice not in projector.notices:
        projector.notices.append(notice)


def _take(projector: Projector) -> str:
    """Take the projection lock; return why it could not be had, or nothing."""
    try:
        make_private_dir(os.path.dirname(projector.index_path))
        if projector.acquire(wait_s=READ_WAIT_S):
            return ""
    except OSError as e:
        return f"{state_unavailable(projector.lock.path, e)} (the journal was read without writing)"
    return f"{projector.lock.path} is held by another process: the journal was read without it"


def ask_in_memory(projector: Projector, question: Callable[[Index], Answer]) -> Answer:
    """Put a question to an index of everything acknowledged, and write, create and lock nothing of ours."""
    try:
        with contextlib.closing(_filled_in_memory(projector)) as index:
            return question(index)
    except (sqlite3.DatabaseError, ValueError):  # the index on disk is damaged: the journal alone will do
        with contextlib.closing(_filled_in_memory(projector, copy=False)) as index:
            return question(index)


def _filled_in_memory(projector: Projector, *, copy: bool = True) -> Index:
    for _ in range(LOOKS):
        with contextlib.suppress(FileNotFoundError):  # a `clear` replaced or deleted files under us
            return _fill(projector, copy=copy)
    return _fill(projector, copy=copy)


def _fill(projector: Projector, *, copy: bool) -> Index:
    spills = _read_spills(projector)  # before the segments, into which somebody may fold them meanwhile
    segments = projector.journal.segments()
    index = _copy_index(projector) if copy else Index.create(":memory:")
    try:
        if not projector.cursors_fit(index, segments):
            index.close()
            index = Index.create(":memory:")
            segments = projector.uncovered(segments)
        index.begin()
        _apply_foreign(projector, index)
        projector.apply(index, segments, None)
        for name, data in spills:
            index.apply(name, 0, data)
        index.apply("", 0, projector.abandoned_lines(projector.abandoned_runs(index, READ_OPEN_RUNS)))
        index.commit()
    except BaseException:
        index.close()
        raise
    return index


def _read_spills(projector: Projector) -> list[tuple[str, bytes]]:
    found = []
    for path in projector.journal.spills():
        with contextlib.suppress(OSError):  # folded meanwhile, or not ours to read
            found.append((os.path.basename(path), read_file(path)))
    return found


def _apply_foreign(projector: Projector, index: Index) -> None:
    """Count what a first projection would import."""
    with contextlib.suppress(OSError, ValueError):
        if projector.stamp_state() == "none" and not snapshot.is_ours(projector.snapshot_path):
            lines, _ = checkpoint_lines(read_file(projector.snapshot_path))
            index.apply("", 0, b"".join(lines))


def _copy_index(projector: Projector) -> Index:
    if projector.stamp_state() in ("clean", "dirty"):
        try:
            found = Index.open(projector.index_path, read_only=True, wait_s=0.5)
            try:
                return found.copy_to_memory()
            finally:
                found.close()
        except (IndexUnusable, sqlite3.Error):
            pass  # another process is writing it, or died doing so: the journal alone will do
    return Index.create(":memory:")
