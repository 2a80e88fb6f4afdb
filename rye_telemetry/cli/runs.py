"""`runs list` and `runs show`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from rye_telemetry.cli.answers import (
    ItemType,
    Json,
    answer_json,
    consent,
    look,
    one_item,
    reading_store,
    talk_notices,
    working_directory,
)

runs_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List runs, and show one in full.")


def _option(name: str, metavar: str, explained: str) -> object:
    return typer.Option(name, metavar=metavar, help=explained)


@runs_app.command("list")
def runs_list(  # noqa: PLR0913 (one parameter a filter)
    item: Annotated[str | None, _option("--item", "ID", "Runs of this item.")] = None,
    *,
    item_id: Annotated[str | None, _option("--item-id", "ID", "The same as --item.")] = None,
    item_type: ItemType = None,
    outcome: Annotated[str | None, _option("--outcome", "OUTCOME", "success, failure, timeout, … or running.")] = None,
    agent: Annotated[str | None, _option("--agent", "NAME", "Runs by this agent.")] = None,
    workflow: Annotated[str | None, _option("--workflow", "NAME", "Runs in this workflow.")] = None,
    caller: Annotated[str | None, _option("--caller", "NAME", "Runs that this caller asked for.")] = None,
    session: Annotated[str | None, _option("--session", "ID", "Runs of this session.")] = None,
    since: Annotated[
        str | None, _option("--since", "WHEN", "Started at or after: 7d, 2h, 2026-11-20[T12:00Z].")
    ] = None,
    until: Annotated[str | None, _option("--until", "WHEN", "Started before.")] = None,
    commit: Annotated[
        str | None, _option("--commit", "REV", "Runs that made this commit of the repository here.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """List runs, newest first.

    Example: rye-telemetry runs list --item my_tool --outcome failure --since 7d
    """
    from rye_telemetry import asking, tables

    store = reading_store(enabled=consent().enabled)
    equal = asking.run_filters(one_item(item, item_id), item_type, outcome)
    labels = {"agent": agent, "workflow": workflow, "caller": caller, "session_id": session}
    equal |= {name: asking.label_filter(label) for name, label in labels.items()}
    made = None if commit is None else asking.runs_of_commit(store, commit, cwd=working_directory(), env=os.environ)
    found = store.runs(since=asking.instant(since), until=asking.instant(until), limit=limit, run_ids=made, **equal)
    answer_json(found) if as_json else typer.echo(tables.runs_table(found, look()))
    talk_notices(store)


@runs_app.command("show")
def runs_show(
    run: Annotated[str, typer.Argument(help="A run id, or as much of its beginning as names one run.")],
    *,
    as_json: Json = False,
) -> None:
    """Show one run in full.

    Example: rye-telemetry runs show 01a1fbb0-e068-7884
    """
    from rye_telemetry import asking, tables

    store = reading_store(enabled=consent().enabled)
    found = asking.the_run(store, run)
    answer_json(found) if as_json else typer.echo(tables.run_sheet(found, look()))
    talk_notices(store)
