"""`bake`, `publish-payload` and `export_telemetry`, as a user types them."""

from __future__ import annotations

import ast
import json
import os
import stat

import pytest
from repositories import git, new_repo, write_git_config

import rye_telemetry
from rye_telemetry.bake import read_bytes, strip_bytes
from rye_telemetry.cli.app import run_command_line
from rye_telemetry.store import TelemetryStore

TOOL = b'"""A tool."""\n\n\ndef main():\n    return 1\n'
NOTE = b"---\ntitle:   Notes\n---\n\nBody\n"


@pytest.fixture
def rye(capfd, monkeypatch):
    """Run a command in this process; check its exit code and return what it said on stdout and stderr."""

    def run(*args, code=0, cwd=None):
        if cwd is not None:
            monkeypatch.chdir(cwd)
        capfd.readouterr()
        seen = run_command_line([os.fspath(arg) for arg in args])
        out, err = capfd.readouterr()
        assert seen == code, f"exit {seen}\n{out}\n{err}"
        return out, err

    return run


@pytest.fixture
def project(tmp_path, enabled, monkeypatch):
    """A project with a tool and a knowledge item, in which we stand."""
    project = tmp_path / "project"
    write_item(project, "tools/my_tool.py", TOOL)
    write_item(project, "knowledge/notes.md", NOTE)
    monkeypatch.chdir(project)
    return project


def write_item(project, below, data):
    path = project / ".ai" / below
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def record(item_id, item_type="tool", outcome="success", duration_ms=100.0, **more):
    with TelemetryStore() as store:
        return store.record_execution(item_id, item_type, outcome, duration_ms, **more)


def numbers_in(path):
    return read_bytes(path.read_bytes(), path.name)


def test_an_item_is_baked_and_stripped_as_the_issue_shows(rye, project):
    path = project / ".ai/tools/my_tool.py"
    rye("run-with", "tool", "my_tool", "--project-path", ".")
    out, err = rye("bake", "my_tool", "--item-path", ".ai/tools/my_tool.py")
    assert (out, err) == ("baked .ai/tools/my_tool.py (1 run, success rate 1.0)\n", "")
    assert path.read_bytes().startswith(TOOL)
    ast.parse(path.read_bytes())
    said = numbers_in(path)
    assert list(said) == ["total_runs", "success_count", "failure_count", "success_rate", "avg_duration_ms", "last_run"]
    assert (said["total_runs"], said["success_rate"]) == (1, 1.0)
    assert rye("bake", "my_tool", "--item-path", ".ai/tools/my_tool.py") == ("", "")
    assert rye("bake", "--strip", ".ai/tools/my_tool.py")[0] == "stripped .ai/tools/my_tool.py\n"
    assert path.read_bytes() == TOOL


def test_numbers_are_those_of_every_run(rye, project):
    path = project / ".ai/knowledge/notes.md"
    for outcome, duration_ms in (("success", 100.0), ("success", 201.26), ("failure", 300.0), ("cancelled", None)):
        record("notes", "knowledge", outcome, duration_ms)
    rye("bake", path)
    said = numbers_in(path)
    last_run = said.pop("last_run")
    assert said == {
        "total_runs": 4,
        "success_count": 2,
        "failure_count": 1,
        "success_rate": 0.667,
        "avg_duration_ms": 200.4,
    }
    assert len(last_run) == 20
    assert last_run.endswith("Z")
    assert f'  last_run: "{last_run}"\n---\n\nBody\n' in path.read_text()


def test_numbers_that_are_not_known_are_left_out(rye, project):
    record("my_tool", outcome="cancelled", duration_ms=None)
    rye("bake", ".ai/tools/my_tool.py")
    said = numbers_in(project / ".ai/tools/my_tool.py")
    assert set(said) == {"total_runs", "success_count", "failure_count", "last_run"}


def test_nothing_recorded_is_silence(rye, project):
    record("another")
    for words in (["bake", ".ai/tools/my_tool.py"], ["bake", "--all"], ["bake", "--check", "--all"]):
        assert rye(*words) == ("", "")
    assert rye("bake", "my_tool", "--item-path", ".ai/tools/my_tool.py") == ("", "")
    assert (project / ".ai/tools/my_tool.py").read_bytes() == TOOL


def test_all_bakes_every_item_that_was_run_and_no_other_file(rye, project):
    record("my_tool")
    record("notes", "knowledge")
    write_item(project, "tools/other.py", TOOL)
    write_item(project, "tools/data.bin", b"\0")
    (project / "README.md").write_text("# Readme\n")
    out, _ = rye("bake", "--all", "--json")
    told = json.loads(out)
    assert {file["path"]: file["result"] for file in told["files"]} == {
        ".ai/tools/my_tool.py": "baked",
        ".ai/knowledge/notes.md": "baked",
    }
    assert (told["success"], told["changed"], told["written"]) == (True, 2, True)
    assert rye("bake", "--all", "--project-path", project, cwd=project.parent) == ("", "")


def test_looking_writes_nothing(rye, project):
    record("my_tool")
    path = project / ".ai/tools/my_tool.py"
    out, _ = rye("bake", "--check", path, code=1)
    assert out == "would bake .ai/tools/my_tool.py (1 run, success rate 1.0)\n"
    assert rye("bake", "--dry-run", path)[0] == out
    diff = rye("bake", "--diff", path)[0]
    assert diff.startswith("--- a/.ai/tools/my_tool.py\n+++ b/.ai/tools/my_tool.py\n@@ ")
    assert [line for line in diff.splitlines() if line.startswith("-")] == ["--- a/.ai/tools/my_tool.py"]
    assert json.loads(rye("bake", "--dry-run", "--json", path)[0])["written"] is False
    assert path.read_bytes() == TOOL
    rye("bake", path)
    assert rye("bake", "--check", path) == ("", "")


def test_a_diff_applies(rye, project, home):
    """Also where lines end in CRLF and the last has no end."""
    write_git_config(home)
    new_repo(project)
    path = write_item(project, "knowledge/odd.md", b"---\r\ntitle: x\r\n---\r\nbody")
    record("odd", "knowledge")
    diff = rye("bake", "--diff", path)[0]
    git(project, "apply", stdin=diff.encode())
    applied = path.read_bytes()
    rye("bake", path)
    assert applied == path.read_bytes()
    assert strip_bytes(applied, "odd.md").data == b"---\r\ntitle: x\r\n---\r\nbody"


def test_a_check_without_a_store_looks_at_form_and_plausibility_only(rye, project):
    good = (
        '---\ntitle: x\ntelemetry:\n  total_runs: 3\n  success_count: 3\n  success_rate: 1.0\n  last_run: "{}"\n---\n'
    )
    path = write_item(project, "knowledge/notes.md", good.format("2026-01-30T12:00:00Z").encode())
    said = rye("bake", "--check", path)
    assert said == (
        "",
        "rye-telemetry: no runs are recorded here: only the form and the plausibility of blocks was checked\n",
    )
    path.write_text(good.format("2026-01-30T12:00:00Z").replace("success_count: 3", "success_count: 4"))
    _, err = rye("bake", "--check", path, code=1)
    assert "counts are more than the 3 of total_runs" in err
    path.write_text("---\ntelemetry:\n  total_runs: 3\ntelemetry:\n  total_runs: 3\n---\n")
    assert "duplicate_telemetry" in rye("bake", "--check", path, code=1)[1]
    path.write_text("---\ntelemetry: mine\n---\n")
    assert "duplicate" not in rye("bake", "--check", path)[1]


@pytest.mark.parametrize(
    "wrong",
    ["success_count: 3\n  success_rate: 0.1", "total_runs: -1", "total_runs: 1.5", "total_runs: true", "success_rate: 1.5", "avg_duration_ms: -1",
     "success_rate: 1.0\n  failure_count: 1", "last_run: yesterday", 'last_run: "2999-01-01T00:00:00Z"'],
)  # fmt: skip
def test_implausible_numbers_are_found(rye, project, wrong):
    first = "" if wrong.startswith("total_runs") else "total_runs: 3\n  "
    path = write_item(project, "knowledge/notes.md", f"---\ntelemetry:\n  {first}{wrong}\n---\n".encode())
    assert "(implausible)" in rye("bake", "--check", path, code=1)[1]


def test_a_refused_file_stops_none_of_the_others(rye, project):
    record("my_tool")
    record("notes", "knowledge")
    record("gone")
    theirs = write_item(project, "knowledge/notes.md", b"---\ntelemetry: mine\n---\n")
    out, err = rye("bake", ".ai/tools/gone.py", theirs, ".ai/tools/my_tool.py", code=1)
    assert out.startswith("baked .ai/tools/my_tool.py")
    assert "(foreign_telemetry)" in err
    assert ".ai/knowledge/notes.md" in err
    assert "gone.py" in err
    assert theirs.read_bytes() == b"---\ntelemetry: mine\n---\n"
    told = json.loads(rye("bake", "--json", theirs, code=1)[0])
    assert (told["success"], told["files"][0]["code"]) == (False, "foreign_telemetry")


def test_more_numbers_are_published_when_asked_for(rye, project):
    path = project / ".ai/tools/my_tool.py"
    for outcome in ("success", "success", "success", "timeout"):
        record("my_tool", outcome=outcome)
    rye("bake", path, "--field", "timeout_count,p95_duration_ms", "--field", "content_hash", "--fields", "first_run")
    said = numbers_in(path)
    assert (said["timeout_count"], said["p95_duration_ms"], len(said["content_hash"])) == (1, 100.0, 64)
    assert said["first_run"] <= said["last_run"]
    rye("configure", "--set", "bake.fields=success_rate_low")
    rye("bake", path)
    assert numbers_in(path)["success_rate_low"] == 0.3
    assert "timeout_count" not in numbers_in(path)
    assert "no field is called 'speed'" in rye("bake", path, "--field", "speed", code=2)[1]


def test_three_of_three_is_no_certainty(rye, project):
    """0.438: the lower end of Wilson's 95 % interval for 3 of 3, as in any table of it."""
    for _ in range(3):
        record("my_tool")
    rye("bake", "--all", "--field", "success_rate_low")
    assert numbers_in(project / ".ai/tools/my_tool.py")["success_rate_low"] == 0.438


def test_a_window_counts_its_own_runs_and_says_so(rye, project):
    path = project / ".ai/tools/my_tool.py"
    with TelemetryStore() as store:
        for day, outcome in (("01", "failure"), ("20", "success")):
            at = f"2026-10-{day}T12:00:00.000Z"
            run = {"run_id": f"01a1fbb0-0000-7000-8000-0000000000{day}", "item_type": "tool", "item_id": "my_tool"}
            store.end_run({**run, "outcome": outcome, "started_at": at, "ended_at": at, "duration_ms": 5})
    rye("bake", path, "--since", "2026-10-15T00:00:00Z")
    said = numbers_in(path)
    assert (said["total_runs"], said["failure_count"], said["window_days"] > 30) == (1, 0, True)
    assert "no run of it counts" in rye("bake", path, "--since", "1m")[1]
    assert numbers_in(path) == said


def test_only_runs_of_this_version_count_if_asked(rye, project):
    path = project / ".ai/tools/my_tool.py"
    rye("run-with", "tool", "my_tool")
    rye("bake", path)
    rye("run-with", "tool", "my_tool")  # baked, and still the same version
    rye("bake", path, "--this-version")
    assert numbers_in(path)["total_runs"] == 2
    path.write_bytes(TOOL.replace(b"return 1", b"return 2"))
    rye("run-with", "tool", "my_tool")
    rye("bake", path, "--this-version")
    assert numbers_in(path)["total_runs"] == 1
    rye("bake", path)
    assert numbers_in(path)["total_runs"] == 3


def test_links_stay_links_and_modes_stay_modes(rye, project, tmp_path):
    record("my_tool")
    path = project / ".ai/tools/my_tool.py"
    path.chmod(0o750)
    link = tmp_path / "link.py"
    link.symlink_to(path)
    rye("bake", "my_tool", "--item-path", link)
    assert link.is_symlink()
    assert numbers_in(path)["total_runs"] == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    os.link(path, tmp_path / "other.py")
    record("my_tool")
    before = path.read_bytes()
    assert "hard link" in rye("bake", path, code=1)[1]
    assert path.read_bytes() == before
    assert path.stat().st_nlink == 2


def test_what_cannot_be_meant_is_a_usage_mistake(rye, project):
    for words in (
        ["bake"],
        ["bake", "a.md", "--all"],
        ["bake", "a.md", "--staged"],
        ["bake", "a", "b", "--item-path", "c"],
        ["bake", "--item-path", "c"],
        ["bake", "--item-id", "c"],
        ["bake", "a.md", "--project-path", "."],
        ["bake", "a.md", "--since", "soon"],
        ["bake", "a", "--item-path", "a.md", "--type", "skill"],
    ):
        assert "rye-telemetry: " in rye(*words, code=2)[1]


def test_an_id_of_two_types_is_the_one_of_the_file_s_folder(rye, project):
    record("notes", "tool", "failure")
    record("notes", "knowledge")
    path = project / ".ai/knowledge/notes.md"
    rye("bake", "notes", "--item-path", path)
    assert numbers_in(path)["success_count"] == 1
    rye("bake", "notes", "--item-path", path, "--type", "tool")
    assert numbers_in(path)["success_count"] == 0
    elsewhere = project / "copy.md"
    elsewhere.write_bytes(NOTE)
    assert "say which with --type" in rye("bake", "notes", "--item-path", elsewhere, code=1)[1]


def test_publish_payload_gives_content_and_numbers_apart(rye, project):
    record("my_tool")
    path = project / ".ai/tools/my_tool.py"
    rye("bake", path)
    baked = path.read_bytes()
    told = json.loads(rye("publish-payload", "my_tool", "--item-path", path, "--field", "timeout_count")[0])
    assert told["content"].encode() == TOOL
    assert (told["item_id"], told["item_type"], told["encoding"]) == ("my_tool", "tool", "utf-8")
    assert (told["telemetry"]["total_runs"], told["telemetry"]["timeout_count"]) == (1, 0)
    assert path.read_bytes() == baked
    odd = write_item(project, "tools/odd.bin", b"\xff\x00")
    told = json.loads(rye("publish-payload", "odd", "--item-path", odd)[0])
    assert (told["content"], told["encoding"], told["telemetry"]) == ("/wA=", "base64", None)


def test_export_telemetry_bakes_and_answers(rye, project):
    path = project / ".ai/tools/my_tool.py"
    told = rye_telemetry.export_telemetry("my_tool", path)
    assert (told["success"], told["changed"], told["result"]) == (True, False, "nothing_recorded")
    record("my_tool")
    told = rye_telemetry.export_telemetry("my_tool", str(path))
    assert (told["success"], told["changed"], told["telemetry"]["total_runs"]) == (True, True, 1)
    assert rye_telemetry.export_telemetry("my_tool", path)["changed"] is False
    path.write_bytes(b"x = (\n")
    told = rye_telemetry.export_telemetry("my_tool", path)
    assert (told["success"], told["code"]) == (False, "invalid_python")
    assert "invalid" in told["error"] or "not valid" in told["error"]
    assert rye_telemetry.export_telemetry("my_tool", project / "none.py")["success"] is False


def test_with_telemetry_off_a_bake_reads_and_leaves_the_state_alone(rye, project, home, state_dir):
    record("my_tool")
    (home / ".ai" / "config.yaml").write_text("telemetry:\n  enabled: false\n")
    before = {path: path.stat().st_mtime_ns for path in state_dir.rglob("*")}
    rye("bake", "--all")
    assert numbers_in(project / ".ai/tools/my_tool.py")["total_runs"] == 1
    assert {path: path.stat().st_mtime_ns for path in state_dir.rglob("*")} == before


def test_a_hook_leaves_what_hardly_moved(rye, project):
    path = project / ".ai/tools/my_tool.py"
    for _ in range(20):
        record("my_tool")
    assert rye("bake", "--hook", path, code=1)[0] == "baked .ai/tools/my_tool.py (20 runs, success rate 1.0)\n"
    assert rye("bake", "--hook", path) == ("", "")
    record("my_tool")
    record("my_tool")
    assert rye("bake", "--hook", path) == ("", "")
    assert rye("bake", "--hook", "--check", path) == ("", "")
    record("my_tool")
    rye("bake", "--check", "--hook", path, code=1)
    rye("bake", "--hook", path, code=1)
    assert numbers_in(path)["total_runs"] == 23
    record("my_tool")
    rye("bake", path)  # by hand: the exact numbers
    assert numbers_in(path)["total_runs"] == 24


def test_a_hook_keeps_what_somebody_chose_to_publish(rye, project):
    path = project / ".ai/tools/my_tool.py"
    record("my_tool")
    rye("bake", path, "--field", "timeout_count,content_hash")
    path.write_bytes(path.read_bytes().replace(b"return 1", b"return 2"))
    assert rye("bake", "--hook", path) == ("", "")
    record("my_tool")
    rye("bake", "--hook", path, code=1)
    assert {"timeout_count", "content_hash"} < set(numbers_in(path))
    rye("bake", path, "--since", "30d")
    record("my_tool")
    assert rye("bake", "--hook", path) == ("", "")
    assert numbers_in(path)["window_days"] == 30


def test_files_that_nobody_named_do_not_lead_out_of_the_project(rye, project, tmp_path):
    outside = tmp_path / "outside.py"
    outside.write_bytes(TOOL)
    (project / ".ai/tools/linked.py").symlink_to(outside)
    record("linked")
    assert "(outside)" in rye("bake", "--all", code=1)[1]
    assert "(outside)" in rye("bake", "--hook", ".ai/tools/linked.py")[1]
    assert outside.read_bytes() == TOOL
    rye("bake", ".ai/tools/linked.py")
    assert numbers_in(outside)["total_runs"] == 1


def test_one_item_is_not_two_files(rye, project):
    for folder in ("a", "b"):
        write_item(project, f"tools/{folder}/twin.py", TOOL)
    record("twin")
    assert rye("bake", "--all", code=1)[1].count("(ambiguous_item)") == 2


def test_hostile_metadata_is_not_constructed(rye, project):
    """A bomb of merges, and brackets deeper than a C stack: neither is an item, neither stops the others."""
    record("my_tool")
    merges = "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))
    write_item(project, "tools/bomb.yaml", f"name: my_tool\na0: &a0 {{k: v}}\n{merges}".encode())
    write_item(project, "tools/deep.yaml", b"name: my_tool\nb: " + b"[" * 300_000 + b"]" * 300_000)
    write_item(project, "tools/both.yaml", b"a: &a {x: 1}\n<<: *a\nb: " + b"[" * 300_000 + b"]" * 300_000)
    rye("bake", "--all")
    assert numbers_in(project / ".ai/tools/my_tool.py")["total_runs"] == 1


def test_a_project_that_is_not_there_is_a_mistake(rye, project):
    assert "no .ai/ folder" in rye("bake", "--all", "--project-path", "nowhere", code=2)[1]


def test_an_edit_made_while_an_item_is_signed_is_kept(rye, project, home, tmp_path):
    path = write_item(project, "tools/signed.py", b"")
    body = TOOL
    import hashlib

    head = b"# ryeos:signed:2026-01-01T00:00:00Z:%s:sig:%s\n" % (hashlib.sha256(body).hexdigest().encode(), b"a" * 64)
    path.write_bytes(head + body)
    record("signed")
    script = tmp_path / "sign.sh"
    script.write_text('#!/bin/sh\nfor f; do echo "EDIT = 1" >> "$f"; done\nexit 1\n')
    script.chmod(0o755)
    (home / ".ai" / "config.yaml").write_text(
        f"telemetry:\n  enabled: true\n  bake:\n    signed: resign\n    sign_command: [{script}, '{{path}}']\n"
    )
    assert "(not_signed)" in rye("bake", path, code=1)[1]
    assert path.read_bytes() == head + body
    [kept] = path.parent.glob("signed.py.before-signing-failed-*")
    assert b"EDIT = 1" in kept.read_bytes()


def test_a_hook_does_not_stop_a_commit_for_a_file_that_takes_no_block(rye, project):
    record("notes", "knowledge")
    path = write_item(project, "knowledge/notes.md", b"---\ntelemetry: mine\n---\n")
    assert "(foreign_telemetry)" in rye("bake", "--hook", path)[1]
    path.write_bytes(b"---\ntelemetry:\n  total_runs: 1\ntelemetry:\n  total_runs: 1\n---\n")
    assert "(duplicate_telemetry)" in rye("bake", "--hook", path, code=1)[1]


def test_a_hook_strips(rye, project):
    record("my_tool")
    rye("bake", "--all")
    rye("bake", "--strip", "--hook", ".ai/tools/my_tool.py", code=1)
    assert rye("bake", "--strip", "--hook", ".ai/tools/my_tool.py") == ("", "")


def test_a_hook_does_not_stop_a_commit_for_a_state_that_cannot_be_read(rye, project, monkeypatch, tmp_path):
    (tmp_path / "state").write_text("no directory")
    monkeypatch.setenv("RYE_STATE_DIR", str(tmp_path / "state"))
    assert "nothing is baked" in rye("bake", "--hook", ".ai/tools/my_tool.py")[1]
    assert "rye-telemetry: " in rye("bake", ".ai/tools/my_tool.py", code=1)[1]
