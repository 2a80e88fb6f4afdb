"""Real processes for the tests of the wrapper: the command itself, and a shell on a terminal of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from rye_telemetry.paths import rye_state_dir
from rye_telemetry.store import TelemetryStore

RYE = str(Path(sys.executable).with_name("rye-telemetry"))
PYTHON = sys.executable
ITEM = ("run-with", "tool", "x")


def wrap(*command, options=()):
    """Return the argument list that runs a command wrapped."""
    return [RYE, *ITEM, *options, "--", *command]


def run(argv, *, timeout=60, **more):
    """Run to the end and return the ended process, with its output as bytes."""
    more.setdefault("stdin", subprocess.DEVNULL)
    more.setdefault("stdout", subprocess.PIPE)
    more.setdefault("stderr", subprocess.PIPE)
    return subprocess.run(argv, timeout=timeout, check=False, **more)


def start(argv, **more):
    """Start with a pipe on standard output, wait for its first line, and return the process."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, **more)
    assert process.stdout.readline() == b"ready\n"
    return process


def runs(**equal):
    """Return the recorded runs, newest first."""
    with TelemetryStore(rye_state_dir(os.environ)) as store:
        return store.runs(limit=1000, **equal)


def last_run():
    return runs()[0]


def wait_for(condition, *, timeout=10):
    """Wait until the condition holds, and return what it gave."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
    return found


def state_of(pid):
    """Return the letter that ps shows for a process; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def children_of(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_alive(pid):
    return state_of(pid) not in ("", "Z", "X")


def without_privileges(*argv):
    """Return the command so that the permissions of files hold for it even when root runs the tests."""
    if os.geteuid() != 0:
        return list(argv)
    assert shutil.which("setpriv"), "as root these tests need setpriv (util-linux)"
    return ["setpriv", "--bounding-set=-all", *argv]


class Terminal:
    """A program on a pseudo-terminal that controls its session, and what a person at it types and sees."""

    def __init__(self, argv, *, size=(24, 80)):
        self.master, slave = os.openpty()
        self.resize(*size)
        self.seen = ""
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *argv], stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"}
        )
        os.close(slave)

    def __enter__(self):
        return self

    def hang_up(self):
        """Close the terminal under everyone who uses it."""
        os.close(self.master)
        self.master = -1

    def __exit__(self, *_):
        if self.master >= 0:
            self.hang_up()
        for pid in (self.process.pid, *_session(self.process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def see(self, pattern, *, timeout=10):
        """Read until the pattern stands on the screen; what was read until its end is gone for the next call."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self.seen, re.DOTALL)):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} is not in {self.seen!r}"
            if select.select([self.master], [], [], left)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode(errors="replace").replace("\r", "")
                except OSError as e:  # EIO
                    raise AssertionError(f"{pattern!r} is not in {self.seen!r}, and all programs are gone") from e
        self.seen = self.seen[found.end() :]
        return found

    def foreground(self):
        return os.tcgetpgrp(self.master)


def _session(leader):
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(int(name)) == leader:
                found.append(int(name))
    return found


class Shell(Terminal):
    """An interactive bash with job control."""

    def __init__(self, **more):
        super().__init__(["bash", "--norc", "--noprofile", "--noediting", "-i"], **more)
        self.type("PS1='<$?>'; unset PROMPT_COMMAND; stty -echo\n")
        self.see("<0>", timeout=20)

    def do(self, line, *, code=0, timeout=10):
        """Run one line, check the exit code in the next prompt, and return what was printed."""
        self.type(line + "\n")
        return self.prompt(code=code, timeout=timeout)

    def prompt(self, *, code=0, timeout=10):
        found = self.see(r"(.*?)<(\d+)>", timeout=timeout)
        assert int(found[2]) == code, f"exit {found[2]}: {found[1]!r}"
        return found[1]
