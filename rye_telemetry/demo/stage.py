"""Where the demo plays: a home and a project of its own, and the children that see nothing else."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rye_telemetry.errors import RyeTelemetryError, UsageInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent
# What would lead a child to the user's own settings, state, repository or interpreter.
FOREIGN_PREFIXES = ("RYE_", "XDG_", "GIT_")
FOREIGN_NAMES = frozenset(("USER_SPACE", "TRACEPARENT", "VIRTUAL_ENV"))
COMMITS = (
    ("Describe what is to come", ("README.md",)),
    ("Count words", ("words.py",)),
    ("Add items for agents", (".ai",)),
)


class DemoFailed(RyeTelemetryError):
    """A step of the demo did not end as it must."""


class Stage:
    """Paths and environment of one performance."""

    def __init__(self, root: Path, env: Mapping[str, str]) -> None:
        self.root = root
        self.home = root / "home"
        self.project = root / "project"
        self.state_dir = self.home / ".local" / "state" / "rye"
        self.env = child_environment(env, home=self.home, state_dir=self.state_dir)

    def git(self, *arguments: str) -> str:
        return self._checked(["git", "-C", str(self.project), *arguments])

    def path_of(self, item_id: str) -> str:
        """Return the path of a tool's file, as one would type it in the project."""
        [path] = (self.project / ".ai" / "tools").glob(f"{item_id}.*")
        return path.relative_to(self.project).as_posix()

    def rye(self, *arguments: str, exit_code: int = 0) -> str:
        """Run a command of ours as a user would, and return what it printed."""
        return self._checked(_command(arguments), cwd=self.project, exit_code=exit_code)

    def show(self, *arguments: str) -> None:
        """Run a command of ours on the user's own terminal."""
        done = subprocess.run(
            _command(arguments), cwd=self.project, env=self.env, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            raise DemoFailed(f"`rye-telemetry {' '.join(arguments)}` ended with exit code {done.returncode}")

    def _checked(self, command: list[str], *, cwd: Path | None = None, exit_code: int = 0) -> str:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != exit_code:
            said = " ".join(done.stderr.split())[-300:] or "it said nothing"
            raise DemoFailed(f"{' '.join(command)} ended with exit code {done.returncode}, not {exit_code}: {said}")
        return done.stdout


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "rye_telemetry", *arguments]


def child_environment(env: Mapping[str, str], *, home: Path, state_dir: Path) -> dict[str, str]:
    """Return the environment with the home replaced and everything gone that could lead out of it."""
    child = {
        name: value
        for name, value in env.items()
        if not name.startswith(FOREIGN_PREFIXES) and name not in FOREIGN_NAMES
    }
    if site.ENABLE_USER_SITE:  # the user's own packages, this one perhaps among them, are found by HOME
        child.setdefault("PYTHONUSERBASE", site.getuserbase())
    child.update(HOME=str(home), USERPROFILE=str(home), GIT_CONFIG_NOSYSTEM="1")
    if not sys.platform.startswith("linux"):  # where HOME does not decide
        child["RYE_STATE_DIR"] = str(state_dir)
    return child


def temporary_root() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="rye-demo-"))
    except OSError as e:
        raise DemoFailed(
            f"no temporary directory can be made ({e.strerror}): set TMPDIR, or name a place by --keep"
        ) from e


def prepare_root(directory: str) -> Path:
    """Make the directory that is to be kept; UsageInvalid where it is a file or holds anything."""
    root = Path(directory).absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
        is_empty = not any(root.iterdir())
    except OSError as e:
        raise UsageInvalid(f"--keep {directory}: {e.strerror}: name a new or empty directory") from e
    if not is_empty:
        raise UsageInvalid(f"--keep {directory}: there is something in it already: name a new or empty directory")
    return root


def make_project(stage: Stage) -> None:
    """Make home and project: a git repository with an author of its own, items in `.ai/`, and three commits."""
    if shutil.which("git", path=stage.env.get("PATH")) is None:
        raise DemoFailed("there is no git on PATH: install it, the demo makes a small repository with it")
    _copy_files(stage)
    stage.git("init", "--quiet", "--template=")
    stage.git("config", "user.name", "Demo Author")
    stage.git("config", "user.email", "demo@example.invalid")
    for message, names in COMMITS:
        stage.git("add", *names)
        stage.git("commit", "--quiet", "--message", message)


def _copy_files(stage: Stage) -> None:
    ignored = shutil.ignore_patterns("__init__.py", "__pycache__")
    try:
        stage.home.mkdir()
        shutil.copytree(HERE / "project", stage.project, ignore=ignored)
        shutil.copytree(HERE / "items", stage.project / ".ai", ignore=ignored)
    except OSError as e:
        raise DemoFailed(f"the project cannot be made in {stage.root}: {e}") from e


def remove(root: Path) -> None:
    """Remove a temporary root, and say nothing of what cannot go: another process may have written there."""
    shutil.rmtree(root, ignore_errors=True)
