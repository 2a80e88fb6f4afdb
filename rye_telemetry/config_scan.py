"""Read the plain block form of a settings file line by line, 100 times sooner than a YAML parser; decline any other.

What is answered here is what the parser answers; tests/test_config.py holds it to that with generated texts.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_OPEN = 30


def scan_settings(text: str, *, section: str, hot: Mapping[str, Mapping[str, object]]) -> dict[str, object] | None:
    """Return what stands below the top-level key `section`, or None where that is not certain.

    `hot` gives the wanted names, each with the words it may be and the value of each word.
    """
    text = text.replace("\r\n", "\n")
    if not text.replace("\n", "").isprintable():  # tabs, other line breaks, what YAML forbids
        return None
    scan = _Scan(section, hot)
    try:
        for line in text.split("\n"):
            body = line.lstrip(" ")
            indent = len(line) - len(body)
            if scan.block_parent >= 0 and scan.is_in_block(indent, body):
                continue
            if body and body[0] != "#":
                scan.take(indent, body.rstrip(" "))
    except _Unsure:
        return None
    return scan.found


class _Unsure(Exception):
    pass


class _Scan:
    """The open blocks while the lines go by; `stack` holds (indent, is a sequence), outermost first."""

    __slots__ = (
        "block_first",
        "block_parent",
        "found",
        "has_marker",
        "hot",
        "is_open",
        "ours",
        "section",
        "seen",
        "stack",
    )

    def __init__(self, section: str, hot: Mapping[str, Mapping[str, object]]) -> None:
        self.ours = section
        self.hot = hot
        self.stack: list[tuple[int, bool]] = []
        self.found: dict[str, object] = {}
        self.section = ""  # the top-level key we are below
        self.seen = False  # the section of ours, which must not come twice
        self.has_marker = False
        self.is_open = False  # the last line was a key without a value
        self.block_parent = -1  # indent of the mapping whose literal or folded text we are in
        self.block_first = -1  # indent of that text's first line

    def is_in_block(self, indent: int, body: str) -> bool:
        if not body:
            if self.block_first < 0 and indent:
                raise _Unsure  # blank lines before the text take part in its indentation
            return True
        if indent > self.block_parent:
            if indent < self.block_first:
                raise _Unsure
            if self.block_first < 0:
                self.block_first = indent
            return True
        self.block_parent = self.block_first = -1
        return False

    def take(self, indent: int, body: str) -> None:
        is_entry = body == "-" or body.startswith("- ")
        if not self.stack:
            if body == "---" and not self.has_marker and not indent:
                self.has_marker = True
                return
            if indent or is_entry:
                raise _Unsure
            self.stack.append((0, False))
        else:
            self.settle(indent, is_entry)
        if not is_entry:
            self.take_pair(indent, body)
            return
        if len(self.stack) == 2 and self.section == self.ours:
            raise _Unsure
        rest = body[1:].lstrip(" ")
        key, colon, value = rest.partition(":")
        if colon and _is_word(key) and (not value or value[0] == " "):
            inner = indent + len(body) - len(rest)
            self.stack.append((inner, False))
            self.take_pair(inner, rest)
        elif not rest or not _is_simple(rest):
            raise _Unsure

    def settle(self, indent: int, is_entry: bool) -> None:  # noqa: FBT001 (inner loop)
        """Find the block this line belongs to."""
        stack = self.stack
        if self.is_open:
            self.is_open = False
            top = stack[-1][0]
            if indent > top or (is_entry and indent == top):
                stack.append((indent, is_entry))
                return
        if indent > stack[-1][0]:
            raise _Unsure
        while stack[-1][0] > indent:
            stack.pop()
        if not is_entry and stack[-1] == (indent, True):
            stack.pop()
        if stack[-1] != (indent, is_entry):
            raise _Unsure

    def take_pair(self, indent: int, body: str) -> None:
        key, colon, value = body.partition(":")
        if not colon or (value and value[0] != " ") or not _is_word(key):
            raise _Unsure
        value = value.lstrip(" ")
        if value and value[0] == "#":
            value = ""
        depth = len(self.stack)
        if depth == 1:
            self.take_section(key, value)
        elif depth == 2 and key in self.hot and self.section == self.ours:
            self.take_setting(key, value.partition(" #")[0].rstrip(" "))
        if not value:
            self.is_open = True
        elif value.partition(" #")[0].rstrip(" ") in ("|", ">", "|-", ">-", "|+", ">+"):
            self.block_parent = indent
        elif not _is_simple(value):
            raise _Unsure

    def take_section(self, key: str, value: str) -> None:
        self.section = key
        if key == self.ours:
            if self.seen or value:
                raise _Unsure
            self.seen = True

    def take_setting(self, key: str, word: str) -> None:
        if key in self.found or word not in self.hot[key]:
            raise _Unsure
        self.found[key] = self.hot[key][word]


def _is_word(text: str) -> bool:
    return len(text) < 100 and text.replace("_", "").replace("-", "").replace(".", "").isalnum() and text[0] not in "-."


def _is_simple(value: str) -> bool:
    """Say whether this is surely a whole value, perhaps with a comment: a scalar on one line or a flow collection."""
    first = value[0]
    if first not in "\"'[{":
        if first in "?:,]}#&*!|>%@`" or (first == "-" and not value[1:2].isalnum()):
            return False
        plain = value.partition(" #")[0]
        return ": " not in plain and not plain.rstrip(" ").endswith(":")
    if value.count("[") + value.count("{") > MAX_OPEN:
        return False
    end = _flow_value_end(value, 0)
    rest = value[end:] if end > 0 else "?"
    return not rest or (rest[0] == " " and rest.lstrip(" ")[0] == "#")


def _flow_value_end(text: str, at: int) -> int:
    """Return where the value that starts at `at` ends, -1 where that is not certain."""
    first = text[at : at + 1]
    if first in ("[", "{"):
        return _flow_end(text, at)
    if first in ('"', "'"):
        end = text.find(first, at + 1) + 1
        return end if end and "\\" not in text[at:end] and text[end : end + 1] != first else -1
    return _word_end(text, at)


def _word_end(text: str, at: int) -> int:
    end = at
    while text[end : end + 1].isalnum() or (end > at and text[end : end + 1] in ("_", "-", ".", "/")):
        end += 1
    return end if end > at else -1


def _flow_end(text: str, at: int) -> int:
    close = "]" if text[at] == "[" else "}"
    at = _next_at(text, at + 1)
    if text[at : at + 1] == close:
        return at + 1
    while at > 0:
        if close == "}":
            at = _word_end(text, at)
            if at < 0 or text[at : at + 2] != ": ":
                return -1
            at = _next_at(text, at + 1)
        at = _flow_value_end(text, at)
        if at < 0:
            return -1
        at = _next_at(text, at)
        if text[at : at + 1] == close:
            return at + 1
        if text[at : at + 1] != ",":
            return -1
        at = _next_at(text, at + 1)
    return -1


def _next_at(text: str, at: int) -> int:
    while text[at : at + 1] == " ":
        at += 1
    return at
