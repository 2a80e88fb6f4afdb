"""What is read of a repository without git is what git itself says of it."""

from __future__ import annotations

import os
import shutil

import pytest
from repositories import commit_file, git, head, new_repo, said, write_git_config

from rye_telemetry.gitdir import find_git, hook_git, read_head, reflog_mark, reflog_path


@pytest.fixture(autouse=True)
def identity(home):
    write_git_config(home, '[protocol "file"]\n\tallow = always\n')


@pytest.fixture
def repo(tmp_path):
    return new_repo(tmp_path / "repo", commits=1)


def as_git_says(place):
    """Check directory, common directory, branch and commit against git's own answers; return what was found."""
    found = find_git(str(place))
    assert found is not None
    own, common = said(place, "rev-parse", "--absolute-git-dir", "--git-common-dir").rsplit("\n", 1)
    assert os.path.realpath(found.directory) == os.path.realpath(own)
    assert os.path.realpath(found.common) == os.path.realpath(os.path.join(place, common))
    now = read_head(found)
    assert now.branch == (said(place, "symbolic-ref", "-q", "--short", "HEAD", code=None) or None)
    assert now.commit == (said(place, "rev-parse", "-q", "--verify", "HEAD", code=None) or None)
    log = reflog_path(found)
    assert now.mark == ((os.stat(log).st_ino, os.path.getsize(log)) if os.path.exists(log) else (0, 0))
    return found, now


def test_a_plain_repository(repo):
    found, now = as_git_says(repo)
    assert (found.name, found.worktree, now.branch) == (str(repo), str(repo), "main")


def test_a_folder_below(repo):
    (repo / "a" / "b").mkdir(parents=True)
    found, _ = as_git_says(repo / "a" / "b")
    assert (found.name, found.worktree) == (str(repo), str(repo))


def test_no_repository_at_all(tmp_path):
    assert find_git(str(tmp_path)) is None


def test_a_folder_that_is_not_there_has_the_repository_around_it(repo):
    assert find_git(str(repo / "gone" / "further")).name == str(repo)


def test_every_worktree_has_the_same_name(repo, tmp_path):
    git(repo, "worktree", "add", "-q", "-b", "side", tmp_path / "other place")
    main, _ = as_git_says(repo)
    other, now = as_git_says(tmp_path / "other place")
    assert main.name == other.name == str(repo)
    assert (other.worktree, now.branch) == (str(tmp_path / "other place"), "side")
    assert other.directory != main.directory
    assert now.mark != read_head(main).mark


def test_a_worktree_of_a_bare_repository(repo, tmp_path):
    bare = tmp_path / "bare.git"
    git(repo, "clone", "-q", "--bare", repo, bare)
    git(bare, "worktree", "add", "-q", tmp_path / "out", "main")
    found, now = as_git_says(tmp_path / "out")
    assert (found.name, now.branch, now.commit) == (str(bare), "main", head(repo))


def test_a_bare_repository(repo, tmp_path):
    git(repo, "clone", "-q", "--bare", repo, tmp_path / "bare.git")
    found, now = as_git_says(tmp_path / "bare.git")
    assert (found.name, found.worktree, now.commit) == (str(tmp_path / "bare.git"), None, head(repo))
    assert find_git(str(tmp_path / "bare.git" / "refs")).name == found.name


def test_a_submodule_is_a_repository_of_its_own(repo, tmp_path):
    whole = new_repo(tmp_path / "whole", commits=1)
    git(whole, "submodule", "--quiet", "add", repo, "part")
    found, now = as_git_says(whole / "part")
    assert (found.name, found.worktree) == (str(whole / ".git" / "modules" / "part"), str(whole / "part"))
    assert now.commit == head(repo)


def test_a_repository_whose_git_directory_is_elsewhere(tmp_path):
    new_repo(tmp_path / "tree", f"--separate-git-dir={tmp_path / 'far away'}", commits=1)
    found, now = as_git_says(tmp_path / "tree")
    assert (found.name, found.worktree) == (str(tmp_path / "far away"), str(tmp_path / "tree"))
    assert now.commit


def test_a_detached_head_has_a_commit_and_no_branch(repo):
    git(repo, "checkout", "-q", "--detach")
    _, now = as_git_says(repo)
    assert (now.branch, now.commit) == (None, head(repo))


def test_an_unborn_branch_has_a_name_and_no_commit(tmp_path):
    new_repo(tmp_path / "new")
    _, now = as_git_says(tmp_path / "new")
    assert (now.branch, now.commit, now.mark) == ("main", None, (0, 0))


def test_an_orphan_branch_has_no_commit_though_there_are_others(repo):
    git(repo, "checkout", "-q", "--orphan", "fresh")
    _, now = as_git_says(repo)
    assert (now.branch, now.commit) == ("fresh", None)
    assert now.mark != (0, 0)


def test_a_branch_with_slashes_and_letters(repo):
    git(repo, "checkout", "-q", "-b", "für/ein/日")
    _, now = as_git_says(repo)
    assert now.branch == "für/ein/日"


def test_packed_refs_are_read(repo):
    git(repo, "branch", "mai")
    git(repo, "branch", "main2")
    git(repo, "tag", "-a", "-m", "t", "main-tag")
    before = commit_file(repo, "g")
    git(repo, "pack-refs", "--all")
    assert not (repo / ".git" / "refs" / "heads" / "main").exists()
    _, now = as_git_says(repo)
    assert now.commit == before


def test_a_packed_ref_is_not_taken_for_one_whose_name_it_begins_with(repo):
    git(repo, "pack-refs", "--all")
    git(repo, "checkout", "-q", "--orphan", "mai")
    _, now = as_git_says(repo)
    assert (now.branch, now.commit) == ("mai", None)


def test_a_loose_ref_counts_before_a_packed_one(repo):
    git(repo, "pack-refs", "--all")
    after = commit_file(repo, "g")
    assert after in (repo / ".git" / "refs" / "heads" / "main").read_text()
    _, now = as_git_says(repo)
    assert now.commit == after


def test_packed_refs_of_a_branch_in_a_worktree(repo, tmp_path):
    git(repo, "worktree", "add", "-q", "-b", "side", tmp_path / "other")
    git(repo, "pack-refs", "--all")
    _, now = as_git_says(tmp_path / "other")
    assert now.commit == head(repo)


def test_a_repository_of_sha256(tmp_path):
    repo = new_repo(tmp_path / "long", "--object-format=sha256", commits=1)
    _, now = as_git_says(repo)
    assert len(now.commit) == 64
    git(repo, "pack-refs", "--all")
    assert as_git_says(repo)[1].commit == now.commit


@pytest.mark.parametrize("name", [b"with space", b"two\nlines", b"not \xff utf-8", b" both ends ", "日本".encode()])
def test_a_path_of_any_bytes(repo, tmp_path, name):
    place = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
    shutil.copytree(repo, place)
    found, now = as_git_says(place)
    assert (found.name, now.commit) == (place, head(repo))
    if b"\n" not in name:
        git(place, "worktree", "add", "-q", "-b", "side", place + "-tree")
        assert as_git_says(place + "-tree")[0].name == place


def test_a_symbolic_link_to_a_repository_has_the_name_of_what_it_leads_to(repo, tmp_path):
    (tmp_path / "link").symlink_to(repo)
    assert find_git(str(tmp_path / "link")).name == str(repo)


@pytest.mark.parametrize("text", ["gitdir: /nowhere/at/all\n", "gitdir: \n", "", "garbage", "gitdir: .\n"])
def test_a_git_file_that_leads_nowhere_is_no_repository(repo, text):
    (repo / "lost").mkdir()
    (repo / "lost" / ".git").write_text(text)
    git(repo / "lost", "rev-parse", "--git-dir", code=128)
    assert find_git(str(repo / "lost")) is None


def test_an_empty_git_folder_is_passed_by(repo):
    (repo / "in" / ".git").mkdir(parents=True)
    assert find_git(str(repo / "in")).name == str(repo)
    assert said(repo / "in", "rev-parse", "--show-toplevel") == str(repo)


@pytest.mark.parametrize(
    "text", ["", "garbage\n", "ref: \n", "ref: ../../etc/passwd\n", "ref: /etc/passwd\n", "0" * 40, "f" * 39, "\0"]
)
def test_a_broken_head_tells_nothing_and_raises_nothing(repo, text):
    (repo / ".git" / "HEAD").write_text(text)
    now = read_head(find_git(str(repo)))
    assert now.commit is None


def test_a_head_that_leads_out_of_the_repository_tells_nothing(repo):
    (repo / "secret").write_text("1" * 40 + "\n")
    for ref in ("../secret", str(repo / "secret"), "refs/../../secret"):
        (repo / ".git" / "HEAD").write_text(f"ref: {ref}\n")
        assert read_head(find_git(str(repo))).commit is None


def test_a_head_that_is_a_pipe_does_not_hold_us_up(repo):
    (repo / ".git" / "HEAD").unlink()
    os.mkfifo(repo / ".git" / "HEAD")
    now = read_head(find_git(str(repo)))
    assert (now.branch, now.commit) == (None, None) or now.branch == ""


@pytest.mark.parametrize("gone", ["HEAD", "objects", "refs"])
def test_what_git_takes_for_no_repository_we_do_not_either(repo, gone):
    place = repo / ".git" / gone
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert git(repo, "rev-parse", "--git-dir", code=128) == b""
    assert find_git(str(repo)) is None


def test_a_missing_ref_is_an_unborn_branch(repo):
    (repo / ".git" / "refs" / "heads" / "main").unlink()
    assert read_head(find_git(str(repo))).commit is None


def test_git_dir_in_the_environment_is_not_asked(repo, tmp_path, monkeypatch):
    other = new_repo(tmp_path / "other", commits=2)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert find_git(str(repo)).name == str(repo)
    assert find_git(str(tmp_path)) is None


def test_a_hook_is_in_the_repository_that_git_names(repo, tmp_path):
    git(repo, "worktree", "add", "-q", "-b", "side", tmp_path / "tree")
    own = repo / ".git" / "worktrees" / "tree"
    for env, cwd, name in (
        ({}, repo, repo),
        ({"GIT_DIR": ".git"}, repo, repo),
        ({"GIT_DIR": str(own)}, tmp_path / "tree", repo),
        ({"GIT_DIR": str(repo / ".git"), "GIT_WORK_TREE": str(tmp_path)}, tmp_path, repo),
    ):
        found = hook_git(env, str(cwd))
        assert found.name == str(name)
    assert hook_git({"GIT_DIR": str(tmp_path)}, str(repo)) is None
    assert hook_git({"GIT_DIR": str(own)}, str(tmp_path / "tree")).directory == str(own)


def test_a_reflog_is_marked_by_file_and_length(repo):
    found = find_git(str(repo))
    before = reflog_mark(found)
    commit_file(repo, "g")
    after = reflog_mark(found)
    assert after[0] == before[0]
    assert after[1] > before[1]
    os.unlink(reflog_path(found))
    assert reflog_mark(found) == (0, 0)
