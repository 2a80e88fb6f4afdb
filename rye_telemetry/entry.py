"""Where the process begins: the fast lane for a plain `run-with`, the command line for everything else."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import NoReturn

    from rye_telemetry.runner.options import Request
else:
    import _signal as signal  # the `signal` module imports enum, which costs 3 ms


HOOK_NAMES = ("post-commit", "post-rewrite", "prepare-commit-msg")


def main() -> int:
    """Run the command line in `sys.argv` and return its exit code."""
    argv = sys.argv[1:]
    if argv[:1] == ["run-with"] and "_RYE_TELEMETRY_COMPLETE" not in os.environ:
        _end_quietly_at_ctrl_c()
        from rye_telemetry.runner.options import parse_plain

        request = parse_plain(argv[1:])
        if request is not None:
            _run_now(request)
    if argv[:1] == ["hook"] and argv[1:2] and argv[1] in HOOK_NAMES:
        _hook_now(argv[1:])
    from rye_telemetry.cli.app import run_command_line

    return run_command_line(argv)


def _hook_now(argv: list[str]) -> NoReturn:
    """Do what a git hook of ours is for, and leave as `run-with` does."""
    from rye_telemetry.gitlink.hooked import run_hook
    from rye_telemetry.runner.given import given_environment
    from rye_telemetry.runner.run import say

    try:
        run_hook(argv, given_environment(os.environ), say=say)
    except Exception:  # noqa: BLE001 (a bug of ours must not cost the commit: kept, and said where, as everywhere)
        from rye_telemetry.cli.app import _report_bug

        _report_bug()
    os._exit(0)


def _end_quietly_at_ctrl_c() -> None:
    """Until the command has started, ^C ends us as it would end the command: without a traceback."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run_now(request: Request) -> NoReturn:
    """Run and leave without the interpreter's clean-up: nothing of ours is open by then, and it takes a millisecond."""
    from rye_telemetry.errors import RyeTelemetryError
    from rye_telemetry.runner.given import given_environment
    from rye_telemetry.runner.run import run, say

    try:
        code = run(request, given_environment(os.environ))
    except RyeTelemetryError as e:
        say(str(e))
        code = e.exit_code
    except Exception:  # noqa: BLE001 (a bug of ours before or after the command: kept, and said where, as everywhere)
        from rye_telemetry.cli.app import _report_bug

        code = _report_bug()
    os._exit(code)
