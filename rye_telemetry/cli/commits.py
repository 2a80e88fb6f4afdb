"""`commits show` and `commits list`."""

from __future__ import annotations

import gc
import json
import os
from typing import Annotated

import typer

from rye_telemetry.cli.answers import (
    Json,
    Repo,
    answer_json,
    consent,
    look,
    reading_store,
    talk_notices,
    the_repository,
)
from rye_telemetry.cli.commits_repair import import_notes, relink, repair

commits_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Show which runs made which commits.")
commits_app.command("repair")(repair)
commits_app.command("relink")(relink)
commits_app.command("import-notes")(import_notes)


@commits_app.command("show")
def commits_show(
    revision: Annotated[
        str,
        typer.Argument(
            metavar="[REV|RANGE]", help="A commit (default: HEAD), or a range such as main..HEAD.", show_default=False
        ),
    ] = "HEAD",
    *,
    repo: Repo = None,
    as_json: Json = False,
) -> None:
    """Show the runs behind a commit, or behind each commit of a range.

    One commit is looked for by every evidence; of a range, what is stored is shown.

    Example: rye-telemetry commits show HEAD~3..HEAD
    """
    from rye_telemetry import tables
    from rye_telemetry.gitlink import repository, show

    store, where = reading_store(enabled=consent().enabled), the_repository(repo)
    if repository.is_range(revision):
        gc.disable()  # a hundred thousand links refer to nothing that refers to them; looking takes as long as asking
        found = show.show_range(store, where, revision)
        _answer_lines(found) if as_json else typer.echo(tables.commit_runs(found, look()))
    else:
        one = show.show_commit(store, where, revision)
        answer_json(one) if as_json else typer.echo(tables.commit_sheet(one, look()))
    talk_notices(store)


@commits_app.command("list")
def commits_list(
    revisions: Annotated[
        str,
        typer.Argument(metavar="[REV|RANGE]", help="A history or a range such as main..HEAD.", show_default=False),
    ] = "HEAD",
    *,
    unlinked: Annotated[bool, typer.Option("--unlinked", help="Only commits without a run.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="How many at most.")] = 20,
    repo: Repo = None,
    as_json: Json = False,
) -> None:
    """List commits, newest first, with the runs that are stored for them.

    Example: rye-telemetry commits list --unlinked main..HEAD
    """
    from rye_telemetry import tables
    from rye_telemetry.gitlink import show

    store, where = reading_store(enabled=consent().enabled), the_repository(repo)
    found = show.list_commits(store, where, revisions, unlinked=unlinked, limit=limit)
    _answer_lines(found) if as_json else typer.echo(tables.commits_table(found, look()))
    talk_notices(store)


def _answer_lines(entries: list[dict[str, object]]) -> None:
    """Print a JSON list with one commit a line: indented, a hundred thousand links take seconds to write."""
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    typer.echo(f"[\n{lines}\n]" if lines else "[]")


def associate_commit(  # noqa: PLR0913 (one parameter an option)
    commit: Annotated[str, typer.Argument(help="Any revision that git understands.", show_default=True)] = "HEAD",
    *,
    run: Annotated[
        list[str] | None, typer.Option("--run", metavar="RUN_ID", help="This run; may be given again.")
    ] = None,
    last: Annotated[int | None, typer.Option("--last", metavar="N", min=1, help="The N newest runs here.")] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="SOURCE", help="manual, llm or ci; guessed when left out.")
    ] = None,
    author: Annotated[
        str | None, typer.Option("--author", metavar="'NAME <MAIL>'", help="Default: the commit's own author.")
    ] = None,
    repo: Repo = None,
) -> None:
    """Link runs to a commit: the newest run of this repository that has none, or those you name.

    Example: rye-telemetry associate-commit HEAD --last 1 --source llm
    """
    from rye_telemetry.gitlink.associate import associate_commit as associate
    from rye_telemetry.store import open_store

    store, where = open_store(os.environ), the_repository(repo)
    done = associate(store, where, commit, run_ids=run or (), last=last, source=source, author=author, env=os.environ)
    for line in done:
        typer.echo(f"{line[0].upper()}{line[1:]}.")
    store.close()
    talk_notices(store)
