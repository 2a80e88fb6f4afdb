"""`clear`: delete for good."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from rye_telemetry.cli.answers import ItemType, Json, answer_json, one_item, talk_notices

EXIT_INTERRUPTED = 130


def clear(
    item: Annotated[str | None, typer.Argument(help="Item id; everything when left out.", show_default=False)] = None,
    *,
    item_id: Annotated[str | None, typer.Option("--item-id", metavar="ID", help="The same as ITEM.")] = None,
    item_type: ItemType = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete what is recorded of an item, or everything, for good.

    Example: rye-telemetry clear my_tool
    """
    from rye_telemetry import asking, tables
    from rye_telemetry.store import open_store

    named = one_item(item, item_id)
    kind = asking.check_type(item_type)
    _ask(named, kind, yes=yes)
    store = open_store(os.environ)
    gone = store.clear(named, kind)
    if as_json:
        answer_json({"success": True, "item_id": named, "item_type": kind, "cleared_runs": gone})
    else:
        typer.echo(f"{tables.counted(gone, 'run')} deleted.")
    talk_notices(store)


def _ask(item_id: str | None, item_type: str | None, *, yes: bool) -> None:
    from rye_telemetry.errors import UsageInvalid

    if yes:
        return
    what = f"every run of {item_id!r}" if item_id else f"every run of every {item_type or 'item'}"
    if not sys.stdin.isatty():
        raise UsageInvalid(f"this deletes {what} for good: say --yes")
    try:
        agreed = typer.confirm(f"Delete {what} for good?")
    except typer.Abort as e:
        typer.echo(err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from e
    if not agreed:
        raise typer.Exit(1)
