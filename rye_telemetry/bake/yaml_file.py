"""Whole YAML files: a key of the first mapping document, or a comment where the file's reader allows no other key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rye_telemetry.bake.edges import BOM, Source, eol_before
from rye_telemetry.bake.marks import one_block
from rye_telemetry.bake.outline import Outline, YamlInvalid, outline_documents
from rye_telemetry.bake.yaml_block import check_outline, put_block, take_block
from rye_telemetry.errors import BakeRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

# RYE's newer engine, which refuses a key that it does not know: by its prefix, or by a key fingerprint of 64 digits.
_NEWER_ENGINE = re.compile(r"(?:#![^\n]*\n)?#[ \t]*(?:ryeos:signed:|rye:signed:[^\n]*:[0-9a-f]{64}[ \t]*\r?(?:\n|$))")
_PINNED = re.compile(r"\b[0-9a-f]{64}\b")


def _outline(text: str, name: str) -> Outline:
    try:
        return outline_documents(text, leader="#", name=name)
    except YamlInvalid as e:
        raise BakeRefused("invalid_yaml", f"{name}: not valid YAML ({e}): mend it first") from e


def _split(source: Source) -> tuple[str, str]:
    """Return the byte order mark apart, which no parser of a part would expect."""
    text, name, _ = source
    if name.lower() in ("manifest.yaml", "manifest.yml") and _PINNED.search(text):
        raise BakeRefused("bundle_manifest", f"{name} pins hashes of its bundle's files, and no block may change it")
    return (BOM, text[1:]) if text.startswith(BOM) else ("", text)


def bake(source: Source, fields: Mapping[str, object]) -> tuple[str, list[str]]:
    name = source.name
    bom, text = _split(source)
    old = _outline(text, name)
    form = "comment" if _NEWER_ENGINE.match(text) else "key"
    new = text
    for edit in put_block(text, old, fields, form=form, eol=eol_before(text, old.place), name=name):
        new = edit.apply(new)
    if new != text:
        check_outline(old, _outline(new, name), fields, name)
    return bom + new, []


def strip(source: Source) -> str:
    name = source.name
    bom, text = _split(source)
    old = _outline(text, name)
    new = text
    for edit in take_block(text, old, name):
        new = edit.apply(new)
    if new != text:
        check_outline(old, _outline(new, name), None, name)
    return bom + new


def read(source: Source) -> dict[str, object] | None:
    _, text = _split(source)
    block = one_block(_outline(text, source.name).blocks, source.name)
    return block.fields if block else None
