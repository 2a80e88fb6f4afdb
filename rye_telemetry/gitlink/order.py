"""What came before what: nothing is made from something that came later, or from what stands on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Parents = Mapping[str, Sequence[str]]


def parting_places(side: Parents) -> dict[str, frozenset[str]]:
    """Return {commit: those of the history that it stands on}; `side` has children before their parents."""
    found: dict[str, frozenset[str]] = {}
    for commit in reversed(list(side)):
        places: set[str] = set()
        for parent in side[commit]:
            places |= found.get(parent, {parent})
        found[commit] = frozenset(places)
    return found


def places_above(history: Parents, places: Sequence[str]) -> dict[str, int]:
    """Return {commit: which of the places it is, or is an ancestor of}, a bit for each in the order given.

    `history` has children before their parents, so what is cut off at its end is no descendant of what is in it.
    """
    bits = {place: 1 << number for number, place in enumerate(places)}
    found = dict.fromkeys(history, 0)
    for commit, parents in history.items():
        found[commit] |= bits.get(commit, 0)
        for parent in parents:
            if parent in found:
                found[parent] |= found[commit]
    return found
