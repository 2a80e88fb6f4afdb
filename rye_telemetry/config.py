"""What the user chose: consent and settings, from one variable and two files. Every run asks: no heavy imports.

Order of consent: RYE_TELEMETRY, then the project's file (which may only switch off), then the user's file, then off.
A file in the plain block form is read by a line scanner (config_scan), any other by a YAML parser (config_tree).
"""

from __future__ import annotations

import os
import stat

from rye_telemetry.errors import ConfigInvalid, StateUnavailable, UsageInvalid
from rye_telemetry.paths import find_project, user_space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 1 << 20
SECTION = "telemetry"
VARIABLE = "RYE_TELEMETRY"
BOOLS = dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True) | dict.fromkeys(
    ("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False
)


class Setting:
    """One setting: its dotted name below `telemetry:`, what it is when nothing is said, what it may be, and why.

    `form`: choice (one of `choices`), words (a list of some of them), command (a list of words) or change (a text).
    `of_project`: a project's file may set it too, and wins.
    """

    __slots__ = ("choices", "default", "form", "help", "name", "of_project")

    def __init__(  # noqa: PLR0913 (all that a setting is)
        self,
        name: str,
        *,
        default: object,
        help: str,  # noqa: A002 (its word)
        choices: tuple[object, ...] = (),
        form: str = "choice",
        of_project: bool = False,
    ) -> None:
        self.name = name
        self.default = default
        self.choices = choices
        self.help = help
        self.form = form
        self.of_project = of_project


SETTINGS = (
    Setting("enabled", default=False, choices=(True, False), help="Record runs on this machine."),
    Setting(
        "durability",
        default="none",
        choices=("none", "fsync"),
        help="fsync: a recorded run survives a power cut too; every run waits for the disk.",
    ),
    Setting(
        "bake.fields",
        default=[],
        form="words",
        choices=(
            "timeout_count",
            "p95_duration_ms",
            "content_hash",
            "first_run",
            "window_days",
            "success_rate_low",
        ),
        of_project=True,
        help="Further fields that are baked into items.",
    ),
    Setting(
        "bake.signed",
        default="skip",
        choices=("skip", "resign"),
        help="What a hook does with an item whose signature a bake would break. Never read from a project's file.",
    ),
    Setting(
        "bake.sign_command",
        default=["rye", "sign", "{path}"],
        form="command",
        help="What signs items anew; the paths stand in for {path}. Never read from a project's file.",
    ),
    Setting(
        "bake.min_change.total_runs",
        default="10%, 10",
        form="change",
        of_project=True,
        help="A hook bakes an item again when its runs are more than one of these off what it says.",
    ),
    Setting(
        "bake.min_change.success_rate",
        default="0.01",
        form="change",
        of_project=True,
        help="The same for its success rate.",
    ),
    Setting(
        "bake.min_change.avg_duration_ms",
        default="10%",
        form="change",
        of_project=True,
        help="The same for its average duration.",
    ),
)
DEFAULT_DURABILITY = "none"
# What the scanner hands out; the other settings are read by the parser, off the hot path.
_HOT: dict[str, Mapping[str, object]] = {"enabled": BOOLS, "durability": {"none": "none", "fsync": "fsync"}}


class Consent:
    """Whether runs are recorded and which rule decided.

    `decided_by` is `RYE_TELEMETRY`, `project config: PATH`, `user config: PATH`, `unreadable config: PATH` or
    `default`; `warning` is one line for stderr, or None.
    """

    __slots__ = ("decided_by", "enabled", "warning")

    def __init__(self, *, enabled: bool, decided_by: str, warning: str | None = None) -> None:
        self.enabled = enabled
        self.decided_by = decided_by
        self.warning = warning

    def __repr__(self) -> str:
        return f"Consent(enabled={self.enabled}, decided_by={self.decided_by!r}, warning={self.warning!r})"


class Settings:
    """Every setting as it holds now; `sources` says where each comes from, in the words of `Consent.decided_by`."""

    __slots__ = ("consent", "sources", "values")

    def __init__(self, *, consent: Consent, values: dict[str, object], sources: dict[str, str]) -> None:
        self.consent = consent
        self.values = values
        self.sources = sources

    @property
    def enabled(self) -> bool:
        return self.consent.enabled

    @property
    def durability(self) -> str:
        return str(self.values["durability"])


def user_config_path(env: Mapping[str, str]) -> str:
    """Return the path of the user's file. Raises StateUnavailable where no home directory is known."""
    return os.path.join(user_space(env), "config.yaml")


def project_config_path(project_path: str) -> str:
    return os.path.join(os.path.abspath(project_path), ".ai", "config.yaml")


def read_consent(env: Mapping[str, str], project_path: str) -> Consent:
    """Say whether runs may be recorded, and which rule decided. Never raises."""
    return read_run_settings(env, project_path)[0]


def read_run_settings(env: Mapping[str, str], project_path: str) -> tuple[Consent, str]:
    """Return consent and durability, what a run needs to know, in one look at each file. Never raises."""
    said = env.get(VARIABLE, "").strip().lower()
    forced = {"1": True, "0": False}.get(said, BOOLS.get(said))
    if said and not forced:
        warning = None
        if forced is None:
            warning = f"{VARIABLE} is {said[:40]!r}, which is neither 1 nor 0: telemetry is off"
        return Consent(enabled=False, decided_by=VARIABLE, warning=warning), DEFAULT_DURABILITY
    try:
        path = user_config_path(env)
    except StateUnavailable:
        path = ""
    if not forced and project_path and (veto := _project_veto(project_path, own=path)):
        return veto, DEFAULT_DURABILITY
    try:
        found, warning = _read_hot(path) if path else ({}, None)
    except ConfigInvalid as e:
        if not forced:
            return _unreadable(path, e), DEFAULT_DURABILITY
        found, warning = {}, one_line(f"{e}; until then other settings have their defaults")
    durability = str(found.get("durability") or DEFAULT_DURABILITY)
    if forced:
        return Consent(enabled=True, decided_by=VARIABLE, warning=warning), durability
    enabled = found.get("enabled")
    decided_by = "default" if enabled is None else f"user config: {path}"
    return Consent(enabled=enabled is True, decided_by=decided_by, warning=warning), durability


def read_settings(env: Mapping[str, str], project_path: str) -> Settings:
    """Return every setting and where it comes from. Never raises; what could not be read is in `consent.warning`."""
    from rye_telemetry.config_sources import read_settings as read

    return read(env, project_path)


def list_settings(env: Mapping[str, str], project_path: str) -> dict[str, object]:
    """Return config_path, warning and settings: name, value, source, default, choices, values, help of each.

    `values` says in words what it may be. Raises StateUnavailable where no home directory is known.
    """
    from rye_telemetry.config_values import values_text

    path = user_config_path(env)
    now = read_settings(env, project_path)
    rows = [
        {
            "name": setting.name,
            "value": now.values[setting.name],
            "source": now.sources[setting.name],
            "default": setting.default,
            "choices": list(setting.choices),
            "values": values_text(setting),
            "help": setting.help,
        }
        for setting in SETTINGS
    ]
    return {"config_path": path, "warning": now.consent.warning, "settings": rows}


def set_values(path: str, values: Mapping[str, object]) -> bool:
    """Set dotted names (`telemetry.enabled`) in a settings file, keeping every other byte; True means changed.

    Raises ConfigInvalid, the file untouched, where it cannot be read, understood or written; StateBusy.
    """
    from rye_telemetry.config_edit import set_values as edit

    return edit(path, values)


def change_settings(values: Mapping[str, object], *, env: Mapping[str, str], project_path: str) -> dict[str, object]:
    """Write settings (names as in SETTINGS) to the user's file and say what came of it.

    Returns success, settings, config_path, changed; `enabled` if it is among them; `note` where another rule decides.
    """
    path = user_config_path(env)
    changed = set_values(path, {f"{SECTION}.{name}": value for name, value in values.items()})
    done: dict[str, object] = {"success": True, "settings": dict(values), "config_path": path, "changed": changed}
    from rye_telemetry.config_values import choice_text

    now = read_settings(env, project_path)
    notes = [
        f"{name} is {choice_text(now.values[name])} here all the same: {now.sources[name]} decides"
        for name, value in values.items()
        if name != "enabled" and now.values[name] != value
    ]
    if "enabled" in values:
        done["enabled"] = values["enabled"]
        if now.enabled != values["enabled"]:
            state = "on" if now.enabled else "off"
            notes.insert(0, f"telemetry is {state} here all the same: {now.consent.decided_by} decides")
    if notes:
        done["note"] = one_line("; ".join(notes))
    return done


def configure_telemetry(enabled: bool, *, env: Mapping[str, str] | None = None) -> dict[str, object]:  # noqa: FBT001 (published)
    """Switch telemetry on or off in the user's file.

    Returns success, enabled, config_path, changed, and `note` where RYE_TELEMETRY or the project's file says otherwise.
    Raises ConfigInvalid, StateBusy, StateUnavailable.
    """
    if not isinstance(enabled, bool):
        raise TypeError(f"enabled must be True or False, not {enabled!r}")
    env = os.environ if env is None else env
    try:
        project_path = find_project(os.getcwd(), env)
    except OSError:  # the working directory was removed
        project_path = ""
    return change_settings({"enabled": enabled}, env=env, project_path=project_path)


def parse_setting(text: str) -> tuple[str, object]:
    """Return name and value of one `KEY=VALUE`; the key with or without `telemetry.`. Raises UsageInvalid."""
    key, equals, said = text.partition("=")
    name = key.strip().removeprefix(f"{SECTION}.")
    known = {setting.name: setting for setting in SETTINGS}
    if not equals:
        raise UsageInvalid(f"{text!r} is not KEY=VALUE, as in {SETTINGS[0].name}=true")
    if name not in known:
        from difflib import get_close_matches

        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(known)}"
        raise UsageInvalid(f"no setting is called {key.strip()!r}: {hint}")
    return name, parse_value(known[name], said)


def parse_value(setting: Setting, said: str) -> object:
    """Return what a user typed for a setting as its value. Raises UsageInvalid."""
    from rye_telemetry.config_values import typed_value, values_text

    try:
        return typed_value(setting, said)
    except ValueError as e:
        raise UsageInvalid(f"{setting.name} is {values_text(setting)}, not {said!r}") from e


def one_line(text: str) -> str:
    """Return a message that stays one line on any terminal, whatever stands in a path."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def read_config_bytes(path: str) -> bytes | None:
    """Return a settings file, None where there is none. Raises ConfigInvalid; never waits for a FIFO or a device."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigInvalid(one_line(f"{path} is not a file: put a settings file in its place or remove it"))
        if found.st_size > MAX_BYTES:
            raise ConfigInvalid(one_line(f"{path} is larger than 1 MiB, too large for settings: make it smaller"))
        fd = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        )
        try:
            data = os.read(fd, found.st_size + 1)
            while len(data) <= MAX_BYTES and (more := os.read(fd, 1 << 16)):
                data += more
        finally:
            os.close(fd)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else e
        raise ConfigInvalid(one_line(f"{path} cannot be read ({reason}): make it readable or remove it")) from e
    return data


def decode_config(data: bytes, path: str) -> str:
    """Return the text of a settings file without its byte order mark. Raises ConfigInvalid where it is not UTF-8."""
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise ConfigInvalid(one_line(f"{path}, line {line}: not UTF-8 text: save the file as UTF-8")) from e


def _project_veto(project_path: str, *, own: str) -> Consent | None:
    try:
        path = project_config_path(project_path)
    except OSError:  # a relative path, and the working directory was removed
        return None
    if path == own:
        return None
    try:
        found, _ = _read_hot(path)
    except ConfigInvalid as e:
        return _unreadable(path, e)
    if found.get("enabled") is False:
        return Consent(enabled=False, decided_by=f"project config: {path}")
    return None


def _unreadable(path: str, error: ConfigInvalid) -> Consent:
    return Consent(
        enabled=False, decided_by=f"unreadable config: {path}", warning=f"{error}; telemetry is off until then"
    )


def _read_hot(path: str) -> tuple[Mapping[str, object], str | None]:
    data = read_config_bytes(path)
    if not data:
        return {}, None
    text = decode_config(data, path)
    from rye_telemetry.config_scan import scan_settings

    found = scan_settings(text, section=SECTION, hot=_HOT)
    if found is not None:
        return found, None
    from rye_telemetry.config_tree import read_document

    return read_document(text, path=path).settings([s for s in SETTINGS if s.name in _HOT], section=SECTION)
