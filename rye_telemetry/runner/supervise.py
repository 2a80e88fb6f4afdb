"""Spawn one child and stand between it and the world without being noticed.

Signals are taken one at a time with their origin (`sigwaitinfo`), so what the terminal sent to the whole group is told
from what somebody sent to this process alone. No handler runs, no thread, no polling.
"""

from __future__ import annotations

import errno
import os
import sys
import time

from rye_telemetry.runner.given import found_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping
    from typing import Any
else:
    import _signal as signal  # the `signal` module imports enum, which costs 3 ms

EXIT_TIMEOUT = 124
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
KILL_AFTER_S = 5.0
MEANWHILE_AFTER_S = 0.05
SI_USER = 0  # codes above it are the kernel's own (Linux)


def numbers(*names: str) -> tuple[int, ...]:
    """Return the signals of these names that this system has."""
    return tuple(int(getattr(signal, name)) for name in names if hasattr(signal, name))


CAN_SUPERVISE = sys.platform.startswith("linux") and hasattr(signal, "sigtimedwait")
IGNORED_BY_PYTHON = numbers("SIGPIPE", "SIGXFSZ")
_INTERRUPTS = numbers("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
_TERMINAL_READS = numbers("SIGTTIN", "SIGTTOU")
_JOB_CONTROL = (*numbers("SIGTSTP", "SIGCONT"), *_TERMINAL_READS)
_FROM_TERMINAL = (*numbers("SIGINT", "SIGQUIT", "SIGHUP", "SIGWINCH"), *_JOB_CONTROL)
# A timer set before exec is ours, and meant for the command: `perl -e 'alarm 9; exec @ARGV' COMMAND`.
_FROM_TIMERS = numbers("SIGALRM", "SIGVTALRM", "SIGPROF")


class Ended:
    """How a child ended. `exit_code` is what the shell would show; `died_of` a signal number or 0."""

    __slots__ = ("died_of", "exit_code", "from_terminal", "interrupted_by", "timed_out")

    def __init__(self, exit_code: int, *, died_of: int = 0, timed_out: bool = False) -> None:
        self.exit_code = exit_code
        self.died_of = died_of
        self.timed_out = timed_out
        self.interrupted_by = 0
        self.from_terminal = False


def block_signals() -> set[int]:
    """Block what `supervise` takes by itself; return the mask that the child is to have."""
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, _taken()))


def _taken() -> set[int]:
    return {int(number) for number in signal.valid_signals()} - {signal.SIGKILL, signal.SIGSTOP}


def spawn(argv: list[str], env: Mapping[str, str], *, mask: set[int], own_group: bool) -> int:
    """Start the command as `execvp` would and return its pid; OSError when it cannot be started."""
    start = _fork_exec if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN else _posix_spawn
    try:
        return start(argv, env, mask, own_group=own_group)
    except OSError as e:
        if e.errno != errno.ENOEXEC:
            raise
    program = found_program(argv[0], env)
    return start(["/bin/sh", program, *argv[1:]], env, mask, own_group=own_group)  # no shebang: execvp's rule


def _posix_spawn(argv: list[str], env: Mapping[str, str], mask: set[int], *, own_group: bool) -> int:
    more: dict[str, Any] = {"setpgroup": 0} if own_group else {}
    return os.posix_spawnp(argv[0], argv, env, setsigmask=mask, setsigdef=IGNORED_BY_PYTHON, **more)


def _fork_exec(argv: list[str], env: Mapping[str, str], mask: set[int], *, own_group: bool) -> int:
    """Start a child that ignores SIGCHLD as we were told to, while we need it: posix_spawn has no word for that."""
    read_end, write_end = os.pipe()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # before the child can end, or its status would be thrown away
    pid = os.fork()
    if pid == 0:
        try:
            if own_group:
                os.setpgid(0, 0)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            for number in IGNORED_BY_PYTHON:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.execvpe(argv[0], argv, dict(env))
        except OSError as e:
            os.write(write_end, str(e.errno).encode())
        finally:
            os._exit(EXIT_NOT_FOUND)
    os.close(write_end)
    said = os.read(read_end, 16)
    os.close(read_end)
    if said:
        os.waitpid(pid, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        raise OSError(int(said), os.strerror(int(said)), argv[0])
    return pid


def supervise(
    pid: int, *, terminal: Terminal | None, deadline: float | None, meanwhile: Callable[[], object] | None = None
) -> Ended:
    """Wait for the child, relay what is meant for it, end its group at `deadline` (monotonic); signals are blocked.

    With a `terminal` the child has a group of its own. `meanwhile` is done once, if the child takes its time.
    """
    watch = _Watch(pid, terminal=terminal, deadline=deadline)
    watch.meanwhile = meanwhile
    status = watch.until_end()
    if terminal and terminal.take_back() and os.WIFSIGNALED(status) and os.WTERMSIG(status) in _INTERRUPTS:
        watch.interrupted_by, watch.from_terminal = os.WTERMSIG(status), True  # ^C went to the child's group alone
    if watch.timed_out:
        watch.end_group()
        ended = Ended(EXIT_TIMEOUT, timed_out=True)
    elif os.WIFSIGNALED(status):
        ended = Ended(128 + os.WTERMSIG(status), died_of=os.WTERMSIG(status))
    else:
        ended = Ended(os.WEXITSTATUS(status))
    ended.interrupted_by = watch.interrupted_by
    ended.from_terminal = watch.from_terminal
    return ended


class _Watch:
    def __init__(self, pid: int, *, terminal: Terminal | None, deadline: float | None) -> None:
        self.pid = pid
        self.terminal = terminal
        self.deadline = deadline
        self.timed_out = False
        self.killed = False
        self.interrupted_by = 0
        self.from_terminal = False
        self.meanwhile: Callable[[], object] | None = None
        self.taken = _taken()

    def until_end(self) -> int:
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if pid and not os.WIFSTOPPED(status):
                return status
            if pid:
                self._stopped(os.WSTOPSIG(status))
                continue
            info = self._next_signal()
            if info is None:
                self._escalate()
            elif info.si_signo != signal.SIGCHLD:
                self._relay(info)

    def _next_signal(self) -> signal.struct_siginfo | None:
        if self.meanwhile:  # not at once: the end of a quick command must not go unseen for what is done then
            left = MEANWHILE_AFTER_S if self.deadline is None else self.deadline - time.monotonic()
            info = signal.sigtimedwait(self.taken, max(0.0, min(left, MEANWHILE_AFTER_S)))
            if info is None:
                self.meanwhile()
                self.meanwhile = None
            return info
        if self.deadline is None or self.killed:
            return signal.sigwaitinfo(self.taken)
        return signal.sigtimedwait(self.taken, max(0.0, self.deadline - time.monotonic()))

    def _escalate(self) -> None:
        if self.deadline is None or time.monotonic() < self.deadline:
            return
        if not self.timed_out:
            self.timed_out = True
            self.deadline += KILL_AFTER_S
            self._send(signal.SIGTERM, group=True)
            self._send(signal.SIGCONT, group=True)
        else:
            self.killed = True
            self._send(signal.SIGKILL, group=True)

    def _relay(self, info: signal.struct_siginfo) -> None:
        number = info.si_signo
        from_kernel = info.si_code > SI_USER
        if not from_kernel and info.si_pid == self.pid:
            return  # the child to its group, itself included, or to its parent: never meant to come back to it
        if from_kernel and number not in _FROM_TERMINAL:
            if number in _FROM_TIMERS:
                self._send(number)
            return  # the rest is about ourselves: our own pipe, file size, processor time
        if number in _INTERRUPTS and signal.getsignal(number) != signal.SIG_IGN:
            self.interrupted_by, self.from_terminal = number, from_kernel
        if number == signal.SIGCONT:
            self._continue()
        elif self.terminal:
            self._send(number, group=from_kernel or number in _INTERRUPTS or number in _JOB_CONTROL)
        elif not from_kernel or (number == signal.SIGHUP and os.getsid(0) == os.getpid()):
            self._send(number)  # what the terminal sends has reached the whole group; a session leader is hung up alone

    def _stopped(self, number: int) -> None:
        """Stop as the child did, so that the shell sees its job stop; when we are continued, so is the child."""
        if self.terminal and number in _TERMINAL_READS and self.terminal.lend(self.pid):
            self._send(signal.SIGCONT, group=True)  # it asked for the terminal before it was given it
            return
        if self.terminal and not self.terminal.has_shell(self.pid, number):
            return  # as under timeout(1): it stays stopped until its time is over
        began = time.monotonic()
        if self._stop_ourselves(number):
            if self.deadline is not None:
                self.deadline += time.monotonic() - began
            self._continue()
        elif self.terminal and number == signal.SIGTSTP:
            self._continue()  # ^Z where no shell could ever say `fg` does nothing

    def _stop_ourselves(self, number: int) -> bool:
        """Return after somebody continued us, or False at once where the kernel stops nobody: an orphaned group."""
        if self.terminal:
            self.terminal.take_back()
            if number == signal.SIGSTOP:
                number = signal.SIGTSTP  # which never stops an orphaned group
        _drain(number)
        _drain(signal.SIGCONT)
        os.kill(os.getpid(), number)
        if number != signal.SIGSTOP:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
            signal.pthread_sigmask(signal.SIG_BLOCK, {number})
        return _drain(signal.SIGCONT)

    def _continue(self) -> None:
        """Continue the child, unless whoever continued us continued our whole group."""
        if self.terminal:
            self.terminal.lend(self.pid)
        elif self._was_continued():
            return
        self._send(signal.SIGCONT, group=True)

    def _was_continued(self) -> bool:
        try:
            return os.waitid(os.P_PID, self.pid, os.WCONTINUED | os.WNOHANG) is not None
        except ChildProcessError:  # it has ended, which the next look will see
            return True

    def _send(self, number: int, *, group: bool = False) -> None:
        try:
            if group and self.terminal:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # it ended, or it runs as somebody else now, whom the bare signal would not have reached either

    def end_group(self) -> None:
        """See that nothing the command started outlives its timeout."""
        pause_s = 0.002
        while self.deadline is not None and _group_lives(self.pid):
            left_s = self.deadline - time.monotonic()
            if left_s <= 0:
                self._send(signal.SIGKILL, group=True)
                return
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, 0.05)


class Terminal:
    """The terminal, lent to a child in a group of its own while ours is in the foreground and we are alone in it."""

    def __init__(self) -> None:
        self.lent_to = 0
        self.alone: bool | None = None
        self.fd = next((fd for fd in (0, 1, 2) if _foreground(fd) >= 0), -1)
        if self.fd < 0:
            self.fd = _open_terminal()
        if self._is_with(os.getpgrp()):
            self._is_alone()  # before the child starts: it may ask for the terminal at once

    def _is_alone(self) -> bool:
        """Say whether no other process is in our group; asked once, and only at a terminal: it reads all of /proc."""
        if self.alone is None:
            self.alone = _members(os.getpgrp()) == {os.getpid()}
        return self.alone

    def lend(self, child: int) -> bool:
        """Give the child the foreground if it is ours; say whether it has it now."""
        if self._is_with(os.getpgrp()) and self._is_alone() and self._set(child):
            self.lent_to = child
        return self._is_with(child)

    def _is_with(self, group: int) -> bool:
        return self.fd >= 0 and _foreground(self.fd) == group

    def has_shell(self, child: int, number: int) -> bool:
        """Say whether a shell may be waiting for us to stop: it runs us alone in a group, with a terminal."""
        return self.fd >= 0 and self._is_alone() and (number != signal.SIGSTOP or self._is_with(child))

    def take_back(self) -> bool:
        """Make our group the foreground again; say whether the child's was until now."""
        was_lent = self.lent_to > 0 and self._is_with(self.lent_to)
        if was_lent:
            self._set(os.getpgrp())
        self.lent_to = 0
        return was_lent

    def _set(self, group: int) -> bool:
        try:
            os.tcsetpgrp(self.fd, group)
        except OSError:
            return False
        return True


def _open_terminal() -> int:
    from rye_telemetry.files import open_fd

    try:
        return open_fd("/dev/tty", os.O_RDONLY)
    except OSError:
        return -1


def _foreground(fd: int) -> int:
    try:
        return os.tcgetpgrp(fd)
    except OSError:
        return -1


def _members(group: int) -> set[int] | None:
    """Return the processes of a group that are no zombies; None where that cannot be told."""
    try:
        names = [name for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return None
    found = set()
    for name in names:
        try:
            with open(f"/proc/{name}/stat", "rb") as f:
                state, _, of = f.read().rpartition(b")")[2].split(maxsplit=3)[:3]
        except (OSError, ValueError):  # it ended meanwhile
            continue
        if int(of) == group and state not in (b"Z", b"X"):
            found.add(int(name))
    return found if names else None


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return _members(group) != set()  # a zombie counts for killpg, and some containers reap none


def let_signals_through() -> None:
    """Let signals end this process again; those that came while the child was ending were the child's."""
    taken = _taken()
    while signal.sigtimedwait(taken, 0) is not None:
        pass
    signal.pthread_sigmask(signal.SIG_UNBLOCK, taken)


def _drain(number: int) -> bool:
    return signal.sigtimedwait({number}, 0) is not None


def restore_ignored() -> None:
    """Give SIGPIPE and SIGXFSZ, which Python ignores, back to what exec is to hand on."""
    for number in IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)


def die_of(number: int) -> None:
    """End as the child did, so that a shell's loop stops at ^C; no second core is dumped."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
