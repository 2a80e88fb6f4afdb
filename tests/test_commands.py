"""What the reading and changing commands print, through the installed command."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rye_telemetry.store import TelemetryStore

PUBLISHED = [
    "type",
    "total_runs",
    "success_count",
    "failure_count",
    "timeout_count",
    "cancelled_count",
    "abandoned_count",
    "partial_count",
    "avg_duration_ms",
    "http_calls",
    "subprocess_calls",
    "last_run",
    "last_outcome",
    "last_error",
    "paths",
]


@pytest.fixture
def cli(cli_here):
    return cli_here


@pytest.fixture
def recorded(enabled, state_dir):
    with TelemetryStore(state_dir) as store:
        for outcome, duration in (("success", 30.0), ("failure", 20.0), ("success", 10.0)):
            store.record_execution("build", "tool", outcome, duration, error="broken" if outcome == "failure" else None)
        store.record_execution("deploy_app", "directive", "success", 1.0)
    return store


def test_status_as_json_has_every_published_field_of_every_item(cli, recorded):
    found = json.loads(cli("status", "--json").stdout)
    assert found["enabled"] is True
    assert found["decided_by"].startswith("user config: ")
    assert (found["total_items"], found["total_runs"]) == (2, 4)
    build = found["items"]["build"]
    assert set(PUBLISHED) <= build.keys()
    assert (build["success_rate"], build["avg_duration_ms"]) == (0.667, 20.0)
    assert build["p50_duration_ms"] == pytest.approx(20, rel=0.02)
    assert build["p95_duration_ms"] == pytest.approx(30, rel=0.02)
    assert build["last_error"] is None
    assert found["last_updated"] == max(item["last_run"] for item in found["items"].values())


def test_status_of_one_item_is_that_item_with_its_id(cli, recorded):
    for words in (["build"], ["--item-id", "build"]):
        item = json.loads(cli("status", *words, "--json").stdout)
        assert (item["item_id"], item["type"], item["total_runs"]) == ("build", "tool", 3)
    assert "66.7%" in cli("status", "build").stdout


def test_status_of_an_unknown_item_names_the_nearest(cli, recorded):
    done = cli("status", "biuld", code=1)
    assert done.stdout == ""
    assert "did you mean build?" in done.stderr
    assert done.stderr.count("\n") == 1


def test_status_of_an_id_that_two_types_share_asks_for_the_type(cli, recorded):
    recorded.record_execution("build", "knowledge", "success", 1)
    assert "--type" in cli("status", "build", code=2).stderr
    assert json.loads(cli("status", "build", "--type", "knowledge", "--json").stdout)["total_runs"] == 1


def test_tables_fit_in_80_columns_and_hold_no_colour_codes_in_a_pipe(cli, recorded):
    recorded.record_execution("a/very/long/id/" + "x" * 200, "tool", "timeout", 123456789)
    for command in (["status"], ["runs", "list"]):
        text = cli(*command).stdout
        assert max(map(len, text.splitlines())) <= 80, text
        assert "\x1b" not in text
    assert ".F." in cli("status").stdout


def test_status_before_anything_was_recorded(cli, home):
    found = json.loads(cli("status", "--json").stdout)
    assert found == {
        "enabled": False,
        "decided_by": "default",
        "state_dir": str(home / ".local/state/rye"),
        "total_items": 0,
        "total_runs": 0,
        "last_updated": None,
        "items": {},
    }
    assert "off (default)" in cli("status").stdout
    assert list(home.rglob("*")) == []


def test_runs_list_filters_and_comes_newest_first(cli, recorded):
    runs = json.loads(cli("runs", "list", "--json").stdout)
    assert [run["item_id"] for run in runs] == ["deploy_app", "build", "build", "build"]
    assert [run["outcome"] for run in json.loads(cli("runs", "list", "--item", "build", "--json").stdout)] == [
        "success",
        "failure",
        "success",
    ]
    assert len(json.loads(cli("runs", "list", "--outcome", "failed", "--json").stdout)) == 1
    assert len(json.loads(cli("runs", "list", "--type", "directive", "--json").stdout)) == 1
    assert len(json.loads(cli("runs", "list", "--limit", "2", "--json").stdout)) == 2
    assert len(json.loads(cli("runs", "list", "--since", "1h", "--json").stdout)) == 4
    assert json.loads(cli("runs", "list", "--until", "1h", "--json").stdout) == []
    assert json.loads(cli("runs", "list", "--since", "2999-01-01", "--json").stdout) == []


@pytest.mark.parametrize("words", [["--outcome", "great"], ["--since", "soon"], ["--type", "agent"], ["--limit", "0"]])
def test_a_filter_that_means_nothing_is_a_usage_mistake(cli, recorded, words):
    done = cli("runs", "list", *words, code=2)
    assert words[1] in done.stderr or words[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_runs_show_takes_a_prefix_that_names_one_run(cli, recorded):
    run_id = recorded.record_execution("solo", "tool", "success", 5)
    shown = json.loads(cli("runs", "show", run_id[:23], "--json").stdout)
    assert (shown["run_id"], shown["item_id"], shown["duration_ms"]) == (run_id, "solo", 5)
    assert shown["ended_at"].endswith("Z")
    assert len(shown["ended_at"]) == len("2026-11-20T12:00:00.123Z")
    assert "several runs" in cli("runs", "show", "0", code=1).stderr
    assert "no run" in cli("runs", "show", "ffff", code=1).stderr


def test_clear_needs_yes_where_nobody_can_be_asked(cli, recorded, state_dir):
    assert "--yes" in cli("clear", "build", code=2).stderr
    assert recorded.get("build")["total_runs"] == 3
    assert "3 runs deleted" in cli("clear", "build", "--yes").stdout
    assert recorded.get("build") is None
    found = subprocess.run(["grep", "-ra", '"build"', str(state_dir)], capture_output=True, check=False)
    assert found.returncode == 1
    assert json.loads(cli("clear", "--yes", "--json").stdout)["cleared_runs"] == 1
    assert "items: {}" in (state_dir / "telemetry.yaml").read_text()


def test_rebuild_counts_what_the_journal_holds(cli, recorded, state_dir):
    (state_dir / "telemetry" / "index.sqlite").unlink()
    assert json.loads(cli("rebuild", "--json").stdout) == {"success": True, "total_runs": 4}


def test_a_corrupt_index_is_made_anew_without_a_question(cli, recorded, state_dir):
    (state_dir / "telemetry" / "index.sqlite").write_text("tool: [")
    assert json.loads(cli("status", "build", "--json").stdout)["total_runs"] == 3


def test_version_help_and_a_wrong_word(cli, home):
    assert cli("--version").stdout == "rye-telemetry 0.1.0\n"
    assert "run-with" in cli("--help").stdout
    assert "Usage" in cli("frobnicate", code=2).stderr
    module = subprocess.run(
        [sys.executable, "-m", "rye_telemetry", "--version"], capture_output=True, text=True, check=True
    )
    assert module.stdout == "rye-telemetry 0.1.0\n"


def test_output_to_a_reader_that_left_ends_quietly(recorded, cli, tmp_path):
    from conftest import SCRIPT

    done = subprocess.run(
        ["bash", "-c", f"'{SCRIPT}' runs list --json | head -c 1"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "["
    assert "Traceback" not in done.stderr


def test_the_console_script_and_every_command_show_an_example_in_their_help(cli):
    for words in (
        ["status"],
        ["runs", "list"],
        ["runs", "show"],
        ["clear"],
        ["rebuild"],
        ["doctor"],
        ["configure"],
        ["init"],
    ):
        assert "rye-telemetry " + words[0] in cli(*words, "--help").stdout.partition("Options")[0].partition("\n")[2]
