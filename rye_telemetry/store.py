"""TelemetryStore: the only door to the data. It keeps journal, index and `telemetry.yaml` in step."""

from __future__ import annotations

import atexit
import errno
import os
import time

from rye_telemetry import liveness
from rye_telemetry.errors import InvalidRecord, RyeTelemetryError, StateUnavailable
from rye_telemetry.files import between_forks
from rye_telemetry.journal import Journal, state_unavailable
from rye_telemetry.lines import MAX_LINE_BYTES, encode_line, fitting_line, instant_text, new_run_id
from rye_telemetry.model import (
    check_count,
    check_item_id,
    check_item_type,
    check_outcome,
    check_path,
    clean_text,
    usable_duration,
)
from rye_telemetry.paths import rye_state_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any, TypeVar

    from rye_telemetry.index import Index
    from rye_telemetry.model import Fields
    from rye_telemetry.projector import Progress, Projector

    Answer = TypeVar("Answer")

# A recording process projects again only when this many times the last projection's cost has passed: at most 2 % of its time.
PROJECTION_PAUSE = 50


class TelemetryStore:
    """Records runs and answers questions about them, in `directory` (default: this user's state directory).

    Threads, forked children and asyncio tasks may share one. It writes when called: consent is asked by its callers.
    Recording raises InvalidRecord for what cannot be recorded and StateUnavailable when it could not be kept.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        durability: str = "none",
        read_only: bool = False,
    ) -> None:
        self.directory = os.path.abspath(directory) if directory is not None else rye_state_dir(os.environ)
        self.read_only = read_only
        self.journal = Journal(self.directory, sync=durability == "fsync")
        self._projector: Projector | None = None
        self._next_projection = 0.0
        self._unprojected = False
        self._exit_hook = False

    @property
    def projector(self) -> Projector:
        """What keeps index and `telemetry.yaml` in step; first used when a run ends, for its import costs 5 ms."""
        if self._projector is None:
            with between_forks:
                from rye_telemetry.projector import Projector

                self._projector = Projector(self.directory, self.journal)
        return self._projector

    @property
    def path(self) -> Path:
        """The published `telemetry.yaml`."""
        from pathlib import Path

        return Path(self.projector.snapshot_path)

    @property
    def notices(self) -> list[str]:
        """What the user should be told beside the last answers."""
        return self.projector.notices

    # -- record

    def record_execution(  # noqa: PLR0913, PLR0917 (the signature is RYE's)
        self,
        item_id: str,
        item_type: str,
        outcome: str,
        duration_ms: float | None,
        http_calls: int = 0,
        subprocess_calls: int = 0,
        error: str | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> str:
        """Record one ended run and return its id; on return it survives a kill of this process.

        A duration that is no duration (NaN, infinite, negative) is left out of the averages and kept as text.
        """
        now_ns = time.time_ns()
        duration = None if duration_ms is None else usable_duration(duration_ms)
        run: Fields = {
            "run_id": new_run_id(now_ns),
            "item_type": check_item_type(item_type),
            "item_id": check_item_id(item_id),
            "path": None if path is None else check_path(path),
            "outcome": check_outcome(outcome),
            "started_at": instant_text(now_ns - int((duration or 0) * 1e6) if (duration or 0) < 1e12 else 0),
            "ended_at": instant_text(now_ns),
            "duration_ms": duration,
            "http_calls": check_count("http_calls", http_calls) or None,
            "subprocess_calls": check_count("subprocess_calls", subprocess_calls) or None,
            "error": None if error is None else _recordable(error),
        }
        if duration is None and duration_ms is not None:
            too_long_to_write = 1e300 < abs(duration_ms) < float("inf")
            run["refused"] = {"duration_ms": "too large" if too_long_to_write else str(duration_ms)}
        self.append("run", run)
        return str(run["run_id"])

    def append(self, kind: str, fields: Fields) -> None:
        """Append one line and project when it is time; a projection that fails takes nothing back."""
        line = encode_line(kind, fields)
        if len(line) > MAX_LINE_BYTES:  # no reader would take it
            raise InvalidRecord(
                f"a record of {len(line)} bytes is too large, at most {MAX_LINE_BYTES}: leave something out"
            )
        self._append(line)
        self.publish()

    def record_lines(self, lines: Iterable[tuple[str, Fields]]) -> None:
        """Append (kind, fields) lines in one write: all of them are kept, or none."""
        data = b"".join(encode_line(kind, fields) for kind, fields in lines)
        if data:
            self._append(data)

    def associate_commit(
        self,
        run_id: str,
        commit_hash: str,
        commit_source: str | None = None,
        commit_author: str | None = None,
    ) -> tuple[bool, str]:
        """Link a run to a commit; return whether they are linked now, and what was done or is wrong.

        The commit is looked for in the run's own repository, then in the one around the working directory; where there
        is neither, its hash must be whole. None: source and author as the commit tells. The same link twice is one link;
        said again with another source or author, the later counts.
        """
        done: tuple[bool, str]
        try:
            done = _associating().associate(self, run_id, commit_hash, commit_source, commit_author)
        except RyeTelemetryError as e:
            done = False, str(e)
        return done

    def start_run(self, run: Fields) -> None:
        """Record that a run begins in this process; it counts nowhere until it ends or this process is gone."""
        self.journal.append(fitting_line("start", {**run, "process": liveness.this_process()}))

    def end_run(self, run: Fields) -> None:
        """Record a run's end with all that is known of it, so that a lost start costs nothing; then `publish`."""
        self._append(fitting_line("run", run))

    def _append(self, line: bytes) -> None:
        self.journal.append(line)
        self._unprojected = True
        if not self._exit_hook:
            self._exit_hook = True
            atexit.register(self.close)

    def publish(self) -> None:
        """Bring the totals up to the journal when it is time; what goes wrong is a notice, and takes nothing back."""
        if time.monotonic() >= self._next_projection:
            self._follow(at_end=False)

    def _follow(self, *, at_end: bool) -> None:
        if not between_forks.acquire(at_end):
            return  # another thread projects or asks, and reads this line too
        try:
            self._follow_now(at_end=at_end)
        finally:
            between_forks.release()

    def _follow_now(self, *, at_end: bool) -> None:
        from rye_telemetry.projector import EXIT_BYTES, RECORD_BYTES

        began = time.monotonic()
        try:
            self._unprojected = False
            self.projector.follow(limit_bytes=EXIT_BYTES if at_end else RECORD_BYTES)
        except (RyeTelemetryError, OSError) as e:
            said = state_unavailable(self.directory, e) if isinstance(e, OSError) else e
            self.projector.notices[:] = [f"{self.projector.snapshot_path} was not brought up to date: {said}"]
        finally:
            ended = time.monotonic()
            self._next_projection = ended + PROJECTION_PAUSE * (ended - began)

    def close(self) -> None:
        """Publish what was recorded and let go of every file. The store may be used again afterwards."""
        if self._exit_hook:
            self._exit_hook = False
            atexit.unregister(self.close)
        if self._unprojected and os.path.isdir(self.journal.directory):
            self._follow(at_end=True)
        self.journal.close()
        if self._projector is not None:
            self._projector.lock.close()

    def __enter__(self) -> TelemetryStore:  # noqa: PYI034 (typing.Self is newer than Python 3.10)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- ask

    def get(self, item_id: str, item_type: str | None = None) -> Fields | None:
        """Return the item with every acknowledged run of every process counted, or None when nothing is known of it.

        Fields: docs/schema.md. Where two types share the id and none is named, the one recorded first answers.
        """
        items = self.items(item_id=item_id, item_type=item_type)
        return items.get(item_id) or next(iter(items.values()), None)

    def items(self, *, item_id: str | None = None, item_type: str | None = None) -> dict[str, Fields]:
        """Return {key: item}; the key is the item's in `telemetry.yaml`."""
        return self.ask(lambda index: _queries().read_items(index, item_id=item_id, item_type=item_type))

    def totals(self, item_id: str | None = None, item_type: str | None = None) -> Fields:
        """Return `total_items`, `total_runs`, `last_updated` and `items`, of all or of those that are named."""
        items = self.items(item_id=item_id, item_type=item_type)
        return {
            "total_items": len(items),
            "total_runs": sum(item["total_runs"] for item in items.values()),
            "last_updated": max((item["last_run"] for item in items.values() if item["last_run"]), default=None),
            "items": items,
        }

    def runs(
        self,
        *,
        since: str | None = None,
        until: str | None = None,
        limit: int = 20,
        run_ids: Sequence[str] | None = None,
        **equal: str | None,
    ) -> list[Fields]:
        """Return runs newest first, of `run_ids` alone where they are given.

        `equal`: item_id, item_type, outcome, agent, workflow, caller, session_id.
        """
        return self.ask(
            lambda index: _queries().read_runs(index, since=since, until=until, limit=limit, run_ids=run_ids, **equal)
        )

    def run(self, prefix: str) -> Fields:
        """Return the one run whose id starts with `prefix`; RunNotFound otherwise."""
        return self.ask(lambda index: _queries().read_run(index, prefix))

    def window(
        self, item_type: str, item_id: str, *, since: str | None = None, content_hash: str | None = None
    ) -> Fields:
        """Return the fields of `get` up to `paths`, rate, percentiles and `first_run`, of only some of an item's runs.

        Those that started at `since` or later (RFC 3339 with milliseconds and Z), of the version with this hash. Runs that
        were pruned, or imported as totals, are never among them.
        """
        return self.ask(
            lambda index: _window_queries().read_window(
                index, item_type, item_id, since=since, content_hash=content_hash
            )
        )

    def first_runs(self, items: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Return {(type, id): when its first run started}, without those items whose first run is not known any more."""
        wanted = list(items)  # the question may be put twice
        return self.ask(lambda index: _window_queries().read_first_runs(index, wanted))

    def links(self, commits: Iterable[str]) -> dict[str, list[Fields]]:
        """Return {commit: links to its runs} of those commits that have any. Fields: docs/schema.md."""
        return self.ask(lambda index: _link_queries().read_links(index, commits))

    def links_of_runs(self, run_ids: Iterable[str]) -> dict[str, list[Fields]]:
        """Return {run id: links to its commits} of those runs that have any."""
        return self.ask(lambda index: _link_queries().read_links_of_runs(index, run_ids))

    def damage(self) -> list[tuple[str, int, int, str]]:
        """Return (segment, offset, bytes, reason) of each journal line that cannot be read."""
        return self.ask(lambda index: _queries().read_damage(index))

    def ask(self, question: Callable[[Index], Answer]) -> Answer:
        """Put a question to an index that holds every acknowledged line."""
        if os.path.lexists(self.directory) and not os.path.isdir(self.directory):
            raise state_unavailable(self.directory, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
        if self.read_only or not os.path.isdir(self.directory):
            read_only: Answer = self._in_words(lambda: _reader().ask_in_memory(self.projector, question))
            return read_only
        self._unprojected = False
        answer: Answer = self._in_words(lambda: _reader().ask(self.projector, question))
        return answer

    def _in_words(self, work: Callable[[], Answer]) -> Answer:
        """Do what needs the disk; what the disk answers becomes an error that says what to do."""
        with between_forks:
            return self._in_words_now(work)

    def _in_words_now(self, work: Callable[[], Answer]) -> Answer:
        from rye_telemetry.sqlite import sqlite3

        try:
            return work()
        except OSError as e:
            raise state_unavailable(self.directory, e) from e
        except sqlite3.Error as e:
            raise StateUnavailable(f"{self.projector.index_path}: {e}: run `rye-telemetry doctor`") from e

    # -- change

    def clear(self, item_id: str | None = None, item_type: str | None = None) -> int:
        """Delete an item, a type, or everything, for good; return how many runs went. `telemetry.yaml` shows it at once."""
        return int(self._in_words(lambda: _clearing().clear(self.projector, item_id=item_id, item_type=item_type)))

    def rebuild(self, progress: Progress | None = None) -> int:
        """Make index and `telemetry.yaml` anew from the journal; return how many runs they hold."""
        if os.path.isdir(self.directory):
            self._in_words(lambda: self.projector.rebuild_now(progress))
        return int(self.totals()["total_runs"])


def open_store(env: Mapping[str, str], *, read_only: bool = False, durability: str = "none") -> TelemetryStore:
    """Return the store of this user's state directory; `read_only` writes, creates and locks nothing when asked."""
    return TelemetryStore(rye_state_dir(env), read_only=read_only, durability=durability)


# These rooms cost too much to import before they are needed, and an import may not be under way when a process forks.
def _queries() -> Any:
    from rye_telemetry import queries

    return queries


def _window_queries() -> Any:
    from rye_telemetry import window_queries

    return window_queries


def _link_queries() -> Any:
    from rye_telemetry import link_queries

    return link_queries


def _associating() -> Any:
    from rye_telemetry import associating

    return associating


def _reader() -> Any:
    from rye_telemetry import reader

    return reader


def _clearing() -> Any:
    from rye_telemetry import clearing

    return clearing


def _recordable(text: object) -> str:
    from rye_telemetry.redact import redact_text

    return clean_text(redact_text(str(text), home=os.path.expanduser("~")))
