"""What `run-with` takes: one table, read by the fast lane here and by the command line in `cli/run_with.py`."""

from __future__ import annotations

from rye_telemetry.errors import InvalidRecord, UsageInvalid
from rye_telemetry.model import MAX_LABEL, check_item_id, check_item_type, clean_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# (option, field, metavar, may be given again, help)
OPTIONS = (
    ("--item-type", "item_type", "TYPE", False, "directive, tool or knowledge, instead of the first argument."),
    ("--item-id", "item_id", "ID", False, "The item's id, instead of the second argument."),
    ("--params", "params", "JSON|@FILE|-", False, "A JSON object, @FILE with one, or - for standard input."),
    ("--timeout", "timeout_s", "SECONDS", False, "End the command and all it started after this time; exit 124."),
    ("--project-path", "project_path", "DIR", False, "The project; default: nearest folder above with .ai or .git."),
    ("--agent", "agent", "NAME", False, "The agent that runs it."),
    ("--workflow", "workflow", "NAME", False, "The workflow it belongs to."),
    ("--caller", "caller", "NAME", False, "Who asked for it."),
    ("--session", "session_id", "ID", False, "The session it belongs to."),
    ("--model", "model", "NAME", False, "The model at work."),
    ("--tag", "tag", "KEY=VALUE", True, "A tag; may be given again."),
)
_BY_NAME = {option[0]: option for option in OPTIONS}
TEXT_FIELDS = ("agent", "workflow", "caller", "session_id", "model")


class Request:
    """A valid `run-with`. `command` is None when the item itself is to be executed."""

    __slots__ = ("command", "item_id", "item_type", "labels", "params", "project_path", "tags", "timeout_s")

    def __init__(self, item_type: str, item_id: str) -> None:
        self.item_type = item_type
        self.item_id = item_id
        self.command: list[str] | None = None
        self.params: str | None = None
        self.timeout_s: float | None = None
        self.project_path: str | None = None
        self.labels: dict[str, str] = {}
        self.tags: dict[str, str] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and all(getattr(self, n) == getattr(other, n) for n in self.__slots__)

    __hash__ = None  # type: ignore[assignment]


def split_command(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Return what stands before the first `--`, and the command behind it; None without a `--`."""
    if "--" not in argv:
        return list(argv), None
    place = argv.index("--")
    return list(argv[:place]), list(argv[place + 1 :])


def parse_plain(argv: Sequence[str]) -> Request | None:
    """Read the arguments of a plain, valid `run-with`; None for anything else, which the command line then explains."""
    head, command = split_command(argv)
    places: list[str] = []
    values: dict[str, object] = {}
    tags: list[str] = []
    while head:
        word = head.pop(0)
        if not word.startswith("-") or word == "-":
            places.append(word)
            continue
        name, given, value = word.partition("=")
        option = _BY_NAME.get(name)
        if option is None or not (given or head):
            return None
        if not given:
            value = head.pop(0)
        if option[3]:
            tags.append(value)
        else:
            values[option[1]] = value
    try:
        return make_request(places, {**values, "tag": tags}, command)
    except ValueError:  # InvalidRecord is one
        return None
    except UsageInvalid:
        return None


def make_request(places: Sequence[str], values: Mapping[str, object], command: list[str] | None) -> Request:
    """Return the request; UsageInvalid when what was typed cannot be meant."""
    item_type, item_id = _names(places, values)
    try:
        request = Request(check_item_type(item_type), check_item_id(item_id))
    except InvalidRecord as e:
        raise UsageInvalid(str(e)) from e
    if command is not None:
        if not command or not command[0]:
            raise UsageInvalid("no command stands after --: write one, or leave -- away to run the item itself")
        request.command = command
    params = values.get("params")
    request.params = None if params is None else str(params)
    request.timeout_s = _timeout(values.get("timeout_s"))
    project = values.get("project_path")
    request.project_path = None if project is None else str(project)
    for field in TEXT_FIELDS:
        value = values.get(field)
        if value:
            request.labels[field] = clean_text(str(value), MAX_LABEL)
    for tag in values.get("tag") or ():  # type: ignore[attr-defined]
        key, equals, value = str(tag).partition("=")
        if not key or not equals:
            raise UsageInvalid(f"--tag {tag!r} is not KEY=VALUE")
        request.tags[clean_text(key, MAX_LABEL)] = clean_text(value, MAX_LABEL)
    return request


def _names(places: Sequence[str], values: Mapping[str, object]) -> tuple[object, object]:
    wanted = ["item_type", "item_id"]
    found = {name: values[name] for name in wanted if values.get(name) is not None}
    missing = [name for name in wanted if name not in found]
    if len(places) > len(missing):
        raise UsageInvalid(f"{places[len(missing)]!r} is one argument too many: a command goes after --")
    found.update(zip(missing, places, strict=False))
    if len(found) < len(wanted):
        raise UsageInvalid("an item needs a type and an id: rye-telemetry run-with TYPE ID [-- COMMAND ARG...]")
    return found["item_type"], found["item_id"]


def _timeout(value: object) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise UsageInvalid(f"--timeout {value!r} is not a number of seconds above 0")
    return seconds
