"""The block itself: its fields, how it is written, and whose a block is."""

from __future__ import annotations

import io
import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rye_telemetry.errors import BakeRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

PUBLISHED = ("total_runs", "success_count", "failure_count", "success_rate", "avg_duration_ms", "last_run")
EXTRAS = ("timeout_count", "p95_duration_ms", "content_hash", "first_run", "window_days", "success_rate_low")
FIELDS = (*PUBLISHED, *EXTRAS)
KEY = "telemetry"
MARK_BEGIN = ">>> rye-telemetry >>>"
MARK_END = "<<< rye-telemetry <<<"
# In a header that was not there before: who finds it alone with the block knows that it goes with the block.
ADDED = "# header added by rye-telemetry"
_KNOWN = frozenset(FIELDS)
_VALUE = "%s"
_OWN_LINE = re.compile(
    r"   (?P<name>[a-z0-9_]+): (?:(?P<number>(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?)|\"(?P<text>[^\"\\]*)\")"
)


def usable_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields that have a value, in their published order; ValueError for what no block may hold."""
    unknown = sorted(set(fields) - _KNOWN)
    if unknown:
        raise ValueError(f"no published field is called {unknown[0]!r}: there is {', '.join(FIELDS)}")
    if fields.get("total_runs") is None:
        raise ValueError("total_runs is missing: no block is without it")
    return {name: _usable(name, fields[name]) for name in FIELDS if fields.get(name) is not None}


def _usable(name: str, value: object) -> object:
    if isinstance(value, str):
        if not (value.isascii() and value.isprintable() and len(value) <= 100) or set(value) & set("`*\\\"'"):
            raise ValueError(f"{name} is {value[:40]!r}: a block holds instants and hashes, no other text")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}, which is no number")
    return value


def read_own_lines(lines: list[str]) -> dict[str, object] | None:
    """Return what the lines of a block say that are as `yaml_lines` writes them, a blank before each; else None.

    It spares most programs the YAML parser, whose import alone costs 15 ms.
    """
    if not lines or lines[0] != f" {KEY}:":
        return None
    fields: dict[str, object] = {}
    for line in lines[1:]:
        found = _OWN_LINE.fullmatch(line)
        if found is None or found["name"] not in _KNOWN or found["name"] in fields:
            return None
        number, text = found["number"], found["text"]
        fields[found["name"]] = text if number is None else float(number) if "." in number else int(number)
    return fields if "total_runs" in fields else None


def is_ours(found: object) -> bool:
    """Say whether a `telemetry` value is a block of ours: published fields only, `total_runs` among them."""
    return (
        isinstance(found, dict)
        and "total_runs" in found
        and all(type(key) is str and key in _KNOWN for key in found)
        and not any(isinstance(value, (dict, list, tuple, set)) for value in found.values())
    )


def same_values(found: Mapping[str, object], fields: Mapping[str, object]) -> bool:
    """Say whether a block says what is to be said, whatever way a formatter writes it."""
    return found.keys() == fields.keys() and all(_same(found[name], fields[name]) for name in fields)


def _same(one: object, other: object) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return False
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other
    return plain_text(one) == plain_text(other)


def plain_text(value: object) -> str:
    """What a reader makes of an unquoted instant is the instant all the same."""
    import datetime as dt

    if isinstance(value, dt.datetime):
        value = value if value.tzinfo is None else value.astimezone(dt.timezone.utc).replace(tzinfo=None)
        return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds") + "Z"
    return str(value)


def yaml_lines(fields: Mapping[str, object]) -> list[str]:
    """Return the block as lines of YAML without their ends."""
    head, *lines = _shape(tuple((name, isinstance(value, str)) for name, value in fields.items()))
    return [head, *(line % (_plain(value) or value) for line, value in zip(lines, fields.values(), strict=True))]


@lru_cache(maxsize=64)
def _shape(kinds: tuple[tuple[str, bool], ...]) -> tuple[str, ...]:
    """Return what ruamel makes of such fields, with a place for each value: a run costs 0.4 ms, and values are few kinds.

    A text of `usable_fields` needs no escapes between its quotes.
    """
    out = io.StringIO()
    _writer().dump({KEY: {name: _Quoted(_VALUE) if is_text else 0 for name, is_text in kinds}}, out)
    head, *lines = out.getvalue().splitlines()
    return head, *(line if is_text else line[:-1] + _VALUE for line, (_, is_text) in zip(lines, kinds, strict=True))


def comment_lines(fields: Mapping[str, object], leader: str) -> list[str]:
    """Return the block between its marks, each line a comment."""
    return [f"{leader} {line}" for line in (MARK_BEGIN, *yaml_lines(fields), MARK_END)]


def json_value(fields: Mapping[str, object]) -> str:
    import json

    return "{" + ", ".join(f'"{name}": {_plain(value) or json.dumps(value)}' for name, value in fields.items()) + "}"


def _plain(value: object) -> str:
    """Return a number without an exponent, which YAML 1.1 would read as text; nothing for what is no number."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        from decimal import Decimal

        text = format(Decimal(repr(value)), "f")
        return text if "." in text else f"{text}.0"
    return ""


class _Quoted(str):
    __slots__ = ()


@lru_cache(maxsize=1)
def _writer() -> Any:
    from ruamel.yaml import YAML

    writer = YAML()
    writer.width = 4096
    writer.representer.add_representer(
        _Quoted,
        lambda representer, text: representer.represent_scalar("tag:yaml.org,2002:str", str(text), style='"'),
    )
    return writer


def as_fields(block: Mapping[str, object]) -> dict[str, object]:
    """Return a block's values as we write them: a reader makes an unquoted instant a time."""
    return {name: plain_text(value) if hasattr(value, "isoformat") else value for name, value in block.items()}


def found_value(block: object, place: str) -> dict[str, object]:
    """Return a `telemetry` value as our fields, or refuse because it belongs to the author."""
    if isinstance(block, dict) and is_ours(block):
        return as_fields(block)
    raise BakeRefused(
        "foreign_telemetry",
        f"{place} has a `telemetry` of its author's, which is left as it is: rename it, or keep this file without numbers",
    )
