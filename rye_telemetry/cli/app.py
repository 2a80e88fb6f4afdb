"""The command line: every command in one place, every error caught in one place."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from rye_telemetry.cli.bake import bake, publish_payload
from rye_telemetry.cli.clear import clear
from rye_telemetry.cli.commits import associate_commit, commits_app
from rye_telemetry.cli.configure import configure
from rye_telemetry.cli.demo import demo
from rye_telemetry.cli.doctor import doctor
from rye_telemetry.cli.guard import guard
from rye_telemetry.cli.hook import hook
from rye_telemetry.cli.hooks import hooks_app
from rye_telemetry.cli.init import init
from rye_telemetry.cli.rebuild import rebuild
from rye_telemetry.cli.run_with import RunWith, run_with
from rye_telemetry.cli.runs import runs_app
from rye_telemetry.cli.status import status
from rye_telemetry.errors import RyeTelemetryError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_BUG = 3
EXIT_INTERRUPTED = 130


class RootGroup(TyperGroup):
    """Turns an expected error into one line and its exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except RyeTelemetryError as e:
            typer.echo(f"rye-telemetry: {e}", err=True)
            raise typer.Exit(e.exit_code) from e


app = typer.Typer(
    cls=RootGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:  # noqa: FBT001 (the callback's form)
    if value:
        from importlib.metadata import version

        typer.echo(f"rye-telemetry {version('rye-telemetry')}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[  # noqa: ARG001 (its callback answers)
        bool, typer.Option("--version", help="Show the version and leave.", callback=_show_version, is_eager=True)
    ] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours; NO_COLOR does the same.")] = False,
) -> None:
    """Record how the items of your .ai/ folder do: locally, opt-in, without touching them."""
    if no_color:
        os.environ["NO_COLOR"] = "1"


app.command(cls=RunWith)(run_with)
for command in (configure, status, clear, doctor, rebuild, init, demo):
    app.command()(command)
app.command()(guard)
app.command(hidden=True)(hook)
app.add_typer(runs_app, name="runs")
app.command("associate-commit")(associate_commit)
app.command()(bake)
app.command("publish-payload")(publish_payload)
app.add_typer(commits_app, name="commits")
app.add_typer(hooks_app, name="hooks")


def run_command_line(argv: Sequence[str]) -> int:
    """Run one command and return its exit code: 0 done, 1 expected failure, 2 usage, 3 our bug, 130 ^C."""
    try:
        app(args=list(argv), prog_name="rye-telemetry")
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else int(e.code is not None)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader left; the interpreter's last flush must not complain
        return 1
    except Exception:  # noqa: BLE001 (the one place for bugs: kept, and said where)
        return _report_bug()
    return 0


def _report_bug() -> int:
    import tempfile
    import traceback

    from rye_telemetry.paths import rye_state_dir

    try:
        place: str | None = rye_state_dir(os.environ)
    except RyeTelemetryError:
        place = None
    fd, path = tempfile.mkstemp(prefix="bug-", suffix=".txt", dir=place if place and os.path.isdir(place) else None)
    with os.fdopen(fd, "w") as f:
        traceback.print_exc(file=f)
    sys.stderr.write(
        f"rye-telemetry: this is a bug of ours; what happened is in {path}: please report it with that file\n"
    )
    return EXIT_BUG
