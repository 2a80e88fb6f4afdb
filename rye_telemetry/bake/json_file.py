"""JSON: the block is the first member of the root object."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from rye_telemetry.bake.block import KEY, found_value, json_value, same_values
from rye_telemetry.bake.edges import BOM, Edit, Source
from rye_telemetry.errors import BakeRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

_SPACE = re.compile(r"[ \t\r\n]*")


class Member(NamedTuple):
    key: str
    start: int  # of the key's quote
    value_start: int
    end: int


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _pairs(found: list[tuple[str, Any]]) -> Any:
    return ("object", *found)


# Numbers as they are written: another spelling of the same one is a change.
_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=str, parse_int=str, object_pairs_hook=_pairs)


def _members(text: str, name: str) -> tuple[int, list[Member]]:
    """Return where the root object's first member may stand, and its members."""
    at = _skip(text, len(BOM) if text.startswith(BOM) else 0)
    if text[at : at + 1] != "{":
        raise BakeRefused("not_an_object", f"{name}: its JSON is no object, so it takes no member")
    inside = at = at + 1
    members: list[Member] = []
    at = _skip(text, at)
    while text[at] != "}":
        start = _skip(text, at + 1) if members else at
        key, at = _DECODER.raw_decode(text, start)
        value_start = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, value_start)
        members.append(Member(key, start, value_start, end))
        at = _skip(text, end)
    return inside, members


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing too


def _parse(text: str, name: str) -> Any:
    try:
        return _DECODER.decode(text.removeprefix(BOM))
    except (ValueError, RecursionError) as e:
        raise BakeRefused("invalid_json", f"{name}: not valid JSON ({e}): mend it first") from e


def _own(text: str, members: list[Member], name: str) -> tuple[Member, dict[str, object]] | None:
    ours = [member for member in members if member.key == KEY]
    if len(ours) > 1:
        raise BakeRefused("duplicate_telemetry", f"{name} has {len(ours)} telemetry members: delete all but one")
    if not ours:
        return None
    try:
        said = json.loads(text[ours[0].value_start : ours[0].end])
    except (ValueError, RecursionError):  # a number of thousands of digits
        said = None
    return ours[0], found_value(said, name)


def bake(source: Source, fields: Mapping[str, object]) -> tuple[str, list[str]]:
    text, name, _ = source
    before = _parse(text, name)
    inside, members = _members(text, name)
    own = _own(text, members, name)
    if own is not None:
        member, said = own
        if same_values(said, fields):
            return text, []
        return Edit(member.value_start, member.end, json_value(fields)).apply(text), []
    member_text = f'"{KEY}": {json_value(fields)}'
    if members:
        member_text = text[inside : members[0].start] + member_text + ","
    new = Edit(inside, inside, member_text).apply(text)
    _check(before, _parse(new, name), name)
    return new, []


def _check(without: Any, baked: Any, name: str) -> None:
    try:
        same = without[1:] == tuple(pair for pair in baked[1:] if pair[0] != KEY)
    except RecursionError as e:
        raise BakeRefused("invalid_json", f"{name}: its JSON is nested too deeply") from e
    if not same:
        raise BakeRefused("changed_elsewhere", f"{name}: a block here would change the rest, so nothing was written")


def strip(source: Source) -> str:
    text, name, _ = source
    before = _parse(text, name)
    inside, members = _members(text, name)
    own = _own(text, members, name)
    if own is None:
        return text
    place = members.index(own[0])
    if place:
        edit = Edit(members[place - 1].end, own[0].end, "")
    elif len(members) > 1:
        edit = Edit(own[0].start, members[1].start, "")
    else:
        edit = Edit(inside if own[0].start == inside else own[0].start, own[0].end, "")
    new = edit.apply(text)
    _check(_parse(new, name), before, name)
    return new


def read(source: Source) -> dict[str, object] | None:
    text, name, _ = source
    _parse(text, name)
    own = _own(text, _members(text, name)[1], name)
    return own[1] if own else None
