"""The pre-commit hook: after what was there, with its exit code, and out again to the byte; with the real command too."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SCRIPT
from test_hooks_install import (
    CHAINED,
    HUSKY_H,
    HUSKY_STUB,
    LEFTHOOK,
    THEIRS,
    Installation,
    git,
    hooks,
    look,
    make_repo,
    put,
    run_hook,
)

from rye_telemetry.cli.app import run_command_line

STEPS = {
    "guard": "guard --staged",
    "strip": "bake --strip --staged --hook",
    "bake": "bake --staged --hook",
    "check": "bake --check --staged --hook",
}
TOTALS = "version: 1\nitems:\n  x: {total_runs: 1, success_count: 1, failure_count: 0, last_run: null}\n"


@pytest.fixture(autouse=True)
def identity(home):
    (home / ".gitconfig").write_text("[user]\n\tname = A\n\temail = a@example.org\n[init]\n\tdefaultBranch = main\n")


@pytest.fixture
def repo(tmp_path):
    return make_repo(tmp_path / "repo")


@pytest.fixture
def ours(tmp_path):
    return Installation(tmp_path / "its place")


def flags(*steps):
    return [f"--{step}" for step in steps]


def heard(ours):
    return [call for call, _ in ours.calls()]


def commit(repo, *args, code=0, **env):
    return git(repo, "commit", "-q", "--allow-empty", "-m", "one", *args, code=code, **env)


def passing(text):
    return text.replace("exit 7", "exit 0").replace("exit(7)", "exit(0)")


@pytest.mark.parametrize("asked", [["guard"], ["strip"], ["bake"], ["check"], ["check", "bake", "guard"]])
def test_what_is_asked_for_is_called_in_its_order(ours, repo, asked):
    ours.run("install", *flags(*asked), cwd=repo)
    commit(repo)
    assert heard(ours) == [STEPS[step] for step in STEPS if step in asked]


def test_without_a_flag_there_is_no_hook_and_one_that_is_there_stays(ours, repo):
    path = hooks(repo) / "pre-commit"
    ours.run("install", "--trailers", "--notes", cwd=repo)
    assert not path.exists()
    ours.run("install", "--guard", cwd=repo)
    ours.run("install", "--bake", cwd=repo)
    once = look(repo)
    done = ours.run("install", cwd=repo)
    assert "pre-commit: as it was" in done.stdout
    assert look(repo) == once
    commit(repo)
    assert heard(ours) == [STEPS["guard"], STEPS["bake"]]


def test_strip_and_what_it_undoes_are_not_asked_for_together(ours, repo, capfd):
    for others in (["bake"], ["check"], ["bake", "check", "guard"]):
        assert run_command_line(["hooks", "install", "--repo", str(repo), *flags("strip", *others)]) == 2
        assert "ask for one" in capfd.readouterr().err
    assert not (hooks(repo) / "post-commit").exists()
    ours.run("install", *flags("bake", "check", "guard"), cwd=repo)
    told = ours.run("install", "--strip", cwd=repo).stderr
    assert "bake is off now" in told
    assert "check is off now" in told
    commit(repo)
    assert heard(ours) == [STEPS["guard"], STEPS["strip"]]
    assert "strip is off now" in ours.run("install", "--bake", cwd=repo).stderr
    commit(repo)
    assert heard(ours) == [STEPS["guard"], STEPS["bake"]]


@pytest.mark.parametrize("kind", THEIRS)
def test_a_hook_that_was_there_goes_first_and_only_then_ours(ours, repo, tmp_path, kind):
    path = put(hooks(repo) / "pre-commit", passing(THEIRS[kind]), 0o751)
    before = look(repo / ".git")
    ours.run("install", *flags("guard", "bake"), cwd=repo)
    ours.command.write_text('#!/bin/sh\n{ echo "$1"; cat; } >> "$SAID"\n')
    said = tmp_path / "said"
    done = run_hook(path, map_=b"given\n", said=said, cwd=repo)
    assert (done.returncode, done.stderr) == (0, b"")
    assert said.read_text().replace("-c|", "pre-commit|") == "pre-commit|0|given\n.\nguard\nbake\n"
    ours.run("uninstall", cwd=repo)
    assert look(repo / ".git") == before


@pytest.mark.parametrize("kind", THEIRS)
def test_what_theirs_refuses_stays_refused_with_its_code_and_ours_is_not_asked(ours, repo, tmp_path, kind):
    path = put(hooks(repo) / "pre-commit", THEIRS[kind])
    ours.run("install", *flags("guard", "bake"), cwd=repo)
    assert run_hook(path, "x y", "*", said=tmp_path / "said", cwd=repo).returncode == 7
    assert (tmp_path / "said").read_text().replace("-c|", "pre-commit|") == "pre-commit|2|x y|*|.\n"
    commit(repo, code=1, SAID=str(tmp_path / "said"))
    assert heard(ours) == []


@pytest.mark.parametrize("kind", ["none", "sh", "strict sh", "bash by env", "no shebang", "python"])
@pytest.mark.parametrize("then", ["exit 1", "exit 0", "exit 2", "exit 3", "kill -9 $$"])
def test_only_what_ours_refuses_stops_a_commit(ours, repo, tmp_path, kind, then):
    if kind != "none":
        put(hooks(repo) / "pre-commit", passing(THEIRS[kind]))
    ours.run("install", *flags("guard", "bake"), cwd=repo)
    ours.record(then=then)
    done = commit(repo, code=1 if then == "exit 1" else 0, SAID=str(tmp_path / "said"))
    assert done.stderr.count("noise") == (1 if then == "exit 1" else 2)  # what it says is seen
    assert heard(ours) == [STEPS["guard"], STEPS["bake"]][: 1 if then == "exit 1" else 2]


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("gone", ["gone", "gone from PATH too", "cannot be started"])
def test_without_the_command_a_commit_goes_on(ours, repo, tmp_path, gone, shell):
    put(hooks(repo) / "pre-commit", f"#!{shutil.which(shell)}\nexit 0\n")
    ours.run("install", *flags("guard", "bake"), cwd=repo)
    bare = tmp_path / "path"
    bare.mkdir()
    for program in ("git", "sh", "cat"):
        (bare / program).symlink_to(shutil.which(program))
    if gone == "cannot be started":
        ours.command.write_text("#!/nowhere\n")
    else:
        moved = ours.command.rename(tmp_path / "rye-telemetry")
    path = f"{bare}:{moved.parent}" if gone == "gone" else str(bare)
    done = commit(repo, PATH=path)
    assert heard(ours) == ([STEPS["guard"], STEPS["bake"]] if gone == "gone" else [])
    if gone != "cannot be started":
        assert (done.stdout, done.stderr) == ("", "noise\nnoise\n" if gone == "gone" else "")


def test_a_script_that_looks_beside_itself_stays_where_it_is(ours, repo, tmp_path):
    put(hooks(repo) / "helper", 'printf "%s|%s" "$0" "$2" >> "$SAID"\n')
    text = '#!/bin/bash\nset -euo pipefail\ncd "$(dirname "$0")"\n. ./helper\nexec true\n'
    path = put(hooks(repo) / "pre-commit", text)
    before = look(repo / ".git")
    ours.run("install", "--bake", cwd=repo)
    said = tmp_path / "said"
    assert run_hook(path, "1", "a b", said=said, cwd=repo).returncode == 0
    assert said.read_text() == ".git/hooks/pre-commit|a b"
    assert heard(ours) == [STEPS["bake"]]
    bare = subprocess.run(
        ["sh", "pre-commit", "1", "2"], cwd=hooks(repo), env={**os.environ, "SAID": os.devnull}, check=False
    )
    assert bare.returncode == 0  # and no program on PATH of the same name
    assert heard(ours) == [STEPS["bake"]]
    ours.run("uninstall", cwd=repo)
    assert look(repo / ".git") == before


def test_a_program_that_looks_beside_itself_is_left_alone_and_its_user_told(repo, capfd):
    put(hooks(repo) / "pre-commit", "#!/usr/bin/env python3\nimport os\nprint(os.path.dirname(__file__))\n")
    before = look(hooks(repo) / "pre-commit")
    assert run_command_line(["hooks", "install", "--repo", str(repo), *flags("guard", "bake")]) == 1
    assert "call `rye-telemetry guard --staged && rye-telemetry bake --staged --hook` in it" in capfd.readouterr().err
    assert look(hooks(repo) / "pre-commit") == before


@pytest.mark.parametrize("kind", ["sh", "python"])
def test_a_hook_that_is_switched_off_stays_off(ours, repo, tmp_path, kind):
    path = put(hooks(repo) / "pre-commit", THEIRS[kind], 0o640)
    ours.run("install", "--bake", cwd=repo)
    commit(repo, SAID=str(tmp_path / "said"))
    assert heard(ours) == [STEPS["bake"]]
    assert not (tmp_path / "said").exists()
    ours.run("uninstall", cwd=repo)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (THEIRS[kind], 0o640)


@pytest.mark.parametrize("kind", ["none", "sh", "python"])
def test_what_a_user_adds_below_goes_before_ours(ours, repo, tmp_path, kind):
    path = hooks(repo) / "pre-commit"
    if kind != "none":
        put(path, THEIRS[kind])
    ours.run("install", "--bake", cwd=repo)
    mark = "# <<< rye-telemetry pre-commit <<<\n"
    path.write_text(path.read_text().replace(mark, mark + "exit 9\n"))
    assert run_hook(path, said=tmp_path / "said", cwd=repo).returncode == 9
    assert heard(ours) == []
    ours.run("install", "--guard", cwd=repo)
    assert "exit 9\n" in path.read_text()


@pytest.mark.parametrize("how", ["plain", "all", "only", "worktree", "amend"])
def test_the_command_sees_the_index_that_is_committed(ours, repo, tmp_path, how):
    (repo / "a").write_text("1")
    (repo / "b").write_text("1")
    git(repo, "add", ".")
    commit(repo)
    work = repo
    if how == "worktree":
        work = tmp_path / "work"
        git(repo, "worktree", "add", "-q", str(work))
    put(hooks(repo) / "pre-commit", "#!/bin/sh\nexit 0\n")
    ours.run("install", "--bake", cwd=repo)
    ours.command.write_text(
        f"#!/bin/sh\n[ $1 = bake ] || exit 0\n{{ pwd; git diff --cached --name-only; }} > '{ours.heard}'\n"
    )
    for name in ("a", "b"):
        (work / name).write_text("two")
    git(work, "add", "b")
    args = {"all": ["-a"], "only": ["--", "a"], "amend": ["--amend"]}.get(how, [])
    commit(work, *args)
    seen = {"all": ["a", "b"], "only": ["a"]}.get(how, ["b"])
    assert ours.heard.read_text().splitlines() == [str(work), *seen]
    assert git(work, "show", "--name-only", "--format=").stdout.split() == (["a", "b"] if how == "amend" else seen)


def test_a_commit_that_theirs_makes_elsewhere_asks_ours_there_too(ours, repo, tmp_path):
    other = make_repo(tmp_path / "other")
    call = f"#!/bin/sh\ncd '{other}' && env -u GIT_DIR -u GIT_INDEX_FILE git commit -q --allow-empty -m x\n"
    put(hooks(repo) / "pre-commit", call)
    ours.run("install", "--guard", cwd=other)
    ours.run("install", "--bake", cwd=repo)
    commit(repo)
    assert heard(ours) == [STEPS["guard"], STEPS["bake"]]


def test_what_the_hook_is_given_to_read_is_not_for_ours(ours, repo):
    ours.run("install", "--bake", cwd=repo)
    assert run_hook(hooks(repo) / "pre-commit", map_=b"given\n", cwd=repo).returncode == 0
    assert ours.calls() == [(STEPS["bake"], [])]


def test_no_verify_asks_nobody(ours, repo):
    ours.run("install", *flags("guard", "bake"), cwd=repo)
    commit(repo, "--no-verify")
    assert heard(ours) == []


def test_the_shipped_hook_by_itself_does_all_and_nothing_without_the_command():
    path = Path(__file__).parents[1] / "hooks" / "pre-commit"
    done = subprocess.run([path], input=b"", env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_status_says_what_it_does_and_how_it_stands(ours, repo):
    def report():
        return json.loads(ours.run("status", "--json", cwd=repo).stdout)

    assert {step: report()[step] for step in STEPS} == dict.fromkeys(STEPS, False)
    ours.run("install", *flags("guard", "bake"), cwd=repo)
    found = report()
    assert (found["hooks"]["pre-commit"], found["how"]["pre-commit"]) == ("installed", "own")
    assert {step: found[step] for step in STEPS} == {"guard": True, "strip": False, "bake": True, "check": False}
    assert "guard: on\nstrip: off\nbake: on\ncheck: off\n" in ours.run("status", cwd=repo).stdout
    path = hooks(repo) / "pre-commit"
    path.write_text(path.read_text().replace("-ne 1", "-ne 2"))
    assert report()["hooks"]["pre-commit"] == "outdated"
    ours.run("install", cwd=repo)
    assert report()["hooks"]["pre-commit"] == "installed"
    ours.run("uninstall", cwd=repo)
    put(path, CHAINED["python"])
    assert "installed after the hook that was there" in ours.run("install", "--check", cwd=repo).stdout
    assert "pre-commit: installed (after the hook that was there)" in ours.run("status", cwd=repo).stdout


def test_for_every_repository_to_come_too(ours, home, tmp_path):
    before = (home / ".gitconfig").read_bytes()
    ours.run("install", "--global", *flags("guard", "bake"), cwd=home)
    new = make_repo(tmp_path / "new")
    commit(new)
    assert heard(ours) == [STEPS["guard"], STEPS["bake"]]
    assert json.loads(ours.run("status", "--json", cwd=new).stdout)["global"]["hooks"]["pre-commit"] == "installed"
    ours.run("uninstall", "--global", cwd=new)
    assert (home / ".gitconfig").read_bytes() == before
    assert not (home / ".local" / "share" / "rye" / "git-template").exists()
    assert not (hooks(new) / "pre-commit").exists()


def test_husky_goes_first_and_its_user_is_told(ours, repo, tmp_path):
    folder = repo / ".husky" / "_"
    put(folder / "pre-commit", HUSKY_STUB)
    put(folder / "h", HUSKY_H, 0o644)
    put(repo / ".husky" / "pre-commit", 'echo theirs >> "$SAID"\n[ ! -e stop ]\n', 0o644)
    git(repo, "config", "core.hooksPath", ".husky/_")
    before = look(folder)
    told = ours.run("install", "--bake", cwd=repo).stderr
    assert "`rye-telemetry bake --staged --hook` at the end of .husky/pre-commit" in told
    commit(repo, SAID=str(tmp_path / "said"))
    assert (tmp_path / "said").read_text() == "theirs\n"
    assert heard(ours) == [STEPS["bake"]]
    (repo / "stop").touch()
    assert "pre-commit script failed" in commit(repo, code=1, SAID=str(tmp_path / "said")).stderr
    assert heard(ours) == []
    ours.run("uninstall", cwd=repo)
    assert look(folder) == before


def test_lefthook_goes_first_and_what_it_moved_is_put_back_in(ours, repo, tmp_path):
    lefthook = put(tmp_path / "lefthook", '#!/bin/sh\nprintf "%s|" "$@" >> "$SAID"\n')
    ours.run("install", "--bake", cwd=repo)
    (hooks(repo) / "pre-commit").rename(hooks(repo) / "pre-commit.old")  # as `lefthook install` does it
    put(hooks(repo) / "pre-commit", LEFTHOOK % "pre-commit")
    assert json.loads(ours.run("status", "--json", cwd=repo).stdout)["bake"] is False
    told = ours.run("install", cwd=repo).stderr  # it remembers
    assert "a last job of pre-commit" in told
    commit(repo, SAID=str(tmp_path / "said"), LEFTHOOK_BIN=str(lefthook))
    assert (tmp_path / "said").read_text() == "run|pre-commit|"
    assert heard(ours) == [STEPS["bake"]]
    ours.run("uninstall", cwd=repo)
    assert (hooks(repo) / "pre-commit").read_text() == LEFTHOOK % "pre-commit"


LOCAL = """repos:
- repo: local
  hooks:
  - {id: says, name: says, language: system, always_run: true, entry: sh -c 'echo framework >> "$SAID"; test ! -e stop'}
"""


@pytest.mark.parametrize("first", ["pre-commit", "ours"])
def test_the_real_pre_commit_and_ours_go_on_in_any_order(ours, repo, tmp_path, first):
    program = Path(sys.executable).with_name("pre-commit")
    if not program.exists():
        pytest.skip("pre-commit is not installed")
    env = {"PRE_COMMIT_HOME": str(tmp_path / "home of pre-commit")}
    (repo / ".pre-commit-config.yaml").write_text(LOCAL)
    git(repo, "add", ".")
    alone = look(hooks(repo))
    said = tmp_path / "said"
    if first == "ours":
        ours.run("install", *flags("guard", "bake"), cwd=repo)
    subprocess.run([program, "install"], cwd=repo, check=True, capture_output=True, env={**os.environ, **env})
    if first == "ours":  # moved, it still runs, before theirs
        commit(repo, SAID=str(said), **env)
        assert heard(ours) == [STEPS["guard"], STEPS["bake"]]
        ours.run("install", cwd=repo)
    else:
        ours.run("install", *flags("guard", "bake"), cwd=repo)
    said.unlink(missing_ok=True)
    ours.command.write_text('#!/bin/sh\necho "$1" >> "$SAID"\n')
    commit(repo, SAID=str(said), **env)
    assert said.read_text() == "framework\nguard\nbake\n"
    (repo / "stop").touch()
    commit(repo, code=1, SAID=str(said), **env)
    assert said.read_text() == "framework\nguard\nbake\nframework\n"
    ours.run("uninstall", cwd=repo)
    subprocess.run([program, "uninstall"], cwd=repo, check=True, capture_output=True, env={**os.environ, **env})
    assert look(hooks(repo)) == alone


def test_a_store_is_not_committed_with_the_real_command(cli, repo):
    cli("hooks", "install", "--guard", cwd=repo)
    (repo / "telemetry.yaml").write_text(TOTALS)
    (repo / "f").write_text("x")
    git(repo, "add", ".")
    told = commit(repo, code=1).stderr
    assert "telemetry.yaml is the published totals of a telemetry store" in told
    git(repo, "rm", "-q", "--cached", "telemetry.yaml")
    commit(repo)
    assert git(repo, "show", "--name-only", "--format=").stdout == "f\n"


@pytest.fixture
def baking(cli, repo, enabled):
    """A repository with a recorded item, and the hook that bakes."""
    if subprocess.run([SCRIPT, "bake", "--help"], capture_output=True, check=False).returncode != 0:
        pytest.skip("there is no `bake` yet")
    tool = put(repo / ".ai" / "tools" / "my_tool.py", "def main():\n    return 1\n", 0o644)
    cli("run-with", "tool", "my_tool", "--project-path", ".", cwd=repo)
    return tool


@pytest.mark.parametrize("how", ["plain", "all", "only", "worktree"])
def test_the_first_try_bakes_and_the_second_passes_with_the_real_command(cli, repo, baking, tmp_path, how):
    git(repo, "add", ".")
    commit(repo)
    cli("hooks", "install", *flags("bake", "guard"), cwd=repo)
    work = repo
    if how == "worktree":
        work = tmp_path / "work"
        git(repo, "worktree", "add", "-q", str(work))
    item = work / ".ai" / "tools" / "my_tool.py"
    item.write_text("# new\n" + item.read_text())
    before = item.read_text()
    (work / "other").write_text("staged")
    git(work, "add", "other", *([str(item)] if how in ("plain", "worktree") else []))
    args = {"all": ["-a"], "only": ["--", str(item)]}.get(how, [])
    assert "my_tool.py" in commit(work, *args, code=1).stderr
    commit(work, *args)
    kept = git(work, "show", "HEAD:.ai/tools/my_tool.py").stdout
    assert kept == item.read_text()
    assert kept.startswith(before)
    assert "total_runs: 1" in kept
    assert git(work, "status", "--porcelain").stdout == ("A  other\n" if how == "only" else "")


def test_strip_and_check_refuse_with_the_real_command(cli, repo, baking):
    before = baking.read_text()
    cli("hooks", "install", "--check", cwd=repo)
    git(repo, "add", ".")
    commit(repo, code=1)
    cli("bake", baking, cwd=repo)
    git(repo, "add", ".")
    commit(repo)
    cli("hooks", "install", "--strip", cwd=repo)
    baking.write_text("# new\n" + baking.read_text())
    git(repo, "add", ".")
    commit(repo, code=1)
    commit(repo)
    assert git(repo, "show", "HEAD:.ai/tools/my_tool.py").stdout == "# new\n" + before
