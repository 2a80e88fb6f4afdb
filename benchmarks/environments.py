"""Virtual environments and homes: one of each for whatever is measured, none of them the user's."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).resolve().parent.parent
VENVS = REPOSITORY / "benchmarks" / ".venv"
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
KEPT = ("LD_LIBRARY_PATH", "TMPDIR", "TZ")


class NotInstalled(Exception):
    """A program that could not be had here; the message is the reason."""


@dataclass(frozen=True)
class Venv:
    """A virtual environment that has what it is for."""

    path: Path
    version: str

    @property
    def python(self) -> str:
        return str(self.path / "bin" / "python")

    def program(self, name: str) -> str:
        return str(self.path / "bin" / name)


@dataclass(frozen=True)
class Home:
    """A home directory of its own, and the environment that points there."""

    path: Path

    @property
    def state_dir(self) -> Path:
        return self.path / ".local" / "state" / "rye"

    def environment(self, venv: Venv) -> dict[str, str]:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        return kept | {
            "PATH": f"{venv.path / 'bin'}:{SYSTEM_PATH}",
            "LANG": "C.UTF-8",
            "HOME": str(self.path),
            "XDG_STATE_HOME": str(self.path / ".local" / "state"),
            "XDG_CONFIG_HOME": str(self.path / ".config"),
            "XDG_CACHE_HOME": str(self.path / ".cache"),
            "XDG_DATA_HOME": str(self.path / ".local" / "share"),
            "GIT_CONFIG_GLOBAL": str(self.path / ".gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
        }


def make_home(path: Path) -> Home:
    path.mkdir(parents=True)
    (path / ".gitconfig").write_text("[user]\n\tname = Benchmark\n\temail = benchmark@example.com\n")
    return Home(path)


def install_wheel() -> Venv:
    """Build this checkout's wheel and install it, so that what is measured is what a user gets."""
    venv = _make_venv("rye-telemetry")
    dist = VENVS / "wheel"
    for old in dist.glob("*.whl"):
        old.unlink()
    _pip(venv, "wheel", "--no-deps", "--wheel-dir", str(dist), str(REPOSITORY))
    (wheel,) = dist.glob("*.whl")
    _pip(venv, "install", str(wheel))
    _pip(venv, "install", "--no-deps", "--force-reinstall", str(wheel))
    return Venv(venv, _version(venv, "rye-telemetry"))


def install_peer(distribution: str, *more: str) -> Venv:
    """Return a venv with a program from PyPI, made once and kept; NotInstalled says why it cannot be had."""
    venv = _make_venv(distribution)
    try:
        return Venv(venv, _version(venv, distribution))
    except NotInstalled:
        _pip(venv, "install", distribution, *more)
        return Venv(venv, _version(venv, distribution))


def _make_venv(name: str) -> Path:
    path = VENVS / name
    if not (path / "bin" / "pip").exists():
        _run([sys.executable, "-m", "venv", "--clear", str(path)])
    return path


def _pip(venv: Path, *arguments: str) -> None:
    command = [str(venv / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    _run([*command, *arguments])


def _version(venv: Path, distribution: str) -> str:
    code = f"from importlib.metadata import version; print(version({distribution!r}))"
    return _run([str(venv / "bin" / "python"), "-c", code])


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise NotInstalled(said[-1].strip()[:200])
    return done.stdout.strip()
