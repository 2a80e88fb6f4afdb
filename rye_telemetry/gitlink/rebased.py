"""What a rebase really made of its commits: git's own map also names those that were skipped, or came to nothing.

Git maps each old commit to whatever HEAD was when its turn was over. So a skipped one is mapped to the commit before, which may
be a colleague's. HEAD's reflog tells what each step made.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rye_telemetry.commits import Commit
    from rye_telemetry.gitlink.reflog import Entry

    Pair = list[str]


def true_pairs(pairs: Sequence[Pair], entries: Sequence[Entry], commits: Mapping[str, Commit]) -> list[Pair]:
    """Return the pairs of old and new that the last rebase in the reflog bears out; `commits` has the new and old ones."""
    session = _last_rebase(entries)
    olds_of: dict[str, list[str]] = {}
    for old, new in pairs:
        olds_of.setdefault(new, []).append(old)
    if not session:
        return [[olds[0], new] for new, olds in olds_of.items() if _same_author(olds[0], new, commits)]
    made = {entry.new: place for place, entry in enumerate(session) if entry.makes_commit}
    found: list[Pair] = []
    for new, olds in olds_of.items():
        place = made.get(new)
        if place is None:
            continue  # it was there before: what was mapped to it went away
        if session[place].action == "commit":
            found += _by_hand(session, place, olds[0], new, olds_of)
        else:
            kept = olds if len(olds) <= _melded(session, place, made, commits) else olds[:1]
            found += [[old, new] for old in kept]
    return found


def _last_rebase(entries: Sequence[Entry]) -> list[Entry]:
    for place in range(len(entries) - 1, -1, -1):
        if entries[place].step == "start":
            return list(entries[place + 1 :])
    return []


def _same_author(old: str, new: str, commits: Mapping[str, Commit]) -> bool:
    before, after = commits.get(old), commits.get(new)
    if before is None or after is None:
        return False
    return (before.author, before.authored_s) == (after.author, after.authored_s)


def _melded(session: list[Entry], place: int, made: Mapping[str, int], commits: Mapping[str, Commit]) -> int:
    """Return of how many commits at most this one was made: each step that replaced HEAD took one more."""
    count = 1
    seen = {place}
    while True:
        entry = session[place]
        commit = commits.get(entry.new)
        replaces = entry.old not in commit.parents if commit else entry.step in ("squash", "fixup")
        if not replaces:
            return count
        count += 1
        before = made.get(entry.old)
        if before is None or before in seen:
            return count
        seen.add(before)
        place = before


def _by_hand(session: list[Entry], place: int, old: str, new: str, olds_of: Mapping[str, list[str]]) -> list[Pair]:
    """Tell a stopped commit that was made by hand, or split, from one that commits were added to."""
    first = session[place]
    while place >= 0 and session[place].action == "commit":
        first = session[place]
        place -= 1
    if first.old == old:
        return []  # it stands as it was, below what was added
    before = session[place] if place >= 0 else None
    if before is not None and before.makes_commit and before.new == first.old and before.new not in olds_of:
        return [[old, before.new]]
    return [[old, new]]
