"""The one place where the runner records, and where what goes wrong with recording is kept from the command."""

from __future__ import annotations

import os
import time

from rye_telemetry.errors import RyeTelemetryError
from rye_telemetry.gitlink.watch import watches
from rye_telemetry.lines import encode_json, instant_text, new_run_id
from rye_telemetry.model import clean_text
from rye_telemetry.paths import rye_state_dir
from rye_telemetry.runner import handdown
from rye_telemetry.store import TelemetryStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rye_telemetry.gitlink.watch import Watch
    from rye_telemetry.model import Fields
    from rye_telemetry.runner.options import Request


MAX_METRICS_BYTES = 64 * 1024  # of what a command may report; redaction reads every character of it


class Recorder:
    """Records one run in two lines, a start before the child and an end after it. It never raises for a bad store."""

    def __init__(self, env: Mapping[str, str], *, durability: str) -> None:
        self.env = env
        self.durability = durability
        self.trouble = ""
        self.unlinked = ""
        self.recorded = False
        self.report: str | None = None
        self.started_ns = time.time_ns()
        self.began_ns = time.monotonic_ns()
        self.run_id = new_run_id(self.started_ns)
        self.run: Fields = {}
        self.store: TelemetryStore | None = None
        self.watches: list[Watch] = []
        self._item: bytes | None = None

    def begin(self, request: Request, *, path: str | None, project_path: str, inputs: Fields | None) -> None:
        """Write the start line and make the report file."""
        self._guarded(lambda: self._begin(request, path, project_path, inputs))

    def _begin(self, request: Request, path: str | None, project_path: str, inputs: Fields | None) -> None:
        self.run = {
            "run_id": self.run_id,
            "item_type": request.item_type,
            "item_id": request.item_id,
            "path": path,
            "started_at": instant_text(self.started_ns),
            "parent_run_id": handdown.parent_run_id(self.env),
            **{name: self._clean(value) for name, value in request.labels.items()},
            "inputs": inputs and {self._clean(name): kind for name, kind in inputs.items()},
            "tags": self._clean_tags(request.tags) or None,
            "project_path": project_path,
        }
        self.watches = watches(project_path, began_ns=self.started_ns)
        self.run.update(self.watches[0].fields)
        store = self._opened()
        store.start_run(self.run)
        self.report = handdown.make_report(store.directory, self.run_id)

    def _opened(self) -> TelemetryStore:
        if self.store is None:
            self.store = TelemetryStore(rye_state_dir(self.env), durability=self.durability)
        return self.store

    def started(self) -> None:
        """Count from now: the child is about to be."""
        self.began_ns = time.monotonic_ns()

    def spawned(self) -> None:
        """Look at what would take the start too long, now that the child is under way."""
        self.keep_item()
        if self.watches:
            self.watches[0].begin_status(self.env)

    def keep_item(self) -> None:
        """Keep the item's bytes as they are now, before the command has had time to change them."""
        if self.run.get("path"):
            self._guarded(self._keep_item)

    def _keep_item(self) -> None:
        from rye_telemetry.content import read_item

        self._item = read_item(self.run["path"])

    def _hash_item(self) -> None:
        data, self._item = self._item, None
        if data is not None:
            from rye_telemetry.content import hash_in_passing

            self.run["content_hash"] = hash_in_passing(data, os.path.basename(self.run["path"]))

    def prepare(self) -> None:
        """Do what the end needs and does not have to wait for, while the child runs."""
        self._guarded(lambda: self._opened().projector)
        self._guarded(self._hash_item)

    def end(self, *, outcome: str, exit_code: int | None, signal_name: str | None, error: str | None) -> None:
        """Write the end line, complete in itself; then the run is kept."""
        now_ns, duration_ns = time.time_ns(), time.monotonic_ns() - self.began_ns
        if now_ns < self.started_ns:  # the clock was set back meanwhile
            now_ns = self.started_ns + duration_ns
        self.run.update(
            outcome=outcome,
            ended_at=instant_text(now_ns),
            duration_ms=round(duration_ns / 1e6, 3),
            exit_code=exit_code,
            signal=signal_name,
        )
        self._guarded(self._hash_item)  # git looks for changed files meanwhile
        self._guarded(lambda: self._end(error))

    def _end(self, error: str | None) -> None:
        if self.watches and self.watches[0].asks:
            self.prepare()  # what comes next needs it, and git has the time
            self.run["git_dirty"] = self.watches[0].end_status()
        told = handdown.take_report(self.report) if self.report else {}
        said = told.pop("error", None)
        if "metrics" in told:
            from rye_telemetry.redact import redact_json

            if len(encode_json(told["metrics"])) > MAX_METRICS_BYTES:
                told["metrics"], told["refused"] = None, {"too_large": ["metrics"]}
            told["metrics"] = redact_json(told["metrics"], home=self.env.get("HOME", ""))
        text = said if said is not None and self.run["outcome"] != "success" else error
        self.run.update(told, error=None if text is None else self._clean(text))
        store = self._opened()
        store.end_run(self.run)
        self.recorded = True
        self.trouble = ""  # the end line is complete, nothing of this run is missing

    def link(self) -> None:
        """Link the run to the commits that were made in it, where no hook did."""
        if self.recorded:
            self._guarded(self._link, but="not linked to its commits")
            self.unlinked = self.trouble

    def _link(self) -> None:
        store = self._opened()
        for watch in self.watches:
            watch.link_commits(self.run, store, self.env)

    def publish(self) -> None:
        """Bring the totals up to date."""
        if self.recorded:
            self._guarded(self._publish)

    def _publish(self) -> None:
        store = self._opened()
        store.publish()
        self.trouble = "; ".join([*filter(None, [self.unlinked]), *store.notices])

    def _clean(self, text: str) -> str:
        from rye_telemetry.redact import redact_text

        return clean_text(redact_text(text, home=self.env.get("HOME", "")))

    def _clean_tags(self, tags: Mapping[str, str]) -> dict[str, str]:
        if not tags:
            return {}
        from rye_telemetry.redact import redact_named

        home = self.env.get("HOME", "")
        return {self._clean(name): redact_named(name, clean_text(value), home=home) for name, value in tags.items()}

    def _guarded(self, step: Callable[[], object], *, but: str = "the totals are behind") -> None:
        """Run a recording step; what it raises becomes `trouble`, said once, after the command."""
        try:
            step()
        except (RyeTelemetryError, OSError) as e:
            self._note(str(e), but)
        except Exception as e:  # noqa: BLE001 (a bug of ours, or of SQLite's, must not cost the command its exit code)
            kind = "" if type(e).__module__ == "sqlite3" else f"{type(e).__name__}: "
            self._note(f"{kind}{e}: run `rye-telemetry doctor`", but)

    def _note(self, reason: str, but: str) -> None:
        self.trouble = f"run {f'recorded, but {but}' if self.recorded else 'not recorded'}: {reason}"
