"""Traps: commits that look like what a linked commit became, and are not. Each has a linked commit and one made by hand."""

from __future__ import annotations

import os

import pytest
from repositories import commit_file, git, head, new_repo, said, the_git, write_git_config

from rye_telemetry import TelemetryStore
from rye_telemetry.commits import patch_ids, read_commits
from rye_telemetry.gitlink.repair import repair
from rye_telemetry.gitlink.repository import open_repository
from rye_telemetry.gitlink.show import show_commit
from rye_telemetry.lines import instant_text
from rye_telemetry.linking import commit_line, link_line
from rye_telemetry.paths import rye_state_dir

NOW = 1_800_000_000
BLOCKS = ("begin\n" + "  same\n" * 8 + "end\n") * 2

FAR = "".join(f"line {number}\n" for number in range(20))


@pytest.fixture(autouse=True)
def ticks(monkeypatch):
    """Let an hour go by with every commit."""
    return Clock(monkeypatch)


class Clock:
    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch
        self.now = NOW
        self.step = 3600
        self.believable = True

    def tick(self):
        self.now += self.step
        self.monkeypatch.setenv("GIT_AUTHOR_DATE", f"{self.now} +0000")
        self.monkeypatch.setenv("GIT_COMMITTER_DATE", f"{self.now if self.believable else NOW} +0000")


@pytest.fixture
def repo(enabled, tmp_path, ticks):
    write_git_config(enabled)
    ticks.tick()
    return Repo(new_repo(tmp_path / "repo", commits=1), ticks)


class Repo:
    def __init__(self, path, ticks):
        self.path = path
        self.ticks = ticks

    def git(self, *args, **more):
        self.ticks.tick()
        git(self.path, *args, **more)

    def commit(self, name, text, message="by hand"):
        self.ticks.tick()
        return commit_file(self.path, name, text, message=message)

    def on(self, branch, start):
        git(self.path, "checkout", "-q", "-B", branch, start)

    def link(self, item, revision="HEAD", *, action="commit", repo=None):
        """Say that a run of this item made a commit, as our hook does."""
        where = the_git(self.path)
        [commit] = read_commits(where, [head(self.path, revision)])
        found = patch_ids(where, [commit])
        name = repo or open_repository(str(self.path), os.environ).name
        with TelemetryStore(rye_state_dir(os.environ)) as opened:
            run_id = opened.record_execution(item, "tool", "success", 1)
            opened.record_lines([
                commit_line(commit, repo=name, branch=None, patch_id=found.get(commit.commit_hash)),
                link_line(run_id, commit.commit_hash, repo=name, evidence="hook", source="llm", author=commit.author,
                          linked_at=instant_text(self.ticks.now * 10**9), action=action),
            ])  # fmt: skip
        return commit.commit_hash

    def found(self, *tips):
        """Return {(subject, item, evidence)} of links that `show` finds of every commit, and `repair` would store."""
        where = open_repository(str(self.path), os.environ)
        shown, stored = set(), set()
        with TelemetryStore(rye_state_dir(os.environ)) as opened:
            before = {}
            for tip in tips or ("HEAD",):
                commits = said(self.path, "rev-list", tip).split()
                before |= opened.links(commits)
                for commit in commits:
                    told = show_commit(opened, where, commit)
                    known = {link["run_id"] for link in before.get(commit, ())}
                    shown |= {
                        (told["subject"], r["item_id"], r["evidence"]) for r in told["runs"] if r["run_id"] not in known
                    }
            for tip in tips or ("HEAD",):
                for one in repair(opened, where, tip, dry_run=True)["linked"]:
                    stored.add(
                        (said(self.path, "log", "-1", "--format=%s", one["commit"]), one["item_id"], one["evidence"])
                    )
        assert shown == stored
        return shown

    def forget(self, *branches):
        for branch in branches:
            git(self.path, "branch", "-D", branch)
        git(self.path, "reflog", "expire", "--expire=now", "--all")
        git(self.path, "gc", "-q", "--prune=now")


# -- what came first cannot have been made from what came later


@pytest.mark.parametrize("step", [3600, 0])
def test_a_run_that_cherry_picks_did_not_make_the_original(repo, ticks, step):
    base = head(repo.path)
    ticks.step = step
    repo.commit("fix", "fix\n", "fix by hand")
    repo.on("release", base)
    repo.commit("other", "other\n")
    repo.git("cherry-pick", "main")
    repo.link("backport", action="cherry-pick")
    assert repo.found("main") == set()


def test_a_run_that_applies_a_patch_did_not_make_the_original(repo):
    base = head(repo.path)
    repo.commit("fix", "fix\n", "fix by hand")
    patch = git(repo.path, "format-patch", "--stdout", "-1") + b"\n"
    repo.on("release", base)
    repo.commit("other", "other\n")
    repo.git("am", "-q", stdin=patch)
    repo.link("applier", action="am")
    assert repo.found("main") == set()


@pytest.mark.parametrize("told", [False, True])
def test_a_run_that_rebases_did_not_make_the_originals(repo, ticks, told):
    base = head(repo.path)
    ticks.believable = not told
    repo.on("topic", base)
    repo.commit("fix", "fix\n", "fix by hand")
    git(repo.path, "branch", "before")
    repo.on("main", "main")
    repo.commit("other", "other\n")
    git(repo.path, "checkout", "-q", "topic")
    repo.git("rebase", "-q", "main")
    repo.link("rebaser", action="rebase")
    if told:  # as our post-rewrite hook does
        pairs = [[head(repo.path, "before"), head(repo.path, "topic")]]
        with TelemetryStore(rye_state_dir(os.environ)) as opened:
            opened.record_lines([("rewrite", {"by": "rebase", "rewrites": pairs, "rewritten_at": instant_text(1)})])
    assert repo.found("before") == set()


def test_what_was_made_by_hand_long_before_is_not_what_a_run_made_later(repo):
    base = head(repo.path)
    repo.commit("fix", "fix\n", "by hand before")
    repo.on("topic", base)
    repo.commit("fix", "fix\n", "by a run after")
    repo.link("later")
    assert repo.found("main") == set()


@pytest.mark.parametrize(("forgotten", "believable"), [(False, False), (True, True)])
def test_a_commit_below_a_linked_one_was_not_made_from_it(repo, ticks, forgotten, believable):
    """Two dead branches part from main at different places; the younger does again what main did and took back."""
    ticks.believable = believable
    repo.on("old", "main")
    repo.commit("elsewhere", "x\n", "old branch")
    repo.link("old")
    git(repo.path, "checkout", "-q", "main")
    repo.commit("fix", "fix\n", "fix by hand")
    repo.git("revert", "--no-edit", "HEAD")
    repo.on("topic", "main")
    repo.commit("under", "under\n")
    repo.commit("fix", "fix\n", "again by a run")
    repo.link("again")
    git(repo.path, "checkout", "-q", "main")
    repo.commit("more", "more\n")
    if forgotten:
        repo.forget("old", "topic")
    assert repo.found("main") == set()


# -- changes that git's patch-id does not tell apart


def test_other_white_space_is_another_change(repo):
    repo.commit("f.py", "if a:\n\tb\n")
    base = head(repo.path)
    repo.on("topic", base)
    repo.commit("f.py", "if a:\n        b\n", "eight by a run")
    repo.link("eight")
    repo.on("main", base)
    repo.commit("f.py", "if a:\n  b\n", "two by hand")
    assert repo.found() == set()


@pytest.mark.parametrize("forgotten", [False, True])
def test_other_white_space_on_another_base_is_another_change(repo, forgotten):
    repo.commit("f.py", FAR + "if a:\n\tb\n")
    base = head(repo.path)
    repo.on("topic", base)
    repo.commit("f.py", FAR + "if a:\n        b\n", "eight by a run")
    repo.link("eight")
    repo.on("main", base)
    repo.commit("f.py", "first\n" + FAR + "if a:\n\tb\n")
    repo.commit("f.py", "first\n" + FAR + "if a:\n  b\n", "two by hand")
    if forgotten:
        repo.forget("topic")
    assert repo.found() == set()


def test_a_line_end_at_the_end_of_a_file_is_another_change(repo):
    repo.commit("f", FAR + "a\nb")
    base = head(repo.path)
    repo.on("topic", base)
    repo.commit("f", FAR + "a\nc\n", "with, by a run")
    repo.link("with")
    repo.on("main", base)
    repo.commit("f", "first\n" + FAR + "a\nb")
    repo.commit("f", "first\n" + FAR + "a\nc", "without, by hand")
    assert repo.found() == set()


def test_the_same_line_in_another_block_is_another_change(repo):
    repo.commit("f", BLOCKS)
    base = head(repo.path)
    lines = BLOCKS.splitlines(keepends=True)
    repo.on("topic", base)
    repo.commit("f", "".join([*lines[:5], "new\n", *lines[5:]]), "first block by a run")
    repo.link("first")
    repo.on("main", base)
    repo.commit("f", "".join([*lines[:15], "new\n", *lines[15:]]), "second block by hand")
    assert repo.found() == set()


def test_the_same_line_in_another_block_on_another_base_is_another_change(repo):
    repo.commit("f", BLOCKS)
    base = head(repo.path)
    lines = BLOCKS.splitlines(keepends=True)
    repo.on("topic", base)
    repo.commit("f", "".join([*lines[:5], "new\n", *lines[5:]]), "first block by a run")
    repo.link("first")
    repo.on("main", base)
    repo.commit("other", "other\n")
    repo.commit("f", "".join([*lines[:15], "new\n", *lines[15:]]), "second block by hand")
    assert repo.found() == set()


def test_a_rebase_over_moved_lines_is_the_same_change(repo):
    repo.commit("f", BLOCKS)
    base = head(repo.path)
    lines = BLOCKS.splitlines(keepends=True)
    repo.on("topic", base)
    repo.commit("f", "".join([*lines[:5], "new\n", *lines[5:]]), "change")
    repo.link("first")
    repo.on("main", base)
    repo.commit("f", "top\n" * 9 + BLOCKS)
    git(repo.path, "checkout", "-q", "topic")
    repo.git("rebase", "-q", "main")
    assert repo.found() == {("change", "first", "patch-id")}


# -- splits and squashes


def test_a_detour_to_the_same_tree_is_no_split(repo):
    base = head(repo.path)
    repo.on("topic", base)
    repo.commit("f", "f\n", "by a run")
    repo.link("a")
    repo.on("main", base)
    repo.commit("g", "g\n", "something else")
    git(repo.path, "rm", "-q", "g")
    repo.commit("f", "f\n", "instead of it")
    assert repo.found() == set()


def test_a_squash_below_the_branch_that_does_it_again_is_not_made_from_it(repo, ticks):
    ticks.believable = False
    repo.on("old", "main")
    repo.commit("elsewhere", "x\n", "old branch")
    repo.link("old")
    git(repo.path, "checkout", "-q", "main")
    repo.ticks.tick()
    (repo.path / "one").write_text("1\n")
    (repo.path / "two").write_text("2\n")
    git(repo.path, "add", "-A")
    git(repo.path, "commit", "-qm", "both by hand")
    repo.git("revert", "--no-edit", "HEAD")
    repo.on("topic", "main")
    repo.commit("one", "1\n", "one")
    repo.link("one")
    repo.commit("two", "2\n", "two")
    repo.link("two")
    git(repo.path, "checkout", "-q", "main")
    repo.commit("more", "more\n")
    assert repo.found("main") == set()


def test_a_squash_that_names_one_run_is_linked_to_the_others_too(repo):
    base = head(repo.path)
    repo.on("topic", base)
    repo.commit("one", "1\n", "one")
    repo.link("one")
    repo.commit("two", "2\n", "two")
    repo.link("two")
    with TelemetryStore(rye_state_dir(os.environ)) as opened:
        [run] = [run["run_id"] for run in opened.runs() if run["item_id"] == "one"]
    repo.on("main", base)
    git(repo.path, "merge", "-q", "--squash", "topic")
    repo.git("commit", "-qm", f"squash\n\n* one\n\nRye-Run: {run}\n\n* two\n")
    assert {(item, evidence) for _, item, evidence in repo.found()} == {("one", "trailer"), ("two", "range-patch-id")}


def test_an_amend_with_another_content_is_followed_through_a_rebase(repo):
    base = head(repo.path)
    repo.on("topic", base)
    repo.commit("f", "f\n", "f")
    repo.link("a")
    (repo.path / "f").write_text("more\n")
    repo.git("commit", "-qa", "--amend", "--no-edit")
    repo.on("main", base)
    repo.commit("other", "other\n")
    git(repo.path, "checkout", "-q", "topic")
    repo.git("rebase", "-q", "main")
    assert repo.found() == {("f", "a", "patch-id")}


def test_a_repository_whose_path_is_not_utf8_keeps_its_links(enabled, ticks, tmp_path):
    write_git_config(enabled)
    ticks.tick()
    try:
        path = new_repo(os.fsdecode(os.fsencode(tmp_path) + b"/r\xff"), commits=1)
    except OSError:
        pytest.skip("this filesystem takes no such name")
    repo = Repo(path, ticks)
    repo.on("topic", "main")
    repo.commit("zero", "0\n")
    repo.commit("f", "f\n", "f")
    repo.link("a")
    repo.on("main", "main")
    repo.commit("other", "other\n")
    git(repo.path, "checkout", "-q", "topic")
    repo.git("rebase", "-q", "main")
    repo.forget()
    assert repo.found() == {("f", "a", "patch-id")}


def test_one_commit_is_found_however_many_were_linked_since(repo):
    base = head(repo.path)
    repo.on("topic", base)
    repo.commit("f", "f\n", "f")
    repo.link("a")
    repo.on("main", base)
    repo.commit("other", "other\n")
    repo.git("cherry-pick", "topic")
    name = open_repository(str(repo.path), os.environ).name
    more = {"repo": name, "evidence": "hook", "source": "llm", "author": None}
    with TelemetryStore(rye_state_dir(os.environ)) as opened:
        run_id = opened.record_execution("many", "tool", "success", 1)
        later = instant_text((repo.ticks.now + 9) * 10**9)
        opened.record_lines(link_line(run_id, f"{n:040x}", linked_at=later, **more) for n in range(1, 700))
    assert repo.found() == {("f", "a", "patch-id")}
