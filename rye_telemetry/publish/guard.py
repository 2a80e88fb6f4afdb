"""Is a file a telemetry store of ours? By its content alone, and from its first bytes alone.

What is read may be anything, from anybody: nothing is opened as a database, no YAML alias is followed, and of what is
packed no more is unpacked than is looked at.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rye_telemetry.errors import GitUnusable, RyeTelemetryError
from rye_telemetry.files import O_BINARY, O_NONBLOCK
from rye_telemetry.gitrun import GitProcess, hook_environment, run_git
from rye_telemetry.lines import MAX_LINE_BYTES, MAX_VERSION, check_line, decode_json, is_instant
from rye_telemetry.snapshot import MARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

HEAD_BYTES = 1 << 20  # of a file; a store of ours says what it is long before
FIRST_LINES = 8
BLOBS_AT_ONCE = 64
MAX_EVENTS = 20_000
STAGED_NAMES = re.compile(rb"(^|/)(telemetry\.ya?ml|.*\.sqlite.*|.*\.ndjson(\.gz)?)\Z", re.DOTALL)

TOTALS = "totals"
INDEX = "index"
INDEX_LOG = "index-log"
JOURNAL = "journal"
_WORDS = {
    TOTALS: "the published totals of a telemetry store",
    INDEX: "the index of a telemetry store",
    INDEX_LOG: "a log beside the index of a telemetry store",
    JOURNAL: "journal lines of a telemetry store",
}

_GZIP = b"\x1f\x8b"
_SQLITE = b"SQLite format 3\0"
_SQLITE_LOGS = (
    b"\x37\x7f\x06\x82",  # -wal, in either byte order
    b"\x37\x7f\x06\x83",
    b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7",  # -journal
    bytes(8),  # a -journal that is not yet, or no longer, to be played back
)
_TABLES = frozenset(("segments", "damage", "checkpoints", "items", "blocks", "runs"))
_ENOUGH_TABLES = 5  # the pages of one may lie behind what is read
_MAX_PAGES = 64
# Pages that a log holds: of the table of rendered blocks, which every projection changes, or of the schema.
_OUR_PAGES = re.compile(
    rb"\n    total_runs: \d+\n    success_count: \d+\n    failure_count: \d+\n"
    rb"|CREATE TABLE checkpoints \(checkpoint_id TEXT PRIMARY KEY\)"
)
_PUBLISHED = frozenset(
    ("total_runs", "success_count", "failure_count", "timeout_count", "avg_duration_ms", "http_calls", "last_run")
)
_ENOUGH_FIELDS = 4


@dataclass(frozen=True)
class Kept:
    """A file that must not be committed; `kind` is totals, index, index-log or journal."""

    file: str
    kind: str

    @property
    def reason(self) -> str:
        """What it is, and the way out."""
        return (
            f"{self.file} is {_WORDS[self.kind]}, which stays out of git: "
            f"git rm --cached {'-- ' * self.file.startswith('-')}{shlex.quote(self.file)}, and add it to .gitignore"
        )


def guard_files(paths: Iterable[str]) -> list[Kept]:
    """Return which of these files are parts of a store; RyeTelemetryError for one that cannot be read."""
    found = ((path, what_is(_head_of(path))) for path in paths)
    return [Kept(path, kind) for path, kind in found if kind is not None]


def guard_staged(env: Mapping[str, str]) -> list[Kept]:
    """Return which files of the index, as git's own variables name it, would commit a part of a store."""
    env = hook_environment(env)
    up = _git(["rev-parse", "--show-cdup"], env).rstrip(b"\n")
    staged = _staged(env)
    kinds = {blob: what_is(head) for blob, head in _heads_of(sorted(set(staged.values())), env)}
    refused = [(name, kind) for name, blob in staged.items() if (kind := kinds.get(blob)) is not None]
    return [Kept(os.fsdecode(up + name), kind) for name, kind in refused]


def what_is(head: bytes) -> str | None:
    """Return which part of a store begins with these bytes (at most HEAD_BYTES are needed), None for all else."""
    if head.startswith(_GZIP):
        head = _unpacked(head)
    if head.startswith(_SQLITE):
        return INDEX if len(_TABLES & set(_table_names(head))) >= _ENOUGH_TABLES else None
    if head.startswith(_SQLITE_LOGS):
        return INDEX_LOG if _OUR_PAGES.search(head) else None
    if _is_journal(head):
        return JOURNAL
    return TOTALS if _is_totals(head) else None


def _unpacked(data: bytes) -> bytes:
    import zlib

    try:
        return zlib.decompressobj(wbits=31).decompress(data, HEAD_BYTES)
    except zlib.error:
        return b""


# -- the journal


def _is_journal(head: bytes) -> bool:
    """Say whether half of the first lines are ours: some may be torn, or cut off."""
    if b'"kind"' not in head:
        return False
    lines = [line for line in head[: 4 * MAX_LINE_BYTES].split(b"\n", 4 * FIRST_LINES) if line.strip()][:FIRST_LINES]
    return sum(map(_is_ours, lines)) * 2 >= len(lines)


def _is_ours(line: bytes) -> bool:
    """Say whether a journal line is one of ours, of this version or a newer one."""
    try:
        fields = decode_json(line.decode())
        version = fields.get("v") if type(fields) is dict else None
        if type(version) is not int or not 0 < version < MAX_VERSION:
            return False
        check_line(fields)
    except ValueError:
        return False
    kind = fields["kind"]
    if kind == "segment":
        return type(fields.get("generation")) is str and is_instant(fields.get("created_at"))
    if kind == "checkpoint":
        return type(fields.get("checkpoint_id")) is str
    return kind != "commit" or "repo" in fields or "tree" in fields


# -- telemetry.yaml


def _is_totals(head: bytes) -> bool:
    """Say whether this is `version` and `items` with our published fields, or begins as we begin it."""
    if head.removeprefix(b"\xef\xbb\xbf").startswith(MARK.rstrip("\n").encode()):
        return True
    text = head.replace(b"\0", b"")  # it may be UTF-16
    if b"items" not in text or b"total_runs" not in text:  # before a parser is imported
        return False
    version = False
    fields: dict[str | None, set[str | None]] = {}
    for place in _keys(head):
        version = version or place == ["version"]
        if len(place) == 3 and place[0] == "items":
            fields.setdefault(place[1], set()).add(place[2])
    return version and any(
        "total_runs" in found and len(found & _PUBLISHED) >= _ENOUGH_FIELDS for found in fields.values()
    )


def _keys(head: bytes) -> Iterator[list[str | None]]:
    """Yield the place of each key of a YAML text, as far as it is one. Nothing is built, so no alias grows."""
    import itertools

    import yaml

    place: list[str | None] = []
    open_: list[list[bool]] = []  # of each collection: is it a mapping, is a key next
    try:
        for event in itertools.islice(yaml.parse(head, getattr(yaml, "CSafeLoader", yaml.SafeLoader)), MAX_EVENTS):
            if isinstance(event, yaml.CollectionEndEvent):
                open_.pop()
                del place[len(open_) :]
            elif isinstance(event, yaml.NodeEvent):
                if open_ and open_[-1][0]:
                    if open_[-1][1]:
                        place[len(open_) - 1 :] = [event.value if isinstance(event, yaml.ScalarEvent) else None]
                        yield place.copy()
                    open_[-1][1] = not open_[-1][1]
                if isinstance(event, yaml.CollectionStartEvent):
                    open_.append([isinstance(event, yaml.MappingStartEvent)] * 2)
                    place[len(open_) - 1 :] = [None]
    except (yaml.YAMLError, ValueError, RecursionError):
        return  # damaged, cut off or no YAML at all: what was read of it decides


# -- the index


def _table_names(head: bytes) -> Iterator[str]:
    """Yield the names in a database's schema, as far as its pages are there (https://www.sqlite.org/fileformat2.html)."""
    size = int.from_bytes(head[16:18], "big")  # 1 means 65536: our schema fits into one such page
    pages = [1]
    seen: set[int] = set()
    while pages and len(seen) < _MAX_PAGES:
        page = pages.pop()
        if page in seen:
            continue
        seen.add(page)
        start = (page - 1) * size
        at = start + 100 * (page == 1)
        kind, cells = head[at : at + 1], int.from_bytes(head[at + 3 : at + 5], "big")
        first = at + (12 if kind == b"\x05" else 8)
        places = [start + int.from_bytes(head[n : n + 2], "big") for n in range(first, first + 2 * cells, 2)]
        if kind == b"\x05":  # inner: the pages below, and the last one of them
            pages += [int.from_bytes(head[n : n + 4], "big") for n in (at + 8, *reversed(places))]
        elif kind == b"\x0d":
            yield from (name for place in places if (name := _table_name(head, place)) is not None)


def _table_name(head: bytes, place: int) -> str | None:
    """Return the second column of a schema row (type, name, ...) where the first is `table`."""
    try:
        for _ in ("size", "row"):
            place = _varint(head, place)[1]
        (length, at), start = _varint(head, place), place
        kind, at = _varint(head, at)
        name, _ = _varint(head, at)
    except IndexError:
        return None
    word = start + length
    end = word + (kind - 13) // 2
    return head[end : end + (name - 13) // 2].decode("utf-8", "replace") if head[word:end] == b"table" else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for more in range(9):
        byte = data[at + more]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, at + more + 1


# -- where the bytes come from


def _head_of(path: str) -> bytes:
    """Return how a file begins; nothing of a link, which git keeps as a link, and of a folder."""
    try:
        if os.path.islink(path):
            return b""
        fd = os.open(path, os.O_RDONLY | O_BINARY | O_NONBLOCK)
        try:
            return _read_head(fd) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        finally:
            os.close(fd)
    except OSError as e:
        raise RyeTelemetryError(f"{path!r} cannot be read: {e.strerror}") from e


def _read_head(fd: int) -> bytes:
    parts = []
    left = HEAD_BYTES
    while left and (part := os.read(fd, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _staged(env: Mapping[str, str]) -> dict[bytes, bytes]:
    """Return {name: object} of what a commit would bring under names that a store's files have."""
    answer = _git(
        ["diff", "--cached", "--raw", "-z", "--no-abbrev", "--no-renames", "--no-ext-diff", "--diff-filter=ACMRT"], env
    )
    fields = answer.split(b"\0")[:-1]
    found = {}
    for told, name in zip(fields[::2], fields[1::2], strict=True):
        if STAGED_NAMES.search(name):
            found[name] = told.split(b" ")[3]
    return found


def _heads_of(blobs: Sequence[bytes], env: Mapping[str, str]) -> Iterator[tuple[bytes, bytes]]:
    """Yield (blob, how it begins): small ones many at once, of a large one no more than that is asked for."""
    small = []
    for line in _git(["cat-file", "--batch-check"], env, b"\n".join(blobs)).splitlines() if blobs else ():
        blob, _, size = line.partition(b" blob ")
        if not size:
            continue  # a submodule, or not here: a partial clone
        if int(size) > HEAD_BYTES:
            yield blob, _head_of_blob(blob, env)
        else:
            small.append(blob)
    for first in range(0, len(small), BLOBS_AT_ONCE):
        some = small[first : first + BLOBS_AT_ONCE]
        yield from _batch(_git(["cat-file", "--batch"], env, b"\n".join(some)))


def _batch(answer: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (blob, content) of what `git cat-file --batch` said."""
    at = 0
    while at < len(answer):
        end = answer.index(b"\n", at)
        blob, _, size = answer[at:end].partition(b" blob ")
        yield blob, answer[end + 1 : end + 1 + int(size)]
        at = end + int(size) + 2


def _head_of_blob(blob: bytes, env: Mapping[str, str]) -> bytes:
    args = ["cat-file", "blob", blob.decode()]
    if os.name != "posix":
        return _git(args, env)[:HEAD_BYTES]
    git = GitProcess(["git", *args], env, feeds=False)
    try:
        return _read_head(git.stdout)
    finally:
        git.close()


def _git(args: Sequence[str], env: Mapping[str, str], stdin: bytes = b"") -> bytes:
    answer = run_git(args, env=env, stdin=stdin)
    if answer.code != 0:
        raise GitUnusable(f"git {args[0]}: {answer.err.removeprefix('fatal: ')}")
    return answer.out
