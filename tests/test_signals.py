"""Signals, timeouts and stops: real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from processes import (
    PYTHON,
    RYE,
    children_of,
    is_alive,
    last_run,
    run,
    runs,
    start,
    state_of,
    wait_for,
    wrap,
)

from rye_telemetry.runner import portable
from rye_telemetry.runner.supervise import Ended

pytestmark = pytest.mark.usefixtures("enabled")
STOPS = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
BY_DEFAULT_IGNORED = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
ENDING = sorted(set(signal.valid_signals()) - STOPS - BY_DEFAULT_IGNORED)
PLAIN_AND_TIMED = pytest.mark.parametrize("options", [(), ("--timeout", "20")], ids=["plain", "timeout"])

# Says every signal it gets; USR2 ends it with 40.
LISTENER = """
import os, signal, sys
def say(number, _):
    os.write(1, b"%d\\n" % number)
    if number == signal.SIGUSR2: os._exit(40)
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, say)
os.write(1, b"ready\\n")
while True: signal.pause()
"""


def listener(options=(), **more):
    return start(wrap(PYTHON, "-c", LISTENER, options=options), **more)


def heard(process):
    """End the listener and return what it heard before."""
    time.sleep(0.05)
    process.send_signal(signal.SIGUSR2)
    printed = process.communicate(timeout=10)[0].split()
    assert printed.pop() == b"%d" % signal.SIGUSR2
    return [int(number) for number in printed]


# -- how the command ends


def test_every_signal_that_ends_the_command_is_its_exit_code_and_is_recorded():
    loop = f'ulimit -c 0; for n in {" ".join(map(str, map(int, ENDING)))}; do {RYE} run-with tool "by $n" -- sh -c "kill -$n \\$\\$"; echo $?; done'
    assert run(["bash", "-c", loop]).stdout.split() == [b"%d" % (128 + number) for number in ENDING]
    recorded = {r["item_id"]: r for r in runs()}
    for number in ENDING:
        found = recorded[f"by {int(number)}"]
        name = number.name if isinstance(number, signal.Signals) else f"signal {number}"
        assert (found["exit_code"], found["signal"]) == (128 + number, name)
        if number == signal.SIGINT:
            assert (found["outcome"], found["error"]) == ("cancelled", "interrupted by SIGINT")
        else:
            assert (found["outcome"], found["error"]) == ("failure", f"killed by {name}")


def test_signals_that_end_nothing_leave_the_exit_code():
    for number in BY_DEFAULT_IGNORED:
        assert run(wrap("sh", "-c", f"kill -{int(number)} $$; exit 3")).returncode == 3


# -- signals to run-with


@PLAIN_AND_TIMED
def test_a_signal_to_run_with_alone_reaches_the_command_exactly_once(options):
    process = listener(options)
    sent = [
        signal.SIGUSR1,
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGWINCH,
        signal.SIGCONT,
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGALRM,
        signal.SIGPIPE,
        signal.SIGXFSZ,
        signal.SIGXCPU,
        signal.SIGSEGV,
        signal.SIGABRT,
        signal.SIGIO,
        signal.SIGRTMIN + 5,
    ]
    for number in sent:
        process.send_signal(number)
        time.sleep(0.01)
    assert heard(process) == sent
    assert process.returncode == 40
    assert last_run()["outcome"] == "cancelled"


@PLAIN_AND_TIMED
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGALRM], ids=str
)
def test_a_signal_that_ends_the_command_ends_run_with(number, options):
    process = start(wrap("sh", "-c", "echo ready; exec sleep 20", options=options))
    process.send_signal(number)
    assert process.wait(5) == 128 + number
    process.stdout.close()
    expected = "cancelled" if number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT) else "failure"
    assert (last_run()["outcome"], last_run()["signal"]) == (expected, number.name)


def test_an_interrupted_command_that_ends_well_is_a_success():
    process = start(wrap("sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done"))
    process.terminate()
    assert process.wait(5) == 0
    process.stdout.close()
    assert last_run()["outcome"] == "success"


def test_an_alarm_set_before_exec_ends_the_command():
    """The idiom `perl -e 'alarm 9; exec @ARGV' COMMAND`."""
    code = "import os, signal, sys; signal.setitimer(signal.ITIMER_REAL, 0.4); os.execvp(sys.argv[1], sys.argv[1:])"
    for options in ((), ("--timeout", "20")):
        assert (
            run([PYTHON, "-c", code, *wrap("sleep", "9", options=options)], timeout=5).returncode
            == 128 + signal.SIGALRM
        )


def test_what_the_command_sends_to_its_own_group_comes_once(tmp_path):
    script = "import os, signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: print('heard', flush=True))\nos.kill(0, signal.SIGTERM)\ntime.sleep(0.2)"
    ended = run(["setsid", "--wait", *wrap(PYTHON, "-c", script)])
    assert (ended.returncode, ended.stdout) == (0, b"heard\n")
    assert last_run()["outcome"] == "success"


def test_what_the_command_sends_to_its_parent_does_not_come_back():
    ended = run(wrap("sh", "-c", "kill -USR1 $PPID; sleep 0.1; echo alive"))
    assert (ended.returncode, ended.stdout) == (0, b"alive\n")


def test_with_a_timeout_a_user_signal_goes_to_the_command_alone():
    script = f"{PYTHON} -c 'import time; time.sleep(30)' & trap 'kill -0 $! && echo still; kill $!; exit 5' USR1; echo ready; while :; do sleep 0.02; done"
    process = start(wrap("bash", "-c", script, options=("--timeout", "20")))
    process.send_signal(signal.SIGUSR1)
    assert process.communicate(timeout=5)[0] == b"still\n"
    assert process.returncode == 5


@PLAIN_AND_TIMED
def test_an_ignored_interrupt_stays_ignored_and_cancels_nothing(options):
    for number in (signal.SIGINT, signal.SIGHUP):
        ignoring = (
            f"import os,signal,sys; signal.signal({int(number)}, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])"
        )
        process = start([PYTHON, "-c", ignoring, *wrap("sh", "-c", "echo ready; sleep 0.2; exit 3", options=options)])
        process.send_signal(number)
        assert process.wait(5) == 3
        process.stdout.close()
        assert last_run()["outcome"] == "failure"


def test_nohup_keeps_a_command_alive(tmp_path):
    process = start(["nohup", *wrap("sh", "-c", "echo ready; sleep 0.2; exit 3")], stderr=subprocess.DEVNULL)
    process.send_signal(signal.SIGHUP)
    assert process.wait(5) == 3
    process.stdout.close()


def test_ctrl_c_before_the_command_starts_leaves_no_traceback(tmp_path):
    fifo = tmp_path / "params"
    os.mkfifo(fifo)
    process = subprocess.Popen(wrap("true", options=("--params", f"@{fifo}")), stderr=subprocess.PIPE)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=5)[1] == b""
    assert process.returncode == -signal.SIGINT


def test_a_storm_of_signals_loses_no_ending():
    process = listener()
    for _ in range(300):
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGWINCH)
    assert set(heard(process)) == {signal.SIGUSR1, signal.SIGWINCH}
    assert process.returncode == 40


# -- run-with is killed


@PLAIN_AND_TIMED
def test_run_with_killed_leaves_the_command_running_and_the_run_is_abandoned(cli, options):
    process = start(wrap("sh", "-c", "echo ready; exec sleep 30", options=options))
    child = children_of(process.pid)[0]
    process.kill()
    process.wait()
    process.stdout.close()
    assert is_alive(child)
    assert '"abandoned_count": 1' in cli("status", "x", "--json").stdout
    os.kill(child, signal.SIGKILL)


# -- timeouts


def test_a_timeout_ends_the_whole_group():
    began = time.monotonic()
    ended = run(wrap("sh", "-c", "sleep 30 & echo $!; sleep 30", options=("--timeout", "0.3")), timeout=5)
    assert ended.returncode == 124
    assert 0.3 <= time.monotonic() - began < 3
    assert not is_alive(int(ended.stdout))
    found = last_run()
    assert (found["outcome"], found["exit_code"], found["signal"]) == ("timeout", 124, None)
    assert found["error"] == "timed out after 0.3 s"
    assert 300 <= found["duration_ms"] < 3000


def test_what_ignores_term_is_killed_five_seconds_later():
    """A grandchild that ignores TERM, and whose parent has ended long before."""
    began = time.monotonic()
    script = "(trap '' TERM; sleep 60) & echo $!; exec sleep 60"
    ended = run(wrap("sh", "-c", script, options=("--timeout", "0.2")), timeout=20)
    assert ended.returncode == 124
    assert 5 <= time.monotonic() - began < 8
    wait_for(lambda: not is_alive(int(ended.stdout)))


def test_a_command_that_ignores_term_is_killed_five_seconds_later():
    began = time.monotonic()
    assert (
        run(wrap("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done", options=("--timeout", "0.2"))).returncode
        == 124
    )
    assert 5 <= time.monotonic() - began < 8


def test_a_command_that_handles_term_and_ends_well_has_still_run_out_of_time():
    ended = run(
        wrap("sh", "-c", "trap 'echo tidied; exit 0' TERM; sleep 30 & wait", options=("--timeout", "0.2")), timeout=5
    )
    assert (ended.returncode, ended.stdout) == (124, b"tidied\n")
    assert last_run()["outcome"] == "timeout"


def test_a_command_in_time_has_no_timeout_and_leaves_its_background_alone():
    ended = run(wrap("sh", "-c", "sleep 30 > /dev/null 2>&1 & echo $!; exit 6", options=("--timeout", "10")))
    assert ended.returncode == 6
    assert is_alive(int(ended.stdout))
    os.kill(int(ended.stdout), signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP], ids=str)
def test_a_stopped_command_does_not_outlive_its_timeout(number):
    assert (
        run(wrap("sh", "-c", f"kill -{int(number)} $$; sleep 30", options=("--timeout", "0.3")), timeout=5).returncode
        == 124
    )


def test_a_session_of_its_own_does_not_stop_the_timeout():
    argv = ["setsid", "--wait", *wrap("sh", "-c", "kill -STOP $$; sleep 30", options=("--timeout", "0.3"))]
    assert run(argv, timeout=5).returncode == 124


def test_a_tiny_timeout_is_a_timeout():
    assert run(wrap("sleep", "9", options=("--timeout", "1e-9")), timeout=5).returncode == 124


def test_a_timeout_does_not_hide_that_nothing_could_be_started():
    assert run(wrap("no-such-command-anywhere", options=("--timeout", "5"))).returncode == 127


# -- stops


def test_a_stopped_command_stops_run_with_and_both_go_on():
    process = start(wrap("sh", "-c", "echo ready; kill -STOP $$; exit 3"))
    child = wait_for(lambda: children_of(process.pid))[0]
    wait_for(lambda: state_of(process.pid) == "T")
    assert state_of(child) == "T"
    process.send_signal(signal.SIGCONT)
    assert process.wait(5) == 3
    process.stdout.close()
    assert last_run()["outcome"] == "failure"


def test_a_group_that_is_stopped_and_continued_hears_of_it_once():
    process = listener(start_new_session=True)
    child = children_of(process.pid)[0]
    os.killpg(process.pid, signal.SIGSTOP)
    wait_for(lambda: state_of(process.pid) == "T" and state_of(child) == "T")
    os.killpg(process.pid, signal.SIGCONT)
    assert heard(process) == [signal.SIGCONT]


# -- where one process is all there is room for


@pytest.mark.skipif(os.geteuid() != 0, reason="setting another user needs root")
def test_a_command_runs_in_our_place_when_there_is_room_for_one_process(tmp_path):
    limit = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)); os.execvp(sys.argv[1], sys.argv[1:])"
    privileges = [
        "setpriv",
        "--reuid",
        "61234",
        "--clear-groups",
        "--inh-caps",
        "+dac_override",
        "--ambient-caps",
        "+dac_override",
    ]
    ended = run([*privileges, PYTHON, "-c", limit, *wrap("printf", "done")])
    assert (ended.returncode, ended.stdout) == (0, b"done")
    assert ended.stderr.count(b"\n") == 1
    wait_for(lambda: last_run()["outcome"] == "abandoned")


# -- without sigtimedwait


def ported(argv, timeout_s=None):
    """Run by the portable way in a process of its own, which ends with the exit code and says the rest."""
    code = (
        "import os, sys\nfrom rye_telemetry.runner import portable, supervise\n"
        f"ended = portable.run({argv!r}, os.environ, {timeout_s!r})\n"
        "if isinstance(ended, tuple): print(ended[1], flush=True); os._exit(ended[0])\n"
        "print([ended.died_of, ended.timed_out, ended.interrupted_by, ended.from_terminal], flush=True); os._exit(ended.exit_code)\n"
    )
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("code", [0, 1, 77, 255])
def test_portable_gives_the_exit_code(code):
    ended = run(ported(["sh", "-c", f"exit {code}"]))
    assert (ended.returncode, ended.stdout) == (code, b"[0, False, 0, False]\n")


def test_portable_gives_the_signal_that_ended_the_command():
    ended = run(ported(["sh", "-c", "kill -SEGV $$"]))
    assert (ended.returncode, ended.stdout) == (139, b"[11, False, 0, False]\n")


def test_portable_says_what_could_not_be_started(tmp_path):
    (tmp_path / "plain").write_text("echo")
    (tmp_path / "bare").write_text("echo ran")
    (tmp_path / "bare").chmod(0o755)
    ended = run(ported(["no-such-command-anywhere"]))
    assert (ended.returncode, ended.stdout) == (127, b"command not found\n")
    assert ended.stderr == b"rye-telemetry: no-such-command-anywhere: command not found\n"
    assert run(ported([str(tmp_path / "plain")])).returncode == 126
    assert run(ported([str(tmp_path / "bare")])).stdout.startswith(b"ran\n")


def test_portable_ends_the_group_at_the_timeout():
    began = time.monotonic()
    ended = run(ported(["sh", "-c", "sleep 30 & echo $!; sleep 30"], 0.3), timeout=10)
    assert ended.returncode == 124
    assert time.monotonic() - began < 4
    child, told = ended.stdout.split(b"\n")[:2]
    assert not is_alive(int(child))
    assert told == b"[0, True, 0, False]"


@pytest.mark.parametrize("timeout_s", [None, 20])
def test_portable_relays_what_is_sent_to_us(timeout_s):
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        process = start(ported(["sh", "-c", "echo ready; exec sleep 30"], timeout_s))
        process.send_signal(number)
        assert process.wait(5) == 128 + number
        interrupted = 0 if number in (signal.SIGUSR1, signal.SIGUSR2) else int(number)
        assert process.communicate()[0] == b"[%d, False, %d, False]\n" % (number, interrupted)


def test_portable_and_supervise_speak_of_one_thing():
    assert portable.Ended is Ended


def test_the_wrapper_can_be_imported_where_signals_and_processes_are_those_of_windows():
    code = (
        "import _signal, os, sys, types\n"
        "few = types.ModuleType('_signal')\n"
        "for name in ('SIGINT', 'SIGTERM', 'SIGABRT', 'SIGFPE', 'SIGILL', 'SIGSEGV', 'SIG_DFL', 'SIG_IGN', 'signal', 'getsignal', 'default_int_handler', 'valid_signals'):\n"
        "    setattr(few, name, getattr(_signal, name))\n"
        "sys.modules['_signal'] = few; sys.modules['fcntl'] = None; sys.platform = 'win32'\n"
        "for name in ('posix_spawn', 'posix_spawnp', 'fork', 'killpg', 'getpgrp', 'tcgetpgrp', 'waitid', 'WNOHANG', 'WUNTRACED', 'register_at_fork', 'uname', 'getuid'):\n"
        "    delattr(os, name)\n"
        "import rye_telemetry.entry, rye_telemetry.runner.run, rye_telemetry.runner.recorder\n"
        "from rye_telemetry.runner import supervise\n"
        "print(supervise.CAN_SUPERVISE)\n"
    )
    ended = run([PYTHON, "-c", code])
    assert (ended.stdout, ended.stderr) == (b"False\n", b"")
