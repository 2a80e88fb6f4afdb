"""Whatever is wrong with the state directory, the index, the journal, the config or the clock: the command does not see it.

Every fault is real: mounts, permissions, locks of other processes, bytes on disk. What a fault costs is one line on stderr.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest
from processes import PYTHON, RYE, last_run, run, runs, without_privileges, wrap

from rye_telemetry.store import TelemetryStore

pytestmark = pytest.mark.usefixtures("enabled")
PROBE = ("sh", "-c", "cat; echo err >&2; exit 5")
BOTH = pytest.mark.parametrize("options", [(), ("--timeout", "20")], ids=["plain", "timeout"])
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")


def probe(*, said, options=(), prefix=(), **more):
    """Run the probe, check that it ran as if bare, and return what we said beside it, one line or none."""
    ended = run([*prefix, *wrap(*PROBE, options=options)], input=b"in and out\n", stdin=None, timeout=30, **more)
    assert (ended.returncode, ended.stdout) == (5, b"in and out\n"), ended.stderr
    lines = ended.stderr.decode(errors="replace").splitlines()
    assert "err" in lines
    lines.remove("err")
    assert len(lines) <= 1, lines
    assert bool(lines) == said, lines
    if lines:
        assert lines[0].startswith("rye-telemetry: ")
        assert ": " in lines[0][len("rye-telemetry: ") :]
    return lines[0] if lines else ""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    place = tmp_path / "disk"
    place.mkdir()
    done = run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)])
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode()}")
    yield place
    run(["umount", "--lazy", str(place)])


# -- the state directory


@BOTH
def test_a_state_directory_that_may_not_be_written(state_dir, options):
    assert probe(said=False) == ""
    for path in (*state_dir.rglob("*"), state_dir):
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        line = probe(said=True, options=options, prefix=without_privileges())
    finally:
        for path in (state_dir, *state_dir.rglob("*")):
            path.chmod(0o700)
    assert "not recorded" in line
    assert "RYE_STATE_DIR" in line


@AS_ROOT
def test_a_state_directory_on_a_read_only_file_system(state_dir):
    state_dir.mkdir(parents=True)
    assert run(["mount", "--bind", str(state_dir), str(state_dir)]).returncode == 0
    try:
        assert run(["mount", "-o", "remount,bind,ro", str(state_dir)]).returncode == 0
        assert "Read-only" in probe(said=True)
    finally:
        run(["umount", "--lazy", str(state_dir)])
    probe(said=False)


def test_a_parent_that_may_not_be_written(home):
    (home / ".local").mkdir()
    (home / ".local").chmod(0o500)
    try:
        probe(said=True, prefix=without_privileges())
    finally:
        (home / ".local").chmod(0o700)


def test_a_missing_state_directory_is_made(state_dir):
    probe(said=False)
    assert last_run()["exit_code"] == 5
    assert state_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "place",
    [
        "",
        "telemetry",
        "telemetry/journal",
        "telemetry/reports",
        "telemetry/journal.lock/",
        "telemetry.lock/",
        "telemetry/index.sqlite/",
        "telemetry.yaml/",
        "telemetry/journal/spill",
    ],
)
def test_something_else_in_a_place_of_ours(state_dir, place):
    path = state_dir / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if place.endswith("/") else path.write_text("mine")
    ended = run(wrap(*PROBE), input=b"x", stdin=None)
    assert (ended.returncode, ended.stdout) == (5, b"x")
    assert ended.stderr.count(b"\n") <= 2
    assert b"Traceback" not in ended.stderr
    assert b"bug" not in ended.stderr, ended.stderr
    assert path.is_dir() if place.endswith("/") else path.read_text() == "mine"


@pytest.mark.parametrize("place", ["", "telemetry", "telemetry/journal", "telemetry.lock", "telemetry/journal.lock"])
def test_a_symlink_planted_in_a_place_of_ours(tmp_path, state_dir, place):
    path = state_dir / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(tmp_path / "elsewhere")
    ended = run(wrap(*PROBE), input=b"x", stdin=None)
    assert (ended.returncode, ended.stdout) == (5, b"x")
    assert ended.stderr.count(b"\n") == 2
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_file_system(small_disk, monkeypatch):
    monkeypatch.setenv("RYE_STATE_DIR", str(small_disk / "rye"))
    filled = run(["dd", "if=/dev/zero", f"of={small_disk}/filler", "bs=4096"])
    assert b"No space" in filled.stderr
    assert "No space" in probe(said=True)
    (small_disk / "filler").unlink()
    run(["mount", "-o", "remount,size=1m", str(small_disk)])
    probe(said=False)
    assert last_run()["exit_code"] == 5


def test_a_file_system_that_fills_while_runs_are_recorded(small_disk, monkeypatch):
    """Whatever was acknowledged without a word is there afterwards, to the last run."""
    monkeypatch.setenv("RYE_STATE_DIR", str(small_disk / "rye"))
    silent = 0
    for number in range(80):
        ended = run(
            [RYE, "run-with", "tool", f"item{number:02}", "--tag", f"t={'x' * 190}", "--", "sh", "-c", "exit 5"]
        )
        assert (ended.returncode, ended.stdout) == (5, b"")
        silent += b"not recorded" not in ended.stderr
        if b"not recorded" in ended.stderr and number > 60:
            break
    run(["mount", "-o", "remount,size=4m", str(small_disk)])
    assert len([r for r in runs() if r["outcome"] == "failure"]) >= silent
    probe(said=False)


@AS_ROOT
def test_a_state_directory_of_another_user(state_dir):
    probe(said=False)
    for path in (state_dir, *state_dir.rglob("*")):
        os.chown(path, 65534, 65534)
    assert "not recorded" in probe(said=True, prefix=without_privileges())


@pytest.mark.parametrize(
    "name", ["with space", "new\nline", "tab\t", "quote'\"", "é", b"\xff\xfe", "-dash", "$HOME", "%s", "x" * 200]
)
def test_a_state_directory_with_a_strange_name(tmp_path, monkeypatch, name):
    monkeypatch.setenv("RYE_STATE_DIR", os.path.join(str(tmp_path), os.fsdecode(name), "rye"))
    probe(said=False)
    assert last_run()["exit_code"] == 5


def test_a_state_directory_that_is_too_long_to_be(monkeypatch, tmp_path):
    monkeypatch.setenv("RYE_STATE_DIR", f"{tmp_path}/{'x' * 300}")
    probe(said=True)
    monkeypatch.setenv("RYE_STATE_DIR", f"{tmp_path}" + "/long" * 1000)
    probe(said=True)


def test_a_state_directory_removed_while_the_command_runs(state_dir):
    ended = run(wrap("sh", "-c", f"rm -r {state_dir}; exit 5"))
    assert (ended.returncode, ended.stderr) == (5, b"")
    assert last_run()["exit_code"] == 5


def test_limits_on_files(home):
    for limit in ("ulimit -f 0", "ulimit -n 5", "ulimit -n 6"):
        ended = run(["bash", "-c", f"{limit}; {RYE} run-with tool x -- sh -c 'exit 5'"])
        assert ended.returncode == 5, ended.stderr
        assert ended.stderr.count(b"\n") <= 1, ended.stderr


# -- locks


def test_locks_that_another_process_keeps_for_a_minute(state_dir):
    probe(said=False)
    with (
        (state_dir / "telemetry.lock").open("r+b") as projection,
        (state_dir / "telemetry/journal.lock").open("r+b") as append,
    ):
        for held in ([projection], [append], [projection, append]):
            for file in held:
                fcntl.flock(file, fcntl.LOCK_EX)
            began = time.monotonic()
            probe(said=False)
            assert time.monotonic() - began < 1
            for file in held:
                fcntl.flock(file, fcntl.LOCK_UN)
    assert [r["exit_code"] for r in runs()] == [5] * 4


def test_a_database_that_another_process_has_locked(state_dir):
    import sqlite3

    probe(said=False)
    other = sqlite3.connect(state_dir / "telemetry/index.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    ended = run(wrap(*PROBE), input=b"x", stdin=None)
    assert time.monotonic() - began < 1
    assert (ended.returncode, ended.stdout) == (5, b"x")
    other.close()
    assert [r["exit_code"] for r in runs()] == [5, 5]


# -- what is in the files


def damaged(data):
    half = len(data) // 2
    return {
        "empty": b"",
        "zeroed": bytes(len(data)),
        "cut": data[:half],
        "cut header": data[:50],
        "random": os.urandom(len(data)),
        "random half": data[:half] + os.urandom(len(data) - half),
        "random head": os.urandom(100) + data[100:],
        "text": b"tool: [",
        "other version": data[:60] + b"\x7f\xff\xff\xff" + data[64:],
    }


@pytest.mark.parametrize("kind", list(damaged(b"")))
def test_an_index_that_is_no_index(state_dir, kind):
    index = state_dir / "telemetry/index.sqlite"
    for round_, in_place in enumerate((True, False)):
        probe(said=False)
        data = damaged(index.read_bytes())[kind]
        if in_place:
            with index.open("r+b") as f:
                f.truncate(len(data))
                f.write(data)
        else:
            index.unlink()
            index.write_bytes(data)
        probe(said=False)
        assert [r["exit_code"] for r in runs()] == [5] * (2 * round_ + 2)


def newest_segment(state_dir):
    return max((state_dir / "telemetry/journal").glob("*.ndjson"))


@pytest.mark.parametrize(
    "garbage",
    [
        b'{"v":1,"kind":"run","run_id":"torn',
        b"\x00" * 5000,
        b"no json\n",
        os.urandom(3000),
        b"\n\n\n",
        b'{"v":1,"kind":"odd"}\n',
        b'{"v":1}\n',
        b"[]\n",
        b'{"v":1,"kind":"run","run_id":"a","item_id":"b","item_type":"tool","started_at":"x","outcome":"success","ended_at":"nonsense","duration_ms":1e300}\n',
        b"x" * 300_000 + b"\n",
    ],
    ids=range(10),
)
def test_a_journal_with_garbage_in_it(state_dir, garbage):
    probe(said=False)
    with newest_segment(state_dir).open("ab") as f:
        f.write(garbage)
    probe(said=False)
    probe(said=False)
    assert [r["exit_code"] for r in runs() if r["item_id"] == "x"] == [5, 5, 5]


def test_a_journal_of_a_newer_version_is_refused_in_one_line_and_loses_nothing(state_dir):
    probe(said=False)
    with newest_segment(state_dir).open("ab") as f:
        f.write(b'{"v":99,"kind":"run"}\n')
    ended = run(wrap(*PROBE), input=b"x", stdin=None)
    assert (ended.returncode, ended.stdout) == (5, b"x")
    assert b"upgrade" in ended.stderr
    assert ended.stderr.count(b"\n") == 2
    assert newest_segment(state_dir).read_bytes().count(b'"kind":"run"') == 3


@pytest.mark.parametrize(
    "stamp",
    [b"", b"garbage", os.urandom(200), b"{}", b"[]\n", b'{"state":"clean","index":null}\n', b'{"state":5}\n'],
    ids=range(7),
)
def test_a_stamp_that_says_nothing(state_dir, stamp):
    probe(said=False)
    (state_dir / "telemetry.lock").write_bytes(stamp)
    probe(said=False)
    assert len(runs()) == 2


def test_totals_that_somebody_edited(state_dir):
    probe(said=False)
    for text in ("", "garbage: [", "\x00"):
        (state_dir / "telemetry.yaml").write_text(text)
        ended = run(wrap(*PROBE), input=b"x", stdin=None)
        assert (ended.returncode, ended.stdout) == (5, b"x")
    assert "total_runs: 4" in (state_dir / "telemetry.yaml").read_text()


# -- the config


@pytest.mark.parametrize(
    "text",
    [
        "telemetry: [",
        "telemetry:\n\tenabled: true\n",
        "\x00",
        "telemetry: {enabled: maybe}",
        "- a\n",
        "telemetry:\n  enabled: true\n  enabled: false\n",
    ],
    ids=range(6),
)
def test_a_config_that_cannot_be_understood_means_off(home, text):
    (home / ".ai/config.yaml").write_text(text)
    ended = run(wrap(*PROBE), input=b"x", stdin=None)
    assert (ended.returncode, ended.stdout) == (5, b"x")
    assert ended.stderr.count(b"\n") <= 2
    assert not (home / ".local").exists()


def test_a_config_that_may_not_be_read_means_off(home):
    (home / ".ai/config.yaml").chmod(0)
    line = probe(said=True, prefix=without_privileges())
    assert "config.yaml" in line
    (home / ".ai/config.yaml").unlink()
    (home / ".ai/config.yaml").mkdir()
    probe(said=True)
    assert not (home / ".local").exists()


# -- the home directory


def test_no_home_directory_is_known(home):
    """No HOME, and no entry in the user database."""
    privileges = ["env", "--unset=HOME"]
    if os.geteuid() == 0:
        privileges += [
            "setpriv",
            "--reuid",
            "61235",
            "--clear-groups",
            "--inh-caps",
            "+dac_read_search",
            "--ambient-caps",
            "+dac_read_search",
        ]
    elif not os.environ.get("USER"):
        pytest.skip("needs a user without an entry in the user database")
    else:
        pytest.skip("becoming a user without a home needs root")
    probe(said=False, prefix=privileges)
    line = probe(said=True, prefix=[*privileges, "env", "RYE_TELEMETRY=1"])
    assert "HOME" in line


@AS_ROOT
def test_home_unset_means_the_users_own(home):
    """`nobody` has an entry, and a home that is not there."""
    privileges = [
        "setpriv",
        "--reuid",
        "nobody",
        "--clear-groups",
        "--inh-caps",
        "+dac_read_search",
        "--ambient-caps",
        "+dac_read_search",
    ]
    unset = ["env", "--unset=HOME", "RYE_TELEMETRY=1"]
    assert "/nonexistent" in probe(said=True, prefix=[*privileges, *unset])


@pytest.mark.parametrize("value", ["", "relative", "/dev/null", "/no/such/home"])
def test_a_home_that_is_none(home, value):
    ended = run(
        wrap(*PROBE),
        input=b"x",
        stdin=None,
        env={**os.environ, "HOME": value, "RYE_TELEMETRY": "1", "RYE_STATE_DIR": str(home / "state")},
    )
    assert (ended.returncode, ended.stdout) == (5, b"x"), ended.stderr
    assert b"Traceback" not in ended.stderr
    assert b"bug" not in ended.stderr


def test_relative_places_and_a_deleted_working_directory(tmp_path):
    for name in ("RYE_STATE_DIR", "USER_SPACE", "XDG_STATE_HOME", "HOME"):
        gone = tmp_path / "gone"
        gone.mkdir()
        env = {**os.environ, name: "relative", "RYE_TELEMETRY": "1"}
        ended = run(["bash", "-c", f'cd {gone} && rmdir {gone} && "$@"', "-", *wrap("/bin/false")], env=env)
        assert ended.returncode == 1, (name, ended.stderr)
        assert b"bug" not in ended.stderr, (name, ended.stderr)


# -- the clock


FAKETIME = next(
    (
        path
        for path in (
            "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
            "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
            "/usr/lib/faketime/libfaketime.so.1",
        )
        if Path(path).exists()
    ),
    None,
)


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")
@pytest.mark.parametrize("jump", ["-1d", "-400d", "+1d"])
def test_a_clock_that_is_set_during_the_run(tmp_path, jump, state_dir):
    clock = tmp_path / "clock"
    clock.write_text("+0")
    env = {
        **os.environ,
        "LD_PRELOAD": FAKETIME,
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    ended = run(wrap("sh", "-c", f"echo {jump} > {clock}; exit 5"), env=env)
    assert (ended.returncode, ended.stderr) == (5, b"")
    found = last_run()
    assert found["outcome"] == "failure"
    assert 0 <= found["duration_ms"] < 5000
    assert found["started_at"] <= found["ended_at"]
    assert (found["started_at"][:10] < found["ended_at"][:10]) is jump.startswith("+")
    probe(said=False)
    assert [r["outcome"] for r in runs()] == ["failure", "failure"]
    assert len(list((state_dir / "telemetry/journal").glob("*.ndjson"))) <= (2 if jump.startswith("+") else 1)


# -- a broken installation


def test_a_recorder_that_breaks_costs_no_exit_code(tmp_path):
    """Should a part of ours fail in a way that nobody thought of, while the command runs."""
    broken = "import sys; sys.modules['rye_telemetry.projector'] = None; from rye_telemetry.entry import main; sys.argv[1:] = ['run-with', 'tool', 'x', '--', 'sh', '-c', 'exit 5']; main()"
    ended = run([PYTHON, "-c", broken])
    assert (ended.returncode, ended.stdout) == (5, b"")
    assert ended.stderr.count(b"\n") == 1
    assert b"totals are behind" in ended.stderr
    assert last_run()["exit_code"] == 5


def test_eight_at_once_lose_nothing():
    loop = f"for i in $(seq 8); do for j in 1 2 3 4 5 6 7 8; do {RYE} run-with tool y -- true & done; wait; done"
    ended = run(["bash", "-c", loop], timeout=60)
    assert (ended.returncode, ended.stderr) == (0, b"")
    with TelemetryStore() as store:
        item = store.get("y")
    assert item is not None
    assert item["total_runs"] == 64
