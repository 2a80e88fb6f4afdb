"""One git process: what it is given, what it may say and take, and that nothing of it stays behind."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest
from making import ended_well, in_child
from processes import PYTHON, is_alive, run, wait_for
from repositories import git, head, new_repo, the_git, write_git_config

from rye_telemetry.errors import GitMissing, GitUnusable
from rye_telemetry.gitrun import LOCAL_VARIABLES, Git, clean_environment, hook_environment, run_git


@pytest.fixture(autouse=True)
def identity(home):
    write_git_config(home)


@pytest.fixture
def repo(tmp_path):
    return new_repo(tmp_path / "repo", commits=1)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put a script of this text in git's place."""

    def put(text):
        place = tmp_path / "bin"
        place.mkdir()
        (place / "git").write_text(f"#!/bin/sh\n{text}")
        (place / "git").chmod(0o755)
        monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")

    return put


def open_files():
    return set(os.listdir("/proc/self/fd"))


def test_an_answer_has_code_output_and_complaint(repo):
    there = the_git(repo).run("rev-parse", "HEAD")
    assert (there.code, there.out, there.err) == (0, head(repo).encode() + b"\n", "")
    missing = the_git(repo).run("rev-parse", "--verify", "nothing")
    assert (missing.code, missing.out) == (128, b"")
    assert missing.err == "fatal: Needed a single revision"


def test_without_git_there_is_git_missing_and_nothing_stays_open(repo, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    before = open_files()
    with pytest.raises(GitMissing, match="install it"):
        run_git(["version"], env=dict(os.environ), cwd=str(repo), stdin=b"x")
    assert open_files() == before


def test_a_git_that_may_not_be_run_is_unusable(tmp_path, monkeypatch):
    (tmp_path / "git").write_text("no program")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitUnusable, match="could not be started"):
        run_git(["version"], env=dict(os.environ))


def test_arguments_without_end_are_refused_in_words(repo):
    with pytest.raises(GitUnusable, match="too long"):
        the_git(repo).run("rev-parse", "x" * 5_000_000)


def test_much_in_and_much_out_at_once(stand_in):
    stand_in("exec cat")
    data = os.urandom(1 << 20) * 20
    answer = run_git(["x"], env=dict(os.environ), stdin=data)
    assert (answer.code, answer.out) == (0, data)


def test_much_out_of_both_pipes_at_once(stand_in):
    stand_in(
        f'exec {PYTHON} -c \'import os\nfor _ in range(200): os.write(1, b"o" * 10000); os.write(2, b"e" * 10000)\''
    )
    answer = run_git(["x"], env=dict(os.environ))
    assert answer.out == b"o" * 2_000_000
    assert answer.err == "e" * len(answer.err)
    assert 0 < len(answer.err) <= 16 * 1024


def test_git_may_leave_its_input_unread(stand_in):
    stand_in("exec 0<&-; echo done")
    assert run_git(["x"], env=dict(os.environ), stdin=b"x" * 5_000_000).out == b"done\n"


def test_who_is_given_nothing_reads_an_empty_input(stand_in):
    stand_in("cat; echo end")
    assert run_git(["x"], env=dict(os.environ)).out == b"end\n"


def test_who_says_too_much_is_ended(stand_in, tmp_path):
    stand_in(f"echo $$ > {tmp_path}/pid; exec yes")
    before = open_files()
    with pytest.raises(GitUnusable, match=r"^git log: it said more than 100000 bytes$"):
        run_git(["-c", "x.y=z", "log", "-p"], env=dict(os.environ), limit_bytes=100_000)
    assert not is_alive(int((tmp_path / "pid").read_text()))
    assert open_files() == before


def test_who_takes_too_long_is_ended_with_all_it_started(stand_in, tmp_path):
    stand_in(f"sleep 60 & echo $! > {tmp_path}/pid; wait")
    before, began = open_files(), time.monotonic()
    with pytest.raises(GitUnusable, match="took too long"):
        run_git(["log"], env=dict(os.environ), wait_s=0.3)
    assert time.monotonic() - began < 5
    child = int((tmp_path / "pid").read_text())
    wait_for(lambda: not is_alive(child))
    assert open_files() == before


def test_no_descriptor_is_left_after_many(repo):
    before = open_files()
    for _ in range(20):
        the_git(repo).run("cat-file", "--batch-check", stdin=b"HEAD\n")
    assert open_files() == before


def test_no_descriptor_is_left_where_there_is_room_for_one_pipe_only(repo):
    def crowded():
        import resource

        used, most = max(map(int, open_files())) + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        for room in range(1, 8):
            before = open_files()
            resource.setrlimit(resource.RLIMIT_NOFILE, (used + room, most))
            with contextlib.suppress(OSError, GitUnusable):
                the_git(repo).run("cat-file", "--batch-check", stdin=b"HEAD\n")
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, most), most))
            assert open_files() == before

    assert ended_well(in_child(crowded))


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("feeds", [False, True])
def test_closed_standard_streams_do_not_mix_up_its_own(repo, closed, feeds):
    def work():
        for fd in closed:
            os.close(fd)
        stdin = f"{head_now}\n".encode() if feeds else b""
        args = ["cat-file", "--batch-check"] if feeds else ["rev-parse", "HEAD"]
        answer = the_git(repo).run(*args, stdin=stdin)
        os._exit(0 if answer.out.startswith(head_now.encode()) and not answer.code and not answer.err else 7)

    head_now = head(repo)
    assert ended_well(in_child(work))


def test_a_parent_that_lets_the_kernel_reap_its_children_has_its_answer(repo):
    code = """
    import os, signal
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    from rye_telemetry.gitrun import run_git
    print(run_git(["rev-parse", "HEAD"], env=os.environ).out.decode(), end="")
    """
    import textwrap

    done = run([PYTHON, "-c", textwrap.dedent(code)], cwd=repo)
    assert done.stdout.decode().strip() == head(repo), done.stderr


def test_a_closed_pipe_ends_it(stand_in):
    import signal

    stand_in("kill -PIPE $$; echo still here")
    answer = run_git(["x"], env=dict(os.environ))
    assert (answer.code, answer.out) == (-signal.SIGPIPE, b"")


def test_no_signal_is_blocked(stand_in, tmp_path):
    import signal

    stand_in("# a shell would set its own mask")
    show = "print(*(line for line in open('/proc/self/status') if line.startswith(('SigBlk', 'SigIgn'))))"
    (tmp_path / "bin" / "git").write_text(f"#!{PYTHON} -S\n{show}\n")
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    try:
        told = run_git(["x"], env=dict(os.environ)).out.decode().split()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    assert int(told[1], 16) == 0


# -- what it is given


def test_no_variable_of_another_repository_reaches_git(repo, tmp_path, monkeypatch):
    other = new_repo(tmp_path / "other", commits=2)
    for name, value in {
        "GIT_DIR": other / ".git",
        "GIT_WORK_TREE": other,
        "GIT_INDEX_FILE": other / ".git" / "index",
        "GIT_OBJECT_DIRECTORY": other / ".git" / "objects",
        "GIT_COMMON_DIR": other / ".git",
        "GIT_NAMESPACE": "elsewhere",
        "GIT_PREFIX": "sub/",
    }.items():
        monkeypatch.setenv(name, str(value))
    assert the_git(repo).run("rev-parse", "--absolute-git-dir").out.decode().strip() == str(repo / ".git")
    assert the_git(repo).run("status", "--porcelain").out == b""


def test_every_variable_that_git_calls_local_is_dropped(repo):
    named = git(repo, "rev-parse", "--local-env-vars").decode().split()
    assert set(named) - {"GIT_CONFIG_COUNT"} <= LOCAL_VARIABLES


def test_what_a_user_says_of_safe_directories_reaches_git():
    env = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*", "PATH": "/bin"}
    assert clean_environment(env).items() >= env.items()


def test_a_hooks_git_keeps_its_repository_and_loses_what_changes_a_diff():
    env = {"GIT_DIR": ".git", "GIT_INDEX_FILE": ".git/index", "GIT_EXTERNAL_DIFF": "evil", "GIT_DIFF_OPTS": "-U0"}
    kept = hook_environment(env)
    assert kept["GIT_DIR"] == ".git"
    assert kept["GIT_INDEX_FILE"] == ".git/index"
    assert not {"GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS"} & set(kept)


def test_nobody_is_asked_and_nothing_is_locked(stand_in):
    stand_in("exec env")
    given = run_git(["x"], env=clean_environment({**os.environ, "LC_ALL": "de_DE.UTF-8"})).out.decode().splitlines()
    assert {"GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C"} <= set(given)


def test_replaced_objects_are_what_they_were(repo):
    first = head(repo)
    git(repo, "commit", "-q", "--allow-empty", "-m", "other")
    git(repo, "replace", first, "HEAD")
    assert b"commit 0" in the_git(repo).run("cat-file", "-p", first).out


def test_a_directory_of_any_bytes(tmp_path):
    place = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"a \xff\nb"))
    new_repo(place, commits=1)
    assert the_git(place).run("rev-parse", "HEAD").out.decode().strip() == head(place)


def test_a_directory_that_is_gone_is_git_s_to_tell(tmp_path):
    answer = Git(str(tmp_path / "gone"), clean_environment(os.environ)).run("status")
    assert answer.code == 128
    assert "cannot change to" in answer.err
    assert not Path(tmp_path / "gone").exists()
