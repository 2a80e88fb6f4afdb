"""Run one command where signals cannot be taken with their origin (macOS, Windows): `subprocess` and Python's handlers.

Less exact than `supervise`: interrupts from the keyboard are left to the terminal, and job control to the shell.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

from rye_telemetry.runner.given import found_program
from rye_telemetry.runner.supervise import EXIT_TIMEOUT, KILL_AFTER_S, Ended, numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_RELAYED = numbers("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
_FROM_KEYBOARD = numbers("SIGINT", "SIGQUIT")
_INTERRUPTS = (*_FROM_KEYBOARD, *numbers("SIGTERM", "SIGHUP"))
_POSIX = os.name == "posix"


class _Relay:
    """What was sent to us, for the child: at once, or as soon as there is one."""

    def __init__(self, *, own_group: bool) -> None:
        self.own_group = own_group
        self.child: subprocess.Popen[bytes] | None = None
        self.waiting: list[int] = []
        self.interrupted_by = 0
        for number in (*_RELAYED, *_FROM_KEYBOARD):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._take)

    def _take(self, number: int, _frame: object) -> None:
        if number in _INTERRUPTS:
            self.interrupted_by = number
        if self.child is None:
            self.waiting.append(number)
        elif self.own_group or number not in _FROM_KEYBOARD:
            self.send(self.child, number)

    def send(self, child: subprocess.Popen[bytes], number: int) -> bool:
        """Say whether there was somebody to take it; nobody when it ended, or runs as somebody else now."""
        try:
            if _POSIX:
                (os.killpg if self.own_group else os.kill)(child.pid, number)
            else:
                child.send_signal(getattr(signal, "CTRL_BREAK_EVENT", number) if self.own_group else number)
        except (OSError, ValueError):
            return False
        return True


def run(
    argv: list[str], env: Mapping[str, str], timeout_s: float | None, *, spawned: Callable[[], object] | None = None
) -> Ended | tuple[int, str]:
    """Run the command to its end; (exit code, reason) when it could not be started. `spawned` is done once it runs."""
    from rye_telemetry.runner.run import said_failure

    for number in numbers("SIGCHLD"):  # where it is ignored the child's status is thrown away
        signal.signal(number, signal.SIG_DFL)
    relay = _Relay(own_group=timeout_s is not None)
    try:
        relay.child = child = _start(argv, env, own_group=relay.own_group)
    except OSError as e:
        return said_failure(argv[0], e)
    for number in relay.waiting:
        relay.send(child, number)
    if spawned:
        spawned()
    ended = _wait(child, relay, timeout_s)
    ended.interrupted_by = relay.interrupted_by
    ended.from_terminal = relay.interrupted_by in _FROM_KEYBOARD
    return ended


def _start(argv: list[str], env: Mapping[str, str], *, own_group: bool) -> subprocess.Popen[bytes]:
    import shutil

    more: dict[str, Any] = {}
    if not _POSIX:
        argv = [shutil.which(argv[0], path=env.get("PATH")) or argv[0], *argv[1:]]  # also .cmd and .bat
    if own_group and not _POSIX:
        more["creationflags"] = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    elif own_group:
        more = {"process_group": 0} if sys.version_info >= (3, 11) else {"start_new_session": True}
    try:
        return subprocess.Popen(argv, env=dict(env), close_fds=False, **more)
    except OSError as e:
        if e.errno != errno.ENOEXEC or not _POSIX:
            raise
    return subprocess.Popen(["/bin/sh", found_program(argv[0], env), *argv[1:]], env=dict(env), close_fds=False, **more)


def _wait(child: subprocess.Popen[bytes], relay: _Relay, timeout_s: float | None) -> Ended:
    try:
        code = child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        _end_group(child, relay)
        return Ended(EXIT_TIMEOUT, timed_out=True)
    if code >= 0:
        return Ended(code if code < 1 << 31 else code - (1 << 32))  # Windows: an NTSTATUS, as exit takes it
    return Ended(128 - code, died_of=-code)


def _end_group(child: subprocess.Popen[bytes], relay: _Relay) -> None:
    """TERM, then KILL after 5 s, for the whole group; on Windows ^Break, then the whole tree is ended."""
    deadline = time.monotonic() + KILL_AFTER_S
    relay.send(child, signal.SIGTERM)
    while time.monotonic() < deadline and (child.poll() is None or (_POSIX and relay.send(child, 0))):
        time.sleep(0.01)
    if _POSIX:
        relay.send(child, numbers("SIGKILL")[0])
    else:
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(child.pid)], capture_output=True, check=False)
        child.kill()
    child.wait()
