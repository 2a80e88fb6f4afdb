"""Which recorded item a file is: by its recorded path, else by its place below `.ai/` or the id that it gives itself."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from rye_telemetry.bake.markdown import find_header
from rye_telemetry.bake.outline import is_harmless
from rye_telemetry.errors import BakeRefused
from rye_telemetry.items.find import FOLDERS, walk_files

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from rye_telemetry.publish.numbers import Item, Numbers

_TYPES = {folder: item_type for item_type, folder in FOLDERS.items()}
_ID_KEYS = ("id", "name", "tool_id", "__tool_id__")
_PYTHON_ID = re.compile(r"^__tool_id__[ \t]*(?::[^=\n]*)?=[ \t]*(['\"])([^'\"\n]+)\1", re.MULTILINE)
_XML_ID = re.compile(r"<directive\b[^<>]{0,400}?\bname=(['\"])([^'\"\n]{1,512})\1")
_ID_LINE = re.compile(r"\b(?:id|name|tool_id|__tool_id__)[\"']?[ \t]{0,20}[:=]\s{0,20}[\"']?([^\"'\n,}#]{0,600})")
_MARKDOWN = (".md", ".mdx", ".mdc", ".qmd", ".markdown")


class Place(NamedTuple):
    """Where a file lies below an `.ai/` folder: that folder, the item type, the path below the type's folder."""

    ai_dir: str
    item_type: str
    below: str


def place_of(path: str) -> Place | None:
    """Return where an absolute path lies; None outside of `.ai/directives`, `.ai/tools` and `.ai/knowledge`."""
    parts = path.replace(os.sep, "/").split("/")
    for at in range(len(parts) - 3, -1, -1):
        if parts[at] == ".ai" and parts[at + 1] in _TYPES:
            return Place("/".join(parts[: at + 1]), _TYPES[parts[at + 1]], "/".join(parts[at + 2 :]))
    return None


def whose(path: str, data: bytes, numbers: Numbers) -> Item | None:
    """Return the recorded item that the file at `path` (absolute) is, None for none; BakeRefused where several fit."""
    paths = dict.fromkeys((path, os.path.realpath(path)))
    found = dict.fromkeys(item for known in paths for item in numbers.places.get(known, ()))
    if not found:
        place = place_of(path)
        recorded = [item for item in _named(path, place, data, numbers) if item in numbers.paths]
        found = dict.fromkeys(item for item in recorded if not _lies_elsewhere(item, path, place, numbers))
        if place is not None:
            _check_namesakes(found, place, path, numbers)
    if len(found) > 1:
        names = ", ".join(f"{item_type} {item_id}" for item_type, item_id in found)
        raise BakeRefused(
            "ambiguous_item",
            f"{path} may be any of these recorded items: {names}; choose with: bake ITEM --item-path FILE",
        )
    return next(iter(found), None)


def _named(path: str, place: Place | None, data: bytes, numbers: Numbers) -> Iterator[Item]:
    placed = list(_ids_by_place(place.below)) if place else []
    yield from ((place.item_type, item_id) for item_id in placed if place)
    types: Iterable[str] = (place.item_type,) if place else FOLDERS
    for item_id in own_ids(data, path, known=numbers.ids, told=placed):
        yield from ((item_type, item_id) for item_type in types)


def _ids_by_place(below: str) -> Iterator[str]:
    """With or without category folders, with or without the extension."""
    parts = below.split("/")
    for at in range(len(parts)):
        whole = "/".join(parts[at:])
        yield whole
        yield os.path.splitext(whole)[0]


def _lies_elsewhere(item: Item, path: str, place: Place | None, numbers: Numbers) -> bool:
    """Say whether the item was run from another file that still exists, here or in this file's own project."""
    if place is None:
        return False
    for recorded in numbers.paths[item]:
        there = place_of(recorded)
        if there is None or there.below == place.below:
            continue
        if os.path.isfile(recorded) or os.path.isfile(_joined(place.ai_dir, there)):
            return recorded != path
    return False


def _check_namesakes(found: Iterable[Item], place: Place, path: str, numbers: Numbers) -> None:
    """Refuse an item that was recorded without a path and may be another file of the same name as well."""
    for item in found:
        if numbers.paths[item] or item[1] in (place.below, os.path.splitext(place.below)[0]):
            continue
        alike = numbers.shelves.setdefault((place.ai_dir, place.item_type), {}) or _shelf(place, numbers)
        name = os.path.splitext(os.path.basename(place.below))[0]
        if len(alike.get(name, ())) > 1:
            raise BakeRefused(
                "ambiguous_item",
                f"{path} is not the only file that may be {item[0]} {item[1]}: {', '.join(sorted(alike[name]))};"
                f" choose with: bake ITEM --item-path FILE",
            )


def _shelf(place: Place, numbers: Numbers) -> dict[str, list[str]]:
    """Return {name without extension: paths} of a folder's items."""
    shelf: dict[str, list[str]] = {}
    for below in walk_files(os.path.join(place.ai_dir, FOLDERS[place.item_type])):
        shelf.setdefault(os.path.splitext(os.path.basename(below))[0], []).append(below)
    numbers.shelves[place.ai_dir, place.item_type] = shelf
    return shelf


def _joined(ai_dir: str, there: Place) -> str:
    return os.path.join(ai_dir, FOLDERS[there.item_type], there.below)


def own_ids(data: bytes, filename: str, *, known: Container[str] | None = None, told: Container[str] = ()) -> list[str]:
    """Return the ids that a file gives itself in its metadata.

    Those that are not `known`, or `told` already, may be left out.
    """
    suffix = os.path.splitext(filename)[1].lower()
    text = data.decode("utf-8", "replace")
    if suffix in (".py", ".pyi"):
        return [match[2] for match in _PYTHON_ID.finditer(text)]
    if known is not None and not _may_name(text, known, told):
        return []
    metadata = _metadata(text, filename, suffix)
    ids = (
        [metadata[key] for key in _ID_KEYS if isinstance(metadata.get(key), str)] if isinstance(metadata, dict) else []
    )
    if suffix in _MARKDOWN and (xml := _XML_ID.search(text)):
        ids.append(xml[2])
    return ids


def _may_name(text: str, known: Container[str], told: Container[str]) -> bool:
    """Spare a file the parser whose lines name nothing new that is recorded: a thousand of them take it half a second."""
    for found in _ID_LINE.finditer(text):
        value = found[1].strip()
        if (value in known and value not in told) or not value or value[0] in "&*!|>%@" or "\\" in value:
            return True
    return False


def _metadata(text: str, filename: str, suffix: str) -> Any:
    import json

    import yaml

    try:
        if suffix == ".json":
            return json.loads(text)
        if suffix in (".yaml", ".yml"):
            if not is_harmless(text):
                return None
            return next(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), None)
        if suffix in _MARKDOWN:
            return _header_metadata(text, filename)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, AttributeError, BakeRefused):
        pass
    return None


def _header_metadata(text: str, filename: str) -> Any:
    """Read the header wherever RYE reads it: behind a signature, and in a fence too."""
    import frontmatter

    header = find_header(text, os.path.basename(filename))
    inside = text[header.start : header.end] if header else ""
    return frontmatter.parse(f"---\n{inside}---\n")[0] if is_harmless(inside) else None
