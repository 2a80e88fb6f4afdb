"""Three versions of an item become one: its lines by git, its block from one side or from the store. A merge driver."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
from typing import TYPE_CHECKING, NamedTuple

from rye_telemetry.bake import bake_bytes, read_bytes, strip_bytes
from rye_telemetry.bake.block import same_values
from rye_telemetry.errors import BakeRefused, MergeFailed, RyeTelemetryError
from rye_telemetry.files import open_fd, write_all
from rye_telemetry.gitrun import hook_environment, run_git

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Block = Mapping[str, object] | None

LABELS = ("ours", "base", "theirs")
MARKER_SIZE = 7
_MOST_CONFLICTS = 127  # the exit code of `git merge-file`; above it, it failed
_NAMES = ("base", "ours", "theirs")


class Merged(NamedTuple):
    """The merged bytes, and whether conflicts remain in them, marked as git marks them."""

    data: bytes
    conflicts: bool


class _Sides(NamedTuple):
    base: bytes
    ours: bytes
    theirs: bytes


class _Lines(NamedTuple):
    """How lines are merged: by `git merge-file`, which follows merge.conflictStyle of the repository we stand in."""

    env: Mapping[str, str]
    labels: tuple[str, str, str]  # of ours, base and theirs
    marker_size: int

    def merge(self, sides: _Sides) -> Merged:
        with tempfile.TemporaryDirectory(prefix="rye-telemetry-") as folder:
            paths = {name: os.path.join(folder, name) for name in _NAMES}
            for name, data in zip(_NAMES, sides, strict=True):
                _write(paths[name], data)
            labels = [word for label in self.labels for word in ("-L", label)]
            size = f"--marker-size={self.marker_size}"
            order = (paths["ours"], paths["base"], paths["theirs"])
            told = run_git(["merge-file", "-p", "-q", size, *labels, *order], env=hook_environment(self.env))
        if told.code < 0:
            raise MergeFailed(f"git merge-file was killed by signal {-told.code}: try again")
        if told.code > _MOST_CONFLICTS:  # binary files, of which git itself keeps ours too
            return Merged(sides.ours, conflicts=True)
        return Merged(told.out, conflicts=told.code > 0)


def merge_item(  # noqa: PLR0913 (what git hands to a merge driver)
    base: bytes,
    ours: bytes,
    theirs: bytes,
    filename: str,
    recorded: Callable[[], Block],
    *,
    env: Mapping[str, str],
    labels: tuple[str, str, str] = LABELS,
    marker_size: int = MARKER_SIZE,
) -> Merged:
    """Merge as git does, but for the block; `recorded` gives its fields from the store, None where nothing is recorded.

    Where a block cannot be told from the text, git's own merge of the whole is the result.
    """
    sides = _Sides(base, ours, theirs)
    lines = _Lines(env, labels, marker_size)
    plain = lines.merge(sides)
    try:
        return _with_block(sides, filename, recorded, lines, plain)
    except (BakeRefused, ValueError):  # or a block that says what no block may say
        return plain


def merge_driver(  # noqa: PLR0913 (as above)
    base_path: str,
    ours_path: str,
    theirs_path: str,
    pathname: str,
    *,
    recorded: Callable[[], Block],
    env: Mapping[str, str],
    marker_size: int = MARKER_SIZE,
) -> int:
    """Merge what git put into three files, into the second; return 0, or 1 where conflicts remain.

    MergeFailed leaves that file as it was; its exit code is one that git cannot take for conflicts.
    """
    try:
        sides = _Sides(_read(base_path), _read(ours_path), _read(theirs_path))
        merged = merge_item(*sides, filename=pathname, recorded=recorded, env=env, marker_size=marker_size)
        with open(ours_path, "r+b") as f:  # git made it, and reads it by this name
            f.write(merged.data)
            f.truncate()
    except (RyeTelemetryError, OSError) as e:
        raise MergeFailed(f"{pathname!r} was not merged: {e}") from e
    return int(merged.conflicts)


def choose_block(base: Block, ours: Block, theirs: Block, recorded: Callable[[], Block]) -> Block:
    """Return the block of the merged item, None for none: what one side alone changed, else what the store says."""
    if _same(ours, theirs) or _same(theirs, base):
        return ours
    if _same(ours, base):
        return theirs
    try:
        known = recorded()
    except RyeTelemetryError:  # a store that cannot be read must not stop a merge
        known = None
    return known or max(ours, theirs, key=_age)


def _with_block(sides: _Sides, filename: str, recorded: Callable[[], Block], lines: _Lines, plain: Merged) -> Merged:
    base, ours, theirs = (_block(side, filename) for side in sides)
    if base is None and ours is None and theirs is None:
        return plain
    block = choose_block(base, ours, theirs, recorded)
    stripped = _Sides(*(_stripped(side, filename) for side in sides))
    merged = lines.merge(stripped)
    if not (plain.conflicts or merged.conflicts) and _holds(plain.data, merged.data, filename, block):
        return plain  # and the block keeps the style and the place that its author gave it
    if not merged.conflicts or block is None:
        return Merged(_with_if_taken(merged.data, filename, block), merged.conflicts)
    # With the same block in each version it is no part of any conflict; most conflicted texts could not be baked.
    again = lines.merge(_Sides(*(_with(side, filename, block) for side in stripped)))
    chosen = [[_chosen(each.data, side, lines.marker_size) for side in ("ours", "theirs")] for each in (again, merged)]
    return again if all(_holds(data, text, filename, block) for data, text in zip(*chosen, strict=True)) else plain


def _block(data: bytes, filename: str) -> Block:
    """Return an item's block as values that can be baked again; an empty file stands for one that was not there."""
    found = read_bytes(data, filename) if data else None
    return found and {name: _value(value) for name, value in found.items() if value is not None}


def _value(value: object) -> object:
    """Return the text of an instant that stood there unquoted."""
    if isinstance(value, dt.datetime):
        instant = value.astimezone(dt.timezone.utc) if value.tzinfo else value
        return f"{instant.replace(tzinfo=None).isoformat()}Z"
    return value.isoformat() if isinstance(value, dt.date) else value


def _stripped(data: bytes, filename: str) -> bytes:
    return strip_bytes(data, filename).data if data else data


def _with(data: bytes, filename: str, block: Block) -> bytes:
    return bake_bytes(data, filename, block).data if data and block else data


def _with_if_taken(data: bytes, filename: str, block: Block) -> bytes:
    """A clean merge that takes no block is left without one: the text of both sides counts, and a bake comes again."""
    try:
        return _with(data, filename, block)
    except BakeRefused:
        return data


def _same(one: Block, other: Block) -> bool:
    if one is None or other is None:
        return one is other
    return same_values(one, other)


def _says(data: bytes, filename: str, block: Block) -> bool:
    try:
        return _same(_block(data, filename), block)
    except BakeRefused:
        return False


def _age(block: Block) -> tuple[float, str]:
    if block is None:
        return (-1, "")
    runs = block.get("total_runs")
    return (runs if isinstance(runs, (int, float)) else 0, str(block.get("last_run", "")))


def _holds(data: bytes | None, text: bytes | None, filename: str, block: Block) -> bool:
    """Say whether one choice in all conflicts gives the block, and beside it the text of that choice without blocks."""
    if data is None or text is None:
        return False
    try:
        return _says(data, filename, block) and _stripped(data, filename) == text
    except BakeRefused:
        return False


def _chosen(data: bytes, side: str, marker_size: int) -> bytes | None:
    """Return the text with one side of each conflict; None where its marks cannot be told from text."""
    within = ""
    kept = []
    for line in data.splitlines(keepends=True):
        mark = _mark(line, marker_size)
        if (within, mark) in _STEPS:
            within = _STEPS[within, mark]
        elif mark in ("<", ">") or (mark and within):
            return None
        elif within in ("", side):
            kept.append(line)
    return None if within else b"".join(kept)


_STEPS = {
    ("", "<"): "ours",
    ("ours", "|"): "base",
    ("ours", "="): "theirs",
    ("base", "="): "theirs",
    ("theirs", ">"): "",
}


def _mark(line: bytes, size: int) -> str:
    start, rest = line[:size].decode("latin-1"), line[size:].rstrip(b"\r\n")
    is_mark = len(start) == size and len(set(start)) == 1 and start[0] in "<|=>"
    return start[0] if is_mark and (rest.startswith(b" ") or not rest) else ""


def _read(path: str) -> bytes:
    with open(path, "rb") as f:
        return f.read()


def _write(path: str, data: bytes) -> None:
    fd = open_fd(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)
