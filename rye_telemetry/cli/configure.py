"""`configure`: opt in or out, show and change settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rye_telemetry.cli.answers import Json, answer_json, talk, working_directory

if TYPE_CHECKING:
    from collections.abc import Mapping

Enabled = Annotated[
    str | None, typer.Option("--enabled", metavar="true|false", help="Record runs on this machine, or stop recording.")
]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may be given again.")
]


def configure(*, enabled: Enabled = None, changes: Changes = None, as_json: Json = False) -> None:
    """Switch telemetry on or off, change settings, or, without an option, list and explain them.

    Example: rye-telemetry configure --enabled true
    """
    from rye_telemetry import config
    from rye_telemetry.paths import find_project

    project_path = find_project(working_directory(), os.environ)
    typed = ([f"enabled={enabled}"] if enabled is not None else []) + (changes or [])
    values = dict(map(config.parse_setting, typed))
    if not values:
        _show(config.list_settings(os.environ, project_path), as_json=as_json)
    else:
        _say(config.change_settings(values, env=os.environ, project_path=project_path), as_json=as_json)


def _say(done: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        answer_json(done)
        return
    from rye_telemetry.config_values import choice_text

    for name, value in done["settings"].items():
        typer.echo(
            "telemetry is " + ("on" if value else "off") if name == "enabled" else f"{name} is {choice_text(value)}"
        )
    typer.echo(f"{'written to' if done['changed'] else 'nothing to change in'} {done['config_path']}")
    if "note" in done:
        talk(done["note"])


def _show(found: Mapping[str, Any], *, as_json: bool) -> None:
    if found["warning"]:
        talk(found["warning"])
    if as_json:
        answer_json(found)
        return
    from rye_telemetry.config_values import choice_text

    for setting in found["settings"]:
        typer.echo(f"{setting['name']} = {choice_text(setting['value'])}    from: {setting['source']}")
        typer.echo(f"    {setting['help']}\n    {setting['values']}; default: {choice_text(setting['default'])}")
    typer.echo(f"\nTo change one: rye-telemetry configure --set KEY=VALUE\nwhich writes {found['config_path']}")
