"""`hooks install`, `hooks uninstall` and `hooks status`."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from rye_telemetry.cli.answers import Json, answer_json, talk, working_directory

hooks_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Git hooks, beside any that exist.")

Repo = Annotated[
    str | None, typer.Option("--repo", metavar="DIR", help="A repository; the working directory's if left out.")
]
Global = Annotated[
    bool, typer.Option("--global", help="For every repository made or cloned from now on, and this one.")
]


@hooks_app.command("install")
def hooks_install(
    *,
    everywhere: Global = False,
    trailers: Annotated[bool, typer.Option("--trailers", help="Also name the run in each commit's message.")] = False,
    notes: Annotated[bool, typer.Option("--notes", help="Also keep the run in refs/notes/rye-telemetry.")] = False,
    repo: Repo = None,
) -> None:
    """Link commits to runs by git hooks; hooks that are there go on as before. Twice is once.

    Example: rye-telemetry hooks install --trailers
    """
    from rye_telemetry.gitlink import install

    put = install.install_everywhere if everywhere else install.install_hooks
    _show(put(repo or working_directory(), trailers=trailers, notes=notes, env=os.environ))


@hooks_app.command("uninstall")
def hooks_uninstall(*, everywhere: Global = False, repo: Repo = None) -> None:
    """Take our hooks out; hooks that were there are as they were, to the byte.

    Example: rye-telemetry hooks uninstall
    """
    from rye_telemetry.gitlink import install

    take = install.uninstall_everywhere if everywhere else install.uninstall_hooks
    done = take(repo or working_directory(), env=os.environ)
    _show(done)
    if not done.lines:
        talk("no hook of ours is there")


@hooks_app.command("status")
def hooks_status(*, repo: Repo = None, as_json: Json = False) -> None:
    """Show which hooks of ours are in place.

    Example: rye-telemetry hooks status --json
    """
    from rye_telemetry.gitlink import install

    found = install.hooks_status(repo or working_directory(), env=os.environ)
    if as_json:
        answer_json(found)
        return
    from rye_telemetry.tables import printable

    for line in install.status_lines(found):
        typer.echo(printable(line))


def _show(done: Any) -> None:
    from rye_telemetry.tables import printable

    for line in done.lines:
        typer.echo(printable(line))
    for remark in done.remarks:
        talk(printable(remark))
