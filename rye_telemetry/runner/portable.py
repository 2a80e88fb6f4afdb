"""Run one command where signals cannot be taken with their origin (macOS, Windows): `subprocess`, and Python's handlers.

Less exact than `supervise`: ^C and ^\\ are left to the terminal, and job control to the shell.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time

from rye_telemetry.runner.supervise import EXIT_TIMEOUT, KILL_AFTER_S, Ended, found_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from typing import Any

_RELAYED = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
_FROM_TERMINAL = ("SIGINT", "SIGQUIT")
_POSIX = os.name == "posix"


class _Relay:
    """What was sent to us, for the child: at once, or as soon as there is one."""

    def __init__(self, *, own_group: bool) -> None:
        self.own_group = own_group
        self.child: subprocess.Popen[bytes] | None = None
        self.waiting: list[int] = []
        self.interrupted_by = 0

    def listen(self) -> None:
        for name in (*_RELAYED, *_FROM_TERMINAL):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._take)
        if hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored the child's status is thrown away

    def _take(self, number: int, _frame: object) -> None:
        if number not in (getattr(signal, name, 0) for name in ("SIGUSR1", "SIGUSR2")):
            self.interrupted_by = number
        if self.own_group or number not in (getattr(signal, name, 0) for name in _FROM_TERMINAL):
            self.send(number)

    def start(self, child: subprocess.Popen[bytes]) -> None:
        self.child = child
        for number in self.waiting:
            self.send(number)

    def send(self, number: int) -> None:
        if self.child is None:
            self.waiting.append(number)
            return
        try:
            if self.own_group and _POSIX:
                os.killpg(self.child.pid, number)
            elif _POSIX:
                os.kill(self.child.pid, number)
            else:
                self.child.send_signal(signal.CTRL_BREAK_EVENT if self.own_group else signal.SIGTERM)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            pass  # it ended, or runs as somebody else now


def run(argv: list[str], env: Mapping[str, str], timeout_s: float | None) -> Ended | tuple[int, str]:
    """Run the command to its end; (exit code, reason) when it could not be started."""
    from rye_telemetry.runner.run import _said_failure

    relay = _Relay(own_group=timeout_s is not None)
    relay.listen()
    try:
        child = _start(argv, env, own_group=timeout_s is not None)
    except OSError as e:
        return _said_failure(argv[0], e)
    relay.start(child)
    ended = _wait(child, relay, timeout_s)
    ended.interrupted_by = relay.interrupted_by
    ended.from_terminal = relay.interrupted_by in (getattr(signal, name, 0) for name in _FROM_TERMINAL)
    return ended


def _start(argv: list[str], env: Mapping[str, str], *, own_group: bool) -> subprocess.Popen[bytes]:
    import subprocess

    more: dict[str, Any] = {}
    if own_group and not _POSIX:
        more["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP  # type: ignore[attr-defined,unused-ignore]
    elif own_group:
        more = {"process_group": 0} if sys.version_info >= (3, 11) else {"start_new_session": True}
    if not _POSIX:
        import shutil

        argv = [shutil.which(argv[0], path=env.get("PATH")) or argv[0], *argv[1:]]  # also .cmd and .bat
    try:
        return subprocess.Popen(argv, env=dict(env), close_fds=False, **more)
    except OSError as e:
        if e.errno != errno.ENOEXEC or not _POSIX:
            raise
    return subprocess.Popen(["/bin/sh", found_program(argv[0], env), *argv[1:]], env=dict(env), close_fds=False, **more)


def _wait(child: subprocess.Popen[bytes], relay: _Relay, timeout_s: float | None) -> Ended:
    import subprocess

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
    import subprocess

    deadline = time.monotonic() + KILL_AFTER_S
    relay.send(signal.SIGTERM)
    while (_group_lives(child) if _POSIX else child.poll() is None) and time.monotonic() < deadline:
        time.sleep(0.01)
    if _POSIX:
        relay.send(signal.SIGKILL)
    else:
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(child.pid)], capture_output=True, check=False)
        child.kill()
    child.wait()


def _group_lives(child: subprocess.Popen[bytes]) -> bool:
    child.poll()
    try:
        os.killpg(child.pid, 0)
    except OSError:
        return False
    return True
