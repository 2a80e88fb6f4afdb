"""`bake` and `publish-payload`: an item's numbers into its file, or beside it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rye_telemetry.cli.answers import (
    ItemType,
    Json,
    answer_json,
    look,
    one_item,
    reading_store,
    talk,
    talk_notices,
    working_directory,
)

if TYPE_CHECKING:
    from rye_telemetry.config import Settings
    from rye_telemetry.publish.numbers import Numbers, Scope
    from rye_telemetry.publish.order import Report


def _flag(name: str, explained: str, **more: Any) -> Any:
    return typer.Option(name, help=explained, **more)


ItemId = Annotated[str | None, typer.Option("--item-id", metavar="ID", help="The same as ITEM.")]
ItemPath = Annotated[str | None, typer.Option("--item-path", metavar="FILE", help="The item's file.")]
FieldNames = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        "--fields",
        metavar="NAME",
        help="Another number beside the usual six, as often as needed: timeout_count, p95_duration_ms, content_hash, "
        "first_run, window_days, success_rate_low. Default: the setting bake.fields.",
    ),
]
Since = Annotated[str | None, typer.Option("--since", metavar="WHEN", help="Only runs from then on: 30d, 2026-11-20.")]
ThisVersion = Annotated[
    bool, typer.Option("--this-version", help="Only runs of the item as it is now (the same content hash).")
]


def bake(  # noqa: PLR0913 (one parameter an option)
    files: Annotated[
        list[str] | None, typer.Argument(help="Items' files; or with --item-path one item's id.", show_default=False)
    ] = None,
    *,
    item_id: ItemId = None,
    item_path: ItemPath = None,
    item_type: ItemType = None,
    everything: Annotated[bool, _flag("--all", "Every item below the project's .ai/ folder.")] = False,
    project_path: Annotated[
        str | None, typer.Option("--project-path", metavar="DIR", help="The project of --all; default: this one.")
    ] = None,
    staged: Annotated[bool, _flag("--staged", "What is staged in git, there and in the work tree.")] = False,
    strip: Annotated[bool, _flag("--strip", "Take the block out: the file is as before it was put in.")] = False,
    check: Annotated[bool, _flag("--check", "Write nothing; exit 1 if a bake would change something.")] = False,
    diff: Annotated[bool, _flag("--diff", "Write nothing; show what would change.")] = False,
    dry_run: Annotated[bool, _flag("--dry-run", "Write nothing; say what would be done.")] = False,
    fields: FieldNames = None,
    since: Since = None,
    this_version: ThisVersion = False,
    hook: Annotated[
        bool, _flag("--hook", "As a hook: leave what hardly moved and what is signed; exit 1 if a file changed.")
    ] = False,
    merge: Annotated[bool, _flag("--merge", "As git's merge driver: BASE OURS THEIRS PATH.", hidden=True)] = False,
    marker_size: Annotated[int, typer.Option("--marker-size", hidden=True)] = 7,
    as_json: Json = False,
) -> None:
    """Put an item's numbers into its file, changing no other byte of it.

    Example: rye-telemetry bake my_tool --item-path .ai/tools/my_tool.py
    """
    from rye_telemetry.publish import order

    if merge:
        raise typer.Exit(order.merge(files or [], _numbers, marker_size=marker_size, env=os.environ))
    settings = _settings()
    flags = {"strip": strip, "check": check, "hook": hook, "write": not (check or diff or dry_run)}
    wish = order.wish_by(settings, extras=_words(fields), scope=_scope(since, this_version=this_version), **flags)
    store = reading_store(enabled=settings.enabled)
    wanted = order.Order(
        **_places(files or [], item_id, item_path, item_type, project_path, everything=everything, staged=staged)
    )
    report = order.carry_out(wanted, wish, store, cwd=working_directory(), env=os.environ)
    _show(report, diff=diff, as_json=as_json, would=not wish.write)
    talk_notices(store)
    raise typer.Exit(int(report.failed))


def publish_payload(  # noqa: PLR0913 (one parameter an option)
    item: Annotated[str | None, typer.Argument(help="Item id.", show_default=False)] = None,
    *,
    item_id: ItemId = None,
    item_path: ItemPath = None,
    item_type: ItemType = None,
    fields: FieldNames = None,
    since: Since = None,
    this_version: ThisVersion = False,
) -> None:
    """Print an item's content, without its block, and its numbers as one JSON object; the file is only read.

    Example: rye-telemetry publish-payload my_tool --item-path .ai/tools/my_tool.py
    """
    from rye_telemetry.publish.order import Order, wish_by
    from rye_telemetry.publish.payload import payload

    settings = _settings()
    wish = wish_by(settings, extras=_words(fields), scope=_scope(since, this_version=this_version))
    order = Order(item_id=one_item(item, item_id), item_path=item_path, item_type=item_type)
    store = reading_store(enabled=settings.enabled)
    answer_json(payload(order, wish.scope, store, cwd=working_directory()))
    talk_notices(store)


def _settings() -> Settings:
    from rye_telemetry.config import read_settings
    from rye_telemetry.paths import find_project

    settings = read_settings(os.environ, find_project(working_directory(), os.environ))
    if settings.consent.warning:
        talk(settings.consent.warning)
    return settings


def _numbers() -> Numbers:
    from rye_telemetry.publish.numbers import Numbers, Scope
    from rye_telemetry.publish.order import wish_by

    settings = _settings()
    wish = wish_by(settings, extras=(), scope=Scope())
    return Numbers(reading_store(enabled=settings.enabled), wish.scope)


def _words(said: list[str] | None) -> list[str]:
    return [word for part in said or [] for word in part.replace(",", " ").split()]


def _scope(since: str | None, *, this_version: bool) -> Scope:
    from rye_telemetry import asking
    from rye_telemetry.publish.numbers import Scope

    instant = asking.instant(since)
    return Scope(since=instant, window_days=asking.days_since(instant), this_version=this_version)


def _places(  # noqa: PLR0913 (what a command line may say of places)
    files: list[str],
    item_id: str | None,
    item_path: str | None,
    item_type: str | None,
    project_path: str | None,
    *,
    everything: bool,
    staged: bool,
) -> dict[str, Any]:
    from rye_telemetry import asking
    from rye_telemetry.errors import UsageInvalid
    from rye_telemetry.paths import find_project

    if item_path is not None and len(files) > 1:
        raise UsageInvalid(f"--item-path is the file of one item, and {len(files)} are named")
    if item_path is not None:
        files, item_id = [], one_item(files[0] if files else None, item_id)
    if project_path is not None and not everything:
        raise UsageInvalid("--project-path says where --all looks: add --all")
    if everything and project_path is None:
        project_path = find_project(working_directory(), os.environ)
    return {
        "files": files,
        "item_id": item_id,
        "item_path": item_path,
        "item_type": asking.check_type(item_type),
        "project_path": project_path,
        "staged": staged,
    }


def _show(report: Report, *, diff: bool, as_json: bool, would: bool) -> None:
    from rye_telemetry.publish import telling
    from rye_telemetry.tables import printable

    if as_json:
        answer_json(telling.as_json(report, written=not would))
        return
    if diff:
        sys.stdout.buffer.write(telling.diff(report.outcomes, terminal=sys.stdout.isatty(), colour=look().colour))
    else:
        for line in telling.lines(report.outcomes, would=would):
            typer.echo(printable(line))
    for remark in telling.remarks(report):
        talk(printable(remark))
