"""Why a commit that looks like what a linked one became cannot be that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rye_telemetry.gitlink.changes import is_blank, is_same

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rye_telemetry.commits import Commit
    from rye_telemetry.gitlink.changes import Change
    from rye_telemetry.gitlink.evidence import Ground, Old

CLOCKS_APART_S = 60  # of this machine and a forge


def may_become(old: Old, commit: Commit, ground: Ground) -> bool:
    """Say whether a commit can have been made from an old one at all: whatever comes first cannot."""
    if old.places & ground.above.get(commit.commit_hash, 0):
        return False  # the old one stands on it
    if old.commit_hash in heirs(commit.commit_hash, ground.rewrites) or _came_of(old, commit, ground.origins):
        return False
    return not _is_later(old, commit, ground)


def _is_later(old: Old, commit: Commit, ground: Ground) -> bool:
    """Say whether the old one was made when the commit was there already, as far as its times can be believed.

    A copy keeps its author's time, so of a copy the committer's counts, and a tie says nothing for it.
    """
    if not old.made_s or commit.committed_s < commit.authored_s:
        return False
    if old.is_copy:
        return commit.committed_s <= old.made_s
    return commit.committed_s < old.made_s - (0 if commit.commit_hash in ground.made_here else CLOCKS_APART_S)


def _came_of(old: Old, commit: Commit, origins: Mapping[str, str]) -> bool:
    """Say whether the old one came of this commit, by an amend say."""
    before, seen = origins.get(old.commit_hash), {old.commit_hash}
    while before is not None and before not in seen:
        if before == commit.commit_hash:
            return True
        seen.add(before)
        before = origins.get(before)
    return False


def differ(old: Old, commit: Commit, changes: Mapping[str, Change]) -> bool:
    """Say whether two commits with one patch-id change something else: git overlooks white space and line numbers."""
    if old.parent_tree and old.tree and commit.parent_tree:
        same_base, same_tree = old.parent_tree == commit.parent_tree, old.tree == commit.tree
        if same_base != same_tree:
            return True
        if same_base:
            return False
    theirs, ours = changes.get(old.commit_hash), changes.get(commit.commit_hash)
    if ours is None:
        return False
    return is_blank(ours) if theirs is None else not is_same(theirs, ours)


def heirs(commit_hash: str, rewrites: Mapping[str, set[str]]) -> set[str]:
    """Return all that a commit was rewritten into, step by step."""
    found: set[str] = set()
    steps = list(rewrites.get(commit_hash, ()))
    while steps:
        new = steps.pop()
        if new not in found:
            found.add(new)
            steps += rewrites.get(new, ())
    return found


def latest(olds: Iterable[Old], rewrites: Mapping[str, set[str]]) -> list[Old]:
    """Leave out those that were rewritten into another of them."""
    several = list(olds)
    names = {old.commit_hash for old in several}
    return [old for old in several if not heirs(old.commit_hash, rewrites) & (names - {old.commit_hash})]
