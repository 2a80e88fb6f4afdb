"""Which file carries its block how. `new = old[:a] + block + old[b:]`, looked at again by the file's own readers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rye_telemetry.bake.block import KEY, same_values, usable_fields
from rye_telemetry.bake.edges import LEADERS, Source, check_bytes, check_size, check_text, decode, is_skill
from rye_telemetry.errors import BakeRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARKDOWN = frozenset((".md", ".mdx", ".mdc", ".qmd", ".markdown"))
_YAML = frozenset((".yaml", ".yml"))
_MODULES = {"markdown": "markdown", "skill": "markdown", "yaml": "yaml_file", "json": "json_file", "code": "code"}
_PYTHON = (".py", ".pyi")


@dataclass(frozen=True)
class Baked:
    """What came of it: the new bytes, whether they are others, in which form the block stands, what to tell the user."""

    data: bytes
    changed: bool
    carrier: str  # markdown, skill, yaml, json, code
    warnings: tuple[str, ...] = ()


def is_supported(filename: str) -> bool:
    """Say whether files of this name carry blocks at all."""
    return _carrier(*_named(filename)) != ""


def bake_bytes(data: bytes, filename: str, fields: Mapping[str, object]) -> Baked:
    """Put `fields` (names: FIELDS; None is left out) into an item's bytes; the same values again change nothing.

    Only the last part of `filename` matters. Raises BakeRefused, whose `code` says why; ValueError for fields that no
    block may hold.
    """
    said = usable_fields(fields)
    source, encoding = _open(data, filename)
    new, warnings = _module(source).bake(source, said)
    _check_way_back(source, new, said)
    return _result(data, source, new, encoding, warnings)


def _check_way_back(source: Source, new: str, fields: Mapping[str, object]) -> None:
    """Refuse what could not be read, or not be taken out again."""
    if new == source.text:
        return
    module, baked = _module(source), source._replace(text=new)
    try:
        plain = module.strip(source) if KEY in source.text or "\\" in source.text else source.text
        fits = module.strip(baked) == plain and same_values(module.read(baked) or {}, fields)
    except BakeRefused:
        fits = False
    if not fits:
        raise BakeRefused(
            "changed_elsewhere", f"{source.name}: a block here could not be found again, so nothing was written"
        )


def strip_bytes(data: bytes, filename: str) -> Baked:
    """Take the block out; the bytes are as before it was put in. Without a block nothing changes. Raises BakeRefused."""
    source, encoding = _open(data, filename)
    return _result(data, source, _module(source).strip(source), encoding, [])


def read_bytes(data: bytes, filename: str) -> dict[str, object] | None:
    """Return what the block says, None where there is none of ours. Raises BakeRefused."""
    source, _ = _open(data, filename)
    found: dict[str, object] | None = _module(source).read(source)
    return found


def _result(data: bytes, source: Source, new: str, encoding: str, warnings: list[str]) -> Baked:
    carrier = _carrier(source.name, source.suffix)
    if new == source.text:
        return Baked(data, changed=False, carrier=carrier, warnings=tuple(warnings))
    try:
        made = new.encode(encoding)
    except UnicodeError as e:
        raise BakeRefused("not_utf8", f"{source.name}: {encoding} takes no block: save it as UTF-8") from e
    if source.suffix in _PYTHON:
        from rye_telemetry.bake.code import check_python

        warnings = warnings + check_python(data, made, source.name)
    check_size(made, source.name)
    return Baked(made, changed=True, carrier=carrier, warnings=tuple(warnings))


def _module(source: Source) -> Any:
    """Return what knows such files; each imports its parsers, and a run of one item needs one of them."""
    from importlib import import_module

    return import_module(f"rye_telemetry.bake.{_MODULES[_carrier(source.name, source.suffix)]}")


def _named(filename: str) -> tuple[str, str]:
    name = os.path.basename(filename.replace("\\", "/") if os.name == "nt" else filename)
    return name, os.path.splitext(name)[1].lower()


def _carrier(name: str, suffix: str) -> str:
    if suffix in _MARKDOWN:
        return "skill" if is_skill(name) else "markdown"
    if suffix in _YAML:
        return "yaml"
    if suffix == ".json":
        return "json"
    return "code" if suffix in LEADERS else ""


def _open(data: bytes, filename: str) -> tuple[Source, str]:
    """Return the text of a file of a kind that carries blocks, and its encoding."""
    name, suffix = _named(filename)
    check_bytes(data, name)
    if not _carrier(name, suffix):
        raise BakeRefused(
            "unsupported_type",
            f"{name}: {f'files of type {suffix}' if suffix else 'files without an extension'} carry no telemetry block",
        )
    check_text(data, name)
    encoding = _python_encoding(data, name) if suffix in _PYTHON else "utf-8"
    return Source(decode(data, name, encoding), name, suffix), encoding


def _python_encoding(data: bytes, name: str) -> str:
    """Return the encoding by PEP 263; a byte order mark stays a character of the text."""
    from tokenize import detect_encoding

    lines = iter(data.split(b"\n", 2)[:2])
    try:
        found = detect_encoding(lambda: next(lines, b"") + b"\n")[0]
    except SyntaxError as e:
        raise BakeRefused("not_utf8", f"{name}: {e}: save it as UTF-8") from e
    return "utf-8" if found == "utf-8-sig" else found
