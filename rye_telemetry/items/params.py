"""Parameters on their way to a child: as text, as environment, and held against what an item declares."""

from __future__ import annotations

from rye_telemetry.errors import ItemNotRunnable, ParamsInvalid
from rye_telemetry.items.yaml_read import json_ready
from rye_telemetry.lines import encode_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PARAMS_VARIABLE = "RYE_PARAMS"
PARAM_PREFIX = "RYE_PARAM_"
# Linux takes 131,072 bytes in one variable or argument.
MAX_PARAMS_BYTES = 100_000
MAX_ARGUMENT_BYTES = 131_000
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


class Declared:
    """One parameter as an item declares it; a default of None means that there is none."""

    __slots__ = ("default", "name", "required")

    def __init__(self, name: str, *, required: bool, default: object) -> None:
        self.name = name
        self.required = required
        self.default = default


def text_of(name: str, value: object) -> str:
    """Return a string as it is and any other value as its JSON text."""
    try:
        text = value if isinstance(value, str) else encode_json(value)
        text.encode()
    except (ValueError, TypeError, RecursionError) as e:
        raise ParamsInvalid(f"parameter {name!r} cannot be written as text: {e}") from e
    return text


def argument_text(name: str, value: object) -> str:
    """Return `text_of` when the system can hand it to a process, else raise ParamsInvalid."""
    text = text_of(name, value)
    if "\0" in text:
        raise ParamsInvalid(f"parameter {name!r} holds a NUL character, which no process can be given")
    return text


def params_json(params: Mapping[str, object]) -> str:
    """Return the parameters as plain ASCII JSON, the same bytes in every locale; at most MAX_PARAMS_BYTES."""
    try:
        text = encode_json(dict(params))
    except (ValueError, TypeError, RecursionError) as e:
        raise ParamsInvalid(f"the parameters cannot be written as JSON: {e}") from e
    if not text.isascii():
        text = "".join(c if c < "\x80" else _escaped(c) for c in text)
    if len(text) > MAX_PARAMS_BYTES:
        raise ParamsInvalid(
            f"the parameters take {len(text):,} bytes as JSON and at most {MAX_PARAMS_BYTES:,} reach a process: "
            "write the large value to a file and give its path as the parameter"
        )
    return text


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}"


def script_env(params: Mapping[str, object]) -> dict[str, str]:
    """Return RYE_PARAMS and one RYE_PARAM_NAME for each scalar; nothing when there are no parameters.

    Null, lists, objects and names with other characters than letters, digits and `_` are in RYE_PARAMS only.
    """
    if not params:
        return {}
    env = {PARAMS_VARIABLE: params_json(params)}
    origin: dict[str, str] = {}
    for name, value in params.items():
        if value is None or isinstance(value, dict | list | tuple) or not name or not _NAME_CHARACTERS.issuperset(name):
            continue
        variable = PARAM_PREFIX + name.upper()
        if variable in origin:
            raise ParamsInvalid(f"parameters {origin[variable]!r} and {name!r} are both {variable}: rename one")
        origin[variable] = name
        env[variable] = argument_text(name, value)
    return env


def declared_inputs(tree: object, *, where: str) -> dict[str, Declared]:
    """Return what a parsed `inputs` or `parameters` value declares.

    Shapes: a list of names or of mappings with `name`; a mapping from name to a mapping (or to a description); a JSON
    Schema object. Only `required: true` makes an input required, and one with a default never is missing.
    """
    if tree is None:
        return {}
    if isinstance(tree, dict) and isinstance(tree.get("properties"), dict) and tree.get("type") == "object":
        required = tree.get("required")
        names = required if isinstance(required, list) else []
        return {name: _declared(name, fields, forced=name in names) for name, fields in tree["properties"].items()}
    if isinstance(tree, dict):
        return {name: _declared(name, fields) for name, fields in tree.items()}
    if isinstance(tree, list):
        return dict(_listed(entry, where) for entry in tree)
    raise ItemNotRunnable(f"{where}: expected a list or a mapping of inputs")


def _listed(entry: object, where: str) -> tuple[str, Declared]:
    name = entry.get("name") if isinstance(entry, dict) else entry
    if not isinstance(name, str) or not name:
        raise ItemNotRunnable(f"{where}: an input without a name")
    return name, _declared(name, entry)


def _declared(name: str, fields: object, *, forced: bool = False) -> Declared:
    if not isinstance(fields, dict):
        return Declared(name, required=forced, default=None)
    required = fields.get("required")
    is_required = getattr(required, "typed", required) in (True, "true")
    return Declared(name, required=forced or is_required, default=json_ready(fields.get("default")))


def given_values(
    params: Mapping[str, object], declared: Mapping[str, Declared], *, also_known: Iterable[str], where: str
) -> dict[str, object]:
    """Return the values to fill in: those given, then defaults. Null counts as not given.

    ParamsInvalid names every required input that is missing, and every given one that the item does not know when it
    declares any at all.
    """
    values = {name: value for name, value in params.items() if value is not None}
    for name, entry in declared.items():
        if name not in values and entry.default is not None:
            values[name] = entry.default
    missing = [name for name, entry in declared.items() if entry.required and name not in values]
    if missing:
        raise ParamsInvalid(f"{where} needs {', '.join(missing)}: give them as --params '{_example(missing)}'")
    known = {*declared, *also_known}
    unknown = [name for name in params if name not in known] if declared else []
    if unknown:
        raise ParamsInvalid(
            f"{where} does not know {', '.join(map(repr, unknown))}; it takes {', '.join(sorted(known))}"
        )
    return values


def _example(names: list[str]) -> str:
    return encode_json(dict.fromkeys(names, "..."))
