"""Blocks that stand in comments between two marks."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from rye_telemetry.bake.block import KEY, MARK_BEGIN, MARK_END, as_fields, comment_lines, is_ours, read_own_lines
from rye_telemetry.bake.edges import BOM, line_end
from rye_telemetry.errors import BakeRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_BLOCK = 64 * 1024


class Block(NamedTuple):
    """A block of ours: whole lines text[start:end], and what it says."""

    start: int
    end: int
    fields: dict[str, object]
    form: str  # key or comment


def has_marks(text: str) -> bool:
    return MARK_BEGIN in text or MARK_END in text


def find_marked(text: str, leader: str, *, name: str, is_comment: Callable[[int], bool]) -> list[Block]:
    """Return the blocks between marks; `is_comment` says of a line's start whether a comment can stand there."""
    if not has_marks(text):
        return []
    blocks: list[Block] = []
    begun: int | None = None
    mark = re.compile(rf"(?:^|(?<=\A{BOM})){re.escape(leader)} ({MARK_BEGIN}|{MARK_END})[ \t]*\r?$", re.MULTILINE)
    for found in mark.finditer(text):
        if not is_comment(found.start()):
            continue
        if (found[1] == MARK_BEGIN) == (begun is not None):
            raise _damaged(text, found.start(), name)
        if begun is None:
            begun = found.start()
        else:
            end = line_end(text, found.end())
            blocks.append(Block(begun, end, _said(text, begun, found.start(), leader, name), "comment"))
            begun = None
    if begun is not None:
        raise _damaged(text, begun, name)
    return blocks


def outside_of(spans: Iterable[tuple[int, int]]) -> Callable[[int], bool]:
    """Return what says of a place whether it lies in none of the spans."""
    ordered = sorted(spans)
    starts = [start for start, _ in ordered]
    ends = list(accumulate((end for _, end in ordered), max))

    def is_outside(at: int) -> bool:
        before = bisect_right(starts, at)
        return before == 0 or ends[before - 1] <= at

    return is_outside


def _said(text: str, start: int, end: int, leader: str, name: str) -> dict[str, object]:
    lines = text[line_end(text, start) : end].splitlines()
    if end - start > MAX_BLOCK or not all(line.startswith(leader) for line in lines):
        raise _damaged(text, start, name)
    inner = [line[len(leader) :] for line in lines]
    fields = read_own_lines(inner)
    if fields is None:
        fields = _restyled(inner)
    if fields is None:
        raise _damaged(text, start, name)
    return fields


def _restyled(lines: list[str]) -> dict[str, object] | None:
    """Return what a block says that is not written as we write it; None where it is none of ours."""
    import yaml

    try:
        said = yaml.load("\n".join(lines), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (a safe loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return None
    return as_fields(said[KEY]) if isinstance(said, dict) and set(said) == {KEY} and is_ours(said[KEY]) else None


def _damaged(text: str, at: int, name: str) -> BakeRefused:
    line = text.count("\n", 0, at) + 1
    return BakeRefused(
        "block_damaged",
        f"{name}, line {line}: the telemetry block is damaged: delete what is left of it, marks included",
    )


def one_block(blocks: list[Block], name: str) -> Block | None:
    if len(blocks) > 1:
        raise BakeRefused("duplicate_telemetry", f"{name} has {len(blocks)} telemetry blocks: delete all but one")
    return blocks[0] if blocks else None


def marked_text(fields: Mapping[str, object], leader: str, eol: str, *, indent: str = "") -> str:
    """Return the block's lines, each ended."""
    return "".join(f"{indent}{line}{eol}" for line in comment_lines(fields, leader))
