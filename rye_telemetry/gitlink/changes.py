"""What a commit changes, read from its diff: for what git's patch-id overlooks, which is white space and where a line is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_IN_HEADER = (b"old mode ", b"new mode ", b"new file mode ", b"deleted file mode ", b"Binary files ")


class Change(NamedTuple):
    """Lines that come and go, each with its file; and {file: (content before, content after)}, by their hashes."""

    lines: list[tuple[bytes, bytes]]
    contents: dict[bytes, tuple[bytes, bytes]]


def read_change(diff: bytes) -> Change:
    """Read one diff of git's, made with whole hashes."""
    lines: list[tuple[bytes, bytes]] = []
    contents: dict[bytes, tuple[bytes, bytes]] = {}
    file, in_hunk = b"", False
    for line in diff.split(b"\n"):
        if line.startswith(b"diff --git "):
            file, in_hunk = line, False
        elif line.startswith(b"@@ "):
            in_hunk = True
        elif in_hunk:
            if line[:1] in (b"+", b"-", b"\\"):
                lines.append((file, line))
        elif line.startswith(b"index "):
            before, _, after = line[6:].partition(b" ")[0].partition(b"..")
            contents[file] = before, after
        elif line.startswith(_IN_HEADER):
            lines.append((file, line))
    return Change(lines, contents)


def is_same(one: Change, other: Change) -> bool:
    """Say whether two changes with the same patch-id are the same to the letter, and at the same place.

    From the same content to another one, or from another one to the same, they are not at the same place.
    """
    if one.lines != other.lines:
        return False
    both = one.contents.keys() & other.contents.keys()
    ends = [tuple(a == b for a, b in zip(one.contents[file], other.contents[file], strict=True)) for file in both]
    return not any(before != after for before, after in ends)


def is_blank(change: Change) -> bool:
    """Say whether only white space changes: then the patch-id is that of the way back as well."""
    gone, come = (
        b"".join(b"".join(line[1:].split()) for _, line in change.lines if line.startswith(sign))
        for sign in (b"-", b"+")
    )
    return gone == come


def is_sum(whole: Change, parts: Iterable[Change]) -> bool:
    """Say whether the parts make up the whole, with nothing made on the way that was taken back."""
    return Counter(whole.lines) == Counter(line for part in parts for line in part.lines)
