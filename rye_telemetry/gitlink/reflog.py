"""What HEAD's reflog gained, and which of its entries made a commit rather than moved to one.

The messages are git's own (`git reflog`); an action that is not known to make commits makes none here.
"""

from __future__ import annotations

import os

from rye_telemetry.gitdir import read_regular, reflog_mark, reflog_path
from rye_telemetry.model import is_commit_hash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rye_telemetry.gitdir import GitDir

LAST_BYTES = 16 * 1024
MAX_GAINED_BYTES = 16 * 1024 * 1024
# `rebase (pick)`, `rebase -i (pick)`, and `pull --rebase (pick)`; start, finish, abort, reset and skip only move.
_STEPS = ("pick", "reword", "edit", "squash", "fixup", "continue", "merge")


class Entry:
    """One step of HEAD: `action` is what stands before the first colon of git's message.

    `made_at_s` is the time that git says it was made at, which a committer's date decides.
    """

    __slots__ = ("action", "made_at_s", "message", "new", "old")

    def __init__(self, old: str, new: str, action: str, message: str, *, made_at_s: int = 0) -> None:
        self.old = old
        self.new = new
        self.action = action
        self.message = message
        self.made_at_s = made_at_s

    @property
    def makes_commit(self) -> bool:
        """Say whether the commit came into being by this step."""
        if self.old == self.new or not is_commit_hash(self.new):
            return False
        verb, _, rest = self.action.partition(" ")
        if verb == "commit":
            return not rest or rest.startswith("(")
        if verb in ("am", "revert"):
            return not rest
        if verb == "cherry-pick":
            return not rest and not self._only_moves
        if self.step:
            return self.step in _STEPS and verb in ("rebase", "pull") and not self._only_moves
        return verb in ("merge", "pull") and self._merges

    @property
    def verb(self) -> str:
        """What git did, in one word: commit, cherry-pick, rebase, am, merge, revert."""
        verb = self.action.partition(" ")[0]
        return "rebase" if self.step in _STEPS and verb != "commit" else "merge" if verb == "pull" else verb

    @property
    def step(self) -> str:
        """The step of a rebase, which git puts in brackets behind its own words; or nothing."""
        verb = self.action.partition(" ")[0]
        words, opened, step = self.action.rpartition(" (")
        if not opened or not step.endswith(")"):
            return ""
        ours = (
            words in ("rebase", "rebase -i") if verb == "rebase" else verb == "pull" and self.message != "Fast-forward"
        )
        return step[:-1] if ours else ""

    @property
    def _only_moves(self) -> bool:
        return self.message == "fast-forward"

    @property
    def _merges(self) -> bool:
        """Say whether a merge was made; what was merged stands before the colon, and may hold one itself."""
        return self.message == "In-index merge" or (
            self.message.startswith("Merge made by the '") and self.message.endswith("' strategy.")
        )

    @property
    def amends(self) -> bool:
        """Say whether `old` was replaced by `new`."""
        return self.action == "commit (amend)" and is_commit_hash(self.old) and self.makes_commit

    @property
    def runs_post_commit(self) -> bool:
        """Say whether git runs post-commit for it: not for `am`, nor for a merge that needed no help."""
        verb = self.action.partition(" ")[0]
        return verb in ("commit", "cherry-pick", "revert", "rebase") or bool(self.step)


def gained_entries(git: GitDir, mark: tuple[int, int]) -> list[Entry]:
    """Return the entries since `mark`; none when the reflog is not there, or was replaced meanwhile."""
    inode, size = mark
    now_inode, now_size = reflog_mark(git)
    if not now_size or now_size <= size or (inode and inode != now_inode):
        return []
    return read_entries(git, size)


def read_entries(git: GitDir, offset: int = 0, *, limit: int = MAX_GAINED_BYTES) -> list[Entry]:
    data = read_regular(reflog_path(git), offset, limit)
    return [entry for line in data.split(b"\n") if (entry := _entry(line)) is not None]


def last_verb(git: GitDir, commit: str) -> str | None:
    """Return what git did last at HEAD, where that made this commit."""
    size = reflog_mark(git)[1]
    entries = read_entries(git, max(0, size - LAST_BYTES))
    return entries[-1].verb if entries and entries[-1].new == commit and entries[-1].makes_commit else None


def _entry(line: bytes) -> Entry | None:
    head, tab, message = os.fsdecode(line).partition("\t")
    words = head.split(" ", 2)
    if not tab or len(words) < 3:
        return None
    action, _, rest = message.partition(": ")
    made_at = words[2].rpartition("> ")[2].partition(" ")[0]
    return Entry(words[0], words[1], action, rest, made_at_s=int(made_at) if made_at.isdecimal() else 0)
