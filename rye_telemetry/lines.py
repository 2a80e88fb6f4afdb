"""One journal line: its words, its JSON, its ids and its instants. Line shapes: docs/journal.md.

JSON goes through the interpreter's own C coder without the `json` package, whose import of `re` costs more than half an
interpreter start.
"""

from __future__ import annotations

import os
import time

from rye_telemetry.errors import StateTooNew
from rye_telemetry.model import ENDED, EVIDENCE, ITEM_TYPES, MAX_DURATION_MS, is_commit_hash

try:
    from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner
except ImportError:  # another interpreter than CPython
    make_encoder = None  # type: ignore[assignment, misc]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rye_telemetry.model import Fields

VERSION = 1
MAX_VERSION = 1000  # what claims more is damage
START_PREFIX = b'{"v":1,"kind":"start","run_id":"'
KINDS = ("segment", "start", "run", "abandoned", "checkpoint", "link", "commit", "rewrite")
# A line is one write; past this a reader would hold too much at once for too little.
MAX_LINE_BYTES = 256 * 1024
MAX_DEPTH = 900


class _ScannerSettings:
    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012 (read by the scanner, never by us)

    @staticmethod
    def parse_constant(name: str) -> None:
        raise ValueError(f"{name} is not JSON")


def _refuse(value: object) -> None:
    raise TypeError(f"JSON has no word for {type(value).__name__}")


if make_encoder is not None:
    _rest: Any = (None, ":", ",", False, False, False)  # indent, separators, sorted keys, skipped keys, NaN
    _encode = make_encoder(None, _refuse, encode_basestring, *_rest)
    _encode_ascii = make_encoder(None, _refuse, encode_basestring_ascii, *_rest)
    _scan = make_scanner(_ScannerSettings())  # type: ignore[arg-type]

    def encode_json(value: object) -> str:
        """Return compact JSON, non-ASCII as itself; ValueError or TypeError for what JSON has no word for."""
        text = "".join(_encode(value, 0))
        try:
            text.encode()
        except UnicodeEncodeError:  # a lone surrogate, from a name that is not UTF-8
            return "".join(_encode_ascii(value, 0))
        return text

    def decode_json(text: str) -> Any:
        """Return the value of one JSON text; ValueError when it is anything else, NaN and Infinity included."""
        text = text.strip(" \t\r\n")
        try:
            value, end = _scan(text, 0)
        except (StopIteration, RecursionError, SystemError) as e:  # it cannot raise JSONDecodeError without `json`
            raise ValueError("not a JSON text") from e
        if end != len(text):
            raise ValueError(f"more text after the JSON value, at {end}")
        return value

else:

    def encode_json(value: object) -> str:
        import json

        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        try:
            text.encode()
        except UnicodeEncodeError:
            return json.dumps(value, separators=(",", ":"), allow_nan=False)
        return text

    def decode_json(text: str) -> Any:
        import json

        try:
            return json.loads(text, parse_constant=_ScannerSettings.parse_constant)
        except RecursionError as e:
            raise ValueError("not a JSON text") from e


def encode_line(kind: str, fields: Fields) -> bytes:
    """Return one whole line; fields that are None are left out."""
    known = {name: value for name, value in fields.items() if value is not None}
    return encode_json({"v": VERSION, "kind": kind, **known}).encode() + b"\n"


def fitting_line(kind: str, run: Fields) -> bytes:
    """Return the line; what makes it larger than any line of ours is left out, and that is said in it."""
    line = encode_line(kind, run)
    dropped: list[str] = []
    for name in ("metrics", "inputs", "tags"):
        if len(line) <= MAX_LINE_BYTES:
            break
        dropped.append(name)
        kept = {field: value for field, value in run.items() if field not in dropped}
        line = encode_line(kind, {**kept, "refused": {"too_large": dropped}})
    return line


def decode_line(raw: bytes) -> Fields:
    """Return a line's fields, upcast to the current version.

    ValueError: not a line of ours, or damaged. StateTooNew: written by a newer major version.
    """
    if len(raw) > MAX_LINE_BYTES:
        raise ValueError("longer than any line of ours")
    fields = decode_json(raw.decode())
    if type(fields) is not dict:
        raise ValueError("not a JSON object")
    version = fields.get("v")
    if version != VERSION:
        if type(version) is int and VERSION < version < MAX_VERSION:
            raise StateTooNew(
                f"a journal line has version {version}, this program reads {VERSION}: upgrade rye-telemetry"
            )
        raise ValueError("no line version")
    check_line(fields)
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _nests_over(fields, MAX_DEPTH):
        raise ValueError("nested too deeply")  # as the coder itself says before Python 3.12
    return fields


def _nests_over(value: object, limit: int) -> bool:
    level = [value]
    while level and limit:
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer if type(outer) is list else ())
        ]
        limit -= 1
    return bool(level)


def check_line(fields: Fields) -> None:
    """Raise ValueError unless what the projections compute with has the type it must have."""
    kind = fields.get("kind")
    if kind in ("run", "start"):
        if not (
            type(fields.get("run_id")) is str
            and type(fields.get("item_id")) is str
            and fields.get("item_type") in ITEM_TYPES
            and is_instant(fields.get("started_at"))
        ):
            raise ValueError("a run without id, item or start")
        if kind == "run":
            _check_end(fields)
    elif kind == "abandoned":
        if type(fields.get("run_id")) is not str or not is_instant(fields.get("ended_at")):
            raise ValueError("an abandoned run without id or end")
    elif kind in ("link", "commit", "rewrite"):
        _check_git(kind, fields)
    elif kind not in KINDS:
        raise ValueError(f"kind {str(kind)[:40]!r} is unknown")


def _check_end(fields: Fields) -> None:
    if fields.get("outcome") not in ENDED or not is_instant(fields.get("ended_at")):
        raise ValueError("an ended run without outcome or end")
    duration = fields.get("duration_ms")
    if duration is not None and not (type(duration) in (int, float) and 0 <= duration <= MAX_DURATION_MS):
        raise ValueError("a duration that is not one")
    for name in ("http_calls", "subprocess_calls"):
        count = fields.get(name)
        if count is not None and not (type(count) is int and 0 <= count < 2**53):
            raise ValueError(f"{name} is not a count")


def _check_git(kind: str, fields: Fields) -> None:
    if kind == "rewrite":
        pairs = fields.get("rewrites")
        if type(pairs) is not list or not all(
            type(pair) is list and len(pair) == 2 and is_commit_hash(pair[0]) and is_commit_hash(pair[1])
            for pair in pairs
        ):
            raise ValueError("a rewrite without its pairs of commits")
    elif not is_commit_hash(fields.get("commit_hash")):
        raise ValueError("no whole commit hash")
    elif kind == "commit":
        facts = [fields.get(name) for name in ("tree", "parent_tree", "patch_id")]
        parents = fields.get("parents", [])
        if not (all(fact is None or is_commit_hash(fact) for fact in facts) and type(parents) is list):
            raise ValueError("facts of a commit that are no hashes")
        if not all(map(is_commit_hash, parents)):
            raise ValueError("a commit's parents that are no hashes")
    elif not (
        type(fields.get("run_id")) is str
        and fields["run_id"]
        and fields.get("evidence") in EVIDENCE
        and is_instant(fields.get("linked_at"))
    ):
        raise ValueError("a link without run, evidence or instant")


_DIGITS = str.maketrans("123456789", "000000000")


def is_instant(text: object) -> bool:
    """Say whether it is an instant in our form: any other text would not order as the instants do."""
    return type(text) is str and text.translate(_DIGITS) == "0000-00-00T00:00:00.000Z"


def is_deep(value: object, limit: int = 50) -> bool:
    """Say whether a JSON value nests deeper than `limit`: what can be read on a shallow stack cannot on a deep one."""
    if type(value) is dict:
        return limit == 0 or any(is_deep(inner, limit - 1) for inner in value.values())
    if type(value) is list:
        return limit == 0 or any(is_deep(inner, limit - 1) for inner in value)
    return False


def instant_text(at_ns: int) -> str:
    """Return nanoseconds since 1970 as RFC 3339 in UTC with milliseconds; such texts order as instants."""
    global _last_second  # noqa: PLW0603 (replaced whole: a race costs nothing but work)
    seconds, rest = divmod(at_ns, 1_000_000_000)
    known, text = _last_second
    if known != seconds:
        t = time.gmtime(seconds)
        text = f"{t.tm_year:04d}-{t.tm_mon:02d}-{t.tm_mday:02d}T{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}"
        _last_second = seconds, text
    return f"{text}.{rest // 1_000_000:03d}Z"


_last_second = (-1, "")


def new_run_id(at_ns: int) -> str:
    """Return a UUIDv7 with a sub-millisecond part (RFC 9562, method 3): ids order by time within a process too."""
    milliseconds, rest = divmod(at_ns, 1_000_000)
    fraction = rest * 4096 // 1_000_000
    tail = int.from_bytes(os.urandom(8), "big") & 0x3FFFFFFFFFFFFFFF | 0x8000000000000000
    text = f"{(milliseconds << 80 | 0x7 << 76 | fraction << 64 | tail) & (1 << 128) - 1:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
