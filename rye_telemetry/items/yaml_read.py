"""YAML that somebody else wrote, read without surprises: bounded, no aliases, and every scalar keeps its own text."""

from __future__ import annotations

from rye_telemetry.errors import ItemNotRunnable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_YAML_BYTES = 1024 * 1024
MAX_DEPTH = 64
_NULL = "tag:yaml.org,2002:null"


class Scalar(str):
    """A scalar as it stands in the file (`1.10`, `on`), with `typed`, what YAML makes of it (1.1, True)."""

    __slots__ = ("typed",)

    typed: object


def read_yaml(text: str, *, where: str) -> object:
    """Return dicts, lists, Scalars and None; ItemNotRunnable says what is wrong and in which line.

    Refused: over 1 MiB, aliases, deeper than 64, several documents, a key twice, a key that is not a scalar.
    """
    import yaml

    if len(text.encode()) > MAX_YAML_BYTES:
        raise ItemNotRunnable(f"{where}: more than {MAX_YAML_BYTES >> 20} MiB of YAML")
    loader_class = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = text.removeprefix("\ufeff")
    try:
        _check_events(yaml.parse(text, Loader=loader_class), where)
        loader = loader_class(text)
        try:
            node = loader.get_single_node()
            return None if node is None else _plain(node, loader, where)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as e:
        line = f"line {e.problem_mark.line + 1}: " if e.problem_mark else ""
        raise ItemNotRunnable(f"{where}: {line}not valid YAML: {e.problem}") from e
    except yaml.YAMLError as e:
        raise ItemNotRunnable(f"{where}: not valid YAML: {' '.join(str(e).split())}") from e


def _check_events(events: Any, where: str) -> None:
    """Refuse by the flat stream of events, before anything recursive sees the text."""
    import yaml

    depth = 0
    for event in events:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise ItemNotRunnable(
                f"{where}: line {line}: aliases (*{event.anchor}) are not read here: write the value out"
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ItemNotRunnable(f"{where}: line {line}: nested deeper than {MAX_DEPTH}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _plain(node: Any, loader: Any, where: str) -> object:
    if node.id == "scalar":
        return _scalar(node, loader)
    if node.id == "sequence":
        return [_plain(entry, loader, where) for entry in node.value]
    mapping: dict[str, object] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.id != "scalar":
            raise ItemNotRunnable(f"{where}: line {line}: a key must be plain text")
        if key.value in mapping:
            raise ItemNotRunnable(f"{where}: line {line}: {key.value!r} stands there twice")
        mapping[key.value] = _plain(value, loader, where)
    return mapping


def _scalar(node: Any, loader: Any) -> Scalar | None:
    import yaml

    if node.tag == _NULL:
        return None
    scalar = Scalar(node.value)
    try:
        scalar.typed = loader.construct_object(node)
    except (ValueError, yaml.YAMLError):  # a date that is none, an unknown tag: its text is what counts
        scalar.typed = node.value
    return scalar


def json_ready(value: object) -> object:
    """Return a scalar as its text, and a list or a mapping with what YAML makes of the scalars inside."""
    return _typed(value) if isinstance(value, list | dict) else value


def _typed(value: object) -> object:
    if isinstance(value, Scalar):
        return value.typed if isinstance(value.typed, bool | int | float) else str(value)
    if isinstance(value, list):
        return [_typed(entry) for entry in value]
    if isinstance(value, dict):
        return {str(name): _typed(entry) for name, entry in value.items()}
    return value
