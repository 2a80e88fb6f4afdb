"""Deleting for good: after `clear` the item's id stands nowhere below the state directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rye_telemetry.files import make_private_dir, read_file, replace_file, try_unlink
from rye_telemetry.index import Index
from rye_telemetry.lines import decode_line, encode_json, encode_line
from rye_telemetry.model import check_item_type
from rye_telemetry.queries import read_items

if TYPE_CHECKING:
    from collections.abc import Callable

    from rye_telemetry.projector import Projector


def clear(projector: Projector, *, item_id: str | None, item_type: str | None) -> int:
    """Delete what is named, everything when nothing is; return the number of ended runs that went."""
    if item_type is not None:
        check_item_type(item_type)
    make_private_dir(os.path.dirname(projector.index_path))
    projector.take()
    try:
        projector.catch_up()
        names = _keys(projector, item_id, item_type)
        gone = sum(names.values())
        projector.journal.rewrite(_keeper(item_id, item_type))
        projector.forget()
        _sweep(projector, item_id, item_type)
        projector.rebuild(None, None)
    finally:
        projector.lock.release()
    return gone


def _keys(projector: Projector, item_id: str | None, item_type: str | None) -> dict[str, int]:
    index = Index.open(projector.index_path)
    try:
        items = read_items(index, item_id=item_id, item_type=item_type)
    finally:
        index.close()
    return {key: item["total_runs"] for key, item in items.items()}


def _keeper(item_id: str | None, item_type: str | None) -> Callable[[bytes], bytes | None]:
    """Return the function that says what stays of a journal line."""
    item_type, item_id = _split_key(item_type, item_id)
    if item_id is None and item_type is None:
        return lambda _: None
    needles = _needles(item_id)
    runs: set[str] = set()

    def keep(raw: bytes) -> bytes | None:
        try:
            fields = decode_line(raw)
        except ValueError:  # what cannot be read goes when it names the item
            return None if any(needle in raw for needle in needles) else raw
        if fields["kind"] == "checkpoint":
            items = [entry for entry in fields["items"] if not _meant(entry, item_id, item_type)]
            if len(items) == len(fields["items"]):
                return raw
            rest = {name: value for name, value in fields.items() if name not in ("v", "kind")}
            return encode_line("checkpoint", {**rest, "items": items}).rstrip(b"\n") if items else None
        if "item_id" in fields and _meant(fields, item_id, item_type):
            runs.add(fields["run_id"])
            return None
        return None if fields.get("run_id") in runs else raw

    return keep


def _split_key(item_type: str | None, item_id: str | None) -> tuple[str | None, str | None]:
    """Read `type::id`, the key of an item whose id another type had first."""
    if item_id is not None and item_type is None:
        head, found, rest = item_id.partition("::")
        if found and rest and head in ("directive", "tool", "knowledge"):
            return head, rest
    return item_type, item_id


def _meant(entry: dict[str, object], item_id: str | None, item_type: str | None) -> bool:
    return (item_id is None or entry.get("item_id") == item_id) and (
        item_type is None or entry.get("item_type") == item_type
    )


def _needles(item_id: str | None) -> tuple[bytes, ...]:
    if item_id is None:
        return ()
    text = encode_json(item_id)
    return (text.encode(), text.encode("ascii", "backslashreplace"), f'"item_id":{text[:-1]}'.encode())


def _sweep(projector: Projector, item_id: str | None, item_type: str | None) -> None:
    """Clean what lies beside the journal: imported and set-aside files, and what killed writers left."""
    everything = item_id is None and item_type is None
    state_dir = os.path.dirname(projector.snapshot_path)
    for name in os.listdir(state_dir):
        path = os.path.join(state_dir, name)
        if name.startswith("telemetry.yaml."):
            if everything or name.endswith(".tmp"):
                try_unlink(path)
            else:
                _clean_aside(path, item_id, item_type)
    for folder in (projector.journal.directory, projector.journal.spill_dir, projector.journal.archive_dir):
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            if name.endswith(".tmp"):
                try_unlink(os.path.join(folder, name))


def _clean_aside(path: str, item_id: str | None, item_type: str | None) -> None:
    """Take the item out of a foreign file that is kept; delete a file that cannot be read but may name it."""
    import yaml

    data = read_file(path)
    try:
        document = yaml.load(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (a safe loader)
        entries = document["items"]
        kept = {k: v for k, v in entries.items() if not _meant({"item_id": k, "item_type": v.get("type")}, item_id, item_type)}
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError, RecursionError):
        if item_id is None or item_id.encode() in data:
            try_unlink(path)
        return
    if len(kept) != len(entries):
        text = yaml.safe_dump({**document, "items": kept}, sort_keys=False, allow_unicode=True)
        replace_file(path, text.encode())


