"""The words of the domain, as values. No I/O, no clock, no environment.

Plain tuples and type-checking-only declarations rather than enums and dataclasses: this module is imported before a
wrapped command starts, and `enum` plus `dataclasses` cost more than the whole interpreter (docs/decisions.md).
"""

from __future__ import annotations

import os

from rye_telemetry.errors import InvalidRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NewType

    ItemId = NewType("ItemId", str)
    RunId = NewType("RunId", str)
    Fields = dict[str, Any]  # one JSON object: a journal line, a run, an item
else:
    ItemId = RunId = str

ITEM_TYPES = ("directive", "tool", "knowledge")
ENDED = ("success", "failure", "timeout", "cancelled", "abandoned", "partial")
OUTCOMES = (*ENDED, "running")
OUTCOME_ALIASES = {
    "failed": "failure",
    "error": "failure",
    "completed": "success",
    "succeeded": "success",
    "canceled": "cancelled",
}
# success_rate = success / these: a cancelled or abandoned run says nothing about the item.
JUDGED = ("success", "failure", "timeout", "partial")

# How a link between a run and a commit is known, strongest first (docs/git.md).
EVIDENCE = (
    "hook",
    "head-moved",
    "explicit",
    "trailer",
    "note",
    "rewritten",
    "patch-id",
    "tree",
    "range-patch-id",
)
COMMIT_SOURCES = ("manual", "llm", "ci")
HASH_LENGTHS = (40, 64)  # SHA-1, SHA-256
_HEX = frozenset("0123456789abcdef")

RUN_FIELDS = (
    "run_id",
    "item_type",
    "item_id",
    "path",
    "content_hash",
    "outcome",
    "started_at",
    "ended_at",
    "duration_ms",
    "exit_code",
    "signal",
    "error",
    "http_calls",
    "subprocess_calls",
    "parent_run_id",
    "session_id",
    "agent",
    "workflow",
    "caller",
    "model",
    "inputs",
    "tags",
    "metrics",
    "items_discovered",
    "items_succeeded",
    "items_failed",
    "items_skipped",
    "git_repo",
    "git_branch",
    "git_commit_hash",
    "git_dirty",
    "git_worktree",
    "project_path",
)
MAX_ITEM_ID = 512
MAX_TEXT = 2000
MAX_LABEL = 200  # of an agent, a workflow, a tag
MAX_PATH = 4096
MAX_DURATION_MS = 1e13  # 317 years; more is a unit mistake, and YAML 1.1 has no name for 1e+16


def check_item_type(item_type: object) -> str:
    if item_type not in ITEM_TYPES:
        raise InvalidRecord(f"item type {item_type!r} is unknown: use one of {', '.join(ITEM_TYPES)}")
    return str(item_type)


def check_item_id(item_id: object) -> ItemId:
    """Return the id when every reader of YAML and JSON gives it back unchanged; raise InvalidRecord otherwise."""
    if not isinstance(item_id, str):
        raise InvalidRecord(f"item id must be text, not {type(item_id).__name__}")
    if not item_id:
        raise InvalidRecord("item id is empty: name the item")
    if len(item_id) > MAX_ITEM_ID:
        raise InvalidRecord(f"item id has {len(item_id)} characters, at most {MAX_ITEM_ID} are kept: shorten it")
    if not item_id.isprintable():  # ASCII and most other ids leave here
        for place, char in enumerate(item_id):
            if is_unprintable(char):
                raise InvalidRecord(f"item id has the character U+{ord(char):04X} at {place}: remove it")
    return ItemId(item_id)


def is_unprintable(char: str) -> bool:
    """Say whether a character is a control, a line break, a surrogate or a byte order mark, which ids may not hold."""
    code = ord(char)
    return (
        code < 0x20
        or 0x7F <= code <= 0x9F
        or code in (0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF)
        or 0xD800 <= code <= 0xDFFF
    )


def is_commit_hash(text: object) -> bool:
    """Say whether it is a whole object name, and not the null one."""
    return type(text) is str and len(text) in HASH_LENGTHS and set(text) <= _HEX and set(text) != {"0"}


def is_run_id(text: str) -> bool:
    """Say whether it has the form of our run ids: a UUID, in small letters."""
    parts = text.split("-")
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and all(set(part) <= _HEX for part in parts)


def check_path(path: object) -> str:
    try:
        text = os.fsdecode(path)  # type: ignore[arg-type]
    except TypeError as e:
        raise InvalidRecord(f"path must be a path, not {type(path).__name__}") from e
    if len(text) > MAX_PATH:
        raise InvalidRecord(f"path has {len(text)} characters, at most {MAX_PATH} are kept: shorten it")
    return text


def check_outcome(outcome: object) -> str:
    """Return the outcome's one name (`failed` reads as `failure`); raise InvalidRecord for any other word."""
    if isinstance(outcome, str):
        outcome = OUTCOME_ALIASES.get(outcome, outcome)
        if outcome in ENDED:
            return outcome
    raise InvalidRecord(f"outcome {outcome!r} is unknown: use one of {', '.join(ENDED)}")


def check_count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise InvalidRecord(f"{name} must be a whole number from 0, not {value!r}")
    return value


def usable_duration(value: object) -> float | int | None:
    """Return a duration that can be averaged, or None for one that cannot (NaN, infinite, negative, over 317 years)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidRecord(f"duration_ms must be a number, not {value!r}")
    if not 0 <= value <= MAX_DURATION_MS:  # NaN compares false
        return None
    return round(value, 3)


def utf8_text(text: str) -> str:
    """Return text that UTF-8 can hold: what it cannot, of a name that is not UTF-8, is escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def clean_text(text: str, limit: int = MAX_TEXT) -> str:
    """Return text that UTF-8 can hold, cut to `limit` characters with what was cut said at its end."""
    text = utf8_text(text)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more characters)"
