"""`commits repair`, `commits relink` and `commits import-notes`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from rye_telemetry.cli.answers import Json, Repo, answer_json, look, talk_notices, the_repository

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be linked, and link nothing.")]


def repair(
    tip: Annotated[
        str, typer.Argument(metavar="[TIP]", help="Whose history to look at; default: HEAD.", show_default=False)
    ] = "HEAD",
    *,
    dry_run: DryRun = False,
    repo: Repo = None,
    as_json: Json = False,
) -> None:
    """Find what linked commits became in a history that was rewritten, and link that.

    Example: rye-telemetry commits repair --dry-run origin/main
    """
    from rye_telemetry import tables
    from rye_telemetry.gitlink.repair import repair as repair_links
    from rye_telemetry.store import open_store

    store, where = open_store(os.environ), the_repository(repo)
    found = repair_links(store, where, tip, dry_run=dry_run)
    answer_json(found) if as_json else typer.echo(tables.relinked(found, look()))
    store.close()
    talk_notices(store)


def relink(
    *,
    revisions: Annotated[str, typer.Option("--range", metavar="BASE..HEAD", help="The commits that went into it.")],
    onto: Annotated[str, typer.Option("--onto", metavar="SHA", help="The commit that they became.")],
    dry_run: DryRun = False,
    repo: Repo = None,
    as_json: Json = False,
) -> None:
    """Link the runs of a range to the commit that it became: for CI, after a forge's squash.

    Example: rye-telemetry commits relink --range main..topic --onto HEAD
    """
    from rye_telemetry import tables
    from rye_telemetry.gitlink.relink import relink as relink_range
    from rye_telemetry.store import open_store

    store, where = open_store(os.environ), the_repository(repo)
    found = relink_range(store, where, revisions=revisions, onto=onto, dry_run=dry_run)
    answer_json(found) if as_json else typer.echo(tables.relinked(found, look()))
    store.close()
    talk_notices(store)


def import_notes(
    ref: Annotated[str, typer.Argument(help="The notes: a whole ref.", show_default=True)] = "refs/notes/rye-telemetry",
    *,
    dry_run: DryRun = False,
    repo: Repo = None,
    as_json: Json = False,
) -> None:
    """Link the runs that a colleague's git notes name.

    Example: rye-telemetry commits import-notes refs/notes/rye-telemetry
    """
    from rye_telemetry import tables
    from rye_telemetry.gitlink.import_notes import import_notes as read_notes
    from rye_telemetry.store import open_store

    store, where = open_store(os.environ), the_repository(repo)
    found = read_notes(store, where, ref, dry_run=dry_run, env=os.environ)
    answer_json(found) if as_json else typer.echo(tables.relinked(found, look()))
    store.close()
    talk_notices(store)
