"""Answers that commands and library give alike."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from rye_telemetry.errors import ItemUnknown, UsageInvalid
from rye_telemetry.model import ITEM_TYPES, MAX_LABEL, OUTCOME_ALIASES, OUTCOMES, clean_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rye_telemetry.config import Consent
    from rye_telemetry.model import Fields
    from rye_telemetry.store import TelemetryStore

COMMIT_KEYS = (
    "commit_hash",
    "evidence",
    "all_evidence",
    "repo",
    "commit_source",
    "commit_author",
    "linked_at",
    "from_commit",
    "contested_by",
)
_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def status_of(store: TelemetryStore, consent: Consent, item_type: str | None = None) -> Fields:
    """Return `enabled`, `decided_by`, `state_dir` and the totals of every item."""
    head = {"enabled": consent.enabled, "decided_by": consent.decided_by, "state_dir": store.directory}
    return head | store.totals(item_type=check_type(item_type))


def the_item(store: TelemetryStore, item_id: str, item_type: str | None = None) -> Fields:
    """Return the item; ItemUnknown names the nearest ids, UsageInvalid both types that share the id."""
    items = store.items(item_id=item_id, item_type=check_type(item_type))
    if not items and item_type is None:
        head, found, rest = item_id.partition("::")
        if found and head in ITEM_TYPES:  # the item that had the id first has it as its key
            items = store.items(item_id=rest, item_type=head)
    if len(items) > 1:
        types = [item["type"] for item in items.values()]
        said = f"{item_id!r} is a {' and a '.join(types)}"
        raise UsageInvalid(f"{said}: say which with --type, or as {types[0]}::{item_id}")
    if not items and item_type is not None and (other := store.get(item_id)):
        raise ItemUnknown(f"{item_id!r} is a {other['type']}, not a {item_type}")
    if not items:
        raise ItemUnknown(f"nothing is recorded for {item_id!r}{_nearest(store, item_id)}")
    return next(iter(items.values()))


def the_run(store: TelemetryStore, prefix: str) -> Fields:
    """Return the one run whose id starts with `prefix`, with `commits`: what it made, and how that is known."""
    run = store.run(prefix)
    links = store.links_of_runs([run["run_id"]]).get(run["run_id"], [])
    return run | {"commits": [{name: link[name] for name in COMMIT_KEYS} for link in links]}


def runs_of_commit(store: TelemetryStore, revision: str, *, cwd: str, env: Mapping[str, str]) -> list[str]:
    """Return the ids of the runs behind a commit of the repository around `cwd`; a whole hash needs no repository."""
    from rye_telemetry.gitdir import find_git
    from rye_telemetry.gitlink.repository import open_repository
    from rye_telemetry.gitlink.show import runs_of

    return runs_of(store, open_repository(cwd, env) if find_git(cwd) else None, revision)


def _nearest(store: TelemetryStore, item_id: str) -> str:
    from difflib import get_close_matches

    known = list(store.items())
    if not known:
        return ": no item has been run with telemetry on yet"
    folded = {known_id.casefold(): known_id for known_id in known}
    near = [known_id for known_id in known if known_id.startswith(item_id)][:3]
    near = near or [folded[close] for close in get_close_matches(item_id.casefold(), folded, n=3, cutoff=0.5)]
    return f": did you mean {', '.join(near)}?" if near else ": see `rye-telemetry status` for the items that are"


def check_type(item_type: str | None) -> str | None:
    if item_type is not None and item_type not in ITEM_TYPES:
        raise UsageInvalid(f"item type {item_type!r} is unknown: use one of {', '.join(ITEM_TYPES)}")
    return item_type


def run_filters(item_id: str | None, item_type: str | None, outcome: str | None) -> dict[str, str | None]:
    """Return the filters on runs, checked; `failed` means failure."""
    if outcome is not None:
        outcome = OUTCOME_ALIASES.get(outcome, outcome)
        if outcome not in OUTCOMES:
            raise UsageInvalid(f"outcome {outcome!r} is unknown: use one of {', '.join(OUTCOMES)}")
    return {"item_id": item_id, "item_type": check_type(item_type), "outcome": outcome}


def label_filter(text: str | None) -> str | None:
    """Return a label as it stands in the record, where it went through redaction."""
    from rye_telemetry.redact import redact_text

    return None if text is None else redact_text(clean_text(text, MAX_LABEL), home=os.path.expanduser("~"))


def instant(text: str | None, *, now: datetime | None = None) -> str | None:
    """Read `7d`, `2h`, a date or an RFC 3339 instant as an instant in UTC; one without a zone is local time."""
    if text is None:
        return None
    amount, unit = text[:-1], text[-1:]
    try:
        if unit in _SPANS and amount.replace(".", "", 1).isdecimal():
            then = (now or datetime.now(timezone.utc)) - timedelta(seconds=float(amount) * _SPANS[unit])
        else:
            then = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)
    except (ValueError, OverflowError) as e:
        raise UsageInvalid(f"{text!r} is no time: write 7d, 2h, 30m, 2026-11-20 or 2026-11-20T12:00:00Z") from e
    return then.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def days_since(then: str | None, *, now: datetime | None = None) -> float | None:
    """Return how many days lie between an instant of `instant` and now, to a tenth."""
    if then is None:
        return None
    begun = datetime.fromisoformat(then.replace("Z", "+00:00"))
    return round(((now or datetime.now(timezone.utc)) - begun).total_seconds() / 86400, 1)
