"""The functions that RYE's tools name, over the store and the runner."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rye_telemetry.errors import RyeTelemetryError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rye_telemetry.config import Consent
    from rye_telemetry.model import Fields
    from rye_telemetry.store import TelemetryStore


# Not `-m`: that would put the working directory, and whatever modules lie in it, before the standard library.
COMMAND = (
    sys.executable,
    "-c",
    "import sys; sys.path[:1] = []; from rye_telemetry.entry import main; sys.exit(main())",
)


class TelemetryContext:
    """Counts what one execution does; the caller hands the counts to `record_execution`."""

    def __init__(self) -> None:
        self.http_calls = 0
        self.subprocess_calls = 0

    def reset(self) -> None:
        self.http_calls = 0
        self.subprocess_calls = 0


def get_rye_state_dir() -> Path:
    """Return the state directory: XDG's on Linux, the platform's own elsewhere, RYE_STATE_DIR before both."""
    from pathlib import Path

    from rye_telemetry.paths import rye_state_dir

    return Path(rye_state_dir(os.environ))


def telemetry_status(item_id: str | None = None) -> Fields:
    """Return what `status --json` prints, of everything or of one item.

    An unknown item, or a state that cannot be read, gives `{"success": False, "error": …}`.
    """
    from rye_telemetry import asking

    try:
        consent = _consent()
        store = _reading_store(enabled=consent.enabled)
        return asking.status_of(store, consent) if item_id is None else asking.the_item(store, item_id)
    except RyeTelemetryError as e:
        return {"success": False, "error": str(e)}


def clear_telemetry(item_id: str | None = None) -> Fields:
    """Delete one item's runs, or all, for good; return `{"success", "cleared_runs"}` or the error."""
    from rye_telemetry.store import TelemetryStore

    try:
        return {"success": True, "item_id": item_id, "cleared_runs": TelemetryStore().clear(item_id)}
    except RyeTelemetryError as e:
        return {"success": False, "error": str(e)}


def export_telemetry(item_id: str, item_path: str | os.PathLike[str]) -> Fields:
    """Bake an item's numbers into its file, as `bake ITEM --item-path FILE` does.

    Returns `success`, `changed` and what `bake --json` says of the file; where it is refused `error` and `code`.
    """
    from rye_telemetry.config import read_settings
    from rye_telemetry.paths import find_project
    from rye_telemetry.publish.numbers import Scope
    from rye_telemetry.publish.order import Order, carry_out, wish_by
    from rye_telemetry.publish.telling import file_json

    path = os.path.abspath(item_path)
    try:
        settings = read_settings(os.environ, find_project(os.path.dirname(path), os.environ))
        wish = wish_by(settings, extras=(), scope=Scope())
        store = _reading_store(enabled=settings.enabled)
        order = Order(item_id=item_id, item_path=path)
        report = carry_out(order, wish, store, cwd=os.path.dirname(path), env=os.environ)
    except RyeTelemetryError as e:
        return {"success": False, "changed": False, "error": str(e)}
    done = {"success": not report.failed, "changed": bool(report.changed), **file_json(report.outcomes[0])}
    return done if done["success"] else {**done, "error": done["message"]}


async def run_with(
    item_type: str, item_id: str, project_path: str | os.PathLike[str], params: Mapping[str, object] | None = None
) -> Fields:
    """Execute an item through `run-with`, recording it if telemetry is on; the item's files are left as they are.

    Returns `success`, `outcome`, `exit_code`, `output` (what it printed: its JSON value, else text) and `error` (None or
    what stands on stderr). When the task is cancelled the item is ended, and recorded as cancelled.
    """
    import asyncio

    from rye_telemetry.lines import encode_json

    argv = [*COMMAND, "run-with", item_type, item_id, f"--project-path={os.fspath(project_path)}"]
    if params is not None:
        argv.append("--params=-")
    pipe = asyncio.subprocess.PIPE
    stdin = pipe if params is not None else asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*argv, stdin=stdin, stdout=pipe, stderr=pipe)
    try:
        out, err = await process.communicate(encode_json(dict(params)).encode() if params is not None else None)
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    return _result(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))


def _result(exit_code: int, out: str, err: str) -> Fields:
    from rye_telemetry.lines import decode_json

    try:
        output = decode_json(out)
    except ValueError:
        output = out
    outcome = {0: "success", 124: "timeout", 130: "cancelled", -2: "cancelled"}.get(exit_code, "failure")
    error = None
    if exit_code:
        said = output.get("error") if isinstance(output, dict) else None
        error = str(said or err.strip() or f"exited with status {exit_code}")
    return {"success": exit_code == 0, "outcome": outcome, "exit_code": exit_code, "output": output, "error": error}


def _consent() -> Consent:
    from rye_telemetry.config import read_consent
    from rye_telemetry.paths import find_project

    try:
        here = os.getcwd()
    except FileNotFoundError:  # it was removed
        here = os.sep
    return read_consent(os.environ, find_project(here, os.environ))


def _reading_store(*, enabled: bool) -> TelemetryStore:
    from rye_telemetry.store import open_store

    return open_store(os.environ, read_only=not enabled)
