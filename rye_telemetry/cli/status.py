"""`status`: settings and totals, or one item in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
)

if TYPE_CHECKING:
    from rye_telemetry.config import Consent
    from rye_telemetry.store import TelemetryStore


def status(
    item: Annotated[str | None, typer.Argument(help="Item id; every item when left out.", show_default=False)] = None,
    *,
    item_id: Annotated[str | None, typer.Option("--item-id", metavar="ID", help="The same as ITEM.")] = None,
    item_type: ItemType = None,
    as_json: Json = False,
) -> None:
    """Show whether telemetry is on, who decided that, and what is recorded.

    Example: rye-telemetry status my_tool
    """
    decided = consent()
    store = reading_store(enabled=decided.enabled)
    named = one_item(item, item_id)
    if named is not None:
        _show_item(store, named, item_type, as_json=as_json)
    else:
        _show_all(store, decided, item_type, as_json=as_json)
    talk_notices(store)


def _show_item(store: TelemetryStore, item_id: str, item_type: str | None, *, as_json: bool) -> None:
    from rye_telemetry import asking, tables

    item = asking.the_item(store, item_id, item_type)
    if as_json:
        answer_json(item)
    else:
        typer.echo(tables.item_sheet(item, look()))


def _show_all(store: TelemetryStore, decided: Consent, item_type: str | None, *, as_json: bool) -> None:
    from rye_telemetry import asking, tables

    found = asking.status_of(store, decided, item_type)
    if as_json:
        answer_json(found)
    else:
        typer.echo(tables.status_head(found, look()))
        typer.echo(tables.totals_table(found["items"], look()))
