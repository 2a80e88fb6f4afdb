"""What is known of one item after any number of runs: counts, sums and a histogram. Pure arithmetic.

The histogram's buckets grow by 4 %, so a percentile read from a bucket's middle is at most 2 % off, at any history, and
two histograms add. The same idea as DDSketch (Masson, Rim and Lee, 2019), with a fixed base.
"""

from __future__ import annotations

import math

from rye_telemetry.lines import decode_json, encode_json, is_instant
from rye_telemetry.model import ENDED, ITEM_TYPES, JUDGED, MAX_DURATION_MS, utf8_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from rye_telemetry.model import Fields

GROWTH = 1.04
_LOG_GROWTH = math.log(GROWTH)
_MIDDLE = 2 * GROWTH / (GROWTH + 1)
SHORTEST_MS = 0.001  # everything shorter, zero included, shares one bucket
_ZERO_BUCKET = -1_000_000
RECENT = 10
MAX_COUNT = 2**53 - 1  # what every reader of JSON holds exactly


class Totals:
    """Mutable totals of one item. `recent` is [[ended_at, outcome], …], oldest first, at most ten."""

    __slots__ = (
        "counts",
        "duration_count",
        "duration_max_ms",
        "duration_min_ms",
        "duration_sum_ms",
        "histogram",
        "http_calls",
        "item_id",
        "item_type",
        "last_error",
        "last_outcome",
        "last_run",
        "paths",
        "recent",
        "subprocess_calls",
    )

    def __init__(self, item_type: str, item_id: str) -> None:
        self.item_type = item_type
        self.item_id = item_id
        self.counts = dict.fromkeys(ENDED, 0)
        self.duration_count = 0
        self.duration_sum_ms = 0.0
        self.duration_min_ms: float | None = None
        self.duration_max_ms: float | None = None
        self.histogram: dict[int, int] = {}
        self.http_calls = 0
        self.subprocess_calls = 0
        self.last_run: str | None = None
        self.last_outcome: str | None = None
        self.last_error: str | None = None
        self.paths: list[str] = []
        self.recent: list[list[str]] = []

    def add_run(self, run: Fields) -> None:
        """Count one ended run, in whatever order runs come."""
        outcome, ended_at = run["outcome"], run["ended_at"]
        self.counts[outcome] += 1
        self._add_calls(run.get("http_calls") or 0, run.get("subprocess_calls") or 0)
        duration = run.get("duration_ms")
        if duration is not None:
            self._add_duration(duration)
        path = run.get("path")
        if type(path) is str:
            path = utf8_text(path)
            if path not in self.paths:
                self.paths.append(path)
        self.recent.append([ended_at, outcome])
        if self.last_run is None or ended_at >= self.last_run:
            error = run.get("error")
            self.last_run, self.last_outcome = ended_at, outcome
            self.last_error = utf8_text(error) if type(error) is str and outcome != "success" else None
        else:
            self.recent.sort(key=_ended_at)
        del self.recent[:-RECENT]

    def take_back_abandoned(self, ended_at: str, latest: list[tuple[str, str, str | None]]) -> None:
        """Uncount a run that was judged abandoned and then ended; `latest`: (ended_at, outcome, error), newest first."""
        gone = [ended_at, "abandoned"]
        self.counts["abandoned"] -= 1
        if gone in self.recent:
            self.recent.remove(gone)
        known = [[at, outcome] for at, outcome, _ in reversed(latest)]
        self.recent += [
            entry for n, entry in enumerate(known) if known[: n + 1].count(entry) > self.recent.count(entry)
        ]
        self.recent = sorted(self.recent, key=_ended_at)[-RECENT:]
        if [self.last_run, self.last_outcome] == gone:
            self.last_run, self.last_outcome = self.recent[-1]
            errors = [error for at, outcome, error in latest if [at, outcome] == self.recent[-1]]
            self.last_error = errors[0] if errors and self.last_outcome != "success" else None

    def _add_calls(self, http_calls: int, subprocess_calls: int) -> None:
        self.http_calls = min(self.http_calls + http_calls, MAX_COUNT)
        self.subprocess_calls = min(self.subprocess_calls + subprocess_calls, MAX_COUNT)

    def _add_duration(self, duration: float) -> None:
        self.duration_count += 1
        self.duration_sum_ms += duration
        if self.duration_min_ms is None or duration < self.duration_min_ms:
            self.duration_min_ms = duration
        if self.duration_max_ms is None or duration > self.duration_max_ms:
            self.duration_max_ms = duration
        bucket = math.floor(math.log(duration) / _LOG_GROWTH) if duration >= SHORTEST_MS else _ZERO_BUCKET
        self.histogram[bucket] = self.histogram.get(bucket, 0) + 1

    def add_totals(self, other: Totals) -> None:
        """Add what a checkpoint carries."""
        for outcome, count in other.counts.items():
            self.counts[outcome] = min(self.counts[outcome] + count, MAX_COUNT)
        self.duration_count = min(self.duration_count + other.duration_count, MAX_COUNT)
        self.duration_sum_ms += other.duration_sum_ms
        lows = [low for low in (self.duration_min_ms, other.duration_min_ms) if low is not None]
        highs = [high for high in (self.duration_max_ms, other.duration_max_ms) if high is not None]
        self.duration_min_ms, self.duration_max_ms = min(lows, default=None), max(highs, default=None)
        for bucket, count in other.histogram.items():
            self.histogram[bucket] = self.histogram.get(bucket, 0) + count
        self._add_calls(other.http_calls, other.subprocess_calls)
        self.paths.extend(path for path in other.paths if path not in self.paths)
        self.recent = sorted(self.recent + other.recent, key=_ended_at)[-RECENT:]
        if other.last_run is not None and (self.last_run is None or other.last_run >= self.last_run):
            self.last_run, self.last_outcome, self.last_error = other.last_run, other.last_outcome, other.last_error

    @property
    def total_runs(self) -> int:
        return sum(self.counts.values())

    @property
    def avg_duration_ms(self) -> float | None:
        return round(self.duration_sum_ms / self.duration_count, 3) if self.duration_count else None

    @property
    def success_rate(self) -> float | None:
        judged = sum(self.counts[outcome] for outcome in JUDGED)
        return round(self.counts["success"] / judged, 3) if judged else None

    def percentile_ms(self, share: float) -> float | None:
        """Return the duration that `share` (0 to 1) of the runs do not exceed: nearest rank, at most 2 % off."""
        known = sum(self.histogram.values())
        if not known or self.duration_min_ms is None or self.duration_max_ms is None:
            return None
        rank = max(1, math.ceil(share * known - 1e-9))
        for bucket in sorted(self.histogram):
            rank -= self.histogram[bucket]
            if rank <= 0:
                break
        value = 0.0 if bucket == _ZERO_BUCKET else GROWTH**bucket * _MIDDLE
        return round(min(max(value, self.duration_min_ms), self.duration_max_ms), 3)

    def published(self) -> Fields:
        """Return the published fields, in their order."""
        return {
            "type": self.item_type,
            "total_runs": self.total_runs,
            **{f"{outcome}_count": self.counts[outcome] for outcome in PUBLISHED_COUNTS},
            "avg_duration_ms": self.avg_duration_ms,
            "http_calls": self.http_calls,
            "subprocess_calls": self.subprocess_calls,
            "last_run": self.last_run,
            "last_outcome": self.last_outcome,
            "last_error": self.last_error,
            "paths": list(self.paths),
        }


def success_bounds(found: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the Wilson 95 % interval of an item's success rate (Wilson, 1927); None without a judged run.

    `found` has the published counts.
    """
    judged = sum(found[f"{outcome}_count"] for outcome in JUDGED)
    if not judged:
        return None, None
    rate, z2 = found["success_count"] / judged, 1.959964**2
    middle = rate + z2 / (2 * judged)
    spread = math.sqrt(z2 * (rate * (1 - rate) / judged + z2 / (4 * judged * judged)))
    whole = 1 + z2 / judged
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


PUBLISHED_COUNTS = ("success", "failure", "timeout", "cancelled", "abandoned", "partial")
STATE_FIELDS = tuple(name for name in Totals.__slots__ if name not in ("item_type", "item_id"))


def _ended_at(entry: list[str]) -> str:
    return entry[0]


def _pairs(stored: object) -> list[list[int]]:
    return stored if isinstance(stored, list) else []


def totals_to_json(totals: Totals) -> str:
    """Return the state that a checkpoint or an index row keeps."""
    state = {name: getattr(totals, name) for name in STATE_FIELDS}
    state["histogram"] = [[bucket, totals.histogram[bucket]] for bucket in sorted(totals.histogram)]
    return encode_json(state)


def totals_from_state(item_type: str, item_id: str, state: Mapping[str, object]) -> Totals:
    """Return totals from a checkpoint's or an index row's state; a key that is missing is zero."""
    totals = Totals(item_type, item_id)
    for name in STATE_FIELDS:
        value = state.get(name)
        if value is not None:
            setattr(totals, name, value)
    totals.counts = dict.fromkeys(ENDED, 0) | totals.counts
    totals.histogram = {int(bucket): int(count) for bucket, count in _pairs(state.get("histogram"))}
    return totals


def totals_from_checkpoint(entry: object) -> Totals:
    """Return what a checkpoint carries for one item; ValueError unless every part of it is what we write."""
    if type(entry) is not dict or type(entry.get("state")) is not dict:
        raise ValueError("a checkpoint's item without state")
    item_type, item_id, state = entry.get("item_type"), entry.get("item_id"), entry["state"]
    if item_type not in ITEM_TYPES or type(item_id) is not str:
        raise ValueError("a checkpoint's item without type or id")
    for name, value in state.items():
        fits = _FITS.get(name)
        if fits is None or not (value is None or fits(value)):
            raise ValueError(f"a checkpoint's {name[:40]!r} is not what it must be")
    return totals_from_state(item_type, item_id, state)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def _is_sum(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= MAX_DURATION_MS * MAX_COUNT


def _is_list(value: object, fits: Callable[[Any], bool]) -> bool:
    return type(value) is list and all(map(fits, value))


def _is_text(value: object) -> bool:
    return type(value) is str


_FITS: dict[str, Callable[[Any], bool]] = {
    "counts": lambda value: type(value) is dict and value.keys() <= set(ENDED) and all(map(_is_count, value.values())),
    "duration_count": _is_count,
    "duration_sum_ms": _is_sum,
    "duration_min_ms": _is_sum,
    "duration_max_ms": _is_sum,
    "histogram": lambda value: _is_list(
        value, lambda pair: _is_list(pair, lambda n: type(n) is int) and len(pair) == 2 and _is_bucket(*pair)
    ),
    "http_calls": _is_count,
    "subprocess_calls": _is_count,
    "last_run": is_instant,
    "last_outcome": lambda value: value in ENDED,
    "last_error": _is_text,
    "paths": lambda value: _is_list(value, _is_text),
    "recent": lambda value: _is_list(
        value, lambda pair: type(pair) is list and len(pair) == 2 and is_instant(pair[0]) and pair[1] in ENDED
    ),
}


def _is_bucket(bucket: int, count: int) -> bool:
    return (bucket == _ZERO_BUCKET or abs(bucket) < 1000) and _is_count(count)


def totals_from_json(item_type: str, item_id: str, text: str) -> Totals:
    return totals_from_state(item_type, item_id, decode_json(text))
