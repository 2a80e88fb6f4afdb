"""What is told of a bake: a line a file, a unified diff, JSON."""

from __future__ import annotations

import difflib
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rye_telemetry.publish.files import Outcome
    from rye_telemetry.publish.order import Report

_WOULD = {"baked": "would bake", "stripped": "would strip"}
_COLOURS = ((b"---", b"1"), (b"+++", b"1"), (b"@@", b"36"), (b"+", b"32"), (b"-", b"31"))


def shown(path: str) -> str:
    """Return a path as a user would type it here."""
    try:
        short = os.path.relpath(path)
    except (OSError, ValueError):  # no working directory, another drive
        return path
    return path if short.startswith("..") else short


def lines(outcomes: Iterable[Outcome], *, would: bool) -> Iterator[str]:
    """Yield a line for each file that changed; files without anything to say are not mentioned."""
    for outcome in outcomes:
        if outcome.changed:
            said = _WOULD[outcome.result] if would else outcome.result
            yield f"{said} {shown(outcome.path)}{_numbers(outcome)}"


def _numbers(outcome: Outcome) -> str:
    if outcome.result != "baked" or not outcome.fields:
        return ""
    runs = outcome.fields["total_runs"]
    rate = outcome.fields.get("success_rate")
    rated = "" if rate is None else f", success rate {rate}"
    return f" ({runs} run{'' if runs == 1 else 's'}{rated})"


def remarks(report: Report) -> Iterator[str]:
    """Yield what belongs on stderr: refusals, warnings, notes."""
    for outcome in report.outcomes:
        if outcome.message is not None:
            yield f"{_named(outcome, outcome.message)} ({outcome.code})"
        yield from (_named(outcome, warning) for warning in outcome.warnings)
    yield from report.notes


def _named(outcome: Outcome, message: str) -> str:
    """Return what is said of a file with its path as one would type it; pure functions know its name alone."""
    name, path = os.path.basename(outcome.path), shown(outcome.path)
    if outcome.path in message:
        return message.replace(outcome.path, path)
    if path in message:
        return message
    return path + message[len(name) :] if message.startswith(name) else f"{path}: {message}"


def diff(outcomes: Iterable[Outcome], *, terminal: bool, colour: bool) -> bytes:
    """Return what changes, as a unified diff in the files' own bytes; on a terminal none that could move its cursor."""
    found = b"".join(_diff_of(outcome) for outcome in outcomes if outcome.changed)
    lines = [_visible(line) for line in _lines(found)] if terminal else _lines(found)
    return b"".join(map(_painted, lines) if colour else lines)


def _visible(line: bytes) -> bytes:
    text = line.decode("utf-8", "backslashreplace").removesuffix("\n").removesuffix("\r")
    return (
        "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text).encode()
        + b"\n"
    )


def _diff_of(outcome: Outcome) -> bytes:
    name = shown(outcome.path)
    path = os.fsencode(name if name.isprintable() else name.encode("unicode_escape", "surrogatepass").decode())
    parts = difflib.diff_bytes(
        difflib.unified_diff, _lines(outcome.old), _lines(outcome.new), b"a/" + path, b"b/" + path, lineterm=b"\n"
    )
    return b"".join(part if part.endswith(b"\n") else part + b"\n\\ No newline at end of file\n" for part in parts)


def _lines(data: bytes) -> list[bytes]:
    return re.findall(rb"[^\n]*\n|[^\n]+", data)


def _painted(line: bytes) -> bytes:
    for start, code in _COLOURS:
        if line.startswith(start):
            text = line.rstrip(b"\r\n")
            return b"\x1b[" + code + b"m" + text + b"\x1b[0m" + line[len(text) :]
    return line


def as_json(report: Report, *, written: bool) -> dict[str, object]:
    """Return the answer of `--json`. `written`: whether files were changed, or only looked at."""
    return {
        "success": not report.failed,
        "changed": report.changed,
        "written": written,
        "files": [file_json(outcome) for outcome in report.outcomes],
        "notes": list(report.notes),
    }


def file_json(outcome: Outcome) -> dict[str, object]:
    """Return what is told of one file. Fields: docs/schema.md."""
    item_type, item_id = outcome.item or (None, None)
    return {
        "path": shown(outcome.path),
        "result": outcome.result,
        "item_type": item_type,
        "item_id": item_id,
        "telemetry": None if outcome.fields is None else dict(outcome.fields),
        "code": outcome.code,
        "message": None if outcome.message is None else _named(outcome, outcome.message),
        "warnings": [_named(outcome, warning) for warning in outcome.warnings],
    }
