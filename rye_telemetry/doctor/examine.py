"""All checks, in the order in which they are worth reading."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, ParamSpec

from rye_telemetry import config, paths
from rye_telemetry.doctor import disk, journal, places, projections, surroundings
from rye_telemetry.doctor.finding import Finding, is_healthy, problem
from rye_telemetry.doctor.fold import JournalFold
from rye_telemetry.errors import RyeTelemetryError, StateUnavailable
from rye_telemetry.journal import Journal
from rye_telemetry.projector import Projector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rye_telemetry.doctor.fold import Progress

_P = ParamSpec("_P")
_TRIES = 3
_DAMAGE = (RyeTelemetryError, OSError, sqlite3.Error, ValueError)


def examine(env: Mapping[str, str], *, project_path: str, progress: Progress | None = None) -> list[Finding]:
    """Look at everything and return what was found; never raises for damage, and writes nothing.

    Locks are tried for a moment while telemetry is on, and left alone while it is off.
    """
    findings = [
        surroundings.check_versions(env),
        surroundings.check_user_config(env),
        surroundings.check_project_config(project_path),
        surroundings.check_consent(env, project_path),
    ]
    try:
        state_dir = paths.rye_state_dir(env)
    except StateUnavailable as e:
        return [*findings, problem("state-dir", str(e), "set HOME, or RYE_STATE_DIR to a directory of yours")]
    probe = config.read_consent(env, project_path).enabled
    return findings + list(_examine_state(state_dir, probe=probe, progress=progress))


def _examine_state(state_dir: str, *, probe: bool, progress: Progress | None) -> Iterator[Finding]:
    stands = places.check_state_dir(state_dir)
    yield stands
    if not os.path.isdir(state_dir):
        return
    found, closed = places.find_places(state_dir)
    found.insert(0, places.Place(".", state_dir, os.stat(state_dir)))
    yield places.check_files(found[1:], closed)
    yield places.check_owner(found)
    yield places.check_modes(state_dir, found)
    if not os.access(state_dir, os.R_OK | os.X_OK):
        return
    yield _one("space", disk.check_space, state_dir)
    yield _one("filesystem", disk.check_filesystem, state_dir)
    yield _one("flock", disk.check_flock, found, probe=probe)
    projector = Projector(state_dir, Journal(state_dir))
    yield _one("append-lock", disk.check_lock, "append-lock", projector.journal.lock.path, probe=probe)
    yield _one("projection-lock", disk.check_lock, "projection-lock", projector.lock.path, probe=probe)
    try:
        yield from _examine_data(projector, found, progress)
    except _DAMAGE as e:
        yield _stopped("journal", e)


def _examine_data(projector: Projector, found: list[places.Place], progress: Progress | None) -> Iterator[Finding]:
    """Journal, index and `telemetry.yaml`; looked at again when other processes changed them in between."""
    for attempt in range(1, _TRIES + 1):
        before = _times(projector)
        fold = JournalFold(projector, progress=progress)
        try:
            fold.sort_files()
            reading = projections.read_index(projector, fold.good)
            snapshot = _one("telemetry-yaml", projections.check_snapshot, projector, reading)
            fold.read(reading.cursors)
            whole = not (fold.unreadable or fold.too_new)
            agreement = list(projections.check_agreement(reading, fold.at_cursors if whole else None))
            if attempt < _TRIES and not is_healthy((*agreement, snapshot)) and _times(projector) != before:
                continue
            yield from journal.check_journal(fold)
            yield places.check_leftovers(found, fold.open_runs())
            yield from reading.findings
            yield from agreement
            yield snapshot
            return
        finally:
            fold.close()


def _times(projector: Projector) -> list[int]:
    """Return when what a projection writes was written last."""
    paths_written = (projector.index_path, projector.snapshot_path, projector.lock.path)
    return [os.stat(path).st_mtime_ns if os.path.exists(path) else 0 for path in paths_written]


def _one(check: str, look: Callable[_P, Finding], *args: _P.args, **more: _P.kwargs) -> Finding:
    """Return what a check finds; damage that stands in its own way is a finding too."""
    try:
        return look(*args, **more)
    except _DAMAGE as e:
        return _stopped(check, e)


def _stopped(check: str, error: Exception) -> Finding:
    reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
    return problem(check, f"cannot be looked at: {reason}", "make it readable, or move it away; then run doctor again")
