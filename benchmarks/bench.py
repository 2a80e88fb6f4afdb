"""What every measure shares: sizes, environments, histories, and the rows they add to the answer."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments import Home, install_wheel, make_home
from processes import Command, CommandFailed, check_command

if TYPE_CHECKING:
    from environments import Venv
    from processes import Samples

TIMES = "\N{MULTIPLICATION SIGN}"
WORKER = Path(__file__).resolve().parent / "worker.py"


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int
    peer_rounds: int
    large_history: int
    records: int
    writer_records: int
    writer_rounds: int
    rebuilds: int


FULL = Sizes(
    rounds=60,
    peer_rounds=20,
    large_history=1_000_000,
    records=50_000,
    writer_records=20_000,
    writer_rounds=5,
    rebuilds=3,
)
QUICK = Sizes(
    rounds=10,
    peer_rounds=5,
    large_history=50_000,
    records=50_000,
    writer_records=5_000,
    writer_rounds=1,
    rebuilds=1,
)


@dataclass(frozen=True)
class Row:
    """One line of the answer; `ok` is None where nothing was promised."""

    what: str
    budget: str
    seen: str
    ratio: str
    ok: bool | None


@dataclass
class Bench:
    """Owns the temporary directory, the environments and the results of one run."""

    sizes: Sizes
    root: Path
    rows: list[Row] = field(default_factory=list)
    timings: list[tuple[Samples, Samples]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _wheel: Venv | None = None
    _histories: dict[int, Home] = field(default_factory=dict)

    @property
    def wheel(self) -> Venv:
        """The environment with rye-telemetry in it, made when first wanted."""
        if self._wheel is None:
            say("building and installing the wheel")
            self._wheel = install_wheel()
        return self._wheel

    def new_home(self, name: str, *, enabled: bool) -> Home:
        """Make a home in which telemetry was switched on, or one that never heard of it."""
        home = make_home(Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.root)) / "home")
        if enabled:
            check_command(self.rye(home, "configure", "--enabled", "true"))
        return home

    def history(self, runs: int) -> Home:
        """Return the home that has so many runs of history; it is shared, and grows by what is recorded there."""
        if runs not in self._histories:
            self._histories[runs] = self.new_history(runs)
        return self._histories[runs]

    def new_history(self, runs: int) -> Home:
        home = self.new_home(f"history-{runs}", enabled=True)
        if runs:
            say(f"making a history of {runs:,} runs")
            made = self.work("history", home, runs)
            if made["runs"] != runs:
                raise CommandFailed(f"a history of {runs:,} runs was made, the store knows {made['runs']:,}")
        return home

    def rye(self, home: Home, *arguments: str) -> Command:
        argv = (self.wheel.program("rye-telemetry"), *arguments)
        return Command(argv, home.environment(self.wheel), home.path)

    def work(self, task: str, home: Home, number: int) -> dict[str, Any]:
        return finish_worker(self.start_worker(task, home, number))

    def start_worker(self, task: str, home: Home, number: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.wheel.python, str(WORKER), task, str(home.state_dir), str(number)],
            env=home.environment(self.wheel),
            cwd=home.path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def baseline(venv: Venv, home: Home) -> Command:
    """Return the yardstick: the same interpreter doing nothing."""
    return Command((venv.python, "-c", "pass"), home.environment(venv), home.path)


def finish_worker(worker: subprocess.Popen[str]) -> dict[str, Any]:
    """Let a worker go on, and return what its last line says."""
    out, err = worker.communicate("go\n")
    if worker.returncode:
        said = err.strip().splitlines() or [f"exit code {worker.returncode}"]
        raise CommandFailed(said[-1])
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def ratio_row(what: str, samples: Samples, base: Samples, *, limit: float | None, of: str) -> Row:
    """Judge a time by how often it holds another."""
    ratio = samples.median_ms / base.median_ms
    budget = f"≤ {limit} {TIMES} {of}" if limit else "—"
    ok = ratio <= limit if limit else None
    return Row(what, budget, f"{samples.median_ms:.1f} ms", f"{ratio:.2f} {TIMES}", ok)


def say(text: str) -> None:
    print(f"benchmark: {text}", file=sys.stderr, flush=True)
