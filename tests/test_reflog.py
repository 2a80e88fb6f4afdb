"""HEAD's reflog: which of its entries made a commit. The messages are those that git itself writes here."""

from __future__ import annotations

import os
import shutil

import pytest
from repositories import commit_file, git, head, new_repo, write_git_config

from rye_telemetry.gitdir import find_git, read_head, reflog_path
from rye_telemetry.gitlink.reflog import Entry, gained_entries, read_entries

OLD, NEW = "1" * 40, "2" * 40


@pytest.fixture(autouse=True)
def identity(home):
    write_git_config(home)


@pytest.fixture
def repo(tmp_path):
    return new_repo(tmp_path / "repo", commits=2)


def entry(message, *, old=OLD, new=NEW):
    action, _, rest = message.partition(": ")
    return Entry(old, new, action, rest)


@pytest.mark.parametrize(
    "message",
    [
        "commit: one",
        "commit (initial): one",
        "commit (amend): one",
        "commit (merge): Merge branch 'x'",
        "commit (cherry-pick): one",
        "commit: ",
        "commit: Fast-forward",
        "commit: fast-forward",
        "commit: merge x: Merge made by",
        "commit: checkout: moving from a to b",
        "commit: rebase (finish): returning",
        "commit: reset: moving to HEAD~1",
        "merge side: Merge made by the 'ort' strategy.",
        "merge a b c: Merge made by the 'octopus' strategy.",
        "merge side: In-index merge",
        "pull: Merge made by the 'recursive' strategy.",
        "pull origin main: Merge made by the 'ort' strategy.",
        "pull --no-rebase /a/b c: Merge made by the 'ort' strategy.",
        "cherry-pick: one",
        "cherry-pick: Fast-forward",
        'revert: Revert "one"',
        "am: one",
        "rebase (pick): one",
        "rebase (pick): Fast-forward",
        "rebase (squash): one",
        "rebase (fixup): one",
        "rebase (reword): one",
        "rebase (edit): one",
        "rebase (continue): one",
        "rebase (merge): Merge branch 'side'",
        "rebase -i (pick): one",
        "pull --rebase (pick): one",
        "pull --rebase origin main (pick): one",
        "pull --rebase /a (b)/c (continue): one",
    ],
)
def test_entries_that_made_a_commit(message):
    assert entry(message).makes_commit


@pytest.mark.parametrize(
    "message",
    [
        "checkout: moving from main to side",
        "checkout: moving from commit to commit: x",
        "reset: moving to HEAD~1",
        "reset: moving to commit",
        "merge side: Fast-forward",
        "merge HEAD^{/x: Merge made by the 'ort' strategy.}: Fast-forward",
        "merge HEAD^{/x: Merge made by}: Fast-forward",
        "merge side: updating HEAD",
        "pull: Fast-forward",
        "pull origin main: Fast-forward",
        "pull /tmp/x: Merge made by the 'ort' strategy.: Fast-forward",
        "pull: fast-forward",
        "clone: from /tmp/x",
        "cherry-pick: fast-forward",
        "rebase: fast-forward",
        "rebase (pick): fast-forward",
        "rebase (start): checkout main",
        "rebase (finish): returning to refs/heads/main",
        "rebase (abort): updating HEAD",
        "rebase (reset): moving to x",
        "rebase (skip): one",
        "rebase finished: refs/heads/main onto x",
        "pull --rebase (start): checkout x",
        "pull --rebase (finish): returning to refs/heads/main",
        "Branch: renamed refs/heads/a to refs/heads/b",
        "branch: Created from main",
        "am --abort",
        "am --skip: one",
        "filter-branch: rewrite",
        "update by push",
        "push",
        "fetch: fast-forward",
        "initial pull",
        "commits: one",
        "commit-tree: one",
        "recommit: one",
        "my tool: commit: one",
        "",
    ],
)
def test_entries_that_moved_to_a_commit_or_that_nobody_knows(message):
    assert not entry(message).makes_commit


def test_an_entry_that_goes_nowhere_made_nothing():
    assert not entry("commit: one", new=OLD).makes_commit
    assert not entry("commit: one", new="0" * 40).makes_commit
    assert not entry("commit: one", new="2" * 39).makes_commit
    assert entry("commit (initial): one", old="0" * 40).makes_commit


def test_an_amend_replaces_a_commit():
    assert entry("commit (amend): one").amends
    assert not entry("commit: commit (amend): one").amends
    assert not entry("commit (amend): one", old="0" * 40).amends


@pytest.mark.parametrize(
    ("message", "runs"),
    [
        ("commit: one", True),
        ("commit (merge): one", True),
        ("cherry-pick: one", True),
        ("revert: one", True),
        ("rebase (pick): one", True),
        ("pull --rebase (pick): one", True),
        ("am: one", False),
        ("merge side: Merge made by the 'ort' strategy.", False),
        ("pull: Merge made by the 'ort' strategy.", False),
    ],
)
def test_git_has_a_hook_for_some_of_them(message, runs):
    assert entry(message).runs_post_commit == runs


# -- the file


def test_what_was_gained_is_what_came_after_the_mark(repo):
    found = find_git(str(repo))
    mark = read_head(found).mark
    assert gained_entries(found, mark) == []
    before = head(repo)
    one = commit_file(repo, "x", message="a subject: with\ttab")
    git(repo, "checkout", "-q", "-b", "side")
    two = commit_file(repo, "y", message="Zoë 日本")
    gained = gained_entries(found, mark)
    assert [(e.old, e.new, e.action) for e in gained] == [
        (before, one, "commit"),
        (one, one, "checkout"),
        (one, two, "commit"),
    ]
    assert gained[2].message == "Zoë 日本"
    assert [e.new for e in gained if e.makes_commit] == [one, two]


def test_everything_is_gained_where_there_was_no_reflog(tmp_path):
    repo = new_repo(tmp_path / "new")
    found = find_git(str(repo))
    mark = read_head(found).mark
    one = commit_file(repo)
    assert [e.new for e in gained_entries(found, mark)] == [one]


def test_nothing_is_gained_from_a_reflog_that_was_replaced(repo):
    found = find_git(str(repo))
    mark = read_head(found).mark
    commit_file(repo, "x")
    copy = f"{reflog_path(found)}.copy"
    shutil.copyfile(reflog_path(found), copy)
    os.replace(copy, reflog_path(found))
    assert gained_entries(found, mark) == []


def test_nothing_is_gained_from_one_that_is_gone_or_shorter(repo):
    found = find_git(str(repo))
    inode, size = read_head(found).mark
    assert gained_entries(found, (inode, size + 1)) == []
    os.truncate(reflog_path(found), 10)
    assert gained_entries(found, (inode, size)) == []
    os.unlink(reflog_path(found))
    assert gained_entries(found, (inode, size)) == []


def test_lines_that_are_no_entries_are_passed_by(repo):
    found = find_git(str(repo))
    mark = read_head(found).mark
    one = commit_file(repo, "x")
    with open(reflog_path(found), "ab") as f:
        f.write(
            b"\n\tcommit: x\nno tab here\na b c\tcommit: no hash\n\xff\xfe \xff \xff\t\xff: \xff\n"
            + OLD.encode()
            + b" cut sho"
        )
    assert [e.new for e in gained_entries(found, mark) if e.makes_commit] == [one]


def test_a_reflog_that_is_a_folder_has_no_entries(repo):
    found = find_git(str(repo))
    os.unlink(reflog_path(found))
    os.mkdir(reflog_path(found))
    assert read_entries(found) == []


def test_sha256_entries(tmp_path):
    repo = new_repo(tmp_path / "long", "--object-format=sha256", commits=2)
    assert [len(e.new) for e in read_entries(find_git(str(repo))) if e.makes_commit] == [64, 64]
