"""A repository that a command was asked about."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from rye_telemetry.commits import Commit, read_commits, refuses, resolve
from rye_telemetry.errors import CommitUnknown, GitUnusable
from rye_telemetry.gitdir import GitDir, find_git
from rye_telemetry.gitrun import Git, clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMAT = "--format=%ct %s"


class Listed(NamedTuple):
    """One commit of a list: hash, committer's time in seconds since 1970, first line of the message."""

    commit_hash: str
    committed_s: int
    subject: str


class Repository:
    """Git, and where it works; `name` stands for the repository in records."""

    def __init__(self, git: Git, git_dir: GitDir) -> None:
        self.git = git
        self.git_dir = git_dir
        self.name = git_dir.name

    def commit(self, revision: str) -> Commit:
        """Return the commit that a revision names; CommitUnknown for none, or several."""
        return read_commits(self.git, [resolve(self.git, revision)])[0]

    def list_commits(self, revisions: str, *, limit: int | None = None) -> list[Listed]:
        """Return the commits of a revision's history or of a range such as `main..topic`, newest first."""
        if not revisions or revisions.startswith("-") or "\0" in revisions:
            raise CommitUnknown(f"{revisions!r} is no range: write one such as main..HEAD")
        most = [] if limit is None else [f"--max-count={limit}"]
        told = self.git.run("rev-list", *most, "--encoding=UTF-8", _FORMAT, revisions, "--")
        if told.code:
            raise CommitUnknown(f"{revisions!r} is no range of commits here: {told.err.removeprefix('fatal: ')}")
        lines = iter(told.out.decode("utf-8", "replace").split("\n"))
        return [_listed(head, said) for head, said in zip(lines, lines, strict=False) if head]


def _listed(head: str, said: str) -> Listed:
    seconds, _, subject = said.partition(" ")
    return Listed(head.removeprefix("commit "), int(seconds), subject)


def open_repository(start: str, env: Mapping[str, str]) -> Repository:
    """Return the repository at or above `start`; GitUnusable where there is none, or git refuses it; GitMissing."""
    if not os.path.isdir(start):
        raise GitUnusable(f"{start!r} is no directory: name one in a git repository")
    git = Git(start, clean_environment(env))
    answer = git.run("rev-parse", "--git-dir")
    if refuses(answer) or answer.code:
        raise GitUnusable(_refusal(os.path.abspath(start), answer.err))
    found = find_git(start)
    if found is None:
        raise GitUnusable(f"{start}: git finds its repository by settings that are not followed here")
    return Repository(git, found)


def _refusal(place: str, said: str) -> str:
    if "dubious ownership" in said or "unsafe repository" in said:
        return (
            f"{place} belongs to another user, so git refuses it:"
            f" `git config --global --add safe.directory {place}` if you trust it"
        )
    if "not a git repository" in said:
        return f"there is no git repository at or above {place}: go into one, or name one by --repo"
    return f"{place}: git refuses: {said.partition('fatal: ')[2] or said}"


def is_range(text: str) -> bool:
    """Say whether a revision is a range; `:/text` may hold two dots."""
    return ".." in text and ":/" not in text
