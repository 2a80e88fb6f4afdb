"""A settings file as a YAML parser sees it: a flat list of events with their positions. Nothing is constructed.

So an alias bomb stays as small as its text, another program's tags need no constructor, a value knows its bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from rye_telemetry.config import BOOLS, one_line
from rye_telemetry.config_values import choice_text, read_value, values_text
from rye_telemetry.errors import ConfigInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rye_telemetry.config import Setting

MAX_DEPTH = 64  # the parser's time grows with the square of the depth
NULLS = ("", "~", "null", "Null", "NULL")
_TAG = "tag:yaml.org,2002:"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Event(NamedTuple):
    kind: str  # scalar, alias, map, seq, end (of a map or seq)
    start: int  # in characters of the text; of a node with its tag and anchor
    end: int
    line: int  # from 1
    column: int
    value: str = ""
    tag: str | None = None
    anchor: str | None = None
    style: str = ""  # of a scalar: a quote, | or >; of a map: "{" in flow form


class NotPlain:
    """A value no setting has: a list, a mapping, a scalar with a tag of its own."""


class Document:
    """The one document of a file; `events` is empty where it holds nothing."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path
        self.events: list[Event] = []
        self.end = len(text)  # where the document ends: at `...`, or with the text
        self.targets: dict[int, int] = {}  # the index of an alias: the index of the node it stands for

    def fault(self, line: int, what: str, cure: str) -> ConfigInvalid:
        return ConfigInvalid(one_line(f"{self.path}, line {line}: {what}: {cure}"))

    def after(self, at: int) -> int:
        """Return the index of the event after the node at `at`."""
        depth = 0
        while True:
            kind = self.events[at].kind
            depth += (kind in ("map", "seq")) - (kind == "end")
            at += 1
            if not depth:
                return at

    def pairs(self, at: int) -> Iterator[tuple[int, int]]:
        """Yield the indexes of each key and its value in the mapping at `at`."""
        at += 1
        while self.events[at].kind != "end":
            value = self.after(at)
            yield at, value
            at = self.after(value)

    def child(self, at: int, key: str) -> int | None:
        """Return the index of the value under `key` in the mapping at `at`, merges left out."""
        found = None
        for name, value in self.pairs(at):
            if self.is_key(name, key):
                if found is not None:
                    what = f"{key!r} stands twice, first in line {self.events[found].line}"
                    raise self.fault(self.events[name].line, what, "remove one of them")
                found = value
        return found

    def is_key(self, at: int, key: str) -> bool:
        event = self.events[self.targets.get(at, at)]
        return event.kind == "scalar" and event.value == key and event.tag in (None, "!", _TAG + "str")

    def value(self, at: int) -> object:
        """Return a scalar as bool, None or text; NotPlain for anything else."""
        event = self.events[self.targets.get(at, at)]
        if event.kind != "scalar":
            return NotPlain
        if event.tag is None and not event.style:
            return BOOLS.get(event.value, None if event.value in NULLS else event.value)
        if event.tag in (None, "!", _TAG + "str"):
            return event.value
        return BOOLS.get(event.value, NotPlain) if event.tag == _TAG + "bool" else NotPlain

    def is_null(self, at: int) -> bool:
        return self.value(at) is None

    def words(self, at: int) -> object:
        """Return a sequence of texts as they are written, numbers and bools too; NotPlain for anything else."""
        at = self.targets.get(at, at)
        if self.events[at].kind != "seq":
            return NotPlain
        found, at = [], at + 1
        while self.events[at].kind != "end":
            event = self.events[self.targets.get(at, at)]
            if event.kind != "scalar" or event.tag not in (None, "!", _TAG + "str") or self.value(at) is None:
                return NotPlain
            found.append(event.value)
            at = self.after(at)
        return found

    def said(self, at: int) -> object:
        """Return a scalar as `value` does, a sequence as `words` does."""
        found = self.words(at)
        return self.value(at) if found is NotPlain else found

    def settings(self, table: Sequence[Setting], *, section: str) -> tuple[dict[str, object], str | None]:
        """Return the values of the settings that are there, null ones left out, and a warning about those left aside.

        Raises ConfigInvalid where consent itself cannot be read.
        """
        found: dict[str, object] = {}
        warnings: list[str] = []
        for setting in table:
            try:
                at = self._find(section, *setting.name.split("."))
            except ConfigInvalid as e:
                if "." not in setting.name:
                    raise
                warnings.append(f"{e}; until then what stands there counts for nothing")
                continue
            try:
                if at is not None and not self.is_null(at):
                    found[setting.name] = self._setting(at, setting, section)
            except ConfigInvalid as e:
                if isinstance(setting.default, bool):
                    raise
                warnings.append(f"{e}; until then it is {choice_text(setting.default)}")
        return found, "; ".join(dict.fromkeys(warnings)) or None

    def _setting(self, at: int, setting: Setting, section: str) -> object:
        try:
            return read_value(setting, self.said(at))
        except ValueError as e:
            words, what = values_text(setting), f"{section}.{setting.name} is not what it may be"
            if setting.form == "choice":
                what = f"{section}.{setting.name} is neither {words.replace(' or ', ' nor ')}"
            raise self.fault(self.events[at].line, what, f"write {words} there") from e

    def _find(self, *keys: str) -> int | None:
        at: int | None = 0
        if not self.events or self.is_null(0):
            return None
        for depth, key in enumerate(keys):
            if at is None or self.is_null(at):
                return None
            if self.events[at].kind != "map":
                where = ".".join(keys[:depth]) or "this file"
                raise self.fault(self.events[at].line, f"{where} is not a mapping", "write it as `name: value` lines")
            at = self._lookup(at, key, seen=set())
        return at

    def _lookup(self, at: int, key: str, *, seen: set[int]) -> int | None:
        """Find a key, its own first, then those merged in by `<<`."""
        found = self.child(at, key)
        if found is not None or at in seen:
            return found if found is None else self.targets.get(found, found)
        seen.add(at)
        for name, value in self.pairs(at):
            if self.events[name].value == "<<" and not self.events[name].style:
                for source in self._sources(value):
                    found = self._lookup(source, key, seen=seen)
                    if found is not None:
                        return found
        return None

    def _sources(self, at: int) -> Iterator[int]:
        at = self.targets.get(at, at)
        if self.events[at].kind == "map":
            yield at
        elif self.events[at].kind == "seq":
            at += 1
            while self.events[at].kind != "end":
                target = self.targets.get(at, at)
                if self.events[target].kind == "map":
                    yield target
                at = self.after(at)


def read_document(text: str, *, path: str) -> Document:
    """Parse a whole file. Raises ConfigInvalid where it is not one valid YAML document."""
    document = Document(text, path)
    try:
        _collect(document)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None) or getattr(e, "context_mark", None)
        line = mark.line + 1 if mark else text.count("\n", 0, getattr(e, "position", None) or 0) + 1
        reason = getattr(e, "problem", None) or getattr(e, "reason", None) or "not YAML"
        line = min(line, max(1, len(text.splitlines())))
        raise document.fault(line, f"not valid YAML ({reason})", "correct that line") from e
    return document


def _collect(document: Document) -> None:
    anchors: dict[str, int] = {}
    documents = depth = 0
    for event in yaml.parse(document.text, Loader=_LOADER):
        ours = _event(event)
        depth += (ours.kind in ("map", "seq")) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise document.fault(ours.line, f"nested deeper than {MAX_DEPTH}", "make it flatter")
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise document.fault(ours.line, "a second document begins", "keep one document")
        elif isinstance(event, yaml.DocumentEndEvent):
            if event.explicit:
                document.end = ours.start
        elif isinstance(event, (yaml.NodeEvent, yaml.CollectionEndEvent)):
            _note_anchor(document, ours, anchors)
            document.events.append(ours)


def _note_anchor(document: Document, event: Event, anchors: dict[str, int]) -> None:
    at = len(document.events)
    if event.kind == "alias":
        if event.value not in anchors:
            raise document.fault(event.line, f"*{event.value} stands for nothing", "define it above with &")
        document.targets[at] = anchors[event.value]
    elif event.anchor:
        anchors[event.anchor] = at


def _event(event: Any) -> Event:
    mark = event.start_mark  # which the stubs take for None in an event made by hand
    place = (mark.index, event.end_mark.index, mark.line + 1, mark.column)
    if isinstance(event, yaml.ScalarEvent):
        return Event("scalar", *place, event.value, event.tag, event.anchor, event.style or "")
    if isinstance(event, yaml.AliasEvent):
        return Event("alias", *place, str(event.anchor))
    if isinstance(event, yaml.MappingStartEvent):
        return Event("map", *place, "", event.tag, event.anchor, "{" if event.flow_style else "")
    if isinstance(event, yaml.SequenceStartEvent):
        return Event("seq", *place, "", event.tag, event.anchor, "[" if event.flow_style else "")
    return Event("end", *place)
