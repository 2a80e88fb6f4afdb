"""Which version of an item ran: the hash of its file, the same before and after its numbers are baked into it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rye_telemetry
from rye_telemetry import content
from rye_telemetry.content import content_hash_of, hash_in_passing, read_item

bake = pytest.importorskip("rye_telemetry.bake")

FIELDS = {
    "total_runs": 42,
    "success_count": 40,
    "failure_count": 2,
    "success_rate": 0.952,
    "avg_duration_ms": 150.5,
    "last_run": "2026-01-30T12:00:00Z",
}
ITEMS = {
    "tool.py": b'"""A tool."""\n\n\ndef execute(params, project_path):\n    return {"n": 1}\n',
    "tool.sh": b"#!/bin/sh\necho done\n",
    "tool.js": b"#!/usr/bin/env node\nconsole.log(1)",
    "tool.yaml": b"name: x\ncommand: [sh, -c, 'exit 0']\n",
    "tool.json": b'{\n  "name": "x"\n}\n',
    "read.md": b"---\nname: read\n---\n\nText.\n",
    "bare.md": b"# Text without a header\n",
    "windows.md": b"---\r\nname: read\r\n---\r\nText.\r\n",
}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def baked(data, name, **more):
    return bake.bake_bytes(data, name, FIELDS | more).data


# The hash


@given(st.binary(max_size=200).filter(lambda data: content.MARK not in data))
@settings(database=None, deadline=None)
def test_the_hash_of_an_unbaked_item_is_that_of_its_bytes(data):
    assert content_hash_of(data, "x.md") == sha256(data)


def test_a_large_item_is_hashed_like_a_small_one():
    for size in (content._SMALL_BYTES, content._SMALL_BYTES + 1):
        assert content_hash_of(b"x" * size, "x.sh") == sha256(b"x" * size)


def test_an_interpreter_without_the_quick_hash_has_the_slow_one(monkeypatch):
    monkeypatch.setattr(content, "_BUILT_IN", "no_such_module")
    assert content_hash_of(b"x", "x.sh") == sha256(b"x")


@pytest.mark.parametrize("name", ITEMS)
def test_a_baked_and_an_unbaked_item_have_the_same_hash(name):
    data = ITEMS[name]
    once = baked(data, name)
    again = baked(once, name, total_runs=43, p95_duration_ms=12.5, content_hash="a" * 64)
    assert len({data, once, again}) == 3
    assert content_hash_of(once, name) == content_hash_of(again, f"/some/where/{name}") == sha256(data)
    assert hash_in_passing(once, name) == sha256(data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.md", b"The field total_runs counts runs.\n"),
        ("x.py", b"total_runs = 1\n"),
        ("x.bin", b"total_runs\0"),
        ("x.md", b"---\ntelemetry:\n  total_runs: 1\n  mine: yes\n---\n"),
        ("x.yaml", b"telemetry: {total_runs: [\n"),
        ("", b"total_runs"),
    ],
)
def test_what_is_no_block_of_ours_counts_to_the_content(name, data):
    assert content_hash_of(data, name) == sha256(data)


def test_a_large_item_that_may_be_baked_is_not_hashed_in_passing():
    """Taking a block out of megabytes of YAML takes seconds, for which the end of a run would wait."""
    large = b"#!/bin/sh\n" + b"echo\n" * (content.MAX_BAKED_BYTES // 5)
    assert hash_in_passing(large, "x.sh") == sha256(large)
    assert hash_in_passing(baked(large, "x.sh"), "x.sh") is None
    assert content_hash_of(baked(large, "x.sh"), "x.sh") == sha256(large)


# Reading


def test_an_item_is_read_as_it_is(tmp_path):
    path = tmp_path / "x"
    for data in (b"", b"a\r\nb\0", os.urandom(3 << 20)):
        path.write_bytes(data)
        assert read_item(str(path)) == data
    (tmp_path / "link").symlink_to(path)
    assert read_item(str(tmp_path / "link")) == path.read_bytes()


def test_an_item_over_16_mib_is_not_read(tmp_path):
    path = tmp_path / "x"
    for size, is_read in ((16 << 20, True), ((16 << 20) + 1, False), (1 << 40, False)):
        with path.open("wb") as f:
            f.truncate(size)
        assert (read_item(str(path)) is not None) is is_read


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    began = time.monotonic()
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "missing", "/dev/zero", "/dev/tty", "a\0b", "\udcff"):
        assert read_item(str(path)) is None
    assert time.monotonic() - began < 1


# Runs


@pytest.fixture
def project(tmp_path, monkeypatch):
    for folder in ("tools", "directives", "knowledge"):
        (tmp_path / ".ai" / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def put(project):
    def put(place, data):
        path = project / ".ai" / place
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return put


@pytest.fixture
def last_hash(cli):
    def last_hash(key="content_hash"):
        return json.loads(cli("runs", "list", "--limit", "1", "--json").stdout)[0][key]

    return last_hash


@pytest.mark.usefixtures("enabled")
def test_a_run_of_an_item_records_its_hash_and_a_baked_block_changes_nothing(cli, put, last_hash):
    hashes = []
    for data in (ITEMS["tool.py"], baked(ITEMS["tool.py"], "tool.py"), ITEMS["tool.py"].replace(b"1", b"2")):
        put("tools/tool.py", data)
        assert json.loads(cli("run-with", "tool", "tool").stdout)["n"]
        hashes.append(last_hash())
    assert hashes[0] == hashes[1] == sha256(ITEMS["tool.py"])
    assert hashes[2] == sha256(ITEMS["tool.py"].replace(b"1", b"2"))


@pytest.mark.usefixtures("enabled")
def test_a_run_that_takes_its_time_is_hashed_meanwhile(cli, put, last_hash):
    path = put("tools/slow.sh", baked(b"#!/bin/sh\nsleep 0.3\n", "slow.sh"))
    cli("run-with", "tool", "slow")
    assert last_hash() == content_hash_of(path.read_bytes(), "slow.sh") == sha256(b"#!/bin/sh\nsleep 0.3\n")
    cli("run-with", "tool", "slow", "--timeout", "0.1", code=124)
    assert last_hash() == sha256(b"#!/bin/sh\nsleep 0.3\n")


@pytest.mark.usefixtures("enabled")
def test_the_block_is_taken_out_while_the_command_runs(put, last_hash, tmp_path):
    """So that the end of a run that takes its time does not wait for it."""
    code = """
import sys
import rye_telemetry.bake
strip = rye_telemetry.bake.strip_bytes
def strip_bytes(data, filename):
    open("taken-out", "w").close()
    return strip(data, filename)
rye_telemetry.bake.strip_bytes = strip_bytes
from rye_telemetry.entry import main
sys.argv = ["rye-telemetry", "run-with", "tool", "x", "--timeout", "20"]
main()
"""
    put("tools/x.sh", baked(b"#!/bin/sh\nuntil [ -e taken-out ]; do sleep 0.01; done\n", "x.sh"))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert last_hash() is not None


@pytest.mark.usefixtures("enabled")
@pytest.mark.parametrize(("kind", "folder"), [("directive", "directives"), ("knowledge", "knowledge")])
def test_a_text_that_is_printed_records_its_hash_too(cli, put, last_hash, kind, folder):
    put(f"{folder}/read.md", baked(ITEMS["read.md"], "read.md"))
    assert cli("run-with", kind, "read").stdout.endswith("Text.\n")
    assert last_hash() == sha256(ITEMS["read.md"])


@pytest.mark.usefixtures("enabled")
def test_a_command_has_no_hash(cli, put, last_hash):
    put("tools/x.sh", b"#!/bin/sh\n")
    cli("run-with", "tool", "x", "--", "true")
    assert last_hash() is None


@pytest.mark.usefixtures("enabled")
def test_an_item_that_changes_itself_is_recorded_as_it_began(cli, put, last_hash):
    before = b'#!/bin/sh\nsleep 0.2\necho "# more" >> "$0"\n'
    path = put("tools/x.sh", before)
    cli("run-with", "tool", "x")
    assert path.read_bytes() == before + b"# more\n"
    assert last_hash() == sha256(before)


@pytest.mark.usefixtures("enabled")
def test_an_item_that_cannot_be_started_was_of_some_version_too(cli, put, last_hash, tmp_path):
    (tmp_path / "interpreter").write_text("not executable")
    path = put("tools/x.odd", f"#!{tmp_path}/interpreter\n")
    cli("run-with", "tool", "x.odd", code=126)
    assert (last_hash(), last_hash("outcome")) == (sha256(path.read_bytes()), "failure")


@pytest.mark.usefixtures("enabled")
def test_an_item_that_is_gone_or_a_fifo_when_it_is_looked_at_costs_nothing(cli, put, last_hash):
    """Somebody else's doing, in the instant between finding and looking: here the directory's."""
    code = """
import os, sys
from rye_telemetry.runner import recorder
keep = recorder.Recorder.keep_item
def keep_fifo(self):
    os.unlink(self.run["path"])
    os.mkfifo(self.run["path"])
    keep(self)
recorder.Recorder.keep_item = keep_fifo
from rye_telemetry.entry import main
sys.argv = ["rye-telemetry", "run-with", "knowledge", "read"]
main()
"""
    put("knowledge/read.md", ITEMS["read.md"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    assert (last_hash(), last_hash("outcome")) == (None, "success")


@pytest.mark.usefixtures("enabled")
def test_a_fault_in_taking_the_block_out_costs_the_hash_alone(put, last_hash):
    code = """
import sys
import rye_telemetry.bake
def strip_bytes(data, filename):
    raise RuntimeError("a bug")
rye_telemetry.bake.strip_bytes = strip_bytes
from rye_telemetry.entry import main
sys.argv = ["rye-telemetry", "run-with", sys.argv[1], "read"]
main()
"""
    put("knowledge/read.md", baked(ITEMS["read.md"], "read.md"))
    put("tools/read.sh", baked(b"#!/bin/sh\necho Text.\n", "read.sh"))
    for kind in ("knowledge", "tool"):
        done = subprocess.run([sys.executable, "-c", code, kind], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.splitlines()[-1], done.stderr) == (0, "Text.", "")
        assert (last_hash(), last_hash("outcome"), last_hash("item_type")) == (None, "success", kind)


@pytest.mark.usefixtures("enabled")
def test_one_run_and_the_list_of_runs_show_the_hash(cli, put, last_hash):
    put("tools/x.sh", b"#!/bin/sh\n")
    cli("run-with", "tool", "x")
    run_id = last_hash("run_id")
    assert last_hash() == sha256(b"#!/bin/sh\n")
    assert json.loads(cli("runs", "show", run_id, "--json").stdout)["content_hash"] == last_hash()
    assert f"content_hash  {last_hash()}\n" in cli("runs", "show", run_id).stdout


WITH_MODULES = """
import os, sys
leave = os._exit
os._exit = lambda code: (sys.stdout.write("|".join(sys.modules)), sys.stdout.flush(), leave(code))
sys.argv[0] = "rye-telemetry"
from rye_telemetry.entry import main
main()
"""


def _path():
    return {**os.environ, "PYTHONPATH": str(Path(rye_telemetry.__file__).parents[1])}


@pytest.mark.usefixtures("enabled")
def test_hashing_an_unbaked_item_imports_next_to_nothing(put, last_hash):
    put("tools/x.sh", b"#!/bin/sh\n")
    done = subprocess.run(
        [sys.executable, "-S", "-c", WITH_MODULES, "run-with", "tool", "x"],
        capture_output=True, text=True, check=False, env=_path(),
    )  # fmt: skip
    modules = set(done.stdout.split("|"))
    assert "rye_telemetry.content" in modules, done.stderr
    assert not modules & {"hashlib", "_hashlib", "yaml", "rye_telemetry.bake", "typing", "contextlib", "re", "enum"}
    assert last_hash() == sha256(b"#!/bin/sh\n")


def test_nothing_is_hashed_with_telemetry_off(home, put):
    put("knowledge/read.md", ITEMS["read.md"])
    done = subprocess.run(
        [sys.executable, "-S", "-c", WITH_MODULES, "run-with", "knowledge", "read"],
        capture_output=True, text=True, check=False, env=_path(),
    )  # fmt: skip
    assert "rye_telemetry.runner.run" in done.stdout
    assert "rye_telemetry.content" not in done.stdout
    assert not (home / ".local").exists()


def test_the_hash_is_taken_where_signals_cannot_be_taken_with_their_origin_too(put, last_hash, enabled):
    code = """
import sys
from rye_telemetry.runner import run
run.CAN_SUPERVISE = False
from rye_telemetry.entry import main
sys.argv = ["rye-telemetry", "run-with", "tool", "x"]
main()
"""
    put("tools/x.sh", b"#!/bin/sh\nsleep 0.2\n: > $0\n")
    subprocess.run([sys.executable, "-c", code], check=True)
    assert last_hash() == sha256(b"#!/bin/sh\nsleep 0.2\n: > $0\n")
