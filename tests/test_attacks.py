"""What was found by attacking the program: each of these once lost, hung, leaked or miscounted something."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time

import pytest
from conftest import SCRIPT
from making import ended_well, in_child

from rye_telemetry.journal import segment_header
from rye_telemetry.redact import redact_json, redact_text
from rye_telemetry.store import TelemetryStore


def run(*argv, **more):
    return subprocess.run([str(SCRIPT), *argv], capture_output=True, timeout=30, check=False, **more)


def test_children_forked_while_other_threads_record_and_ask_do_not_hang(store):
    stop = threading.Event()

    def work(number):
        while not stop.is_set():
            store.record_execution(f"thread-{number}", "tool", "success", 1)
            store.get(f"thread-{number}")

    def child():
        store.record_execution("child", "tool", "success", 1)
        assert store.get("child")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        children = []
        for _ in range(25):
            children.append(in_child(child))
            time.sleep(0.003)
        assert all(ended_well(pid) for pid in children)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert store.get("child")["total_runs"] == 25


def test_a_signal_handler_that_records_in_the_middle_of_a_record_loses_nothing(store):
    recorded = []

    def handler(*_):
        recorded.append(store.record_execution("handler", "tool", "success", 1))

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for _ in range(3000):
            recorded.append(store.record_execution("plain", "tool", "success", 1))  # noqa: PERF401 (the handler appends in between)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert store.totals()["total_runs"] == len(recorded) == len(set(recorded))


@pytest.mark.usefixtures("enabled")
def test_what_a_command_reports_by_the_megabyte_does_not_hold_up_its_end():
    script = "import os; open(os.environ['RYE_REPORT'], 'a').write('{\"note\": \"' + 'a' * 900_000 + '\"}\\n')"
    done = run("run-with", "tool", "x", "--", "python3", "-c", script)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("text", ["a" * 8000, "-" * 8000, "a://" * 2000, "a@" * 4000, "--a" * 2600, "eyJ" + "a" * 8000])
def test_no_text_makes_redaction_take_its_time(text):
    assert len(redact_text(text * 100)) < 10_000


def test_a_value_under_a_secret_name_goes_whatever_its_type():
    reported = {"password": ["s3cret"], "api_key": {"value": "s3cret"}, "token": 123456789, "accessToken": "s3cret"}
    assert set(redact_json(reported).values()) == {"[redacted]"}
    assert redact_json({"max_tokens": 5, "tokens": {"in": 3}}) == {"max_tokens": 5, "tokens": {"in": 3}}


@pytest.mark.parametrize("text", ["PGPASSWORD=s3cret psql", "clientSecret: s3cret", "Authorization: ApiKey s3cret99"])
def test_a_name_that_holds_a_secret_name_is_one(text):
    assert "s3cret" not in redact_text(text)


@pytest.mark.usefixtures("enabled")
@pytest.mark.parametrize("name", ["telemetry.lock", "telemetry/journal.lock", "telemetry/journal/spill/a.ndjson"])
def test_a_fifo_in_a_files_place_holds_nobody_up(state_dir, name):
    path = state_dir / name
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    done = run("run-with", "tool", "x", "--", "echo", "out")
    assert (done.returncode, done.stdout) == (0, b"out\n")


@pytest.mark.usefixtures("enabled")
def test_a_foreign_file_of_aliases_is_named_shortly(state_dir, cli):
    state_dir.mkdir(parents=True)
    chain = "\n".join(f"b{n}: &b{n} [*b{n - 1},*b{n - 1}]" for n in range(1, 26))
    text = f"b0: &b0 [x]\n{chain}\nitems: {{a: {{type: tool, total_runs: 1, last_run: *b25}}}}\n"
    (state_dir / "telemetry.yaml").write_text(text)
    done = cli("status")
    assert "last_run is a list" in done.stderr


def test_a_segment_that_a_checkpoint_stands_for_is_counted_once(store, tmp_path):
    for _ in range(3):
        store.record_execution("x", "tool", "success", 10)
    [segment] = store.journal.segments()
    state = {"counts": {"success": 3}, "last_run": "2026-01-01T00:00:00.000Z", "last_outcome": "success"}
    checkpoint = {"v": 1, "kind": "checkpoint", "checkpoint_id": "c"}
    checkpoint["items"] = [{"item_type": "tool", "item_id": "x", "state": state}]
    lines = segment_header(time.time(), covers=[segment.name]) + json.dumps(checkpoint).encode() + b"\n"
    newer = os.path.join(store.journal.directory, "2999-W01-0001.ndjson")
    with open(newer, "wb") as f:
        f.write(lines)
    assert [store.get("x")["total_runs"] for _ in range(3)] == [3, 3, 3]
    assert store.rebuild() == 3
    with TelemetryStore(store.directory, read_only=True) as reading:
        assert reading.get("x")["total_runs"] == 3


@pytest.mark.parametrize("telemetry", ["0", "1"])
def test_a_program_that_cannot_start_gives_way_to_the_next_in_path(tmp_path, telemetry):
    for folder, text in (("one", "#!/no/such/interpreter\n"), ("two", "#!/bin/sh\necho good\n")):
        program = tmp_path / folder / "zz"
        program.parent.mkdir()
        program.write_text(text)
        program.chmod(0o755)
    path = f"{tmp_path / 'one'}:{tmp_path / 'two'}:{os.environ['PATH']}"
    done = run("run-with", "tool", "x", "--", "zz", env={**os.environ, "PATH": path, "RYE_TELEMETRY": telemetry})
    assert (done.returncode, done.stdout) == (0, b"good\n")


@pytest.mark.usefixtures("enabled")
def test_what_a_killed_run_had_reported_is_gone_after_the_next_look(state_dir, cli):
    script = 'echo "{\\"error\\": \\"token=s3cret\\"}" >> $RYE_REPORT; kill -9 $PPID; sleep 0.1'
    assert run("run-with", "tool", "x", "--", "sh", "-c", script).returncode == -9
    assert json.loads(cli("status", "x", "--json").stdout)["abandoned_count"] == 1
    assert list((state_dir / "telemetry" / "reports").iterdir()) == []


@pytest.mark.usefixtures("enabled")
@pytest.mark.parametrize("words", [("foo", "x"), ("tool", ""), ("tool", "x" * 600), ("tool", "a\nb")])
def test_what_cannot_be_an_item_is_a_usage_mistake(words):
    done = run("run-with", *words, "--", "true")
    assert done.returncode == 2
    assert done.stderr.startswith(b"rye-telemetry: item ")


def test_a_relative_state_home_is_ignored_for_it_would_lie_in_a_repository(tmp_path, enabled, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("run-with", "tool", "x", "--", "true", env={**os.environ, "XDG_STATE_HOME": "relative"}).returncode == 0
    assert list(tmp_path.iterdir()) == []
    assert (enabled / ".local" / "state" / "rye" / "telemetry.yaml").exists()


def test_a_file_where_the_state_directory_should_be_is_said_by_those_who_read(state_dir, enabled, cli):
    state_dir.parent.mkdir(parents=True)
    state_dir.write_text("hi")
    for command in (["status"], ["runs", "list"]):
        assert "move the file away" in cli(*command, code=1).stderr


def test_only_true_and_false_switch_telemetry(home):
    from rye_telemetry import configure_telemetry

    with pytest.raises(TypeError, match="True or False"):
        configure_telemetry("no")
    assert list(home.rglob("*")) == []
