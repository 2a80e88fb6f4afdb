"""Where the process begins: what is imported, what is caught, and by whom a command line is answered."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from processes import ITEM, PYTHON, RYE, run, wrap

HEAVY = (
    "typer",
    "click",
    "ruamel",
    "git",
    "tabulate",
    "frontmatter",
    "yaml",
    "json",
    "re",
    "typing",
    "enum",
    "dataclasses",
    "subprocess",
    "pathlib",
)


def imported(arguments, **more):
    """Return the modules that a process has imported when it leaves, as the import log says."""
    ended = run([PYTHON, "-X", "importtime", RYE, *arguments], **more)
    return {
        line.rpartition("|")[2].strip()
        for line in ended.stderr.decode().splitlines()
        if line.startswith("import time:")
    }


@pytest.mark.parametrize("telemetry", ["0", "1"], ids=["off", "on"])
def test_a_plain_run_imports_nothing_heavy(monkeypatch, telemetry):
    at_start = {line.split(".")[0] for line in imported(["--help"], env={**os.environ, "PYTHONPATH": "/nowhere"})}
    assert "typer" in at_start
    monkeypatch.setenv("RYE_TELEMETRY", telemetry)
    bare = run([PYTHON, "-X", "importtime", "-c", "pass"]).stderr.decode()
    found = {name.split(".")[0] for name in imported([*ITEM, "--timeout", "9", "--", "true"])}
    assert [name for name in HEAVY if name in found and f" {name}\n" not in bare] == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [([], 2), (["--help"], 0), (["--version"], 0), (["run-with", "--help"], 0), (["run-with"], 2), (["no-such"], 2)],
)
def test_everything_but_a_plain_run_goes_to_the_command_line(home, arguments, code):
    ended = run([RYE, *arguments])
    assert ended.returncode == code
    assert ended.stdout or ended.stderr
    assert b"Traceback" not in ended.stderr
    assert list(home.rglob("*")) == []


def test_a_shell_that_asks_for_completion_runs_no_command():
    ended = run(
        wrap("touch", "made"),
        env={
            **os.environ,
            "_RYE_TELEMETRY_COMPLETE": "complete_bash",
            "COMP_WORDS": "rye-telemetry run",
            "COMP_CWORD": "1",
        },
    )
    assert b"run-with" in ended.stdout
    assert not os.path.exists("made")


def test_an_expected_error_is_one_line_and_its_code(enabled):
    ended = run([RYE, "run-with", "tool", "no_such_item"])
    assert ended.returncode == 127
    assert ended.stderr.startswith(b"rye-telemetry: ")
    assert ended.stderr.count(b"\n") == 1


def test_an_error_of_ours_before_the_command_is_a_bug_kept_in_a_file(tmp_path, enabled):
    """A broken installation: the room that the run needs cannot be imported."""
    broken = "import sys; sys.modules['rye_telemetry.runner.recorder'] = None; from rye_telemetry.entry import main; sys.argv[1:] = ['run-with', 'tool', 'x', '--', 'true']; sys.exit(main())"
    ended = run([PYTHON, "-c", broken], env={**os.environ, "TMPDIR": str(tmp_path)})
    assert ended.returncode == 3
    assert b"this is a bug of ours" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_standard_error_closed_or_full_changes_nothing(enabled):
    for where in ("2>&-", "2>/dev/full"):
        ended = run(["bash", "-c", f"{RYE} run-with tool x -- no-such-command-anywhere {where}"])
        assert (ended.returncode, ended.stdout) == (127, b"")
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = subprocess.Popen(wrap("no-such-command-anywhere"), stderr=write_end)
    os.close(write_end)
    assert process.wait(10) == 127


def test_ctrl_c_at_any_moment_of_the_start_leaves_no_traceback(enabled):
    for milliseconds in range(0, 40, 4):
        process = subprocess.Popen(wrap("sleep", "9"), stderr=subprocess.PIPE, start_new_session=True)
        try:
            process.communicate(timeout=0.01 + milliseconds / 1000)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=10)[1]
        assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT, 1)  # 1: the interpreter itself was starting
        assert b"rye_telemetry/" not in said, said  # the line of the script that imports us may stand there
