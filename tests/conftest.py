"""Every test gets a home of its own, and none of its runner's settings; nothing here can reach the user's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rye_telemetry.linking import CI_VARIABLES
from rye_telemetry.store import TelemetryStore

SCRIPT = Path(sys.executable).with_name("rye-telemetry")


def pytest_xdist_auto_num_workers():
    """One more than there are processors: some tests wait for signals and locks."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """A fresh home; telemetry is off in it, as everywhere."""
    # Not `mktemp`, which reads the whole folder each time to find the next number, among thousands.
    home = Path(tempfile.mkdtemp(prefix="home-", dir=tmp_path_factory.getbasetemp()))
    for name in list(os.environ):
        if name.startswith(("RYE_", "XDG_", "GIT_", "OTEL_")) or name in (
            "USER_SPACE",
            "TRACEPARENT",
            "NO_COLOR",
            "FORCE_COLOR",
            "VIRTUAL_ENV",
            "PRE_COMMIT",
            *CI_VARIABLES,
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def state_dir(home):
    return home / ".local" / "state" / "rye"


@pytest.fixture
def enabled(home):
    """Telemetry switched on, in the form that `configure` writes."""
    (home / ".ai").mkdir()
    (home / ".ai" / "config.yaml").write_text("telemetry:\n  enabled: true\n")
    return home


@pytest.fixture
def store(tmp_path):
    with TelemetryStore(tmp_path / "state") as opened:
        yield opened


@pytest.fixture
def cli():
    """Run the installed command as a user does, check its exit code, and return the ended process with its text."""

    def run(*args, code=0, timeout=60, **more):
        more.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(
            [str(SCRIPT), *map(str, args)], capture_output=True, text=True, timeout=timeout, check=False, **more
        )
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def cli_here(capfd, monkeypatch):
    """`cli` in this process, for tests of what a command answers: starting one takes ten times as long as most need."""
    from rye_telemetry.cli.app import run_command_line

    def run(*args, code=0, cwd=None, env=None):
        capfd.readouterr()
        with monkeypatch.context() as here:
            if cwd is not None:
                here.chdir(cwd)
            if env is not None:
                for name in os.environ.keys() - env.keys():
                    here.delenv(name)
                for name, value in env.items():
                    here.setenv(name, value)
            returncode = run_command_line(
                [os.fspath(arg) if isinstance(arg, os.PathLike) else str(arg) for arg in args]
            )
        done = subprocess.CompletedProcess(args, returncode, *capfd.readouterr())
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run
