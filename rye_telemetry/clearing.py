"""Deleting for good: after `clear` the item's id stands nowhere below the state directory."""

from __future__ import annotations

import _thread
import contextlib
import json
import os
from typing import TYPE_CHECKING

from rye_telemetry.files import make_private_dir, read_file, replace_file, try_unlink
from rye_telemetry.index import Index
from rye_telemetry.lines import decode_line, encode_json, encode_line
from rye_telemetry.model import check_item_type, utf8_text
from rye_telemetry.projector import READ_OPEN_RUNS
from rye_telemetry.queries import read_items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rye_telemetry.model import Fields
    from rye_telemetry.projector import Projector


def clear(projector: Projector, *, item_id: str | None, item_type: str | None) -> int:
    """Delete what is named, everything when nothing is; return the number of ended runs that went."""
    if item_type is not None:
        check_item_type(item_type)
    if item_id is not None:
        item_id = utf8_text(item_id)
    make_private_dir(os.path.dirname(projector.index_path))
    projector.take()
    try:
        projector.thread = _thread.get_ident()
        projector.catch_up()
        meant, gone = _find(projector, item_id, item_type)
        _sweep_reports(projector)
        projector.journal.rewrite(_keeper(meant))
        projector.forget()
        _sweep(projector, meant)
        projector.rebuild(None, None)
    finally:
        projector.thread = 0
        projector.lock.release()
    return gone


class _Meant:
    """What is to go: everything, a type, an id in every type, or single items; `keys` are (type, id) of known ones."""

    def __init__(self, item_id: str | None, item_type: str | None, keys: set[tuple[str, str]]) -> None:
        self.item_id = item_id
        self.item_type = item_type
        self.keys = keys
        self.everything = item_id is None and item_type is None
        self.linked_runs: set[str] = set()  # whose links go
        self.lonely_commits: set[str] = set()  # that no other run is linked to: a branch may bear the item's name
        self.needles = () if self.everything else tuple(_needles(item_type, [item_id, *(i for _, i in keys)]))

    def has(self, item_type: object, item_id: object) -> bool:
        if (item_type, item_id) in self.keys:
            return True
        return self.item_id in (None, item_id) and self.item_type in (None, item_type)

    def may_be_in(self, data: bytes) -> bool:
        """Say whether bytes that cannot be read as records name it."""
        return self.everything or any(needle in data for needle in self.needles)


def _needles(item_type: str | None, ids: list[str | None]) -> Iterator[bytes]:
    for item_id in ids:
        if item_id is not None:
            yield encode_json(item_id).encode()
            yield json.dumps(item_id).encode()
        elif item_type is not None:
            yield f'"item_type":"{item_type}"'.encode()


def _find(projector: Projector, item_id: str | None, item_type: str | None) -> tuple[_Meant, int]:
    """Return what is meant, and how many ended runs it has."""
    with contextlib.closing(Index.open(projector.index_path)) as index:
        items = read_items(index, item_id=item_id, item_type=item_type).values()
        meant = _Meant(item_id, item_type, {(item["type"], item["item_id"]) for item in items})
        for kind, name in () if meant.everything else meant.keys:
            of_item = "SELECT run_id FROM runs JOIN items USING (item) WHERE item_type=? AND item_id=?"
            linked = f"SELECT DISTINCT run_id, commit_hash FROM links WHERE run_id IN ({of_item})"  # noqa: S608 (constants)
            for run_id, commit in index.db.execute(linked, (kind, utf8_text(name))):
                meant.linked_runs.add(run_id)
                meant.lonely_commits.add(commit)
        if meant.lonely_commits:
            shared = {commit for commit, run_id in _links(index) if run_id not in meant.linked_runs}
            meant.lonely_commits -= shared
    return meant, sum(item["total_runs"] for item in items)


def _links(index: Index) -> Iterator[tuple[str, str]]:
    return iter(index.db.execute("SELECT commit_hash, run_id FROM links"))


def _keeper(meant: _Meant) -> Callable[[bytes], bytes | None]:
    """Return the function that says what stays of a journal line."""
    runs = set(meant.linked_runs)

    def keep(raw: bytes) -> bytes | None:
        if meant.everything:
            return None
        try:
            fields = decode_line(raw)
        except ValueError:  # what cannot be read goes when it names the item, a line torn within the name too
            return None if meant.may_be_in(raw + b'"') else raw
        if fields["kind"] == "checkpoint":
            return _checkpoint_without(meant, raw, fields)
        if "item_id" in fields and meant.has(fields.get("item_type"), fields["item_id"]):
            runs.add(fields["run_id"])
            return None
        if fields["kind"] == "commit" and fields["commit_hash"] in meant.lonely_commits:
            return None
        return None if fields.get("run_id") in runs else raw

    return keep


def _checkpoint_without(meant: _Meant, raw: bytes, fields: Fields) -> bytes | None:
    try:
        items = [entry for entry in fields["items"] if not meant.has(entry["item_type"], entry["item_id"])]
    except (KeyError, TypeError, IndexError):  # damage of this kind is named, not counted
        return None if meant.may_be_in(raw) else raw
    if len(items) == len(fields["items"]):
        return raw
    rest = {name: value for name, value in fields.items() if name not in ("v", "kind")}
    return encode_line("checkpoint", {**rest, "items": items}).rstrip(b"\n") if items else None


def _sweep(projector: Projector, meant: _Meant) -> None:
    """Clean what lies beside the journal: imported and set-aside files, and what killed writers left."""
    state_dir = os.path.dirname(projector.snapshot_path)
    for name in os.listdir(state_dir):
        path = os.path.join(state_dir, name)
        if name.startswith("telemetry.yaml."):
            if meant.everything or name.endswith(".tmp"):
                try_unlink(path)
            else:
                _clean_aside(path, meant)
    for folder in (projector.journal.directory, projector.journal.spill_dir, projector.journal.archive_dir):
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            if name.endswith(".tmp"):
                try_unlink(os.path.join(folder, name))


def _sweep_reports(projector: Projector) -> None:
    """Remove the report files that no open run will read: they may say anything of any item."""
    index = Index.open(projector.index_path)
    try:
        still_read = {run_id for run_id, _ in index.open_runs(READ_OPEN_RUNS)}
    finally:
        index.close()
    folder = projector.journal.reports_dir
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if name.partition(".")[0] not in still_read:
            try_unlink(os.path.join(folder, name))


def _clean_aside(path: str, meant: _Meant) -> None:
    """Take the item out of a foreign file that is kept; delete a file that cannot be read but may name it."""
    import yaml

    data = read_file(path)
    try:
        document = yaml.load(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (a safe loader)
        entries = document["items"]
        kept = {key: entry for key, entry in entries.items() if not meant.has(_type_in(entry), str(key))}
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        if meant.item_id is None or any(item_id.encode() in data for _, item_id in meant.keys | {("", meant.item_id)}):
            try_unlink(path)
        return
    if len(kept) != len(entries):
        text = yaml.safe_dump({**document, "items": kept}, sort_keys=False, allow_unicode=True)
        replace_file(path, text.encode())


def _type_in(entry: object) -> str:
    """Return the type of a foreign entry, one that was not imported included."""
    return str(entry.get("type", "tool")) if isinstance(entry, dict) else "tool"
