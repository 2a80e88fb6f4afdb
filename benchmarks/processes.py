"""Time whole processes against each other, alternating, with as little between the clock and them as Python allows."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NS_PER_MS = 1_000_000
QUIET = (
    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    (os.POSIX_SPAWN_DUP2, 1, 2),
)
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class CommandFailed(Exception):
    """A measured command ended otherwise than it should; its time would mean nothing."""


@dataclass(frozen=True)
class Command:
    """A whole process to time."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    directory: Path


@dataclass
class Samples:
    """Times of one thing, in the order measured."""

    name: str
    times_ms: list[float] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        return statistics.median(self.times_ms)

    @property
    def min_ms(self) -> float:
        return min(self.times_ms)


def check_command(command: Command) -> None:
    """Run once off the clock, as a warm-up too; CommandFailed with its last words unless it succeeds."""
    try:
        done = subprocess.run(
            command.argv,
            env=dict(command.env),
            cwd=command.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as e:
        raise CommandFailed(str(e)) from e
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing on stderr"]
        raise CommandFailed(f"exit code {done.returncode}: {said[-1].strip()[:200]}")


def time_command(command: Command) -> float:
    """Return milliseconds from before the spawn to after the wait."""
    os.chdir(command.directory)
    began_ns = time.perf_counter_ns()
    pid = os.posix_spawn(command.argv[0], command.argv, command.env, file_actions=QUIET, setsigdef=IGNORED_BY_PYTHON)
    _, status = os.waitpid(pid, 0)
    took_ns = time.perf_counter_ns() - began_ns
    if status:
        code = os.waitstatus_to_exitcode(status)
        raise CommandFailed(f"{' '.join(command.argv)}: exit code {code} in a timed round")
    return took_ns / NS_PER_MS


def interleave(commands: Mapping[str, Command], *, rounds: int) -> dict[str, Samples]:
    """Time every command once a round, each second round backwards, so that drift and neighbours fall on all alike."""
    samples = {name: Samples(name) for name in commands}
    back = os.getcwd()
    try:
        for number in range(rounds):
            for name in _order(list(commands), number):
                samples[name].times_ms.append(time_command(commands[name]))
    finally:
        os.chdir(back)
    return samples


def _order(names: Sequence[str], number: int) -> Sequence[str]:
    return names[::-1] if number % 2 else names
