"""`run-with`, for what the fast lane in `entry.py` leaves over: help, and mistakes to explain."""

from __future__ import annotations

import inspect
import os
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from rye_telemetry.runner.options import OPTIONS, make_request, split_command

EPILOG = "Example: rye-telemetry run-with tool my_tool --timeout 60 -- make test"


class RunWith(TyperCommand):
    """Takes what stands behind the first `--` as the command, word for word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        head, ctx.meta["command"] = split_command(args)
        return super().parse_args(ctx, head)

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        formatter.write_usage(ctx.command_path, "TYPE ID [OPTIONS] [-- COMMAND ARG...]")

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 (the framework's form)
        formatter.write_paragraph()
        formatter.write_text(EPILOG)


def run_with(ctx: typer.Context, places: list[str] | None, **values: object) -> None:
    """Run an item, or any command after --, and record the run if telemetry is on.

    TYPE is directive, tool or knowledge. The exit code is the command's own; 124 after a timeout, 126 and 127 when it
    cannot be started or found, 128+N when signal N ended it.
    """
    from rye_telemetry.runner.given import given_environment
    from rye_telemetry.runner.run import run

    raise typer.Exit(run(make_request(places or [], values, ctx.meta["command"]), given_environment(os.environ)))


def _signature() -> inspect.Signature:
    """Give the function above its parameters from the one table of options."""
    kind = inspect.Parameter.KEYWORD_ONLY
    place = Annotated[list[str] | None, typer.Argument(metavar="TYPE ID", show_default=False)]
    parameters = [
        inspect.Parameter("ctx", kind, annotation=typer.Context),
        inspect.Parameter("places", kind, annotation=place, default=None),
    ]
    for name, field, metavar, again, explained in OPTIONS:
        taken: Any = list[str] | None if again else str | None
        option = Annotated[taken, typer.Option(name, metavar=metavar, help=explained)]
        parameters.append(inspect.Parameter(field, kind, annotation=option, default=None))
    return inspect.Signature(parameters)


run_with.__signature__ = _signature()  # type: ignore[attr-defined]
run_with.__annotations__ = {p.name: p.annotation for p in _signature().parameters.values()}
