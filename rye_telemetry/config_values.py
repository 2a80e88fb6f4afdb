"""What a setting may be: read from a file, read as typed, and said in words. Off the hot path."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rye_telemetry.config import Setting

PATH_WORD = "{path}"


def read_value(setting: Setting, said: object) -> object:
    """Return what a file says, a bool, a text or a list of texts, as the setting's value; ValueError where it is none."""
    if setting.form == "words":
        return _words(setting, said)
    if setting.form == "command":
        return _command(said)
    if setting.form == "change":
        return _change(said)
    if said in setting.choices and type(said) is type(setting.default):
        return said
    raise ValueError(f"{said!r} is no choice")


def typed_value(setting: Setting, said: str) -> object:
    """Return what was typed as the setting's value; ValueError where it is none."""
    if setting.form != "choice":
        return read_value(setting, said.strip())
    for choice in setting.choices:
        if said.strip().lower() == choice_text(choice):
            return choice
    raise ValueError(f"{said!r} is no choice")


def values_text(setting: Setting) -> str:
    """Return in words what the setting may be."""
    if setting.form == "words":
        return f"any of {', '.join(map(choice_text, setting.choices))}"
    if setting.form == "command":
        return f"a command with {PATH_WORD} as a word of its own"
    if setting.form == "change":
        return "numbers or percentages from 0 with commas between them"
    return " or ".join(map(choice_text, setting.choices))


def choice_text(value: object) -> str:
    """Return a value as it is shown."""
    if isinstance(value, list):
        return f"[{', '.join(value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _words(setting: Setting, said: object) -> list[str]:
    if isinstance(said, str):
        said = [word.strip() for word in said.split(",")] if said.strip() else []
    if not isinstance(said, list) or not all(word in setting.choices for word in said):
        raise ValueError(f"{said!r} has other words")
    return list(dict.fromkeys(said))


def _command(said: object) -> list[str]:
    words = shlex.split(said) if isinstance(said, str) else said
    if not isinstance(words, list) or PATH_WORD not in words[1:] or not words[0]:
        raise ValueError(f"{said!r} is no command with {PATH_WORD}")
    return words


def _change(said: object) -> str:
    """Return the text where each part of it is a number from 0, or one with a percent sign."""
    if not isinstance(said, str):
        raise ValueError(f"{said!r} is no text")  # noqa: TRY004 (one error for whatever a file may say)
    for part in said.split(","):
        digits = part.strip().removesuffix("%").rstrip()
        if not digits.isascii() or not digits.replace(".", "", 1).isdigit():
            raise ValueError(f"{part!r} is no number from 0")
    return said
