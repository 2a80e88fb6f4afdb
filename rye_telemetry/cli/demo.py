"""`demo`: the main job, shown on a small real project."""

from __future__ import annotations

import os
import signal
from typing import Annotated

import typer


def demo(
    *, keep: Annotated[str | None, typer.Option("--keep", metavar="DIR", help="Keep home and project in DIR.")] = None
) -> None:
    """Run some thirty items of a small project in a home of its own, and show what is recorded.

    It leaves nothing behind but what it prints. Example: rye-telemetry demo
    """
    from rye_telemetry.demo import perform

    for name in ("SIGTERM", "SIGHUP"):  # told to end, it still removes what it made, as after ^C
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    perform(os.environ, keep=keep, write=_write)


def _write(text: str) -> None:
    typer.echo(text, nl=False)  # it flushes: children print between
