"""`hooks install`, `hooks uninstall` and `hooks status`."""

from __future__ import annotations

import contextlib
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
def hooks_install(  # noqa: PLR0913 (one option each)
    *,
    everywhere: Global = False,
    trailers: Annotated[bool, typer.Option("--trailers", help="Also name the run in each commit's message.")] = False,
    notes: Annotated[bool, typer.Option("--notes", help="Also keep the run in refs/notes/rye-telemetry.")] = False,
    bake: Annotated[bool, typer.Option("--bake", help="Also bake what is committed, before it is.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Also refuse a commit that a bake would change.")] = False,
    strip: Annotated[bool, typer.Option("--strip", help="Also take the numbers out of what is committed.")] = False,
    guard: Annotated[bool, typer.Option("--guard", help="Also refuse to commit a telemetry store.")] = False,
    merge_driver: Annotated[
        bool, typer.Option("--merge-driver", help="Also let git merge items without conflicts in their numbers.")
    ] = False,
    repo: Repo = None,
) -> None:
    """Link commits to runs by git hooks; hooks that are there go on as before. Twice is once.

    Example: rye-telemetry hooks install --bake --guard
    """
    from rye_telemetry.gitlink import install

    asked = {"guard": guard, "strip": strip, "bake": bake, "check": check}
    wanted = install.Wanted(trailers=trailers, notes=notes, steps=[step for step, on in asked.items() if on])
    put = install.install_everywhere if everywhere else install.install_hooks
    place = repo or working_directory()
    done = put(place, wanted, env=os.environ)
    if merge_driver:
        from rye_telemetry.publish.merge_install import install_merge_driver

        done.lines += install_merge_driver(place, os.environ)
    _show(done)


@hooks_app.command("uninstall")
def hooks_uninstall(*, everywhere: Global = False, repo: Repo = None) -> None:
    """Take our hooks out; hooks that were there are as they were, to the byte.

    Example: rye-telemetry hooks uninstall
    """
    from rye_telemetry.errors import GitUnusable
    from rye_telemetry.gitlink import install
    from rye_telemetry.publish.merge_install import uninstall_merge_driver

    take = install.uninstall_everywhere if everywhere else install.uninstall_hooks
    place = repo or working_directory()
    done = take(place, env=os.environ)
    with contextlib.suppress(GitUnusable):  # no repository here
        done.lines += uninstall_merge_driver(place, os.environ)
    _show(done)
    if not done.lines:
        talk("no hook of ours is there")


@hooks_app.command("status")
def hooks_status(*, repo: Repo = None, as_json: Json = False) -> None:
    """Show which hooks of ours are in place.

    Example: rye-telemetry hooks status --json
    """
    from rye_telemetry.gitlink import install
    from rye_telemetry.publish.merge_install import has_merge_driver

    place = repo or working_directory()
    found = {
        **install.hooks_status(place, env=os.environ),
        "merge_driver": has_merge_driver(place, os.environ),
    }
    if as_json:
        answer_json(found)
        return
    from rye_telemetry.tables import printable

    for line in (*install.status_lines(found), f"merge driver: {'on' if found['merge_driver'] else 'off'}"):
        typer.echo(printable(line))


def _show(done: Any) -> None:
    from rye_telemetry.tables import printable

    for line in done.lines:
        typer.echo(printable(line))
    for remark in done.remarks:
        talk(printable(remark))
