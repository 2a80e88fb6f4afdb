"""A wrapped command at a terminal: it cannot tell, and neither can the shell."""

from __future__ import annotations

import os
import shutil
import signal
import termios
import time

import pytest
from processes import PYTHON, RYE, Shell, Terminal, children_of, is_alive, last_run, runs, state_of, wait_for, wrap

pytestmark = [
    pytest.mark.usefixtures("enabled"),
    pytest.mark.skipif(not shutil.which("bash") or not shutil.which("setsid"), reason="needs bash and setsid (Linux)"),
]
RUN = f"{RYE} run-with tool x"
COUNTER = """
import os, signal, sys, time
def say(number, _): os.write(1, ("<<%s>>\\n" % signal.Signals(number).name).encode())
for name in sys.argv[1:]: signal.signal(getattr(signal, name), say)
os.write(1, b"ready\\n")
end = time.time() + 20
while time.time() < end: time.sleep(0.02)
"""
BOTH = pytest.mark.parametrize("options", ["", "--timeout 20"], ids=["plain", "timeout"])


@pytest.fixture
def counter(tmp_path):
    path = tmp_path / "counter.py"
    path.write_text(COUNTER)
    return f"{PYTHON} {path}"


@pytest.fixture
def shell():
    with Shell() as opened:
        yield opened


def ended_runs():
    return [run for run in runs() if run["outcome"] != "running"]


@BOTH
def test_ctrl_c_reaches_the_command_exactly_once(shell, counter, options):
    shell.type(f"{RUN} {options} -- {counter} SIGINT\n")
    shell.see("ready")
    shell.type("\x03")
    shell.see("<<SIGINT>>")
    time.sleep(0.1)
    shell.type("\x1c")
    assert "SIGINT" not in shell.prompt(code=131)


@BOTH
def test_ctrl_backslash_reaches_the_command_exactly_once(shell, counter, options):
    shell.type(f"{RUN} {options} -- {counter} SIGQUIT\n")
    shell.see("ready")
    shell.type("\x1c")
    shell.see("<<SIGQUIT>>")
    time.sleep(0.1)
    shell.type("\x03")
    assert "SIGQUIT" not in shell.prompt(code=130)
    assert last_run()["outcome"] == "cancelled"
    assert last_run()["signal"] == "SIGINT"


@BOTH
def test_ctrl_c_that_kills_the_command_stops_the_loop_around_it(shell, options):
    shell.type(f"for i in 1 2 3; do echo go$i; {RUN} {options} -- sleep 20; done; echo after\n")
    shell.see("go1")
    wait_for(lambda: runs(outcome="running"))
    time.sleep(0.2)
    shell.type("\x03")
    printed = shell.prompt(code=130)
    assert "go2" not in printed
    assert "after" not in printed


@BOTH
def test_ctrl_z_stops_the_job_and_fg_goes_on(shell, options):
    shell.type(f"{RUN} {options} -- sh -c 'echo ready; read line; echo got $line'\n")
    shell.see("ready")
    shell.type("\x1a")
    shell.see("Stopped")
    shell.prompt(code=148)
    shell.type("fg\n")
    shell.see("run-with")
    shell.type("words\n")
    shell.see("got words")
    shell.prompt()
    assert shell.do("jobs").strip() == ""
    assert last_run()["outcome"] == "success"


@BOTH
def test_a_job_that_was_stopped_goes_on_in_the_background_and_comes_back(shell, tmp_path, options):
    flag = tmp_path / "flag"
    program = tmp_path / "program.py"
    program.write_text(
        f"import os, time\nprint('ready')\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.02)\nprint('got', input())\n"
    )
    shell.type(f"{RUN} {options} -- {PYTHON} -u {program}\n")
    shell.see("ready")
    shell.type("\x1a")
    shell.prompt(code=148)
    shell.do("bg")
    assert "Running" in shell.do("jobs")
    flag.touch()
    time.sleep(0.3)
    shell.type("fg\n")
    shell.see("run-with")
    shell.type("again\n")
    shell.see("got again")
    shell.prompt()


@BOTH
def test_ctrl_z_reaches_a_command_that_handles_it_exactly_once(shell, counter, options):
    shell.type(f"{RUN} {options} -- {counter} SIGTSTP SIGCONT\n")
    shell.see("ready")
    shell.type("\x1a")
    shell.see("<<SIGTSTP>>")
    time.sleep(0.1)
    shell.type("\x03")
    printed = shell.prompt(code=130)
    assert "SIG" not in printed


@BOTH
def test_fg_continues_the_command_exactly_once(shell, counter, options):
    shell.type(f"{RUN} {options} -- {counter} SIGCONT\n")
    shell.see("ready")
    shell.type("\x1a")
    shell.prompt(code=148)
    shell.type("fg\n")
    shell.see("<<SIGCONT>>")
    time.sleep(0.2)
    shell.type("\x03")
    assert "SIGCONT" not in shell.prompt(code=130)


@BOTH
def test_a_background_job_that_reads_the_terminal_is_stopped_as_if_bare(shell, options):
    shell.type(f"{RUN} {options} -- sh -c 'read line; echo got $line' &\n")
    shell.prompt()
    wait_for(lambda: "Stopped" in shell.do("jobs"))
    shell.type("fg\n")
    shell.see("run-with")
    shell.type("late\n")
    shell.see("got late")
    shell.prompt()


def test_time_spent_stopped_does_not_count_for_the_timeout(shell):
    shell.type(
        f"{RUN} --timeout 1 -- {PYTHON} -c \"import time; print('ready', flush=True); time.sleep(0.5); print('finished')\"\n"
    )
    shell.see("ready")
    shell.type("\x1a")
    shell.prompt(code=148)
    time.sleep(1.1)
    shell.type("fg\n")
    shell.see("finished")
    shell.prompt()


def test_timeout_ends_a_foreground_command_and_gives_the_terminal_back(shell):
    shell.type(f"{RUN} --timeout 0.3 -- sh -c 'trap \"\" INT; cat; sleep 9'\n")
    shell.prompt(code=124)
    assert shell.do("read a; echo typed $a\nhello").strip() == "typed hello"


@BOTH
def test_standard_streams_are_terminals_and_their_size_is_known(shell, options):
    code = (
        "import os,sys; print([os.isatty(n) for n in (0,1,2)], os.get_terminal_size(), os.tcgetpgrp(0) == os.getpgrp())"
    )
    assert "[True, True, True] os.terminal_size(columns=80, lines=24) True" in shell.do(
        f'{RUN} {options} -- {PYTHON} -c "{code}"'
    )


@BOTH
def test_a_password_is_read_without_echo(shell, options):
    shell.do("stty echo")
    shell.type(f"{RUN} {options} -- {PYTHON} -c \"import getpass; print(getpass.getpass('secret: ')[::-1])\"\n")
    shell.see("secret: ")
    wait_for(lambda: not _echoes(shell))
    shell.type("xyzzy\n")
    printed = shell.prompt()
    assert "yzzyx" in printed
    assert "xyzzy" not in printed
    assert last_run()["outcome"] == "success"


def _echoes(shell):
    return termios.tcgetattr(shell.master)[3] & termios.ECHO


@BOTH
def test_a_new_window_size_is_told_exactly_once(shell, counter, options):
    shell.type(f"{RUN} {options} -- {counter} SIGWINCH\n")
    shell.see("ready")
    shell.resize(30, 100)
    shell.see("<<SIGWINCH>>")
    time.sleep(0.1)
    shell.type("\x03")
    assert "SIGWINCH" not in shell.prompt(code=130)


@BOTH
def test_a_full_screen_program_draws_and_reads_keys(shell, tmp_path, options):
    program = tmp_path / "full.py"
    program.write_text(
        "import curses\n"
        "def main(screen):\n"
        "    screen.addstr(1, 1, 'size %dx%d' % screen.getmaxyx()); screen.refresh()\n"
        "    key = screen.getch()\n"
        "    return key\n"
        "print('key', curses.wrapper(main))\n"
    )
    shell.type(f"{RUN} {options} -- {PYTHON} {program}\n")
    shell.see("size 24x80")
    shell.type("k")
    shell.see("key 107")
    shell.prompt()


def test_a_terminal_is_read_with_a_timeout_and_every_stream_redirected(shell, tmp_path):
    out = tmp_path / "out"
    shell.type(
        f"{RUN} --timeout 20 -- sh -c 'echo go > /dev/tty; read a < /dev/tty; echo $a' < /dev/null > {out} 2>&1\n"
    )
    shell.see("go")
    shell.type("through\n")
    shell.prompt()
    assert out.read_text() == "through\n"


def test_in_a_pipeline_with_a_timeout_the_command_reads_the_pipe(shell):
    assert shell.do(f"echo words | {RUN} --timeout 20 -- cat | tr a-z A-Z").strip() == "WORDS"


def test_in_a_pipeline_with_a_timeout_a_terminal_read_ends_by_the_timeout(shell):
    """As under timeout(1): the rest of the pipeline keeps the terminal."""
    shell.type(f"{RUN} --timeout 0.5 -- cat | cat\n")
    shell.see("<0>")
    assert last_run()["outcome"] == "timeout"


@BOTH
def test_ctrl_c_in_a_pipeline_ends_all_of_it(shell, options):
    shell.type(f"{RUN} {options} -- sh -c 'echo ready; exec sleep 20' | cat\n")
    shell.see("ready")
    shell.type("\x03")
    shell.prompt(code=130)
    wait_for(ended_runs)
    assert last_run()["outcome"] == "cancelled"


@BOTH
def test_kill_percent_ends_a_background_job(shell, options):
    shell.type(f"{RUN} {options} -- sleep 20 &\n")
    shell.prompt()
    wait_for(lambda: runs(outcome="running"))
    time.sleep(0.2)
    shell.type("kill %1; wait %1\n")
    shell.prompt(code=143)
    assert last_run()["outcome"] == "cancelled"


@BOTH
def test_without_a_shell_ctrl_z_does_nothing(options):
    """As for a bare command that leads its session: nobody could ever continue it."""
    with Terminal(wrap("sh", "-c", "echo ready; read a; echo got $a", options=options.split())) as terminal:
        terminal.see("ready")
        terminal.type("\x1a")
        time.sleep(0.1)
        terminal.type("on\n")
        terminal.see("got on")


@BOTH
def test_a_closed_terminal_hangs_the_command_up(options, tmp_path):
    log = tmp_path / "log"
    script = f"trap 'echo hup >> {log}; exit 0' HUP; echo ready; while :; do sleep 0.05; done"
    with Terminal(wrap("bash", "-c", script, options=options.split())) as terminal:
        terminal.see("ready")
        terminal.hang_up()
        assert terminal.process.wait(5) == 0
    assert log.read_text() == "hup\n"


def test_a_command_that_stops_itself_does_not_outlive_its_timeout():
    """No shell could continue it, so stopping with it would be for ever."""
    with Terminal(wrap("sh", "-c", "kill -STOP $$; sleep 9", options=("--timeout", "0.4"))) as terminal:
        assert terminal.process.wait(5) == 124


def test_kill_stop_of_the_command_stops_the_job(shell):
    shell.type(f"{RUN} -- sh -c 'echo ready $$; kill -STOP $$; echo back'\n")
    child = int(shell.see(r"ready (\d+)")[1])
    shell.prompt(code=147)
    assert state_of(child) == "T"
    shell.type("fg\n")
    shell.see("back")
    shell.prompt()


def test_kill_dash_9_of_run_with_leaves_the_command_as_a_shell_would(shell):
    shell.type(f"{RUN} -- sh -c 'echo ready $$ $PPID; sleep 20'\n")
    found = shell.see(r"ready (\d+) (\d+)")
    child, wrapper = int(found[1]), int(found[2])
    assert child in children_of(wrapper)
    os.kill(wrapper, signal.SIGKILL)
    shell.prompt(code=137)
    assert is_alive(child)
    os.kill(child, signal.SIGTERM)
    wait_for(lambda: last_run()["outcome"] == "abandoned")
