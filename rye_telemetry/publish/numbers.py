"""The numbers of items as they are published, from the store; and whether they moved enough to be published anew."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from rye_telemetry.bake import FIELDS, PUBLISHED
from rye_telemetry.bake.block import plain_text
from rye_telemetry.content import content_hash_of
from rye_telemetry.queries import read_items, read_places
from rye_telemetry.totals import success_bounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rye_telemetry.index import Index
    from rye_telemetry.model import Fields
    from rye_telemetry.store import TelemetryStore

    Item = tuple[str, str]  # type, id

# A number that is not among these moves with one that is.
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
MOVING = ("total_runs", "success_rate", "avg_duration_ms")


class Scope(NamedTuple):
    """Which runs count, and which numbers are published beside the usual six."""

    extras: tuple[str, ...] = ()
    since: str | None = None
    window_days: float | None = None
    this_version: bool = False

    @property
    def is_whole(self) -> bool:
        return self.since is None and not self.this_version


class Numbers:
    """Published numbers by item. `places`: recorded path to items; `load` reads many items in one question."""

    def __init__(self, store: TelemetryStore, scope: Scope) -> None:
        self.store = store
        self.scope = scope
        self.places: dict[str, list[Item]] = {}
        self.paths: dict[Item, list[str]] = {}
        self.ids: set[str] = set()
        self.shelves: dict[tuple[str, str], dict[str, list[str]]] = {}  # what lies in the folders that were looked at
        self._items: dict[Item, Fields] = {}
        self._first_runs: dict[Item, str] = {}
        for item, paths in store.ask(read_places):
            self.paths[item] = paths
            self.ids.add(item[1])
            for path in paths:
                self.places.setdefault(path, []).append(item)

    def load(self, items: Iterable[Item]) -> None:
        wanted = [item for item in dict.fromkeys(items) if item not in self._items]
        if wanted and self.scope.is_whole:
            self._items.update(self.store.ask(lambda index: _read(index, wanted)))
        if wanted and "first_run" in self.scope.extras:
            self._first_runs.update(self.store.first_runs(wanted))

    def fields(self, item: Item, data: bytes, filename: str, *, also: Iterable[str] = ()) -> dict[str, object] | None:
        """Return what a block is to say, None where no run is recorded. `also`: extras beside those of the scope."""
        extras = {*self.scope.extras, *also}
        self.load([item])
        digest = content_hash_of(data, filename) if self.scope.this_version or "content_hash" in extras else None
        if self.scope.is_whole:
            found = self._items.get(item)
        else:
            version = digest if self.scope.this_version else None
            found = self.store.window(*item, since=self.scope.since, content_hash=version)
        if not found or not found["total_runs"]:
            return None
        more = {
            "content_hash": digest,
            "first_run": (found.get("first_run") or self._first_run(item)) if "first_run" in extras else None,
            "window_days": self.scope.window_days,
        }
        return published(found, (*PUBLISHED, *extras), more)

    def _first_run(self, item: Item) -> str | None:
        if item not in self._first_runs:
            self._first_runs.update(self.store.first_runs([item]))
        return self._first_runs.get(item)


def _read(index: Index, items: Iterable[Item]) -> dict[Item, Fields]:
    found: dict[Item, Fields] = {}
    for item_type, item_id in items:
        for item in read_items(index, item_id=item_id, item_type=item_type).values():
            if item["item_id"] == item_id:
                found[item_type, item_id] = item
    return found


def published(found: Fields, names: Iterable[str], more: Mapping[str, object] = {}) -> dict[str, object]:
    """Return the named fields of an item, rounded as they are published; those without a value are left out."""
    values: dict[str, object] = {
        **{name: found.get(name) for name in FIELDS},
        "success_rate_low": success_bounds(found)[0],
        **{name: value for name, value in more.items() if value is not None},
    }
    wanted = set(names)
    return {name: _rounded(name, values[name]) for name in FIELDS if name in wanted and values.get(name) is not None}


def _rounded(name: str, value: object) -> object:
    if isinstance(value, str):
        return value[:19] + "Z" if name in ("last_run", "first_run") else value
    if isinstance(value, float):
        if name == "window_days":
            return round(value) if value >= 1 else value
        return math.floor(value * 1000) / 1000 if name == "success_rate_low" else round(value, 1 + 2 * ("rate" in name))
    return value


def moved_enough(old: Mapping[str, object], new: Mapping[str, object], least: Mapping[str, str]) -> bool:
    """Say whether a number moved by more than it may without being published anew.

    `least`: for each of MOVING a list such as "10%, 10": past any of them is enough. A block of some days alone was
    asked for by hand, and is left to whoever did.
    """
    if "window_days" in old:
        return False
    return any(_moved(old.get(name), new[name], least[name]) for name in MOVING if name in new)


def _moved(old: object, new: object, least: str) -> bool:
    if isinstance(old, bool) or not isinstance(old, (int, float)) or not isinstance(new, (int, float)):
        return old != new
    before, after = Decimal(str(old)), Decimal(str(new))
    return any(abs(after - before) > _threshold(part.strip(), before) for part in least.split(","))


def _threshold(text: str, before: Decimal) -> Decimal:
    return Decimal(text[:-1]) / 100 * abs(before) if text.endswith("%") else Decimal(text)


def implausible(said: Mapping[str, object], *, latest: str) -> str | None:
    """Return what a block says that cannot be, None where all of it can. `latest`: no run can have ended after it."""
    counts: dict[str, int] = {}
    for name, value in said.items():
        if name == "total_runs" or name.endswith("_count"):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                return f"{name} is {value!r}, which is no count"
            counts[name] = value
    total = counts.pop("total_runs")
    if sum(counts.values()) > total:
        return f"its counts are more than the {total} of total_runs"
    return _wrong_rate(said) or _wrong_duration(said) or _wrong_instant(said, latest)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _wrong_rate(said: Mapping[str, object]) -> str | None:
    for name in ("success_rate", "success_rate_low"):
        rate = said.get(name, 0)
        if not _is_number(rate) or not 0 <= rate <= 1:  # type: ignore[operator]
            return f"{name} is {rate!r}, which is not between 0 and 1"
    rate, total = said.get("success_rate"), said["total_runs"]
    if not _is_number(rate) or not total:
        return None
    least = said.get("success_count", 0) / total - 0.001  # type: ignore[operator]  # counts, as seen above
    most = 1 - said.get("failure_count", 0) / total + 0.001  # type: ignore[operator]
    return None if least <= rate <= most else f"success_rate is {rate}, which its counts do not give"


def _wrong_duration(said: Mapping[str, object]) -> str | None:
    for name in ("avg_duration_ms", "p95_duration_ms", "window_days"):
        value = said.get(name, 0)
        if not _is_number(value) or not value >= 0:  # type: ignore[operator]
            return f"{name} is {value!r}, which is no length of time"
    return None


def _wrong_instant(said: Mapping[str, object], latest: str) -> str | None:
    for name in ("first_run", "last_run"):
        text = plain_text(said.get(name, latest))
        if not _INSTANT.fullmatch(text):
            return f"{name} is {text[:40]!r}, which is no instant such as {latest}"
        if text > latest:
            return f"{name} is {text}, which is still to come"
    return None
