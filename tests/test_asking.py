from __future__ import annotations

import contextlib
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rye_telemetry import asking
from rye_telemetry.config import read_consent
from rye_telemetry.errors import ItemUnknown, UsageInvalid
from rye_telemetry.lines import is_instant

NOW = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "then"),
    [
        (None, None),
        ("7d", "2026-11-13T12:00:00.123Z"),
        ("2h", "2026-11-20T10:00:00.123Z"),
        ("30m", "2026-11-20T11:30:00.123Z"),
        ("1.5h", "2026-11-20T10:30:00.123Z"),
        ("2w", "2026-11-06T12:00:00.123Z"),
        ("10s", "2026-11-20T11:59:50.123Z"),
        ("2026-11-20T12:00:00Z", "2026-11-20T12:00:00.000Z"),
        ("2026-11-20T12:00:00.5+02:00".replace(".5", ".500"), "2026-11-20T10:00:00.500Z"),
    ],
)
def test_a_time_is_an_instant_in_utc(text, then):
    assert asking.instant(text, now=NOW) == then


def test_a_time_without_a_zone_is_local(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "Etc/GMT-3")
    time.tzset()
    try:
        assert asking.instant("2026-11-20") == "2026-11-19T21:00:00.000Z"
        assert asking.instant("2026-11-20T12:00") == "2026-11-20T09:00:00.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text", ["", "d", "7", "7x", "-7d", "1.2.3d", "99999999999d", "yesterday", "2026-13-01", "٣d" * 9, "infd"]
)
def test_what_is_no_time_is_said_with_what_would_be(text):
    with pytest.raises(UsageInvalid, match="write 7d, 2h, 30m"):
        asking.instant(text, now=NOW)


@given(
    st.text(max_size=12)
    | st.from_regex(r"[0-9.]{1,12}[smhdw]|[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]{0,12}Z?)?", fullmatch=True)
)
def test_any_text_is_a_time_or_a_usage_mistake(text):
    with contextlib.suppress(UsageInvalid):
        assert is_instant(asking.instant(text, now=NOW))


def test_an_unknown_item_is_said_with_the_nearest_ids(store):
    with pytest.raises(ItemUnknown, match="no item has been run"):
        asking.the_item(store, "deploy")
    for item_id in ("deploy", "deploy_prod", "lint"):
        store.record_execution(item_id, "tool", "success", 1)
    with pytest.raises(ItemUnknown, match="did you mean deploy"):
        asking.the_item(store, "deplyo")
    with pytest.raises(ItemUnknown, match="see `rye-telemetry status`"):
        asking.the_item(store, "zzzzzzzzzzz")
    with pytest.raises(ItemUnknown):
        asking.the_item(store, "deploy", "knowledge")
    assert asking.the_item(store, "deploy")["total_runs"] == 1


def test_an_id_of_two_types_must_be_said_with_its_type(store):
    store.record_execution("x", "tool", "success", 1)
    store.record_execution("x", "directive", "success", 1)
    with pytest.raises(UsageInvalid, match=r"tool and a directive|directive and a tool"):
        asking.the_item(store, "x")
    assert asking.the_item(store, "x", "directive")["type"] == "directive"
    assert asking.the_item(store, "directive::x")["type"] == "directive"


def test_status_says_who_decided(store, home):
    store.record_execution("x", "tool", "success", 1)
    found = asking.status_of(store, read_consent({"HOME": str(home), "RYE_TELEMETRY": "1"}, str(home)))
    assert list(found) == ["enabled", "decided_by", "state_dir", "total_items", "total_runs", "last_updated", "items"]
    assert (found["enabled"], found["decided_by"], found["state_dir"]) == (True, "RYE_TELEMETRY", store.directory)
    with pytest.raises(UsageInvalid, match="item type"):
        asking.status_of(store, read_consent({}, str(home)), "tools")


def test_filters_on_runs_are_checked():
    assert asking.run_filters("x", "tool", "failed") == {"item_id": "x", "item_type": "tool", "outcome": "failure"}
    assert asking.run_filters(None, None, "running")["outcome"] == "running"
    for wrong in ({"item_type": "tools"}, {"outcome": "broken"}):
        with pytest.raises(UsageInvalid):
            asking.run_filters(**({"item_id": None, "item_type": None, "outcome": None} | wrong))
