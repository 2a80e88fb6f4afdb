"""Baking what is staged, in real repositories: `bake --staged --hook`, the plain hook's command."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from repositories import commit_file, git, new_repo, said, write_git_config

from rye_telemetry.bake import read_bytes, strip_bytes
from rye_telemetry.cli.app import run_command_line
from rye_telemetry.store import TelemetryStore

TOOL = "def main():\n    return 1\n"
ITEM = ".ai/tools/x.py"


@pytest.fixture
def repo(tmp_path, enabled, monkeypatch):
    write_git_config(enabled)
    repo = new_repo(tmp_path / "repo", commits=1)
    monkeypatch.chdir(repo)
    return repo


@pytest.fixture
def bake(capfd):
    def run(*args, code=1):
        capfd.readouterr()
        seen = run_command_line(["bake", "--staged", "--hook", *args])
        out, err = capfd.readouterr()
        assert seen == code, f"exit {seen}\n{out}\n{err}"
        return out + err

    return run


def stage(repo, path=ITEM, text=TOOL, *, runs=1):
    """Stage an item that was run so often."""
    (repo / path).parent.mkdir(parents=True, exist_ok=True)
    (repo / path).write_bytes(text.encode() if isinstance(text, str) else text)
    git(repo, "add", "--", path)
    record(os.path.splitext(os.path.basename(path))[0], runs=runs)


def record(item_id, runs=1):
    with TelemetryStore() as store:
        for _ in range(runs):
            store.record_execution(item_id, "tool", "success", 10)


def staged(repo, path=ITEM):
    return git(repo, "cat-file", "blob", f":{path}") + b"\n"


def runs_in(data, path=ITEM):
    found = read_bytes(data, path)
    return found and found["total_runs"]


def test_a_staged_item_gets_its_block_in_the_index_and_in_the_work_tree(repo, bake):
    stage(repo)
    assert bake().startswith(f"baked {ITEM} (1 run, success rate 1.0)\nrye-telemetry: the commit is stopped")
    assert runs_in(staged(repo)) == 1
    assert (repo / ITEM).read_bytes() == staged(repo)
    assert said(repo, "status", "--short") == f"A  {ITEM}"
    assert git(repo, "diff-files") == b""  # git need not look again
    assert bake(code=0) == ""
    git(repo, "commit", "-qm", "x")
    assert said(repo, "status", "--short") == ""


def test_unstaged_edits_stay_unstaged(repo, bake):
    stage(repo)
    (repo / ITEM).write_text(TOOL + "\n\ndef later():\n    return 2\n")
    bake()
    assert strip_bytes(staged(repo), ITEM).data == TOOL.encode()
    tree = (repo / ITEM).read_bytes()
    assert runs_in(tree) == runs_in(staged(repo)) == 1
    assert b"def later" in tree
    assert b"later" not in staged(repo)
    diff = said(repo, "diff").splitlines()
    assert [line for line in diff if line.startswith("-") and "later" in line] == []
    assert [line for line in diff if line.startswith("+") and "return 2" in line] != []
    assert bake(code=0) == ""


def test_a_work_tree_that_takes_no_block_is_left_and_said(repo, bake):
    stage(repo)
    (repo / ITEM).write_text("x = (\n")
    assert "take no block" in bake(code=0)
    assert staged(repo) == TOOL.encode()
    assert (repo / ITEM).read_text() == "x = (\n"


def test_only_staged_items_with_runs_are_touched(repo, bake):
    stage(repo, ".ai/tools/never_run.py", runs=0)
    stage(repo, "tools/outside.py")
    stage(repo, ".ai/other/o.py")
    commit_file(repo, ".ai/tools/old.py", TOOL)
    record("old")
    (repo / ".ai/tools/unstaged.py").write_text(TOOL)
    record("unstaged")
    assert bake(code=0) == ""
    assert "total_runs" not in said(repo, "grep", "--untracked", "total_runs", code=None)


def test_links_deletions_and_submodules_are_passed_by(repo, bake):
    commit_file(repo, ".ai/tools/gone.py", TOOL)
    record("gone")
    git(repo, "rm", "-q", ".ai/tools/gone.py")
    (repo / ".ai/tools").mkdir(parents=True, exist_ok=True)
    (repo / ".ai/tools/link.py").symlink_to("../../f0")
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{said(repo, 'rev-parse', 'HEAD')},.ai/tools/sub.py")
    git(repo, "add", ".ai/tools/link.py")
    for item_id in ("link", "sub"):
        record(item_id)
    assert bake(code=0) == ""
    assert (repo / ".ai/tools/link.py").is_symlink()


def test_a_file_that_is_gone_from_the_work_tree_is_still_staged(repo, bake):
    stage(repo)
    (repo / ITEM).unlink()
    assert bake().startswith("baked")
    assert runs_in(staged(repo)) == 1
    assert not (repo / ITEM).exists()


def test_line_ends_that_git_converts_are_those_of_each_side(repo, bake):
    git(repo, "config", "core.autocrlf", "true")
    stage(repo, ".ai/tools/crlf.md", "---\r\nname: crlf\r\n---\r\nbody\r\n")
    bake()
    blob = git(repo, "cat-file", "blob", ":.ai/tools/crlf.md")
    tree = (repo / ".ai/tools/crlf.md").read_bytes()
    assert b"\r" not in blob
    assert tree.count(b"\r\n") == tree.count(b"\n") > 4
    assert said(repo, "diff", "--stat") == ""
    git(repo, "commit", "-qm", "x")
    assert said(repo, "status", "--short") == ""


def test_a_file_behind_a_filter_is_refused(repo, bake):
    git(repo, "config", "filter.up.clean", "tr a-z A-Z")
    (repo / ".gitattributes").write_text("*.md filter=up\n")
    git(repo, "add", ".gitattributes")
    stage(repo, ".ai/tools/up.md", "---\nname: up\n---\n")
    assert "(filtered)" in bake(code=0)
    assert (repo / ".ai/tools/up.md").read_text() == "---\nname: up\n---\n"


def test_names_of_every_kind(repo, bake):
    names = [b"with space", b"tab\there", b"new\nline", "日本".encode(), b"\xff\xfe", b"-dash", b'quo"te', b"*[a]?"]
    for name in names:
        path = os.path.join(os.fsencode(repo), b".ai/tools/", name + b".py")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(TOOL.encode())
        with TelemetryStore() as store:
            store.record_execution("item of " + ascii(name), "tool", "success", 1, path=os.fsdecode(path))
    git(repo, "add", "-A")
    bake()
    tree = os.path.join(os.fsencode(repo), b".ai/tools")
    for name in os.listdir(tree):
        with open(os.path.join(tree, name), "rb") as f:
            data = f.read()
        # A name that is no text cannot be told from its record, and is left alone.
        assert runs_in(data, "x.py") == (None if b"\xff" in name else 1), name
    assert git(repo, "diff-files") == b""


def hook(repo):
    """Put our command where git calls it, without an installer."""
    path = repo / ".git" / "hooks" / "pre-commit"
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\nexec rye-telemetry bake --staged --hook\n")
    path.chmod(0o755)


@pytest.mark.parametrize("words", [(), ("-a",), ("--", ITEM), ("--amend", "--no-edit")])
def test_the_second_try_of_the_same_commit_passes(repo, words, scripts):
    commit_file(repo, ITEM, TOOL.replace("1", "0"))
    stage(repo)
    if words[:1] == ("-a",):
        git(repo, "reset", "-q")
    hook(repo)
    message = () if "--amend" in words else ("-m", "two")
    options = [*words[:1], *message, *words[1:]] if words[:1] != ("--",) else [*message, *words]
    first = subprocess.run(["git", "commit", "-q", *options], cwd=repo, capture_output=True, text=True, check=False)
    assert first.returncode == 1
    assert f"baked {ITEM} (1 run, success rate 1.0)" in first.stdout + first.stderr
    assert runs_in((repo / ITEM).read_bytes()) == 1
    git(repo, "commit", "-q", *options)
    assert runs_in(git(repo, "show", f"HEAD:{ITEM}") + b"\n") == 1
    assert said(repo, "status", "--short") == ""
    assert said(repo, "fsck", "--strict", "--no-dangling") == ""


@pytest.mark.parametrize("words", [("-a",), ("-i", "f0")])
def test_what_was_staged_before_is_in_a_commit_that_adds_more(repo, words, scripts):
    """The index of such a commit becomes the index; stopped, it would be thrown away, and the block with it, each time."""
    stage(repo)
    hook(repo)
    (repo / "f0").write_text("more\n")
    git(repo, "commit", "-q", "-m", "two", *words)
    assert runs_in(git(repo, "show", f"HEAD:{ITEM}") + b"\n") == 1
    assert said(repo, "show", "HEAD:f0") == "more"
    assert said(repo, "status", "--short") == ""


def test_a_hard_linked_file_is_left_alone_in_both_places(repo, bake, tmp_path):
    stage(repo)
    os.link(repo / ITEM, tmp_path / "other")
    assert "hard link" in bake(code=0)
    assert staged(repo) == (repo / ITEM).read_bytes() == TOOL.encode()


def test_nothing_behind_a_link_is_written(repo, bake, tmp_path):
    stage(repo)
    outside = tmp_path / "outside"
    (repo / ".ai/tools").rename(outside)
    (repo / ".ai/tools").symlink_to(outside)
    assert "symbolic link" in bake(code=0)
    assert (outside / "x.py").read_text() == TOOL
    assert staged(repo) == TOOL.encode()


def test_what_is_staged_meanwhile_is_not_undone(repo, bake, tmp_path, monkeypatch):
    """By a `git` that stages another version right before ours is."""
    stage(repo)
    real = subprocess.run(["sh", "-c", "command -v git"], capture_output=True, text=True, check=True).stdout.strip()
    shim = tmp_path / "bin" / "git"
    shim.parent.mkdir()
    shim.write_text(
        f'#!/bin/sh\ncase "$*" in *fast-import*) cat > {tmp_path}/in; echo new > {ITEM}; {real} add {ITEM}; exec {real} "$@" < {tmp_path}/in;; esac\n'
        f'exec {real} "$@"\n'
    )
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(shim.parent), prepend=os.pathsep)
    assert "staged anew" in bake(code=0)
    assert staged(repo) == b"new\n"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable), prepend=os.pathsep)


def test_a_linked_worktree_has_an_index_of_its_own(repo, tmp_path, scripts):
    commit_file(repo, "a", "a\n")
    hook(repo)
    git(repo, "worktree", "add", "-q", tmp_path / "linked")
    linked = tmp_path / "linked"
    stage(linked)
    git(linked, "commit", "-qm", "x", code=1)
    assert runs_in(staged(linked)) == 1
    git(linked, "commit", "-qm", "x")
    assert said(repo, "status", "--short") == ""


def test_the_first_commit_of_all(tmp_path, enabled, bake, monkeypatch):
    write_git_config(enabled)
    repo = new_repo(tmp_path / "new")
    monkeypatch.chdir(repo)
    stage(repo)
    assert bake().startswith("baked")


def test_from_a_folder_below(repo, bake, monkeypatch):
    stage(repo)
    monkeypatch.chdir(repo / ".ai")
    assert bake().startswith("baked tools/x.py")
    assert said(repo, "status", "--short") == f"A  {ITEM}"


def test_check_and_strip_of_what_is_staged(repo, bake):
    stage(repo)
    assert bake("--check").startswith("would bake")
    assert staged(repo) == TOOL.encode()
    bake()
    assert bake("--check", code=0) == ""
    assert bake("--strip").startswith(f"stripped {ITEM}\n")
    assert (staged(repo), (repo / ITEM).read_text()) == (TOOL.encode(), TOOL)
    assert bake("--strip", code=0) == ""


def test_by_hand_the_numbers_are_exact_and_the_exit_code_is_0(repo, bake, capfd):
    stage(repo, runs=20)
    bake()
    record("x")
    assert bake(code=0) == ""
    assert run_command_line(["bake", "--staged"]) == 0
    assert runs_in(staged(repo)) == 21


def test_a_conflict_is_left_to_whoever_resolves_it(repo, bake):
    stage(repo)
    git(repo, "commit", "-qm", "base")
    git(repo, "checkout", "-qb", "other")
    commit_file(repo, ITEM, TOOL.replace("1", "2"))
    git(repo, "checkout", "-q", "main")
    commit_file(repo, ITEM, TOOL.replace("1", "3"))
    git(repo, "merge", "other", code=1)
    before = (repo / ITEM).read_bytes()
    bake(code=0)
    assert (repo / ITEM).read_bytes() == before
    assert said(repo, "ls-files", "-u") != ""


def test_outside_of_a_work_tree_it_is_said(tmp_path, enabled, bake, monkeypatch):
    write_git_config(enabled)
    bare = new_repo(tmp_path / "bare", "--bare")
    for place in (bare, tmp_path):
        monkeypatch.chdir(place)
        assert "no work tree" in bake(code=0)


def test_a_locked_index_loses_nothing(repo, bake):
    stage(repo)
    (repo / ".git" / "index.lock").touch()
    assert "index.lock" in bake(code=0)
    assert staged(repo) == (repo / ITEM).read_bytes() == TOOL.encode()
    (repo / ".git" / "index.lock").unlink()
    bake()
    assert (repo / ITEM).read_bytes() == staged(repo)


SIGNER = """\
import hashlib, sys
for path in sys.argv[1:]:
    head, _, rest = open(path, "rb").read().partition(b"\\n")
    digest = hashlib.sha256(rest).hexdigest()
    open(path, "wb").write(b"# ryeos:signed:2026-01-01T00:00:00Z:%s:sig:%s\\n" % (digest.encode(), b"a" * 64) + rest)
"""


@pytest.fixture
def signer(tmp_path, enabled):
    path = tmp_path / "sign.py"
    path.write_text(SIGNER)

    def resign(script=path):
        (enabled / ".ai" / "config.yaml").write_text(
            f"telemetry:\n  enabled: true\n  bake:\n    signed: resign\n    sign_command: [{sys.executable}, {script}, '{{path}}']\n"
        )

    def sign(file):
        subprocess.run([sys.executable, path, file], check=True)

    sign.resign = resign
    return sign


def signed_item(repo, signer):
    stage(repo, text="# ryeos:signed:x\n" + TOOL)
    signer(repo / ITEM)
    git(repo, "add", ITEM)
    return (repo / ITEM).read_bytes()


def test_a_hook_skips_what_a_block_would_break_the_signature_of(repo, bake, signer):
    before = signed_item(repo, signer)
    assert "is signed" in bake(code=0)
    assert (repo / ITEM).read_bytes() == staged(repo) == before


def test_a_signed_item_is_signed_again_where_that_is_set(repo, bake, signer):
    signed_item(repo, signer)
    signer.resign()
    assert bake().startswith("baked")
    tree = (repo / ITEM).read_bytes()
    assert tree == staged(repo)
    assert runs_in(tree) == 1
    signer(repo / ITEM)
    assert (repo / ITEM).read_bytes() == tree  # the signature fits
    assert bake(code=0) == ""


@pytest.mark.parametrize(
    "script", ["import sys; sys.exit(3)", "pass", "import sys; open(sys.argv[1], 'w').write('x = 1\\n')"]
)
def test_a_signer_that_fails_costs_nothing(repo, bake, signer, tmp_path, script):
    before = signed_item(repo, signer)
    bad = tmp_path / "bad.py"
    bad.write_text(script)
    signer.resign(bad)
    assert "(not_signed)" in bake()
    assert (repo / ITEM).read_bytes() == staged(repo) == before


def test_a_signed_item_with_unstaged_edits_is_not_signed_with_them(repo, bake, signer):
    before = signed_item(repo, signer)
    signer.resign()
    (repo / ITEM).write_bytes(before + b"\n# edited\n")
    assert "not staged" in bake()
    assert staged(repo) == before
    assert (repo / ITEM).read_bytes() == before + b"\n# edited\n"
