"""`init`: the six RYE tools, in a project."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from rye_telemetry.cli.answers import Json, answer_json

PathOption = Annotated[str, typer.Option("--path", metavar="PROJECT", help="The project's directory.")]
_SAID = {"written": "written", "unchanged": "unchanged", "edited": "left alone, it was edited"}


def init(*, path: PathOption = ".", as_json: Json = False) -> None:
    """Put the six RYE tools into a project's .ai/tools/rye/telemetry/; files you edited are left alone.

    Example: rye-telemetry init --path my_project
    """
    from rye_telemetry.items.install import install_tools

    tools = install_tools(path)
    if as_json:
        rows = [{"path": file, "state": state} for file, state in tools]
        answer_json({"success": True, "project_path": os.path.abspath(path), "tools": rows})
        return
    for file, state in tools:
        typer.echo(f"{_SAID[state]}: {os.path.relpath(file, os.path.abspath(path))}")
