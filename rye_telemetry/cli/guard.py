"""`guard`: no telemetry store of ours into a commit."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from rye_telemetry.cli.answers import Json, answer_json, talk


def guard(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="Files to look into.", show_default=False)
    ] = None,
    *,
    staged: Annotated[
        bool, typer.Option("--staged", help="What the next commit would bring, as it is staged.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Refuse (exit 1) files that are part of a telemetry store, by what is in them. Nothing is written.

    Example: rye-telemetry guard --staged
    """
    from rye_telemetry.errors import UsageInvalid
    from rye_telemetry.publish.guard import guard_files, guard_staged
    from rye_telemetry.tables import printable

    if staged == bool(files):
        raise UsageInvalid("name the files to look into, or say --staged")
    refused = guard_staged(os.environ) if staged else guard_files(files or [])
    if as_json:
        answer_json([{"file": kept.file, "kind": kept.kind} for kept in refused])
    for kept in refused:
        talk(printable(kept.reason))
    if refused:
        raise typer.Exit(1)
