"""Every setting as it holds here: what the user's file says, what the project's may say, and where each comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rye_telemetry.config import (
    SECTION,
    SETTINGS,
    Consent,
    Settings,
    decode_config,
    one_line,
    project_config_path,
    read_config_bytes,
    read_consent,
    user_config_path,
)
from rye_telemetry.config_tree import read_document
from rye_telemetry.errors import ConfigInvalid, StateUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rye_telemetry.config_tree import Document

_OF_PROJECT = tuple(setting for setting in SETTINGS if setting.of_project)
# A repository must not name what is run on this machine, nor have its items signed here, however it got here.
_NEVER_OF_PROJECT = tuple(setting for setting in SETTINGS if setting.name in ("bake.signed", "bake.sign_command"))


def read_settings(env: Mapping[str, str], project_path: str) -> Settings:
    """Return every setting and where it comes from. See `config.read_settings`."""
    consent = read_consent(env, project_path)
    values = {setting.name: _fresh(setting.default) for setting in SETTINGS}
    sources = dict.fromkeys(values, "default")
    try:
        path = user_config_path(env)
        document = _document(path)
        found, warning = document.settings(SETTINGS, section=SECTION) if document else ({}, None)
    except (ConfigInvalid, StateUnavailable):  # consent says so, where it asked
        path, found, warning = "", {}, None
    _take(values, sources, found, f"user config: {path}")
    found, source, of_project = _of_project(project_path, own=path)
    _take(values, sources, found, source)
    values["enabled"], sources["enabled"] = consent.enabled, consent.decided_by
    said = [text for text in (warning, of_project) if text]
    if consent.warning and not any(consent.warning in text for text in said):
        said = [consent.warning, *(text for text in said if text not in consent.warning)]
    if said:
        consent = Consent(enabled=consent.enabled, decided_by=consent.decided_by, warning="; ".join(said))
    return Settings(consent=consent, values=values, sources=sources)


def _of_project(project_path: str, *, own: str) -> tuple[dict[str, object], str, str | None]:
    """Return what the project's file sets of what it may, what it is called, and what is wrong with it."""
    try:
        path = project_config_path(project_path) if project_path else ""
    except OSError:  # a relative path, and the working directory was removed
        path = ""
    if path in ("", own):
        return {}, "", None
    try:
        document = _document(path)
        if document is None:
            return {}, "", None
        found, warning = document.settings(_OF_PROJECT, section=SECTION)
        refused, _ = document.settings(_NEVER_OF_PROJECT, section=SECTION)
    except ConfigInvalid as e:
        return {}, "", str(e)
    for name in refused:
        said = one_line(f"{path} sets {SECTION}.{name}, which only your own file may: it is left aside")
        warning = f"{warning}; {said}" if warning else said
    return found, f"project config: {path}", warning


def _document(path: str) -> Document | None:
    data = read_config_bytes(path)
    return read_document(decode_config(data, path), path=path) if data else None


def _take(values: dict[str, object], sources: dict[str, str], found: Mapping[str, object], source: str) -> None:
    for name, value in found.items():
        values[name], sources[name] = value, source


def _fresh(default: object) -> object:
    return list(default) if isinstance(default, list) else default
