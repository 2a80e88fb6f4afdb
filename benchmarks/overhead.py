"""What wrapping a command costs: run-with, on and off, and programs that wrap commands too."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import Row, baseline, ratio_row, say
from environments import SYSTEM_PATH, NotInstalled, install_peer
from processes import Command, CommandFailed, check_command, interleave

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench import Bench
    from environments import Home, Venv

PASS = "`python -c pass`"
ON_LIMIT = 2.5
OFF_LIMIT = 1.5


@dataclass(frozen=True)
class Peer:
    """A program that wraps commands, and how to have it run `true`."""

    distribution: str
    more: tuple[str, ...]
    what: str
    argv: tuple[str, ...]
    prepare: Callable[[Home, Venv], Path]


def stay_home(home: Home, _: Venv) -> Path:
    return home.path


def create_dataset(home: Home, venv: Venv) -> Path:
    check_command(Command((venv.program("datalad"), "create", "scratch"), home.environment(venv), home.path))
    return home.path / "scratch"


NO_EXPORT = ("--traces_exporter", "none", "--metrics_exporter", "none", "--logs_exporter", "none")
# datalad needs it: from PyPI where the system has none.
GIT_ANNEX = () if shutil.which("git-annex", path=SYSTEM_PATH) else ("git-annex",)
OTEL = "opentelemetry-distro"
PEERS = (
    Peer("con-duct", (), "`duct true`", ("duct", "true"), stay_home),
    Peer(OTEL, (), "`opentelemetry-instrument true`", ("opentelemetry-instrument", "true"), stay_home),
    Peer(
        OTEL,
        (),
        "`opentelemetry-instrument python -c pass`, exporting nothing",
        ("opentelemetry-instrument", *NO_EXPORT, "python", "-c", "pass"),
        stay_home,
    ),
    Peer("datalad", GIT_ANNEX, "`datalad run true`", ("datalad", "run", "true"), create_dataset),
)


def measure_run_with(bench: Bench) -> None:
    """Time `run-with tool x -- true` on and off against the bare interpreter and the bare command."""
    on, off = bench.new_home("on", enabled=True), bench.new_home("off", enabled=False)
    run = ("run-with", "tool", "x", "--", "true")
    commands = {
        "pass": baseline(bench.wheel, off),
        "on": bench.rye(on, *run),
        "off": bench.rye(off, *run),
    }
    for command in commands.values():
        check_command(command)
    times = interleave(commands, rounds=bench.sizes.rounds)
    for name, limit in (("on", ON_LIMIT), ("off", OFF_LIMIT)):
        times[name].name = f"`run-with tool x -- true`, telemetry {name}"
        bench.rows.append(ratio_row(times[name].name, times[name], times["pass"], limit=limit, of=PASS))
        bench.timings.append((times[name], times["pass"]))
    _check_kept(bench, on, runs=bench.sizes.rounds + 1)
    if off.state_dir.exists():
        bench.faults.append("with telemetry off, run-with made a state directory")


def _check_kept(bench: Bench, home: Home, *, runs: int) -> None:
    asked = bench.rye(home, "status", "x", "--json")
    done = subprocess.run(asked.argv, env=dict(asked.env), cwd=asked.directory, capture_output=True, check=True)
    kept = json.loads(done.stdout)["total_runs"]
    if kept != runs:
        bench.faults.append(f"run-with ran {runs} times with telemetry on, {kept} runs are recorded")


def measure_peers(bench: Bench) -> None:
    """Time each peer beside its own interpreter, one round after another; say which cannot be had."""
    commands: dict[str, Command] = {}
    for peer in PEERS:
        commands |= _peer_commands(bench, peer)
    times = interleave(commands, rounds=bench.sizes.peer_rounds)
    for name in [name for name in commands if not name.startswith("pass: ")]:
        base = times[f"pass: {name}"]
        bench.rows.append(ratio_row(name, times[name], base, limit=None, of=PASS))
        bench.timings.append((times[name], base))


def _peer_commands(bench: Bench, peer: Peer) -> dict[str, Command]:
    """Return a peer's command and its yardstick; where it cannot be had, add the reason to the table."""
    say(f"installing {peer.distribution}")
    home = bench.new_home(peer.distribution, enabled=False)
    try:
        venv = install_peer(peer.distribution, *peer.more)
        directory = peer.prepare(home, venv)
        command = Command((venv.program(peer.argv[0]), *peer.argv[1:]), home.environment(venv), directory)
        check_command(command)
    except (NotInstalled, CommandFailed) as e:
        reason = f"not installed: {e}" if isinstance(e, NotInstalled) else f"does not run here: {e}"
        bench.rows.append(Row(peer.what, "—", reason, "—", None))
        return {}
    return {f"pass: {peer.what} ({venv.version})": baseline(venv, home), f"{peer.what} ({venv.version})": command}
