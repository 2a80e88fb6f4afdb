"""An index that holds every acknowledged line, for a question: the one on disk, or one in memory that writes nothing."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from rye_telemetry import snapshot
from rye_telemetry.errors import IndexUnusable
from rye_telemetry.files import make_private_dir, read_file
from rye_telemetry.foreign import checkpoint_lines
from rye_telemetry.index import Index
from rye_telemetry.journal import read_chunks, state_unavailable
from rye_telemetry.projector import READ_OPEN_RUNS
from rye_telemetry.sqlite import sqlite3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rye_telemetry.projector import Progress, Projector

READ_WAIT_S = 5.0


@contextlib.contextmanager
def current_index(projector: Projector, *, progress: Progress | None = None) -> Iterator[Index]:
    """Give the index on disk, brought up to the journal and locked; in memory, with a notice, where it cannot be had."""
    trouble = _take(projector)
    if trouble:
        projector.notices.append(trouble)
        with index_in_memory(projector) as index:
            yield index
        return
    try:
        projector.catch_up(progress=progress)
        projector.secure()
        index = Index.open(projector.index_path)
        try:
            yield index
        finally:
            index.close()
    finally:
        projector.lock.release()


def _take(projector: Projector) -> str:
    """Take the projection lock; return why it could not be had, or nothing."""
    try:
        make_private_dir(os.path.dirname(projector.index_path))
        if projector.lock.acquire(wait_s=READ_WAIT_S):
            return ""
    except OSError as e:
        return f"{state_unavailable(projector.lock.path, e)} (the journal was read without writing)"
    return f"{projector.lock.path} is held by another process: the journal was read without it"


@contextlib.contextmanager
def index_in_memory(projector: Projector) -> Iterator[Index]:
    """Give an index of everything acknowledged, and write, create and lock nothing of ours."""
    segments = projector.journal.segments()
    index = _copy_index(projector)
    try:
        if not projector.cursors_fit(index, segments):
            index.close()
            index = Index.create(":memory:")
            segments = projector.uncovered(segments)
        index.begin()
        _apply_foreign(projector, index)
        projector.apply(index, segments, None)
        for path in projector.journal.spills():
            with contextlib.suppress(FileNotFoundError):
                for offset, data in read_chunks(path, 0):
                    index.apply(os.path.basename(path), offset, data)
        for line in projector.abandoned_lines(index, READ_OPEN_RUNS):
            index.apply("", 0, line)
        index.commit()
        yield index
    finally:
        index.close()


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
