from __future__ import annotations

import os
import subprocess
import sys

import pytest

import rye_telemetry
from rye_telemetry import TelemetryContext, TelemetryStore, clear_telemetry, get_rye_state_dir, telemetry_status


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys; before = set(sys.modules); import rye_telemetry; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"__future__", "rye_telemetry"}


def test_recording_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; before = set(sys.modules); from rye_telemetry import TelemetryStore\n"
        "TelemetryStore(sys.argv[1]).record_execution('x', 'tool', 'success', 1); print(*(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, tmp_path / "s"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(rye_telemetry.__file__))},
    )
    loaded = set(done.stdout.split())
    assert "rye_telemetry.store" in loaded
    assert not loaded & {
        "re",
        "typing",
        "json",
        "pathlib",
        "dataclasses",
        "enum",
        "subprocess",
        "sqlite3",
        "datetime",
        "yaml",
        "contextlib",
        "platform",
    }


def test_every_public_name_is_there():
    for name in rye_telemetry.__all__:
        assert getattr(rye_telemetry, name) is not None
    assert set(dir(rye_telemetry)) >= set(rye_telemetry.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = rye_telemetry.nonsense


def test_a_context_counts_and_resets():
    context = TelemetryContext()
    context.http_calls += 2
    context.subprocess_calls += 1
    context.reset()
    assert (context.http_calls, context.subprocess_calls) == (0, 0)


def test_the_state_directory_is_where_the_environment_says(home, monkeypatch):
    assert get_rye_state_dir() == home / ".local" / "state" / "rye"
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "xdg"))
    assert get_rye_state_dir() == home / "xdg" / "rye"
    monkeypatch.setenv("RYE_STATE_DIR", str(home / "own"))
    assert get_rye_state_dir() == home / "own"


def test_status_off_reads_and_makes_nothing(home):
    found = telemetry_status()
    assert (found["enabled"], found["decided_by"], found["total_runs"]) == (False, "default", 0)
    assert os.listdir(home) == []
    assert telemetry_status("x")["success"] is False
    assert os.listdir(home) == []


def test_status_off_still_shows_what_was_recorded(home, state_dir):
    with TelemetryStore() as store:
        store.record_execution("x", "tool", "success", 1)
    assert telemetry_status()["items"]["x"]["total_runs"] == 1


def test_status_of_everything_of_an_item_and_of_an_unknown_one(enabled):
    with TelemetryStore() as store:
        store.record_execution("x", "tool", "success", 1)
    assert telemetry_status()["enabled"] is True
    assert telemetry_status()["items"]["x"]["total_runs"] == 1
    assert telemetry_status("x")["item_id"] == "x"
    unknown = telemetry_status("xx")
    assert unknown["success"] is False
    assert "did you mean x" in unknown["error"] or "see `rye-telemetry status`" in unknown["error"]


def test_clear_deletes_an_item_or_everything(enabled):
    with TelemetryStore() as store:
        for item_id in ("x", "x", "y"):
            store.record_execution(item_id, "tool", "success", 1)
    assert clear_telemetry("x") == {"success": True, "item_id": "x", "cleared_runs": 2}
    assert set(telemetry_status()["items"]) == {"y"}
    assert clear_telemetry() == {"success": True, "item_id": None, "cleared_runs": 1}
    assert telemetry_status()["total_items"] == 0


def test_trouble_is_an_answer_and_no_exception(home, state_dir):
    state_dir.parent.mkdir(parents=True)
    state_dir.write_text("a file")
    found = clear_telemetry()
    assert found["success"] is False
    assert "rye" in found["error"]
