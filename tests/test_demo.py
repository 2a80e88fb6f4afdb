"""The demo, played for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rye_telemetry.demo.stage import child_environment
from rye_telemetry.demo.steps import STEPS

EXPECTED = {  # runs, success, failure, timeout
    "repository": (6, 6, 0, 0),
    "largest_files": (4, 4, 0, 0),
    "recent_commits": (4, 4, 0, 0),
    "flaky_check": (8, 6, 2, 0),
    "slow_export": (2, 0, 0, 2),
    "doctest": (2, 2, 0, 0),
    "release_notes": (3, 2, 1, 0),
    "naming": (2, 2, 0, 0),
    "changes": (1, 1, 0, 0),
}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Places of a user that the demo must not touch, all of them named in its environment."""
    return tmp_path_factory.mktemp("user")


@pytest.fixture
def user_env(elsewhere):
    names = ("RYE_STATE_DIR", "USER_SPACE", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "GIT_DIR", "GIT_INDEX_FILE")
    ours = {name: str(elsewhere / name) for name in names}
    return {**os.environ, **ours, "RYE_TELEMETRY": "0", "RYE_RUN_ID": "x", "COLUMNS": "80"}


def test_the_demo_records_what_it_says_and_keeps_it_where_it_is_told(cli, tmp_path, user_env, elsewhere):
    kept = tmp_path / "kept demo"
    done = cli("demo", "--keep", kept, env=user_env)
    assert done.stderr == ""
    assert "...F...F" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("rye-telemetry configure --enabled true && rye-telemetry run-with ")
    assert not list(elsewhere.iterdir())

    state_dir = kept / "home" / ".local" / "state" / "rye"
    assert f"RYE_STATE_DIR='{state_dir}' rye-telemetry status" in done.stdout
    look = {**os.environ, "RYE_STATE_DIR": str(state_dir)}
    status = json.loads(cli("status", "--json", env=look).stdout)
    counts = ("total_runs", "success_count", "failure_count", "timeout_count")
    assert {name: tuple(item[count] for count in counts) for name, item in status["items"].items()} == EXPECTED
    assert status["total_runs"] == sum(len(step.runs) for step in STEPS) + 1 == 32
    items = status["items"]
    assert items["repository"]["subprocess_calls"] == 12
    assert items["flaky_check"]["last_error"] == "attempt 8: the mirror did not answer"
    assert items["release_notes"]["type"] == "directive"
    runs = json.loads(cli("runs", "list", "--json", "--workflow", "release", env=look).stdout)
    assert {run["item_id"] for run in runs} == {"repository", "recent_commits", "release_notes"}
    assert runs[0]["tags"] == {"release": "1.1"}
    cli("doctor", env=look)
    made = json.loads(cli("commits", "show", "--json", "--repo", kept / "project", env=look).stdout)
    assert made["subject"] == "Tell what is new in 1.1"
    assert [(run["item_id"], run["agent"], run["evidence"]) for run in made["runs"]] == [
        ("changes", "writer", "rewritten")
    ]
    assert [word in done.stdout for word in ("  hook\n", "  rewritten\n")] == [True, True]

    item = ".ai/tools/flaky_check.py"
    assert f"baked {item} (8 runs, success rate 0.75)\n" in done.stdout
    diff = done.stdout.partition("\n$ git diff\n")[2].partition("\n$ ")[0].splitlines()
    assert [line for line in diff if line.startswith("-")] == [f"--- a/{item}"]
    assert "+#   success_rate: 0.75" in diff
    assert f"stripped {item}\n" in done.stdout
    git = ["git", "-C", str(kept / "project")]
    assert subprocess.run([*git, "status", "--porcelain"], capture_output=True, check=True).stdout == b""
    log = subprocess.run([*git, "log", "--format=%an"], capture_output=True, text=True, check=True).stdout
    assert log.split("\n") == ["Demo Author"] * 4 + [""]


def test_the_demo_leaves_nothing_behind_and_fits_80_columns(cli, tmp_path, user_env, elsewhere):
    done = cli("demo", env={**user_env, "TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []
    assert not list(elsewhere.iterdir())
    assert "31 runs" in done.stdout
    shown = [line for line in done.stdout.splitlines() if str(tmp_path) not in line]
    assert max(map(len, shown)) <= 80


def test_a_directory_that_is_not_empty_is_refused(cli, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "there is something in it already" in cli("demo", "--keep", tmp_path, code=2).stderr
    assert "Not a directory" in cli("demo", "--keep", tmp_path / "file" / "below", code=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_told_to_end_it_leaves_nothing_behind(tmp_path):
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    demo = subprocess.Popen([sys.executable, "-m", "rye_telemetry", "demo"], env=env, stdout=subprocess.PIPE, text=True)
    with demo:
        while "run-with" not in demo.stdout.readline():
            assert demo.poll() is None
        demo.terminate()
        demo.stdout.read()
    assert demo.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_without_git_it_says_so_in_one_line(cli, tmp_path):
    (tmp_path / "tmp").mkdir()
    done = cli("demo", env={**os.environ, "PATH": str(tmp_path), "TMPDIR": str(tmp_path / "tmp")}, code=1)
    assert (
        done.stderr == "rye-telemetry: there is no git on PATH: install it, the demo makes a small repository with it\n"
    )
    assert list((tmp_path / "tmp").iterdir()) == []


def test_without_a_temporary_directory_it_says_so(cli, tmp_path):
    read_only = "import tempfile, rye_telemetry.demo.stage as s; tempfile.tempdir = '/nonexistent'; s.temporary_root()"
    done = subprocess.run([sys.executable, "-c", read_only], capture_output=True, text=True, check=False)
    assert "DemoFailed: no temporary directory can be made" in done.stderr


def test_a_child_sees_nothing_of_the_user():
    env = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "XDG_CONFIG_HOME": "/c",
        "RYE_TELEMETRY": "0",
        "GIT_DIR": "/g",
        "VIRTUAL_ENV": "/v",
    }
    child = child_environment(env, home=Path("/demo"), state_dir=Path("/demo/state"))
    assert child["HOME"] == "/demo"
    assert child["PATH"] == "/bin"
    assert not {"XDG_CONFIG_HOME", "RYE_TELEMETRY", "GIT_DIR", "VIRTUAL_ENV"} & child.keys()
