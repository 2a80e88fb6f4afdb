from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from making import dead_process, wait_until

from rye_telemetry.liveness import is_gone, this_process


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def said_of(pid):
    with open(f"/proc/{pid}/stat", "rb") as f:
        started = int(f.read().rsplit(b")", 1)[1].split()[19])
    return this_process() | {"pid": pid, "started": started}


def test_this_process_is_not_gone():
    assert set(this_process()) == {"host", "boot", "ns", "pid", "started"}
    assert not is_gone(this_process())


def test_an_ended_process_is_gone():
    assert is_gone(dead_process())


def test_a_living_process_is_not_gone_and_a_killed_one_is(sleeper):
    process = said_of(sleeper.pid)
    assert not is_gone(process)
    sleeper.kill()
    sleeper.wait()
    assert is_gone(process)


def test_a_stopped_process_is_not_gone(sleeper):
    process = said_of(sleeper.pid)
    sleeper.send_signal(signal.SIGSTOP)
    assert not is_gone(process)


def test_a_zombie_is_gone():
    with subprocess.Popen(["sleep", "60"]) as child:
        process = said_of(child.pid)
        child.kill()
        wait_until(lambda: is_gone(process))


def test_a_process_whose_number_is_used_again_is_gone(sleeper):
    process = said_of(sleeper.pid)
    assert is_gone(process | {"started": process["started"] - 1})


def test_a_process_of_an_earlier_boot_is_gone():
    assert is_gone(this_process() | {"boot": "00000000-0000-0000-0000-000000000000"})


@pytest.mark.parametrize("change", [{"host": "another"}, {"ns": 1}])
def test_a_process_of_another_host_or_pid_namespace_is_never_judged(change):
    assert not is_gone(dead_process() | change)


def test_a_process_of_another_host_is_not_judged_by_its_boot():
    assert not is_gone(dead_process() | {"host": "another", "boot": "x"})


@pytest.mark.parametrize(
    "process",
    [None, "x", 5, [], {}]
    + [{**this_process(), "pid": pid} for pid in (0, -1, "1", None, True, 10**30, 1.5)]
    + [
        {name: value for name, value in this_process().items() if name != gone}
        for gone in ("host", "boot", "pid", "started")
    ],
)
def test_what_is_not_known_for_certain_is_not_gone(process):
    assert not is_gone(process)


def test_the_name_of_a_program_may_hold_brackets_and_spaces(tmp_path):
    program = tmp_path / ") R 1 (2"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as child:
        wait_until(lambda: b") R 1" in Path(f"/proc/{child.pid}/stat").read_bytes())
        process = said_of(child.pid)
        assert not is_gone(process)
        child.kill()


def test_another_users_process_is_seen(tmp_path):
    if os.getuid():
        pytest.skip("only root can become somebody else")
    code = (
        "import os, sys, json; from rye_telemetry.liveness import is_gone; process = json.loads(sys.argv[1]); is_gone({})\n"
        "os.setgid(65534); os.setuid(65534)\nsys.exit(is_gone(process))"
    )
    import json

    done = subprocess.run([sys.executable, "-c", code, json.dumps(this_process())], check=False)
    assert done.returncode == 0
