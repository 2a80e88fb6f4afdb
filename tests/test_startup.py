"""What a start costs is what it imports."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"git", "ruamel", "ruamel.yaml", "tabulate", "frontmatter", "rich", "httpx", "yaml"}


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; sys.stdout.write('|'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.rpartition("\n")[2].split("|"))


def test_importing_the_package_imports_nothing_else_of_weight():
    base = modules_after("pass")
    assert modules_after("import rye_telemetry") - base <= {"rye_telemetry", "__future__"}


def test_the_version_is_shown_without_any_heavy_room():
    code = "import sys; from rye_telemetry.cli.app import run_command_line; run_command_line(['--version'])"
    assert not HEAVY & modules_after(code)


def test_the_fast_lane_imports_nothing_heavier_than_sqlite(enabled):
    """Before the child is spawned and after it ended, run-with stays clear of all that is slow to import."""
    code = """
import os, sys
sys.argv = ["rye-telemetry", "run-with", "tool", "x", "--", "true"]
leave = os._exit
os._exit = lambda code: (sys.stdout.write("|".join(sys.modules)), sys.stdout.flush(), leave(code))
from rye_telemetry.entry import main
main()
"""
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False, env=_path())
    modules = set(done.stdout.split("|"))
    assert "rye_telemetry.projector" in modules, done.stderr
    slow = {
        "re",
        "enum",
        "typing",
        "dataclasses",
        "pathlib",
        "json",
        "subprocess",
        "uuid",
        "datetime",
        "contextlib",
        "signal",
    }
    assert not (HEAVY | slow | {"typer", "click"}) & modules


def _path() -> dict[str, str]:
    import os
    from pathlib import Path

    import rye_telemetry

    return {**os.environ, "PYTHONPATH": str(Path(rye_telemetry.__file__).parents[1])}
