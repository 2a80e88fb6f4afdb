"""Change single values in a settings file and leave every other byte as it is.

A change is a splice at the positions a parser reports. Its result is parsed again and must say what the file said
before and the new value, nothing else; only then is the file replaced. Where no splice fits, ruamel writes it.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rye_telemetry.config import BOOLS, decode_config, one_line, read_config_bytes
from rye_telemetry.config_tree import NULLS, Document, read_document
from rye_telemetry.errors import ConfigInvalid, StateBusy
from rye_telemetry.files import make_private_dir, open_fd, try_unlink, write_all

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LOCK_WAIT_S = 5.0
ATTEMPTS = 20
BOM = b"\xef\xbb\xbf"
_BREAKS = "\r\n\x85\u2028\u2029"
_NAMES_OF_BLOCK_TEXT = ("|", ">")


def set_values(path: str, values: Mapping[str, object]) -> bool:
    """Set dotted names to bools, texts or lists of texts; True means changed. See `config.set_values`."""
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    try:
        make_private_dir(folder)
        with _held(folder) as is_held:
            for _ in range(ATTEMPTS):
                data = read_config_bytes(target)
                edited = edit_bytes(data or b"", values, path=path)
                if edited == data:
                    return False
                if _replace(target, edited, before=data, is_alone=is_held):
                    return True
    except OSError as e:
        raise ConfigInvalid(
            one_line(f"{path} cannot be written ({e.strerror}): check its owner and permissions")
        ) from e
    raise StateBusy(one_line(f"{path} keeps changing while we edit it: try again"))


def edit_bytes(data: bytes, values: Mapping[str, object], *, path: str) -> bytes:
    """Return the file with each dotted name set. No I/O. Raises ConfigInvalid; `path` is for its message."""
    text = decode_config(data, path)
    for name, value in values.items():
        text = _edit(read_document(text, path=path), name.split("."), value)
    return (BOM if data.startswith(BOM) else b"") + text.encode()


def _edit(document: Document, keys: Sequence[str], value: object) -> str:
    place = _find(document, keys, takes_list=isinstance(value, list))
    if place.is_set and document.said(place.at) == value and type(document.said(place.at)) is type(value):
        return document.text
    kept = _rest(document, keys)
    for candidate in _candidates(document, place, value):
        try:
            edited = read_document(candidate, path=document.path)
        except ConfigInvalid:
            continue
        found = _find(edited, keys, takes_list=isinstance(value, list))
        if found.is_set and edited.said(found.at) == value and _rest(edited, keys) == kept:
            return candidate
    raise document.fault(place.line, f"{'.'.join(keys)} cannot be set in this shape", "write it there by hand")


class _Place:
    """Where a value is, or the innermost node on the way to it, with the keys still missing there."""

    def __init__(self, at: int, keys: Sequence[str], depth: int, line: int) -> None:
        self.at = at
        self.keys = keys
        self.missing = keys[depth:]
        self.line = line
        self.is_set = depth == len(keys)


def _find(document: Document, keys: Sequence[str], *, takes_list: bool) -> _Place:
    if not document.events:
        return _Place(-1, keys, 0, 1)
    aliased = set(document.targets.values())
    at = 0
    for depth in range(len(keys) + 1):
        event = document.events[at]
        name = ".".join(keys[:depth]) or "this file"
        if at in aliased:
            raise document.fault(event.line, f"{name} is shared, &{event.anchor}", "write the value by hand")
        if depth == len(keys):
            break
        if event.kind == "scalar" and document.is_null(at):
            return _Place(at, keys, depth, event.line)
        if event.kind == "alias":
            raise document.fault(event.line, f"{name} is shared, *{event.value}", "write the value by hand")
        if event.kind != "map":
            raise document.fault(event.line, f"{name} is not a mapping", "write it as `name: value` lines")
        child = document.child(at, keys[depth])
        if child is None:
            return _Place(at, keys, depth, event.line)
        at = child
    if event.kind not in ("scalar", "alias", "seq" if takes_list else ""):
        raise document.fault(event.line, f"{name} is not a single value", "replace it by hand")
    return _Place(at, keys, depth, event.line)


def _rest(document: Document, keys: Sequence[str]) -> list[tuple[object, ...]]:
    """Return what the document says apart from the value under `keys` and the mappings that hold nothing else."""
    events = document.events
    if not events:
        return []
    nodes, spans = [0], [(0, len(events))]
    for key in keys:
        name_at = document.child(nodes[-1], key) if events[nodes[-1]].kind == "map" else None
        if name_at is None:
            break
        nodes.append(name_at)
        spans.append((name_at - 1, document.after(name_at)))
    last = nodes[-1]
    drop = (len(events), len(events))
    is_empty = document.is_null(last) or (events[last].kind == "map" and document.after(last) == last + 2)
    if is_empty or len(nodes) > len(keys):
        drop = spans[-1]
        for node, span in zip(reversed(nodes[:-1]), reversed(spans[:-1]), strict=True):
            if drop != (node + 1, document.after(node) - 1):
                break
            drop = span
    kept = events[: drop[0]] + events[drop[1] :]
    return [(e.kind, e.value, e.tag, e.anchor, e.kind == "scalar" and not e.style) for e in kept]


def _candidates(document: Document, place: _Place, value: object) -> Iterator[str]:
    """Yield texts that may be the edited file, the one that looks best first."""
    text = document.text
    if place.at < 0:
        yield _with_lines(text, document.end, _block(place.missing, value, 0, 2), text)
    elif place.is_set:
        yield from _replaced(document, place, value)
    elif document.events[place.at].kind == "scalar":
        yield from _filled(document, place, value)
    elif document.events[place.at].style == "{":
        yield _into_flow(document, place, value)
    else:
        yield from _into_block(document, place, value)
    yield from _round_trip(document, place.keys, value)


def _replaced(document: Document, place: _Place, value: object) -> Iterator[str]:
    """Put a value where another stands; a list of several lines moves to the line of its key."""
    text, event = document.text, document.events[place.at]
    if event.kind != "seq":
        yield _with_scalar(text, event.start, event.end, _scalar(value, event.style), event.style)
        return
    last = _last(document, place.at)
    end, key = document.events[last].end, document.events[place.at - 1]
    new = _scalar(value, document.events[place.at + 1].style)
    head = text[: event.start].rstrip(" " + _BREAKS)
    if not event.style and head.endswith(":") and len(head) >= key.end:
        yield f"{head} {new}{text[end:]}"
    yield text[: event.start] + new + text[end:]


def _last(document: Document, at: int) -> int:
    """Return the last event of a node that stands in the text: the ends of block forms do not."""
    last = document.after(at) - 1
    while document.events[last].kind == "end" and not document.events[last].end > document.events[last].start:
        last -= 1
    return last


def _with_scalar(text: str, start: int, end: int, new: str, style: str) -> str:
    if style in _NAMES_OF_BLOCK_TEXT:  # it ends after its last line
        new += _line_end(text)
    gap = " " if start == end and text[start - 1 : start] == ":" else ""
    return text[:start] + gap + new + text[end:]


def _filled(document: Document, place: _Place, value: object) -> Iterator[str]:
    """Put a mapping where nothing or a null stands."""
    text, event = document.text, document.events[place.at]
    step = _step(document)
    if place.at == 0:
        yield _with_lines(text, document.end, _block(place.missing, value, 0, step), text)
        return
    if (key := document.events[place.at - 1]).kind == "scalar":
        bare = text[: event.start].rstrip(" ") + text[event.end :] if event.start < event.end else text
        yield _with_lines(bare, _next_line(bare, key.end), _block(place.missing, value, key.column + step, step), text)
    flow = _flow(place.missing, value, '"' if document.events[place.at - 1].style == '"' else "")
    yield _with_scalar(text, event.start, event.end, "{" + flow + "}", "")


def _into_flow(document: Document, place: _Place, value: object) -> str:
    text, event = document.text, document.events[place.at]
    first = document.events[place.at + 1]
    quote = '"' if first.style == '"' or document.events[place.at - 1].style == '"' else ""
    begin = event.end
    new = _flow(place.missing, value, quote)
    if first.kind == "end":
        return text[:begin] + new + text[begin:]
    while text[begin : begin + 1] == " ":
        begin += 1
    if text[begin : begin + 1] in _BREAKS:  # one pair a line
        begin = first.start
        new_end = "," + _line_end(text) + " " * first.column
    else:
        new_end = ", "
    return text[:begin] + new + new_end + text[begin:]


def _into_block(document: Document, place: _Place, value: object) -> Iterator[str]:
    """Add a line at the end of a block mapping, or before its first key where the end is text that would take it in."""
    text, first = document.text, document.events[place.at + 1]
    lines = _block(place.missing, value, first.column, _step(document))
    if place.at == 0:
        yield _with_lines(text, document.end, lines, text)
    end = document.events[_last(document, place.at)].end
    yield _with_lines(text, end if text[end - 1 : end] in _BREAKS else _next_line(text, end), lines, text)
    yield _with_lines(text, first.start - first.column, lines, text)


def _round_trip(document: Document, keys: Sequence[str], value: object) -> Iterator[str]:
    """Let ruamel write the document: other lines may be laid out anew, no value and no comment is lost."""
    from io import StringIO

    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import YAMLError

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 20
    try:
        data = yaml.load(document.text)
        data = CommentedMap() if data is None else data
        here = data
        for key in keys[:-1]:
            if here.get(key) is None:
                here[key] = CommentedMap()
            here = here[key]
        here[keys[-1]] = value
        out = StringIO()
        yaml.dump(data, out)
    except (YAMLError, AttributeError, TypeError, ValueError, RecursionError):
        return
    yield out.getvalue().replace("\n", _line_end(document.text))


def _block(keys: Sequence[str], value: object, column: int, step: int) -> list[str]:
    lines = [" " * (column + depth * step) + f"{key}:" for depth, key in enumerate(keys)]
    lines[-1] += f" {_scalar(value, '')}"
    return lines


def _flow(keys: Sequence[str], value: object, quote: str) -> str:
    if len(keys) == 1:
        return f"{quote}{keys[0]}{quote}: {_scalar(value, quote)}"
    return f"{quote}{keys[0]}{quote}: {{{_flow(keys[1:], value, quote)}}}"


def _scalar(value: object, style: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(_scalar(word, '' if style in _NAMES_OF_BLOCK_TEXT else style) for word in value)}]"
    text = str(value)
    is_word = text.replace("_", "").replace("-", "").isalnum() and text[0].isalpha() and text.isascii()
    if style == "'" and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    if style != '"' and is_word and text not in BOOLS and text not in NULLS:
        return text
    import json

    return json.dumps(text)


def _with_lines(text: str, at: int, lines: Sequence[str], like: str) -> str:
    """Insert lines at the start of a line, or at the end of a text, which stays without a final newline."""
    end = _line_end(like)
    block = end.join(lines)
    if at >= len(text) and text and text[-1] not in _BREAKS:
        return text + end + block
    return text[:at] + block + end + text[at:]


def _line_end(text: str) -> str:
    for at, char in enumerate(text):
        if char in "\r\n":
            return "\r\n" if text[at : at + 2] == "\r\n" else char
    return "\n"


def _next_line(text: str, at: int) -> int:
    while at < len(text) and text[at] not in _BREAKS:
        at += 1
    return at + (2 if text[at : at + 2] == "\r\n" else 1) if at < len(text) else at


def _step(document: Document) -> int:
    """Return by how much this file indents: as its first nested block does, else 2."""
    for at, value in document.pairs(0) if document.events[0].kind == "map" else ():
        inner = document.events[value]
        if inner.kind == "map" and not inner.style and document.events[value + 1].column > document.events[at].column:
            return document.events[value + 1].column - document.events[at].column
    return 2


@contextmanager
def _held(folder: str) -> Iterator[bool]:
    """Lock a directory, which leaves no lock file behind; say whether that was possible on this system."""
    fd = -1
    try:
        if fcntl is not None:
            with suppress(OSError):  # a directory we may write but not read
                fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        yield fd >= 0 and _lock(fd, folder)
    finally:
        if fd >= 0:
            os.close(fd)


def _lock(fd: int, folder: str) -> bool:
    deadline = time.monotonic() + LOCK_WAIT_S
    try:
        while not _try_lock(fd):
            if time.monotonic() > deadline:
                raise StateBusy(one_line(f"another program has held {folder} for {LOCK_WAIT_S:.0f} s: try again"))
            time.sleep(0.002)
    except OSError:  # a filesystem without locks: only the look before replacing guards
        return False
    return True


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(target: str, data: bytes, *, before: bytes | None, is_alone: bool) -> bool:
    """Replace a file unless it is no longer what it was `before`; mode and owner stay, a new one is private."""
    own = "" if is_alone else f".{os.getpid()}.{time.time_ns():x}"
    temporary = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}{own}.rye-telemetry.tmp")
    try_unlink(temporary)  # a killed one may have left it
    fd = open_fd(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        try:
            if before is not None:
                _take_over(fd, target)
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        if read_config_bytes(target) != before:
            try_unlink(temporary)
            return False
        os.replace(temporary, target)
    except BaseException:
        try_unlink(temporary)
        raise
    return True


def _take_over(fd: int, target: str) -> None:
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only", target)
    found = os.stat(target)
    if hasattr(os, "fchown"):
        with suppress(OSError):  # somebody else's file that we may write: it becomes ours
            os.fchown(fd, found.st_uid, found.st_gid)
        os.fchmod(fd, stat.S_IMODE(found.st_mode))
