"""What every reading command shares: the store to ask, the look of the answer, and where each part goes."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rye_telemetry.config import Consent
    from rye_telemetry.gitlink.repository import Repository
    from rye_telemetry.store import TelemetryStore
    from rye_telemetry.tables import Look

Json = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
ItemType = Annotated[
    str | None, typer.Option("--type", "--item-type", metavar="TYPE", help="directive, tool or knowledge.")
]

Repo = Annotated[str | None, typer.Option("--repo", metavar="DIR", help="The repository; default: the one you are in.")]


def consent() -> Consent:
    """Return what decides here, with its warning said."""
    from rye_telemetry.config import read_consent
    from rye_telemetry.paths import find_project

    found = read_consent(os.environ, find_project(working_directory(), os.environ))
    if found.warning:
        talk(found.warning)
    return found


def working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed
        return os.path.expanduser("~")


def the_repository(chosen: str | None) -> Repository:
    """Return the repository that was named, else the one around the working directory."""
    from rye_telemetry.gitlink.repository import open_repository

    return open_repository(working_directory() if chosen is None else chosen, os.environ)


def reading_store(*, enabled: bool) -> TelemetryStore:
    """Return the store to ask; with telemetry off asking writes nothing."""
    from rye_telemetry.store import open_store

    return open_store(os.environ, read_only=not enabled)


def look() -> Look:
    from rye_telemetry.tables import Look

    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Look(width=shutil.get_terminal_size().columns, colour=colour, home=os.path.expanduser("~"))


def answer_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=not _speaks_utf8()))


def _speaks_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8" and sys.stdout.errors == "strict"


def talk(text: str) -> None:
    typer.echo(f"rye-telemetry: {text}", err=True)


def talk_notices(store: TelemetryStore) -> None:
    for notice in store.notices:
        talk(notice)


def one_item(given: str | None, option: str | None) -> str | None:
    """Return the item that was named, as argument or as --item-id."""
    from rye_telemetry.errors import UsageInvalid

    if given is not None and option is not None and given != option:
        raise UsageInvalid(f"two items are named, {given!r} and {option!r}: name one")
    return given if given is not None else option
