"""`hooks install` beside every kind of hook, and `hooks uninstall` to the byte, in real repositories."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from rye_telemetry.cli.app import run_command_line

NAMES = ["post-commit", "post-rewrite", "prepare-commit-msg"]
HOOKS = Path(__file__).parents[1] / "hooks"
KILL_AT = """
import os, sys
left = int(sys.argv.pop(1))
def count(event, args):
    global left
    if event in ("os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir"):
        left -= 1
        if left == 0:
            os._exit(99)
from rye_telemetry.entry import main
import rye_telemetry.gitlink.install
sys.addaudithook(count)
sys.exit(main())
"""


@pytest.fixture(autouse=True)
def identity(home):
    (home / ".gitconfig").write_text("[user]\n\tname = A\n\temail = a@example.org\n[init]\n\tdefaultBranch = main\n")


@pytest.fixture
def cli(cli, capfd, monkeypatch):
    """The command line in this process, where nothing of the process matters: a start takes 0.2 s."""
    other_process = cli

    def run(*args, code=0, cwd=None, **more):
        if more:
            return other_process(*args, code=code, cwd=cwd, **more)
        with monkeypatch.context() as there:
            there.chdir(cwd or ".")
            capfd.readouterr()
            ended = run_command_line([os.fspath(arg) for arg in args])
            out, err = capfd.readouterr()
        assert ended == code, f"exit {ended}\n{out}\n{err}"
        return subprocess.CompletedProcess(args, ended, out, err)

    return run


@pytest.fixture
def repo(tmp_path):
    return make_repo(tmp_path / "repo")


@pytest.fixture
def ours(tmp_path):
    """An installation whose command, once it has installed, is replaced by one that writes down what it is called with."""
    return Installation(tmp_path / "its place")


class Installation:
    def __init__(self, place):
        self.bin = place / "bin"
        self.bin.mkdir(parents=True)
        self.heard = place / "heard"
        self.command = self.bin / "rye-telemetry"
        (self.bin / "python").symlink_to(sys.executable)
        self.env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def run(self, *args, cwd):
        self.command.write_text(
            f"#!{sys.executable}\n"
        )  # what is looked for beside the interpreter, and can be started
        self.command.chmod(0o755)
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as there, redirect_stdout(out), redirect_stderr(err):
            there.setattr(sys, "executable", str(self.bin / "python"))  # who installs is what the hooks will call
            there.chdir(cwd)
            code = run_command_line(["hooks", *args])
        done = subprocess.CompletedProcess(args, code, out.getvalue(), err.getvalue())
        assert done.returncode == 0, done.stderr
        self.record()
        return done

    def record(self, *, then="exit 3"):
        heard = shlex.quote(str(self.heard))
        text = f"#!/bin/sh\n{{ printf '%s\\n' \"$*\"; cat; printf '%s\\n' =; }} >> {heard}\necho noise\n{then}\n"
        self.command.write_bytes(os.fsencode(text))
        self.command.chmod(0o755)

    def calls(self):
        """Return what the command was called with since the last look: pairs of its arguments and its input's lines."""
        if not self.heard.exists():
            return []
        text = os.fsdecode(self.heard.read_bytes())
        self.heard.unlink()
        parts = [part.splitlines() for part in text.split("\n=\n")[:-1]]
        return [(first, [line for line in rest if line]) for first, *rest in parts]


def make_repo(path, *options):
    subprocess.run(["git", "init", "-q", *options, str(path)], check=True)
    return path


def git(repo, *args, code=0, **env):
    done = subprocess.run(
        ["git", *args], cwd=repo, capture_output=True, text=True, env={**os.environ, **env}, check=False
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def commit(repo, message="one", *, code=0, run="r-1", **env):
    return git(
        repo, "commit", "-q", "--allow-empty", "-m", message, code=code, **({"RYE_RUN_ID": run} if run else {}), **env
    )


def put(path, text, mode=0o755):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def look(folder):
    """Return everything in a folder: kind, mode and content of each path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        kept = path.lstat()
        if path.is_symlink():
            found[str(path.relative_to(folder))] = ("link", os.readlink(path))
        elif path.is_dir():
            found[str(path.relative_to(folder))] = ("folder", stat.S_IMODE(kept.st_mode))
        else:
            found[str(path.relative_to(folder))] = ("file", stat.S_IMODE(kept.st_mode), path.read_bytes())
    return found


def hooks(repo):
    return repo / ".git" / "hooks"


# What a hook of a user's says: its name, its arguments, its input, into a file; and how it ends.
SAYS = '{ printf "%s|" "${0##*/}" "$#" "$@"; cat; echo .; } >> "$SAID"; exit 7\n'
PYTHON_SAYS = (
    "import os, sys\n"
    "with open(os.environ['SAID'], 'ab') as f:\n"
    "    told = [os.path.basename(sys.argv[0]), str(len(sys.argv) - 1), *sys.argv[1:]]\n"
    "    f.write('|'.join([*told, '']).encode() + sys.stdin.buffer.read() + b'.\\n')\n"
    "sys.exit(7)\n"
)
INSERTED = {
    "sh": "#!/bin/sh\n" + SAYS,
    "strict sh": "#!/bin/sh -eu\n" + SAYS,
    "bash by env": "#!/usr/bin/env bash\nset -euo pipefail\n" + SAYS,
    "bash by env -S": "#!/usr/bin/env -S bash -euo pipefail\n" + SAYS,
    "space after #!": "#! /bin/bash\n" + SAYS,
    "no shebang": SAYS,
    "no final newline": "#!/bin/sh\n" + SAYS.rstrip("\n"),
    "exec at once": f'#!/bin/sh\nexec {sys.executable} -c "{PYTHON_SAYS.replace(chr(34), "")}" "$@"\n',
}
CHAINED = {
    "python": f"#!{sys.executable}\n{PYTHON_SAYS}",
    "restricted bash": "#!/bin/bash -r\n" + SAYS.replace(">>", "|").replace('"$SAID"', 'tee -a "$SAID"'),
    "python behind sh": f"#!/bin/sh\n'''exec' {sys.executable} \"$0\" \"$@\"\n'''\n{PYTHON_SAYS}",
    "sh that cuts itself": '#!/bin/sh\ntail -n +3 "$0" | grep -q first || exit 1\n# first\n' + SAYS,
}
THEIRS = {**INSERTED, **CHAINED}
MAPS = {
    "empty": b"",
    "one": b"a b\n",
    "many": b"".join(b"%040x %040x extra\n" % (n, n + 1) for n in range(500)),
    "no final newline": b"a b\nc d",
    "blank lines at the end": b"a b\n\n\n",
    "no text": b"\xff\xfe $(touch x) `x` \\n \"q\" 's'\n.\nmap\n",
}


def run_hook(path, *args, map_=b"", said=None, cwd=None, **env):
    env = {**os.environ, "RYE_RUN_ID": "r-1", **env, **({"SAID": str(said)} if said else {})}
    shown = os.path.join(os.path.relpath(path.parent, cwd), path.name)  # as git names it
    start = [shown] if path.read_bytes().startswith(b"#!") else ["/bin/sh", shown]
    return subprocess.run([*start, *args], input=map_, capture_output=True, env=env, cwd=cwd, check=False)


@pytest.mark.parametrize("kind", THEIRS)
@pytest.mark.parametrize("name", NAMES)
def test_a_hook_that_was_there_hears_and_ends_as_without_us(ours, repo, tmp_path, name, kind):
    path = put(hooks(repo) / name, THEIRS[kind], 0o751)
    before = look(repo / ".git")
    args = {"post-commit": [], "post-rewrite": ["rebase"], "prepare-commit-msg": ["a file", "message"]}[name]
    ways = []
    for given in MAPS.values() if name == "post-rewrite" else [b""]:
        for installed in (False, True):
            if installed:
                ours.run("install", "--trailers", cwd=repo)
            said = tmp_path / "said"
            done = run_hook(path, *args, map_=given, said=said, cwd=repo)
            ways.append((done.returncode, done.stdout, done.stderr, said.read_bytes()))
            said.unlink()
            ours.run("uninstall", cwd=repo)
            calls = ours.calls()
            if not installed:
                assert calls == []
            elif name != "prepare-commit-msg" or kind in INSERTED:  # what theirs refuses, ours leaves alone
                assert [call for call, _ in calls] == [" ".join(["hook", name, *args])]
        assert ways[-1] == ways[-2]
        assert ways[-1][0] == 7
    assert look(repo / ".git") == before


@pytest.mark.parametrize("given", MAPS)
@pytest.mark.parametrize("kind", ["sh", "python"])
def test_both_read_the_rewrite_map(ours, repo, tmp_path, kind, given):
    path = put(hooks(repo) / "post-rewrite", THEIRS[kind])
    ours.run("install", cwd=repo)
    said = tmp_path / "said"
    run_hook(path, "rebase", map_=MAPS[given], said=said, cwd=repo)
    assert said.read_bytes() == b"post-rewrite|1|rebase|" + MAPS[given] + b".\n"
    lines = os.fsdecode(MAPS[given]).rstrip("\n").split("\n") if MAPS[given] else []
    assert ours.calls() == [("hook post-rewrite rebase", lines)]
    assert not (repo / "x").exists()


def test_a_commit_an_amend_and_a_rebase_reach_both(ours, repo, tmp_path):
    put(hooks(repo) / "post-commit", THEIRS["sh"])
    put(hooks(repo) / "post-rewrite", THEIRS["python"])
    ours.run("install", cwd=repo)
    said = tmp_path / "said"
    for message in ("one", "two", "three"):
        (repo / message).write_text(message)
        git(repo, "add", ".")
        commit(repo, message, SAID=str(said))
    assert ours.calls() == [("hook post-commit", [])] * 3
    old = git(repo, "rev-parse", "HEAD").stdout.strip()
    git(repo, "commit", "-q", "--amend", "-m", "four", SAID=str(said))
    new = git(repo, "rev-parse", "HEAD").stdout.strip()
    assert ours.calls() == [("hook post-rewrite amend", [f"{old} {new}"])]
    before = git(repo, "rev-list", "--reverse", "HEAD~2..HEAD").stdout.split()
    git(repo, "rebase", "-q", "--force-rebase", "--root", SAID=str(said), GIT_COMMITTER_DATE="2000-01-01T00:00:00Z")
    after = git(repo, "rev-list", "--reverse", "HEAD~2..HEAD").stdout.split()
    [(call, lines)] = [call for call in ours.calls() if "rewrite" in call[0]]
    assert call == "hook post-rewrite rebase"
    assert lines[-2:] == [f"{old} {new}" for old, new in zip(before, after, strict=True)]
    told = said.read_text()
    assert told.startswith("post-commit|0|.\n" * 3)
    assert f"post-rewrite|1|amend|{old} {new}\n." in told
    assert f"post-rewrite|1|rebase|{chr(10).join(lines)}\n." in told


def test_a_commit_outside_a_run_starts_nothing(ours, repo):
    ours.run("install", "--trailers", cwd=repo)
    for path in ("post-commit", "prepare-commit-msg"):
        done = subprocess.run(
            ["/bin/sh", "-c", '. "$0"', str(hooks(repo) / path)],
            env={"PATH": "/nowhere"},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    commit(repo, run=None)
    commit(repo, run="")
    assert ours.calls() == []


def test_a_strict_script_bears_that_there_is_no_run(ours, repo, tmp_path):
    put(hooks(repo) / "post-commit", THEIRS["strict sh"])
    ours.run("install", cwd=repo)
    done = commit(repo, run=None, SAID=str(tmp_path / "said"))
    assert (tmp_path / "said").read_text() == "post-commit|0|.\n"
    assert done.stderr == ""


def test_an_empty_map_needs_no_file_to_pass_through(tmp_path):
    for program in ("sh", "cat"):
        (tmp_path / program).symlink_to(shutil.which(program))
    done = subprocess.run(
        [HOOKS / "post-rewrite"], input=b"", env={"PATH": str(tmp_path)}, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "text",
    ["", "\n", "#!/bin/sh", "#!/bin/sh\n", "#!/bin/sh\n\n", "#!/bin/sh\r\nexit\r\n", "echo\r\n", "\ufeff#!/bin/sh\n"],
)
def test_the_shortest_hooks_come_back_too(ours, repo, text):
    path = put(hooks(repo) / "post-commit", text)
    before = look(repo / ".git")
    ours.run("install", cwd=repo)
    commit(repo)
    assert ours.calls() == [("hook post-commit", [])]
    ours.run("uninstall", cwd=repo)
    assert path.read_bytes() == text.encode()
    assert look(hooks(repo)) == {name[6:]: was for name, was in before.items() if name.startswith("hooks/")}


def test_a_hook_with_two_names_keeps_both(cli, repo):
    path = put(hooks(repo) / "post-commit", THEIRS["sh"])
    os.link(path, repo / "second name")
    cli("hooks", "install", cwd=repo)
    assert (repo / "second name").read_text() == THEIRS["sh"]
    cli("hooks", "uninstall", cwd=repo)
    assert path.samefile(repo / "second name")


def test_a_kept_hook_whose_place_its_user_cleared_stays_away(cli, repo):
    path = put(hooks(repo) / "post-commit", THEIRS["python"])
    cli("hooks", "install", cwd=repo)
    path.unlink()
    cli("hooks", "install", cwd=repo)
    cli("hooks", "uninstall", cwd=repo)
    assert not path.exists()
    assert (hooks(repo) / "rye-telemetry" / "post-commit").read_text() == THEIRS["python"]


@pytest.mark.parametrize("then", ["exit 3", "kill -9 $$", "gone", "gone from PATH too"])
def test_a_commit_never_fails_by_us(ours, repo, tmp_path, then):
    put(hooks(repo) / "prepare-commit-msg", "#!/bin/sh -e\nexit 0\n")
    ours.run("install", "--trailers", cwd=repo)
    ours.record(then="exit 3" if "gone" in then else then)
    bare = tmp_path / "path"
    bare.mkdir()
    for program in ("git", "sh", "cat"):
        (bare / program).symlink_to(shutil.which(program))
    path = str(bare)
    if then.startswith("gone"):
        moved = ours.command.rename(tmp_path / "rye-telemetry")
        path += f":{moved.parent}" if then == "gone" else ""
    done = commit(repo, PATH=path)
    git(repo, "commit", "-q", "--amend", "--allow-empty", "-m", "two", PATH=path)
    assert done.stdout == ""
    assert done.stderr.count("\n") <= (2 if "kill" in then else 0)  # a shell says who was killed
    heard = [call.split(" .git/")[0] for call, _ in ours.calls()]
    expected = ["hook prepare-commit-msg", "hook post-commit", "hook post-rewrite amend"]
    assert heard == ([] if then == "gone from PATH too" else expected)


@pytest.mark.parametrize("kind", ["sh", "python"])
def test_a_refused_commit_stays_refused(ours, repo, kind, tmp_path):
    put(hooks(repo) / "prepare-commit-msg", THEIRS[kind])
    ours.run("install", "--trailers", cwd=repo)
    commit(repo, code=1, SAID=str(tmp_path / "said"))


def test_a_hook_that_writes_the_message_anew_goes_before_ours_when_it_is_chained(ours, repo):
    put(hooks(repo) / "prepare-commit-msg", f"#!{sys.executable}\nimport sys\nopen(sys.argv[1], 'w').write('anew')\n")
    ours.run("install", "--trailers", cwd=repo)
    ours.command.write_text('#!/bin/sh\n[ "$2" != prepare-commit-msg ] || echo " by us" >> "$3"\n')
    commit(repo, "old")
    assert git(repo, "log", "-1", "--format=%B").stdout.strip() == "anew by us"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", ["relative", "absolute", "gone", "dots"])
def test_a_link_stays_usable_and_comes_back_to_the_letter(ours, repo, tmp_path, name, target):
    script = put(repo / "scripts" / name, f"#!{sys.executable}\n{PYTHON_SAYS}")
    text = {
        "relative": f"../../scripts/{name}", "absolute": str(script), "gone": "../nowhere", "dots": f".././../scripts//{name}",
    }[target]  # fmt: skip
    (hooks(repo) / name).symlink_to(text)
    before = look(repo)
    ours.run("install", "--trailers", cwd=repo)
    said = tmp_path / "said"
    done = run_hook(hooks(repo) / name, "x", said=said, cwd=repo)
    if target == "gone":
        assert (done.returncode, said.exists()) == (0, False)
    else:
        assert (done.returncode, said.read_text()) == (7, f"{name}|1|x|.\n")
    once = look(repo)
    ours.run("install", "--trailers", cwd=repo)
    assert look(repo) == once
    ours.run("uninstall", cwd=repo)
    assert look(repo) == before


@pytest.mark.parametrize("kind", ["sh", "python"])
def test_a_hook_that_is_switched_off_stays_off(ours, repo, tmp_path, kind):
    put(hooks(repo) / "post-commit", THEIRS[kind], 0o640)
    before = look(repo)
    ours.run("install", cwd=repo)
    commit(repo, SAID=str(tmp_path / "said"))
    assert not (tmp_path / "said").exists()
    assert ours.calls() == [("hook post-commit", [])]
    ours.run("uninstall", cwd=repo)
    assert look(hooks(repo)) == {
        path[len(".git/hooks/") :]: kept for path, kept in before.items() if path.startswith(".git/hooks/")
    }


@pytest.mark.parametrize("kind", ["none", "sh", "python", "off", "linked twice"])
def test_install_twice_is_once(cli, repo, kind):
    if kind != "none":
        path = put(hooks(repo) / "post-commit", THEIRS.get(kind, THEIRS["sh"]), 0o644 if kind == "off" else 0o755)
        if kind == "linked twice":
            os.link(path, repo / "second name")
    cli("hooks", "install", "--trailers", "--notes", cwd=repo)
    once = look(repo)
    done = cli("hooks", "install", cwd=repo)  # what was switched on stays on
    assert look(repo) == once
    assert done.stdout.count("as it was") == 3


def test_other_flags_change_our_part_only(cli, repo):
    path = put(hooks(repo) / "post-commit", "#!/bin/sh\necho theirs\n")
    cli("hooks", "install", cwd=repo)
    path.write_text(path.read_text() + "echo more\n")
    was = path.read_text()
    cli("hooks", "install", "--notes", cwd=repo)
    assert path.read_text() == was.replace("set -- hook post-commit\n", "set -- hook post-commit --notes\n")
    cli("hooks", "uninstall", cwd=repo)
    assert path.read_text() == "#!/bin/sh\necho theirs\necho more\n"


def test_an_edited_file_of_ours_keeps_the_edits(cli, repo):
    cli("hooks", "install", cwd=repo)
    path = hooks(repo) / "post-commit"
    path.write_text(path.read_text() + "echo mine\n")
    cli("hooks", "install", "--notes", cwd=repo)
    cli("hooks", "uninstall", cwd=repo)
    assert path.read_text() == "#!/bin/sh\necho mine\n"
    assert not (hooks(repo) / "post-rewrite").exists()


def test_an_edited_chain_still_runs_what_it_keeps(cli, repo, tmp_path):
    put(hooks(repo) / "post-commit", THEIRS["python"])
    cli("hooks", "install", cwd=repo)
    path = hooks(repo) / "post-commit"
    path.write_text(path.read_text().replace("#!/bin/sh\n", '#!/bin/sh\necho mine >> "$SAID"\n'))
    assert "edited since" in cli("hooks", "uninstall", cwd=repo).stdout
    commit(repo, SAID=str(tmp_path / "said"))
    assert (tmp_path / "said").read_text() == "mine\npost-commit|0|.\n"


def test_an_edit_of_a_kept_hook_comes_back_with_it(cli, repo):
    path = put(hooks(repo) / "post-commit", THEIRS["python"])
    cli("hooks", "install", cwd=repo)
    put(hooks(repo) / "rye-telemetry" / "post-commit", "#!/usr/bin/python3\nprint(1)\n", 0o700)
    cli("hooks", "uninstall", cwd=repo)
    assert path.read_text() == "#!/usr/bin/python3\nprint(1)\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["none", "sh"])
def test_what_was_switched_off_since_is_theirs_to_keep_off_and_ours_to_switch_on(ours, repo, tmp_path, kind):
    path = hooks(repo) / "post-commit"
    if kind != "none":
        put(path, THEIRS[kind])
    ours.run("install", cwd=repo)
    path.chmod(0o644)
    commit(repo)
    assert ours.calls() == []
    ours.run("install", cwd=repo)
    commit(repo, SAID=str(tmp_path / "said"))
    assert ours.calls() == [("hook post-commit", [])]
    assert not (tmp_path / "said").exists()
    ours.run("uninstall", cwd=repo)
    if kind != "none":
        assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (THEIRS[kind], 0o644)


def test_a_hook_that_replaced_ours_is_not_touched(cli, repo):
    put(hooks(repo) / "post-commit", THEIRS["python"])
    cli("hooks", "install", cwd=repo)
    put(hooks(repo) / "post-commit", "#!/usr/bin/python3\n")
    cli("hooks", "uninstall", cwd=repo)
    assert (hooks(repo) / "post-commit").read_text() == "#!/usr/bin/python3\n"
    assert (hooks(repo) / "rye-telemetry" / "post-commit").read_text() == THEIRS["python"]
    assert "earlier install" in cli("hooks", "install", cwd=repo, code=1).stderr


def test_lines_whose_end_mark_is_gone_are_left_alone(cli, repo):
    cli("hooks", "install", cwd=repo)
    path = hooks(repo) / "post-commit"
    path.write_text(path.read_text().replace("# <<< rye-telemetry post-commit <<<\n", "mine\n"))
    was = path.read_text()
    for command in ("install", "uninstall"):
        assert "by hand" in cli("hooks", command, cwd=repo, code=1).stderr
    assert path.read_text() == was


@pytest.mark.parametrize("there", ["no folder", "empty folder", "folder of samples"])
def test_the_hooks_folder_comes_back_as_it_was(cli, repo, there):
    if there != "folder of samples":
        shutil.rmtree(hooks(repo))
    if there == "empty folder":
        hooks(repo).mkdir()
    before = look(repo)
    cli("hooks", "install", "--trailers", cwd=repo)
    cli("hooks", "uninstall", cwd=repo)
    assert look(repo) == before


@pytest.mark.parametrize("kind", ["none", "sh", "python", "link"])
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_kill_between_two_steps_loses_no_hook(cli, repo, tmp_path, kind, command):
    path = hooks(repo) / "post-commit"
    if kind == "link":
        put(repo / "s" / "post-commit", THEIRS["python"])
        path.symlink_to("../../s/post-commit")
    elif kind != "none":
        put(path, THEIRS[kind])
    before = look(repo)
    cli("hooks", "install", cwd=repo)
    whole = look(repo)
    if command == "install":
        cli("hooks", "uninstall", cwd=repo)
    kills = 0
    while True:
        kills += 1
        done = subprocess.run(
            [sys.executable, "-c", KILL_AT, str(kills), "hooks", command], cwd=repo, capture_output=True, check=False
        )
        if done.returncode == 0:
            break
        assert done.returncode == 99, done.stderr
        if kind != "none":
            said = tmp_path / "said"
            assert run_hook(path, said=said, cwd=repo).returncode == 7
            assert said.read_text() == "post-commit|0|.\n"
            said.unlink()
        leavings = [name for name in look(repo) if name.endswith(".tmp")]
        for name in leavings:
            (repo / name).unlink()
        if command == "install":
            cli("hooks", "install", cwd=repo)
            assert look(repo) == whole
            cli("hooks", "uninstall", cwd=repo)
            assert look(repo) == before
        else:
            cli("hooks", "uninstall", cwd=repo)
            assert look(repo) == before
            cli("hooks", "install", cwd=repo)
    assert kills > 2


@pytest.mark.parametrize("how", ["absolute", "relative", "home", "with spaces and\nlines \udcff"])
def test_core_hooks_path_is_where_they_go(ours, repo, home, tmp_path, how):
    value = {"absolute": str(tmp_path / "h"), "relative": "my/hooks", "home": "~/h"}.get(how, str(tmp_path / how))
    folder = {"absolute": tmp_path / "h", "relative": repo / "my" / "hooks", "home": home / "h"}.get(
        how, tmp_path / how
    )
    git(repo, "config", "core.hooksPath", value)
    (repo / "deep").mkdir()
    done = ours.run("install", cwd=repo / "deep")
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == ["post-commit", "post-rewrite"]
    assert ("every repository that uses this folder" in done.stderr) == (how != "relative")
    commit(repo)
    assert ours.calls() == [("hook post-commit", [])]
    ours.run("uninstall", "--repo", str(repo / "deep"), cwd=home)
    assert not folder.exists()


def test_a_tracked_hooks_folder_is_told(cli, repo):
    put(repo / "my[hooks]" / "pre-commit", "#!/bin/sh\n")
    git(repo, "config", "core.hooksPath", "my[hooks]")
    put(repo / "myo", "")
    git(repo, "add", "myo")
    assert "git tracks" not in cli("hooks", "install", cwd=repo).stderr
    git(repo, "add", ".")
    assert "git tracks" in cli("hooks", "install", cwd=repo).stderr


@pytest.mark.parametrize("kind", ["worktree", "submodule", "bare", "worktree of a bare one", "inside .git"])
def test_every_kind_of_repository_has_its_hooks_folder(ours, repo, tmp_path, kind):
    commit(repo)
    work, folder = repo, hooks(repo)
    if kind == "worktree":
        work = tmp_path / "work"
        git(repo, "worktree", "add", "-q", str(work))
    elif kind == "submodule":
        outer = make_repo(tmp_path / "outer")
        git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repo), "sub")
        work, folder = outer / "sub", outer / ".git" / "modules" / "sub" / "hooks"
    elif "bare" in kind:
        git(tmp_path, "clone", "-q", "--bare", str(repo), "bare")
        work = bare = tmp_path / "bare"
        folder = bare / "hooks"
        if kind != "bare":
            work = tmp_path / "work"
            git(bare, "worktree", "add", "-q", str(work), "main")
    elif kind == "inside .git":
        work = repo / ".git" / "objects"
    before = look(folder)
    ours.run("install", cwd=work)
    assert {"post-commit", "post-rewrite"} == set(look(folder)) - set(before)
    if kind in ("worktree", "submodule", "worktree of a bare one"):
        commit(work)
        assert ours.calls() == [("hook post-commit", [])]
    ours.run("uninstall", cwd=work)
    assert look(folder) == before


def test_relative_hooks_in_several_worktrees_are_told(cli, repo, tmp_path):
    commit(repo)
    git(repo, "worktree", "add", "-q", str(tmp_path / "work"))
    git(repo, "config", "core.hooksPath", "h")
    assert "install in each" in cli("hooks", "install", cwd=tmp_path / "work").stderr
    assert (tmp_path / "work" / "h" / "post-commit").exists()


# The files that husky 9 and lefthook 2 write.
HUSKY_STUB = '#!/usr/bin/env sh\n. "$(dirname "$0")/h"'
HUSKY_H = """#!/usr/bin/env sh
n=$(basename "$0")
s=$(dirname "$(dirname "$0")")/$n
[ ! -f "$s" ] && exit 0
sh -e "$s" "$@"
c=$?
[ $c != 0 ] && echo "husky - $n script failed (code $c)"
exit $c
"""
LEFTHOOK = """#!/bin/sh

if [ "$LEFTHOOK" = "0" ]; then
  exit 0
fi

call_lefthook()
{
  "$LEFTHOOK_BIN" "$@"
}

call_lefthook run "%s" "$@"
"""


def test_husky_goes_on_and_its_user_is_told(ours, repo, tmp_path):
    folder = repo / ".husky" / "_"
    for name in NAMES:
        put(folder / name, HUSKY_STUB)
    put(folder / "h", HUSKY_H, 0o644)
    put(folder / ".gitignore", "*", 0o644)
    put(repo / ".husky" / "post-commit", SAYS, 0o644)
    put(repo / ".husky" / "post-rewrite", SAYS, 0o644)
    git(repo, "config", "core.hooksPath", ".husky/_")
    before = look(repo)
    told = ours.run("install", cwd=repo).stderr
    assert ".husky/NAME" in told
    assert "git tracks" not in told
    said = tmp_path / "said"
    assert "script failed (code 7)" in commit(repo, SAID=str(said)).stderr
    old = git(repo, "rev-parse", "HEAD").stdout.strip()
    git(repo, "commit", "-q", "--amend", "--allow-empty", "-m", "two", SAID=str(said))
    new = git(repo, "rev-parse", "HEAD").stdout.strip()
    assert said.read_text() == f"post-commit|0|.\npost-commit|0|.\npost-rewrite|1|amend|{old} {new}\n.\n"
    assert ours.calls() == [("hook post-commit", []), ("hook post-rewrite amend", [f"{old} {new}"])]
    assert json.loads(ours.run("status", "--json", cwd=repo).stdout)["managers"] == ["husky"]
    ours.run("uninstall", cwd=repo)
    kept = {path: was for path, was in before.items() if path.startswith(".husky")}
    assert {path: now for path, now in look(repo).items() if path.startswith(".husky")} == kept


def test_lefthook_goes_on_and_what_it_moved_is_taken_out(ours, repo, tmp_path):
    lefthook = put(tmp_path / "lefthook", '#!/bin/sh\nprintf "%s|" "$@" >> "$SAID"\ncat >> "$SAID"\nexit 7\n')
    ours.run("install", cwd=repo)
    for name in ("post-commit", "post-rewrite"):  # as `lefthook install` does it
        (hooks(repo) / name).rename(hooks(repo) / f"{name}.old")
        put(hooks(repo) / name, LEFTHOOK % name)
    before = look(hooks(repo))
    told = ours.run("install", cwd=repo).stderr
    assert "lefthook" in told
    assert not (hooks(repo) / "post-commit.old").exists()
    said = tmp_path / "said"
    commit(repo, SAID=str(said), LEFTHOOK_BIN=str(lefthook))
    git(repo, "commit", "-q", "--amend", "--allow-empty", "-m", "two", SAID=str(said), LEFTHOOK_BIN=str(lefthook))
    assert "run|post-rewrite|amend|" in said.read_text()
    assert [call for call, _ in ours.calls()] == ["hook post-commit", "hook post-rewrite amend"]
    ours.run("uninstall", cwd=repo)
    assert look(hooks(repo)) == {path: was for path, was in before.items() if not path.endswith(".old")}


@pytest.fixture
def pre_commit(tmp_path):
    program = Path(sys.executable).with_name("pre-commit")
    if not program.exists():
        pytest.skip("pre-commit is not installed")

    def run(repo, *args):
        env = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "pre-commit")}
        done = subprocess.run([str(program), *args], cwd=repo, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


PRE_COMMIT = """repos:
- repo: local
  hooks:
  - id: says
    name: says
    language: system
    entry: sh -c 'echo pre-commit >> "$SAID"'
    always_run: true
    stages: [post-commit, post-rewrite, prepare-commit-msg]
"""
TYPES = ["-t", "post-commit", "-t", "post-rewrite", "-t", "prepare-commit-msg"]


@pytest.mark.parametrize("theirs", ["none", "sh", "python"])
@pytest.mark.parametrize("first", ["pre-commit", "ours"])
def test_the_real_pre_commit_and_ours_go_on_in_any_order(ours, repo, tmp_path, pre_commit, first, theirs):
    (repo / ".pre-commit-config.yaml").write_text(PRE_COMMIT)
    git(repo, "add", ".")
    if theirs != "none":
        put(hooks(repo) / "post-commit", THEIRS[theirs].replace("exit 7", "exit 0").replace("exit(7)", "exit(0)"))
    alone = look(hooks(repo))
    if first == "ours":
        ours.run("install", "--trailers", cwd=repo)
    pre_commit(repo, "install", *TYPES)
    if first == "ours":
        report = json.loads(ours.run("status", "--json", cwd=repo).stdout)
        assert report["hooks"] == {
            "post-commit": "installed",
            "post-rewrite": "absent",
            "prepare-commit-msg": "installed",
            "pre-commit": "absent",
        }
        assert report["how"]["post-commit"] == "moved"
    said = tmp_path / "said"
    if first == "ours":
        commit(repo, SAID=str(said))  # moved away, they still run once
        assert [call.split(" .git/")[0] for call, _ in ours.calls()] == ["hook prepare-commit-msg", "hook post-commit"]
        said.unlink()
    told = ours.run("install", "--trailers", cwd=repo).stderr
    assert "pre-commit is in use" in told
    commit(repo, SAID=str(said))
    git(repo, "commit", "-q", "--amend", "--allow-empty", "-m", "two", SAID=str(said), RYE_RUN_ID="r")
    heard = [call.split(" .git/")[0] for call, _ in ours.calls()]
    each = ["hook prepare-commit-msg", "hook post-commit"]
    assert heard == [*each, *each, "hook post-rewrite amend"]
    assert said.read_text().count("pre-commit\n") == 5
    assert said.read_text().count("post-commit|") + said.read_text().count("post-commit.legacy|") == (
        0 if theirs == "none" else 2
    )
    assert json.loads(ours.run("status", "--json", cwd=repo).stdout)["managers"] == ["pre-commit"]
    ours.run("uninstall", cwd=repo)
    pre_commit(repo, "uninstall", *TYPES)
    assert look(hooks(repo)) == alone


def test_what_pre_commit_moved_is_taken_out_there(cli, repo, pre_commit):
    (repo / ".pre-commit-config.yaml").write_text(PRE_COMMIT)
    put(hooks(repo) / "post-commit", THEIRS["python"])
    cli("hooks", "install", cwd=repo)
    pre_commit(repo, "install", *TYPES)
    cli("hooks", "uninstall", cwd=repo)
    assert (hooks(repo) / "post-commit.legacy").read_text() == THEIRS["python"]
    assert not (hooks(repo) / "post-rewrite.legacy").exists()
    assert not (hooks(repo) / "rye-telemetry").exists()


def test_notes_are_carried_along_and_forgotten_again(cli, repo):
    config = repo / ".git" / "config"
    before = config.read_bytes()
    cli("hooks", "install", "--notes", cwd=repo)
    cli("hooks", "install", "--notes", cwd=repo)
    assert git(repo, "config", "--get-all", "notes.rewriteRef").stdout == "refs/notes/rye-telemetr[y]\n"
    assert git(repo, "config", "--get-all", "notes.rewriteMode").stdout == "cat_sort_uniq\n"
    assert "hook post-commit --notes" in (hooks(repo) / "post-commit").read_text()
    cli("hooks", "uninstall", cwd=repo)
    assert config.read_bytes() == before


@pytest.mark.parametrize(
    ("set_", "added"),
    [
        ("[notes]\n\trewriteRef = refs/notes/mine\n", ["notes.rewriteref=refs/notes/rye-telemetr[y]"]),
        ("[notes]\n\trewriteMode = overwrite ; mine\n", ["notes.rewriteref=refs/notes/rye-telemetr[y]"]),
        ("[notes] rewriteRef = refs/notes/*\n", []),
        ("[notes]\n\trewriteRef = refs/notes/rye-telemetry\n", ["notes.rewritemode=cat_sort_uniq"]),
        ("[rye-telemetry]\n\tother = 1 # mine\n", ["notes.rewriteref=refs/notes/rye-telemetr[y]", "notes.rewritemode=cat_sort_uniq"]),
    ],
)  # fmt: skip
def test_settings_of_the_users_stay(cli, repo, set_, added):
    config = repo / ".git" / "config"
    config.write_text(config.read_text() + set_)
    before, listed = config.read_bytes(), git(repo, "config", "--local", "--list").stdout.splitlines()
    cli("hooks", "install", "--notes", cwd=repo)
    now = git(repo, "config", "--local", "--list").stdout.splitlines()
    assert sorted(line for line in now if line not in listed and not line.startswith("rye-telemetry.")) == sorted(added)
    cli("hooks", "uninstall", cwd=repo)
    assert config.read_bytes() == before


def test_a_template_of_ours_serves_new_repositories(ours, home, tmp_path):
    before = (home / ".gitconfig").read_bytes()
    done = ours.run("install", "--global", "--notes", cwd=home)
    assert "new repositories" in done.stderr
    new = make_repo(tmp_path / "new")
    commit(new)
    assert ours.calls() == [("hook post-commit --notes", [])]
    assert set(look(make_repo(tmp_path / "plain", "--template=") / ".git")) <= set(look(new / ".git"))
    for part in ("description", "info/exclude", "hooks/pre-commit.sample"):
        assert (new / ".git" / part).exists()
    assert not list((new / ".git").glob(".rye*"))
    assert not (home / ".local" / "share" / "rye" / "git-template" / "config").exists()
    assert git(new, "config", "--local", "--list").stdout.count("notes.") == 0
    assert git(new, "config", "notes.rewriteRef").stdout == "refs/notes/rye-telemetr[y]\n"
    twice = (home / ".gitconfig").read_bytes()
    ours.run("install", "--global", cwd=home)
    assert (home / ".gitconfig").read_bytes() == twice
    report = json.loads(ours.run("status", "--json", cwd=new).stdout)
    assert report["global"]["by"] == "init.templateDir"
    assert report["global"]["hooks"]["post-commit"] == "installed"
    ours.run("uninstall", "--global", cwd=new)
    assert (home / ".gitconfig").read_bytes() == before
    assert not (home / ".local" / "share" / "rye" / "git-template").exists()
    assert not (new / ".git" / "hooks" / "post-commit").exists()


def test_a_template_that_its_user_changed_is_kept(cli, home):
    cli("hooks", "install", "--global", cwd=home)
    template = home / ".local" / "share" / "rye" / "git-template"
    (template / "info" / "exclude").write_text("*.pyc\n")
    assert "not ours" in cli("hooks", "uninstall", "--global", cwd=home).stdout
    assert (template / "info" / "exclude").read_text() == "*.pyc\n"
    assert not (template / "hooks" / "post-commit").exists()
    assert git(home, "config", "--global", "init.templateDir").stdout.strip() == str(template)


def test_a_template_of_the_users_takes_the_hooks(cli, home, tmp_path):
    put(home / "template" / "hooks" / "post-commit", THEIRS["python"])
    git(home, "config", "--global", "init.templateDir", "~/template")
    before = look(home)
    cli("hooks", "install", "--global", cwd=home)
    new = make_repo(tmp_path / "new")
    commit(new, SAID=str(tmp_path / "said"))
    assert (tmp_path / "said").read_text() == "post-commit|0|.\n"
    cli("hooks", "uninstall", "--global", cwd=home)
    assert look(home) == before
    cli("hooks", "uninstall", cwd=new)
    assert (new / ".git" / "hooks" / "post-commit").read_text() == THEIRS["python"]


def test_a_global_hooks_folder_takes_the_hooks(ours, repo, home):
    put(home / "h" / "post-commit", "#!/bin/sh\nexit 0\n")
    git(home, "config", "--global", "core.hooksPath", "~/h")
    before = look(home)
    done = ours.run("install", "--global", cwd=repo)
    assert "every repository that uses this folder" in done.stderr
    commit(repo)
    assert ours.calls() == [("hook post-commit", [])]
    ours.run("uninstall", "--global", cwd=repo)
    assert look(home) == before


def test_a_relative_hooks_path_for_all_is_told(cli, home):
    git(home, "config", "--global", "core.hooksPath", "h")
    assert "install in each" in cli("hooks", "install", "--global", cwd=home, code=1).stderr
    assert sorted(os.listdir(home)) == [".gitconfig"]


def test_install_for_all_also_installs_here(ours, repo):
    ours.run("install", "--global", cwd=repo)
    commit(repo)
    assert ours.calls() == [("hook post-commit", [])]


@pytest.mark.parametrize("command", ["install", "uninstall", "status"])
def test_what_cannot_be_done_is_one_line(cli, home, tmp_path, command):
    (tmp_path / "plain").mkdir()
    broken = make_repo(tmp_path / "broken")
    (broken / ".git" / "HEAD").write_text("nonsense\n")
    spoilt = make_repo(tmp_path / "spoilt")
    (spoilt / ".git" / "config").write_text("[core\n")
    foreign = make_repo(tmp_path / "foreign")
    off = make_repo(tmp_path / "off")
    git(off, "config", "core.hooksPath", "/dev/null")
    for place, word, env in [
        (tmp_path / "plain", "in no git repository", {}),
        (tmp_path / "nowhere", "no directory", {}),
        (broken, "in no git repository", {}),
        (spoilt, "bad config", {}),
        (foreign, "dubious ownership", {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}),
        (foreign, "git is not on PATH", {"PATH": str(tmp_path)}),
        *([(off, "not a folder", {})] if command == "install" else []),
    ]:
        done = cli("hooks", command, "--repo", place, code=1, env={**os.environ, **env})
        assert done.stderr.count("\n") == 1, done.stderr
        assert word in done.stderr
        assert done.stdout == ""


@pytest.mark.skipif(not os.path.isdir("/proc/sys/kernel"), reason="no folder that even root cannot write in")
def test_a_folder_that_cannot_be_written_is_one_line(cli, repo):
    git(repo, "config", "core.hooksPath", "/proc/sys/kernel")
    done = cli("hooks", "install", cwd=repo, code=1)
    assert done.stderr.count("\n") == 1
    assert "permissions" in done.stderr


def test_settings_that_are_locked_are_one_line(cli, repo):
    (repo / ".git" / "config.lock").touch()
    done = cli("hooks", "install", "--notes", cwd=repo, code=1)
    assert "could not lock config file" in done.stderr
    assert done.stderr.count("\n") == 1


def test_inherited_git_variables_name_no_other_repository(cli, repo, tmp_path):
    other = make_repo(tmp_path / "other")
    cli("hooks", "install", cwd=repo, env={**os.environ, "GIT_DIR": str(other / ".git"), "GIT_WORK_TREE": str(other)})
    assert (hooks(repo) / "post-commit").exists()
    assert not (hooks(other) / "post-commit").exists()


@pytest.mark.parametrize("place", ["a b", "it's", "new\nline", '$(touch x)`x`"\\', "\udcff\udcfe"])
def test_the_command_is_called_whatever_its_path(repo, tmp_path, place):
    ours = Installation(tmp_path / place)
    ours.run("install", cwd=repo)
    commit(repo)
    assert ours.calls() == [("hook post-commit", [])]
    assert os.listdir(repo) == [".git"]
    assert json.loads(ours.run("status", "--json", cwd=repo).stdout)["hooks"]["post-commit"] == "installed"


def test_without_a_script_of_its_own_the_interpreter_is_called_and_reads_nothing_of_the_repository(
    ours, repo, tmp_path
):
    (repo / "rye_telemetry").mkdir()
    (repo / "rye_telemetry" / "__init__.py").write_text("raise SystemExit('theirs')")
    start = [
        str(ours.bin / "python"),
        "-c",
        "from rye_telemetry.entry import main; main()",
        "hooks",
        "install",
        "--repo",
        str(repo),
    ]
    subprocess.run(start, cwd=tmp_path, env=ours.env, check=True)
    line = next(text for text in (hooks(repo) / "post-commit").read_text().splitlines() if "[ -x" in text)
    assert shlex.split(line)[:6] == ["[", "-x", str(ours.bin / "python"), "]", "&&", "exec"]
    asked = line.replace('"$@"', "--version")
    done = subprocess.run(["/bin/sh", "-c", asked], cwd=repo, env=ours.env, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("rye-telemetry "), done.stderr


def test_status_tells_outdated_from_installed(ours, repo):
    def states():
        return json.loads(ours.run("status", "--json", cwd=repo).stdout)["hooks"]

    assert states() == dict.fromkeys([*NAMES, "pre-commit"], "absent")
    ours.run("install", "--notes", cwd=repo)
    none = {"prepare-commit-msg": "absent", "pre-commit": "absent"}
    assert states() == {"post-commit": "installed", "post-rewrite": "installed", **none}
    path = hooks(repo) / "post-commit"
    path.write_text(path.read_text().replace("</dev/null ", ""))
    (hooks(repo) / "post-rewrite").chmod(0o644)
    assert states() == {"post-commit": "outdated", "post-rewrite": "outdated", **none}
    ours.run("install", cwd=repo)
    assert states()["post-commit"] == "installed"
    (ours.bin / "rye-telemetry").unlink()
    shown = subprocess.run(
        [sys.executable, "-m", "rye_telemetry", "hooks", "status"],
        cwd=repo,
        env=ours.env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "post-commit: outdated (a file of ours)" in shown.stdout


def test_install_says_that_telemetry_is_off(cli, repo, enabled):
    assert cli("hooks", "install", cwd=repo).stderr == ""
    told = cli("hooks", "install", cwd=repo, env={**os.environ, "RYE_TELEMETRY": "0"}).stderr
    assert (
        told == "rye-telemetry: telemetry is off: hooks record nothing until `rye-telemetry configure --enabled true`\n"
    )


def test_uninstall_says_when_there_is_nothing(cli, repo):
    before = look(repo)
    assert cli("hooks", "uninstall", cwd=repo).stderr == "rye-telemetry: no hook of ours is there\n"
    assert look(repo) == before


def test_the_json_of_status_is_stable(cli, repo):
    assert list(json.loads(cli("hooks", "status", "--json", cwd=repo).stdout)) == [
        "hooks_dir", "hooks", "how", "trailers", "notes", "guard", "strip", "bake", "check", "managers", "global", "enabled", "merge_driver",
    ]  # fmt: skip


def test_every_shipped_hook_runs_by_itself(tmp_path):
    for name in NAMES:
        done = subprocess.run(
            [HOOKS / name],
            input=b"",
            env={"PATH": "/usr/bin:/bin", "RYE_RUN_ID": "r"},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_program_that_uses_files_beside_it_stays_where_it_is(cli, repo):
    path = put(hooks(repo) / "post-commit", "#!/usr/bin/env python3\nimport helper\n")
    (hooks(repo) / "helper.py").write_text("")
    before = look(hooks(repo))
    assert (
        'call `rye-telemetry hook post-commit "$@"` in it by hand' in cli("hooks", "install", cwd=repo, code=1).stderr
    )
    assert look(hooks(repo)) == before
    assert commit(repo).stderr == ""
    assert path.read_text().endswith("import helper\n")


def test_an_empty_hooks_path_is_told_and_nothing_is_written(cli, repo):
    git(repo, "config", "core.hooksPath", "")
    assert "core.hooksPath is empty" in cli("hooks", "install", cwd=repo, code=1).stderr
    assert git(repo, "status", "--porcelain").stdout == ""
