"""A block in YAML: a header's inside or a whole file. Put in, put anew, taken out, and looked at again afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rye_telemetry.bake.block import comment_lines, same_values, yaml_lines
from rye_telemetry.bake.edges import Edit, eol_of, remove_lines
from rye_telemetry.bake.marks import Block, one_block
from rye_telemetry.errors import BakeRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rye_telemetry.bake.outline import Outline

LEADER = "#"


def put_block(  # noqa: PLR0913 (all of it is what a place is)
    text: str, outline: Outline, fields: Mapping[str, object], *, form: str, eol: str, name: str
) -> list[Edit]:
    """Return the changes that make `text` say `fields`, in the order in which they are applied; none where it does."""
    block = one_block(outline.blocks, name)
    if block is not None and same_values(block.fields, fields):
        return []
    if block is not None and block.form == form:
        return [_replacement(text, block, outline, fields)]
    lines = _lines(fields, form, outline.indent)
    insertion = _insertion(text, outline.place, lines, eol)
    if block is None:
        return [insertion]
    removal = remove_lines(text, block.start, block.end)
    shift = removal.end - removal.start if removal.start < insertion.start else 0
    return [removal, insertion._replace(start=insertion.start - shift, end=insertion.end - shift)]


def _lines(fields: Mapping[str, object], form: str, indent: int) -> list[str]:
    lines = yaml_lines(fields) if form == "key" else comment_lines(fields, LEADER)
    return [" " * indent + line for line in lines] if form == "key" else lines


def _replacement(text: str, block: Block, outline: Outline, fields: Mapping[str, object]) -> Edit:
    eol = eol_of(text, block.start) or "\n"
    ended = eol if text[: block.end].endswith("\n") else ""
    return Edit(block.start, block.end, eol.join(_lines(fields, block.form, outline.indent)) + ended)


def _insertion(text: str, place: int, lines: list[str], eol: str) -> Edit:
    if place == len(text) and text and not text.endswith("\n"):  # a file without a final line end keeps none
        return Edit(place, place, eol + eol.join(lines))
    return Edit(place, place, "".join(line + eol for line in lines))


def take_block(text: str, outline: Outline, name: str) -> list[Edit]:
    block = one_block(outline.blocks, name)
    return [] if block is None else [remove_lines(text, block.start, block.end)]


def check_outline(old: Outline, new: Outline, fields: Mapping[str, object] | None, name: str) -> None:
    """Refuse a result in which a reader would find anything else than before, but for the block."""
    said = [block.fields for block in new.blocks]
    wanted = [] if fields is None else [dict(fields)]
    same = len(said) == len(wanted) and all(same_values(one, two) for one, two in zip(said, wanted, strict=True))
    if not same or old.rest != new.rest or old.valid != new.valid:
        raise BakeRefused(
            "changed_elsewhere", f"{name}: a block here would change how the rest is read, so nothing was written"
        )
