"""The outline of YAML: where its root mapping begins and ends, where our block is. Found by a parser's events.

Nothing is constructed but a block of ours, so another program's tags need no constructor and no alias can grow.
Positions are characters. Where the YAML is invalid but looks like lines of keys, the same is read from its lines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from rye_telemetry.bake.block import KEY, found_value
from rye_telemetry.bake.edges import line_end, line_start
from rye_telemetry.bake.marks import MAX_BLOCK, Block, find_marked, outside_of
from rye_telemetry.errors import BakeRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_DEPTH = 100  # a parser's time grows with the square of the depth
_KEY_LINE = re.compile(r"(?:[A-Za-z_][\w .\-/]{0,100}|\"[^\"\n]+\"|'[^'\n]+')[ \t]*:(?=[ \t\r\n]|$)")
_ODD_START = re.compile("^[\ufeff\x85\u2028\u2029]", re.MULTILINE)
_OUR_LINE = re.compile(rf"([\"']?){KEY}\1[ \t]*:")
_PART_LINE = re.compile(r"[ \t]|[\r\n]|#|- |-\r?$|[\]}]")
_BLOCK_SCALAR = re.compile(r"[|>][+\-0-9]{0,2}[ \t]*(?:#.*)?\r?$", re.MULTILINE)


class YamlInvalid(Exception):
    """What a YAML parser says of a text."""


class Outline(NamedTuple):
    """One mapping of a text: where keys are put, and what must stay the same (`rest`)."""

    indent: int
    first: int  # start of the line of the first key; the end where there is none
    end: int  # where a last key is put
    ends_in_block_scalar: bool
    blocks: list[Block]
    rest: tuple[object, ...]
    keys: frozenset[str] = frozenset()  # those that are plain words, ours left out
    valid: bool = True

    @property
    def place(self) -> int:
        """Where a new block goes: readers that trim the end would see a block scalar there change."""
        return self.first if self.ends_in_block_scalar else self.end


class _Node(NamedTuple):
    kind: str  # scalar, alias, map, seq
    start: int
    end: int
    what: tuple[object, ...]  # of this node and all below it: everything but positions
    value: str = ""
    style: str = ""
    plain: bool = True  # no tag, no anchor, no alias in it


class _Reading:
    """Events of one text, with the spans of its scalars."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans: list[tuple[int, int]] = []
        self.last_style = ""
        self.anchored: dict[str, str] = {}  # anchors of the document so far, with the text of those that are on one
        self.merges = False  # whether the mapping takes keys from elsewhere
        self.events = self._parse()

    def _parse(self) -> Iterator[Any]:
        depth = 0
        try:
            for event in yaml.parse(self.text, Loader=LOADER):
                if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                    depth += 1
                elif isinstance(event, yaml.CollectionEndEvent):
                    depth -= 1
                elif isinstance(event, yaml.ScalarEvent):
                    self.spans.append((_start(event), _end(event)))
                    self.last_style = event.style or ""
                self._know_anchor(event)
                if depth > MAX_DEPTH:
                    raise YamlInvalid(f"more than {MAX_DEPTH} levels deep")
                yield event
        except (yaml.YAMLError, ValueError, RecursionError) as e:
            raise YamlInvalid(_reason(e)) from e

    def spelled(self, key: _Node) -> str:
        """Return a key's text, through an alias too."""
        return self.anchored.get(str(key.what[1]), "") if key.kind == "alias" else key.value

    def _know_anchor(self, event: Any) -> None:
        """See that an alias stands for something, as composing would; anchors live as long as their document."""
        if isinstance(event, yaml.AliasEvent):
            self.last_style = ""
            if event.anchor not in self.anchored:
                raise YamlInvalid(f"*{event.anchor} stands for nothing")
        elif isinstance(event, yaml.DocumentStartEvent):
            self.anchored.clear()
        elif isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self.anchored[event.anchor] = getattr(event, "value", "")


def _start(event: Any) -> int:
    return int(event.start_mark.index)


def _end(event: Any) -> int:
    return int(event.end_mark.index)


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return f"line {mark.line + 1}: {problem}" if mark is not None else str(problem)


def _read_node(event: Any, events: Iterator[Any]) -> _Node:
    start = _start(event)
    if isinstance(event, yaml.AliasEvent):
        return _Node("alias", start, _end(event), ("alias", event.anchor), plain=False)
    plain = event.anchor is None and event.tag is None
    if isinstance(event, yaml.ScalarEvent):
        what = ("scalar", event.anchor, event.tag, event.implicit, event.value, event.style or "")
        return _Node("scalar", start, _end(event), what, event.value, event.style or "", plain)
    kind = "map" if isinstance(event, yaml.MappingStartEvent) else "seq"
    children: list[_Node] = []
    for below in events:
        if isinstance(below, yaml.CollectionEndEvent):
            last = children[-1].end if children and not event.flow_style else _end(below)
            break
        children.append(_read_node(below, events))
    what = (kind, event.anchor, event.tag, event.flow_style, *(child.what for child in children))
    return _Node(kind, start, last, what, plain=plain and all(child.plain for child in children))


def outline_documents(text: str, *, leader: str, name: str) -> Outline:
    """Return the outline of the first mapping document of a file, `rest` being that of all.

    YamlInvalid; BakeRefused where there is no mapping, or one in flow form.
    """
    if _ODD_START.search(text):
        raise YamlInvalid("a line begins with a character that some take for a line end or a byte order mark")
    reading = _Reading(text)
    found: Outline | None = None
    empty: Outline | None = None
    kinds: list[str] = []
    rest: list[object] = []
    for event in reading.events:
        if not isinstance(event, yaml.DocumentStartEvent):
            continue
        begins = line_end(text, _end(event)) if event.explicit else _start(event)
        rest.append((event.explicit, event.version, str(event.tags)))
        root = next(reading.events)
        if found is None and isinstance(root, yaml.MappingStartEvent) and not root.flow_style:
            found = _outline_mapping(text, root, reading, name)
            rest += found.rest
            continue
        node = _read_node(root, reading.events)
        if node.kind == "scalar" and node.value == "" and node.plain and node.style == "":
            empty = empty or _nothing(_document_end(text, max(begins, node.end)))
            rest += _NO_KEYS
        else:
            kinds.append("flow" if node.kind == "map" else node.kind)
            rest.append(node.what)
    if found is None and not kinds:
        found = empty or _nothing(len(text))
        rest = rest or [(False, None, "None"), *_NO_KEYS]
    if found is None:
        raise _no_mapping(kinds, name)
    if reading.merges:
        _check_merged(text, name)
    marked = find_marked(text, leader, name=name, is_comment=outside_of(reading.spans))
    return found._replace(blocks=[*found.blocks, *marked], rest=tuple(rest))


_NO_KEYS = (None, None)  # the anchor and the tag of a mapping that holds no other key than ours


def _nothing(at: int) -> Outline:
    return Outline(0, at, at, ends_in_block_scalar=False, blocks=[], rest=())


def _document_end(text: str, at: int) -> int:
    """Return where the document that holds nothing ends: at a marker line, or with the text."""
    found = re.compile(r"^(?:---|\.\.\.)(?=[ \t\r\n]|$)", re.MULTILINE).search(text, at)
    return found.start() if found else len(text)


def _no_mapping(kinds: list[str], name: str) -> BakeRefused:
    if "flow" in kinds:
        return BakeRefused("flow_mapping", f"{name}: its YAML is one flow mapping, {{…}}: write it as lines of keys")
    return BakeRefused("not_a_mapping", f"{name}: its YAML is no mapping of keys, so no key can be added")


def _outline_mapping(text: str, root: Any, reading: _Reading, name: str) -> Outline:
    rest: list[object] = [root.anchor, root.tag]  # as _NO_KEYS
    blocks: list[Block] = []
    keys: set[str] = set()
    first: int | None = None
    for event in reading.events:
        if isinstance(event, yaml.CollectionEndEvent):
            end = _end(event)
            break
        key = _read_node(event, reading.events)
        value = _read_node(next(reading.events), reading.events)
        if first is None:
            first = line_start(text, key.start)
        if reading.spelled(key) == KEY:
            if not key.plain:
                found_value(None, name)
            blocks.append(_key_block(text, key, value, name))
        else:
            rest.append((key.what, value.what))
            keys.add(key.value)
            reading.merges |= key.value == "<<" and not key.style
    if first is None:  # a block mapping has a key; this is for the type checker
        raise YamlInvalid("a mapping without keys")
    indent = len(text[first:]) - len(text[first:].lstrip(" "))
    end = len(text) if end >= len(text) else line_start(text, end)
    return Outline(indent, first, end, reading.last_style in ("|", ">"), blocks, tuple(rest), frozenset(keys))


def _key_block(text: str, key: _Node, value: _Node, name: str) -> Block:
    start = line_start(text, key.start)
    end = start + len(text[start : value.end].rstrip())
    said = None
    if value.kind == "map" and value.plain and end - start <= MAX_BLOCK:
        said = _loaded(text[start:end])
    return Block(start, line_end(text, end), found_value(said, name), "key")


def _loaded(text: str) -> object:
    """Return the value of our key where it is one of ours to read, else None."""
    try:
        return yaml.load(text, Loader=LOADER)[KEY]  # noqa: S506 (a safe loader)
    except (yaml.YAMLError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _check_merged(text: str, name: str) -> None:
    """Refuse where a merge brings a `telemetry` from elsewhere: a block of ours would hide it."""
    try:
        if any(_merges_telemetry(root) for root in yaml.compose_all(text, Loader=LOADER)):
            found_value(None, name)
    except (yaml.YAMLError, RecursionError) as e:
        raise YamlInvalid(_reason(e)) from e


def _merges_telemetry(root: Any) -> bool:
    if not isinstance(root, yaml.MappingNode):
        return False
    todo = [value for key, value in root.value if getattr(key, "value", None) == "<<"]
    seen: set[int] = set()
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            todo += node.value
        elif isinstance(node, yaml.MappingNode):
            if any(getattr(key, "value", None) == KEY for key, _ in node.value):
                return True
            todo += [value for key, value in node.value if getattr(key, "value", None) == "<<"]
    return False


def is_harmless(text: str) -> bool:
    """Say whether a YAML text may be constructed: shallow, and without aliases, which can grow without bound."""
    reading = _Reading(text)
    try:
        return not any(isinstance(event, yaml.AliasEvent) for event in reading.events)
    except YamlInvalid:
        return False


def outline_header(text: str, *, name: str) -> Outline:
    """Return the outline of a header's inside; one whose YAML is invalid is read by its lines."""
    try:
        return outline_documents(text, leader="#", name=name)
    except YamlInvalid:
        return _outline_lines(text, name)


def _outline_lines(text: str, name: str) -> Outline:
    starts: list[int] = []
    at = 0
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        if _KEY_LINE.match(line):
            starts.append(at)
        elif not _PART_LINE.match(line):
            raise BakeRefused("invalid_yaml_prose", f"{name}: what stands between its `---` lines is no YAML header")
        at += len(line)
    if not starts:
        raise BakeRefused("invalid_yaml_prose", f"{name}: what stands between its `---` lines has no keys")
    ends = [*starts[1:], len(text)]
    blocks = [
        _line_block(text, start, end, name)
        for start, end in zip(starts, ends, strict=True)
        if _OUR_LINE.match(text, start)
    ]
    blocks += find_marked(text, "#", name=name, is_comment=lambda _: True)
    rest = text
    for block in sorted(blocks, reverse=True):
        rest = rest[: block.start] + rest[block.end :]
    others = [start for start in starts if not _OUR_LINE.match(text, start)]
    last = text[others[-1] : ends[starts.index(others[-1])]] if others else ""
    return Outline(0, starts[0], len(text), _BLOCK_SCALAR.search(last) is not None, blocks, (rest,), valid=False)


def _line_block(text: str, start: int, end: int, name: str) -> Block:
    """Return the block that begins here: its indented lines, not the blank lines and comments behind them."""
    at = line_end(text, start)
    last = at
    while at < end and text[at] in " \t\r\n":
        following = line_end(text, at)
        if text[at:following].strip():
            last = following
        at = following
    said = _loaded(text[start:last]) if last - start <= MAX_BLOCK else None
    return Block(start, last, found_value(said, name), "key")
