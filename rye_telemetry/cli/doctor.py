"""`doctor`: what is wrong, and what to do."""

from __future__ import annotations

import os
import sys

import typer

from rye_telemetry.cli.answers import Json, answer_json, working_directory


def doctor(*, as_json: Json = False) -> None:
    """Check the store and all it stands on; exit 1 when there is a problem, with its cure.

    Nothing is repaired or written. Example: rye-telemetry doctor
    """
    from rye_telemetry.doctor import as_table, examine, is_healthy, json_answer
    from rye_telemetry.paths import find_project

    project_path = find_project(working_directory(), os.environ)
    findings = examine(os.environ, project_path=project_path, progress=_show_progress if sys.stderr.isatty() else None)
    answer_json(json_answer(findings)) if as_json else typer.echo(as_table(findings))
    if not is_healthy(findings):
        raise typer.Exit(1)


def _show_progress(done: int, total: int) -> None:
    """Say that it goes on, where there is much to read."""
    if total > 20_000_000:
        sys.stderr.write(f"\rreading the journal: {done / total:4.0%} of {total / 1e6:.0f} MB\r")
        sys.stderr.flush()
