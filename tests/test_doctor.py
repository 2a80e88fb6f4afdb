"""`doctor` on real stores, damaged in every way that it names."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

import pytest

from rye_telemetry.doctor import as_table, disk, examine, is_healthy, json_answer
from rye_telemetry.doctor.finding import Finding
from rye_telemetry.journal import Journal
from rye_telemetry.lines import encode_line, new_run_id
from rye_telemetry.store import TelemetryStore

LINE = encode_line(
    "start", {"run_id": "r", "item_type": "tool", "item_id": "x", "started_at": "2026-01-01T00:00:00.000Z"}
)


class Examined:
    """A store on disk, and what doctor says about it."""

    def __init__(self, path, home):
        self.path = path
        self.home = home
        self.journal_dir = path / "telemetry" / "journal"
        self.index = path / "telemetry" / "index.sqlite"
        self.yaml = path / "telemetry.yaml"

    @property
    def segment(self):
        return max(self.journal_dir.glob("*.ndjson"))

    def findings(self, **env):
        here = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "RYE_STATE_DIR": str(self.path),
            "RYE_TELEMETRY": "1",
        }
        return {f.check: f for f in examine({**here, **env}, project_path=str(self.home))}

    def all_but_ok(self):
        return {check: f.state for check, f in self.findings().items() if f.state != "ok"}

    def keep_stamp(self, change):
        """Change the index as nobody could notice by its size and time."""
        before = os.stat(self.index)
        change()
        os.utime(self.index, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def examined(tmp_path, home):
    path = tmp_path / "state"
    with TelemetryStore(path) as store:
        for number in range(8):
            store.record_execution(f"item{number % 3}", "tool", "success" if number % 4 else "failure", 1.5 * number)
        store.record_execution("guide", "knowledge", "success", 2)
        store.totals()
    return Examined(path, home)


def tree(path):
    return {
        os.path.join(folder, name): (
            os.lstat(os.path.join(folder, name)).st_mtime_ns,
            os.lstat(os.path.join(folder, name)).st_ino,
        )
        for folder, folders, names in os.walk(path)
        for name in (*folders, *names)
    }


# -- the whole


def test_a_clean_store_is_ok_and_stays_as_it_was(examined):
    before = tree(examined.path)
    found = examined.findings()
    assert {f.state for f in found.values()} == {"ok"}, found
    assert found["index-agreement"].found == "4 items, 9 runs: as in the journal"
    assert tree(examined.path) == before


def test_with_telemetry_off_nothing_is_locked_or_written(examined, tmp_path):
    before = tree(examined.path)
    assert examined.findings(RYE_TELEMETRY="0")["flock"].found == "not tried while telemetry is off"
    log = tmp_path / "trace"
    if shutil.which("strace"):
        env = {**os.environ, "RYE_STATE_DIR": str(examined.path), "RYE_TELEMETRY": "0"}
        trace = ["strace", "-f", "-e", "trace=open,openat,flock,fcntl,mkdir,unlink,rename", "-o", str(log)]
        subprocess.run(
            [*trace, sys.executable, "-B", "-m", "rye_telemetry", "doctor"], env=env, check=True, capture_output=True
        )
        ours = [line for line in log.read_text().splitlines() if str(examined.path) in line]
        assert ours
        assert not [line for line in ours if "O_RDWR" in line or "O_WRONLY" in line or "O_CREAT" in line]
        assert "flock(" not in log.read_text()
    assert tree(examined.path) == before


def test_the_command_prints_a_table_for_80_columns_and_exits_0(examined, cli):
    done = cli("doctor", env={**os.environ, "RYE_STATE_DIR": str(examined.path)})
    assert done.stdout.splitlines()[0].split() == ["check", "state", "found"]
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.endswith("No problem found.\n")


def test_the_command_exits_1_with_the_cure_on_a_problem(examined, cli):
    examined.index.write_bytes(b"tool: [")
    env = {**os.environ, "RYE_STATE_DIR": str(examined.path)}
    done = cli("doctor", env=env, code=1)
    assert "problem: index\n  rye-telemetry rebuild\n" in done.stdout
    answer = json.loads(cli("doctor", "--json", env=env, code=1).stdout)
    assert answer["ok"] is False
    assert {tuple(check) for check in answer["checks"]} == {("check", "state", "found", "cure")}
    cli("rebuild", env=env)
    cli("doctor", env=env)


def test_a_table_counts_problems_and_warnings():
    findings = [
        Finding("a", "problem", "bad", "mend it"),
        Finding("b", "warning", "so", "look"),
        Finding("c", "ok", "yes"),
    ]
    assert as_table(findings).endswith("1 problem found, 1 warning.")
    assert not is_healthy(findings)
    assert json_answer(findings[1:])["ok"] is True


# -- what it stands in


def test_consent_names_the_rule_and_an_unreadable_file_is_a_problem(examined):
    config = examined.home / ".ai" / "config.yaml"
    config.parent.mkdir()
    config.write_text("telemetry: [\n")
    found = examined.findings(RYE_TELEMETRY="")["consent"]
    assert found.state == "problem"
    assert str(config) in found.found
    assert "correct the file" in found.cure
    assert examined.findings()["consent"].state == "warning"
    config.write_text("telemetry:\n  enabled: true\n")
    assert examined.findings(RYE_TELEMETRY="")["consent"].found == f"on, decided by user config: {config}"
    odd = examined.findings(RYE_TELEMETRY="perhaps")["consent"]
    assert (odd.state, odd.cure) == ("warning", "set RYE_TELEMETRY to 1 or 0, or unset it")


def test_versions_are_named_and_git_may_be_missing(examined):
    assert "SQLite 3." in examined.findings()["versions"].found
    assert examined.findings(PATH="/nowhere")["versions"].found.endswith("no git on PATH")


def test_an_unknown_home_is_a_problem(examined):
    found = examined.findings(HOME="relative", RYE_STATE_DIR="")
    assert found["state-dir"].state == found["user-config"].state == "problem"
    assert "HOME" in found["state-dir"].cure


# -- the directory


def test_no_state_directory_yet_is_fine_and_none_is_made(examined):
    missing = examined.path / "a" / "b"
    assert "not there yet" in examined.findings(RYE_STATE_DIR=str(missing))["state-dir"].found
    assert not missing.exists()


def test_a_state_directory_that_is_a_file_is_a_problem(examined, tmp_path):
    (tmp_path / "plain").write_text("")
    for path in (tmp_path / "plain", tmp_path / "plain" / "below"):
        found = examined.findings(RYE_STATE_DIR=str(path))
        assert found["state-dir"].state == "problem"
        assert found["state-dir"].cure
        assert "journal" not in found


def test_a_state_directory_that_links_to_nothing_is_a_problem(examined, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    assert examined.findings(RYE_STATE_DIR=str(tmp_path / "link"))["state-dir"].cure.startswith("rm ")


def test_a_directory_that_its_owner_may_not_write_is_a_problem(examined):
    examined.path.chmod(0o500)
    found = examined.findings()["state-dir"]
    assert (found.state, found.cure) == ("problem", f"chmod 700 {examined.path}")
    assert "0500" in found.found
    examined.path.chmod(0o700)


@pytest.mark.parametrize(
    ("name", "mode"), [("telemetry", 0o755), ("telemetry.yaml", 0o644), ("telemetry/index.sqlite", 0o660)]
)
def test_what_others_can_read_is_a_problem_that_chmod_cures(examined, name, mode):
    (examined.path / name).chmod(mode)
    found = examined.findings()["modes"]
    assert found.state == "problem"
    assert f"{name} {mode:04o}" in found.found
    subprocess.run(found.cure, shell=True, check=True)
    assert examined.all_but_ok() == {}


def test_a_file_that_we_may_not_write_is_a_problem_that_chmod_cures(examined):
    examined.segment.chmod(0o400)
    found = examined.findings()["modes"]
    assert found.state == "problem"
    assert found.found.startswith("not to be written")
    subprocess.run(found.cure, shell=True, check=True)
    assert examined.all_but_ok() == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_a_problem(examined):
    os.chown(examined.yaml, 54321, -1)
    found = examined.findings()["owner"]
    assert found.state == "problem"
    assert "telemetry.yaml belongs to user 54321" in found.found
    assert f"chown -R 0 {examined.yaml}" in found.cure


@pytest.mark.parametrize(
    "name", ["telemetry.yaml", "telemetry/index.sqlite", "telemetry.lock", "telemetry/journal.lock", "segment"]
)
def test_a_planted_symlink_is_a_problem(examined, tmp_path, name):
    path = examined.segment if name == "segment" else examined.path / name
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    found = examined.findings()["files"]
    assert (found.state, found.cure) == ("problem", f"rm {path}")
    assert "symbolic link" in found.found


@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize(
    "name", ["telemetry/journal/2027-W01-0001.ndjson", "telemetry/journal/spill/x.ndjson", "telemetry.yaml"]
)
def test_a_fifo_or_directory_where_a_file_should_be_is_a_problem_and_no_trap(examined, name, plant):
    path = examined.path / name
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    plant(path)
    assert examined.findings()["files"].state == "problem"


def test_a_journal_that_is_a_file_is_a_problem(examined):
    shutil.rmtree(examined.journal_dir)
    examined.journal_dir.write_text("")
    assert examined.findings()["files"].found == "telemetry/journal is not a directory"


def test_a_lock_file_that_is_a_directory_hides_nothing_else(examined):
    (examined.path / "telemetry.lock").unlink()
    (examined.path / "telemetry.lock").mkdir(mode=0o700)
    found = examined.findings()
    assert found["files"].found == "telemetry.lock is a directory"
    assert found["index-agreement"].state == found["journal-lines"].state == "ok"


def test_files_of_other_programs_beside_ours_are_nobody_s_business(examined):
    (examined.path / "sessions").mkdir(mode=0o755)
    (examined.path / "sessions" / "log.ndjson").symlink_to("/nowhere")
    assert examined.all_but_ok() == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_store_of_somebody_else_is_a_problem_and_no_crash(examined):
    roof = tempfile.mkdtemp()
    try:
        os.chmod(roof, 0o755)
        shutil.copytree(examined.path, f"{roof}/state")
        found = as_nobody(lambda: examined.findings(HOME=roof, RYE_STATE_DIR=f"{roof}/state"))
        assert {check: f["state"] for check, f in found.items() if f["state"] != "ok"} == dict.fromkeys(
            ("state-dir", "files", "owner"), "problem"
        )
        found = as_nobody(lambda: examined.findings(HOME=roof, RYE_STATE_DIR=f"{roof}/new"))
        assert "is not writable" in found["state-dir"]["found"]
        os.chmod(f"{roof}/state", 0o755)
        os.chmod(f"{roof}/state/telemetry", 0o711)
        found = as_nobody(lambda: examined.findings(HOME=roof, RYE_STATE_DIR=f"{roof}/state"))
        assert "not to be listed: telemetry (Permission denied)" in found["files"]["found"]
        assert found["journal"]["state"] == found["append-lock"]["state"] == "problem"
    finally:
        shutil.rmtree(roof)


def as_nobody(look):
    """Return {check: finding as a mapping} as seen by a process without rights."""
    examine({"PATH": ""}, project_path="/")  # what is imported late may not be readable then
    read_end, write_end = os.pipe()
    if not (pid := os.fork()):
        try:
            os.setgid(65534)
            os.setuid(65534)
            os.write(write_end, json.dumps({check: vars(f) for check, f in look().items()}).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as file:
        said = file.read()
    os.waitpid(pid, 0)
    return json.loads(said)


# -- the disk and its locks


def test_little_space_is_a_warning(examined, monkeypatch):
    monkeypatch.setattr(disk, "LITTLE_BYTES", 1 << 60)
    assert examined.findings()["space"].state == "warning"


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_filesystem_is_a_warning(tmp_path, kind):
    mounts = tmp_path / "mountinfo"
    place = str(tmp_path / "with space").replace(" ", "\\040")
    (tmp_path / "with space").mkdir()
    mounts.write_text(
        "1 0 0:1 / / rw - ext4 /dev/sda rw\ntorn\n"
        f"2 1 0:2 / {place} rw shared:1 - {kind} host:/x rw\n"
        f"3 1 0:3 / {place}r rw - tmpfs tmpfs rw\n"
    )
    found = disk.check_filesystem(str(tmp_path / "with space"), mounts=str(mounts))
    assert found.state == "warning"
    assert found.found.startswith(kind)
    assert disk.check_filesystem(str(tmp_path), mounts=str(mounts)).found == "ext4"
    assert disk.filesystem_type("/x", str(tmp_path / "none")) is None


def test_locks_that_do_not_hold_are_a_problem(examined):
    with examined.yaml.open("rb") as file:
        found = disk._lock_twice(file.fileno(), file.fileno())
    assert (found.state, found.found) == ("problem", "a lock does not keep a second one out")
    assert "RYE_STATE_DIR" in found.cure


@pytest.mark.parametrize(
    ("check", "name"), [("projection-lock", "telemetry.lock"), ("append-lock", "telemetry/journal.lock")]
)
def test_a_lock_that_is_held_is_named_with_its_holder(examined, check, name):
    hold = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(examined.path / name)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        holder.stdout.readline()
        for said in (examined.findings()[check], examined.findings(RYE_TELEMETRY="0")[check]):
            assert said.state == "warning"
            assert f"process {holder.pid} (" in said.found
        holder.stdin.close()
    assert examined.findings()[check].state == "ok"


# -- the journal


def test_damaged_lines_are_named_by_file_and_byte(examined):
    data = examined.segment.read_bytes()
    lines = data.splitlines(keepends=True)
    examined.segment.write_bytes(b"".join([*lines[:3], b'{"v":1,"kind":"run"}\n', *lines[3:], b"\xff\xfe garbage\n"]))
    assert "index-agreement" in examined.all_but_ok()
    TelemetryStore(examined.path).rebuild()
    assert examined.all_but_ok() == {"journal-lines": "warning"}
    found = examined.findings()["journal-lines"]
    assert found.state == "warning"
    assert found.found.startswith("2 damaged lines: ")
    assert f"{examined.segment}, byte {sum(map(len, lines[:3]))}: a run without id" in found.found
    assert f"byte {len(data) + 21:,}: " in found.found
    assert "delete these lines" in found.cure


def test_lines_that_only_look_like_ours_are_damage_and_no_crash(examined):
    with examined.segment.open("ab") as file:
        file.write(b'{"v":1,"kind":"checkpoint"}\n')
        file.write(LINE.replace(b'"start"', b'"run"').replace(b"}", b',"outcome":"success","ended_at":"\\ud800"}'))
        file.write(
            b'{"v":1,"kind":"checkpoint","checkpoint_id":"a","items":[{"item_type":[],"item_id":{},"state":{}}]}\n'
        )
        file.write(
            encode_line("checkpoint", {"checkpoint_id": "b", "items": [_checkpoint_entry(counts={"success": "many"})]})
        )
        file.write(
            encode_line("checkpoint", {"checkpoint_id": "c", "items": [_checkpoint_entry(histogram=7, recent=3)]})
        )
    found = examined.findings()
    assert found["journal-lines"].state == "warning"
    assert "checkpoint" in found["journal-lines"].found or "counted" in found["journal-lines"].found


def _checkpoint_entry(**state):
    return {"item_type": "tool", "item_id": "z", "state": state}


def test_a_torn_last_line_is_a_warning(examined):
    with examined.segment.open("ab") as file:
        file.write(b'{"v":1,"ki')
    assert examined.all_but_ok() == {"journal-lines": "warning"}
    assert "cut short" in examined.findings()["journal-lines"].found


@pytest.mark.parametrize("new", [b'{"v":2,"kind":"run"}\n', b'{"v":2,"kind":"segment","generation":"x"}\n'])
def test_a_newer_line_is_a_problem_that_an_upgrade_cures(examined, new):
    size = examined.segment.stat().st_size
    with examined.segment.open("ab") as file:
        file.write(new)
    found = examined.findings()["journal-version"]
    assert found.state == "problem"
    assert f"byte {size:,}" in found.found
    assert "upgrade" in found.cure


def test_a_segment_of_a_newer_version_is_a_problem(examined):
    (examined.journal_dir / "2027-W01-0001.ndjson").write_bytes(b'{"v":2,"kind":"segment","covers":1}\n')
    assert examined.findings()["journal-version"].state == "problem"


@pytest.mark.parametrize("covers", [b"5", b'"x"', b"[[]]"])
def test_a_segment_with_a_header_that_means_nothing_is_a_problem(examined, covers):
    path = examined.journal_dir / "2027-W01-0001.ndjson"
    path.write_bytes(b'{"v":1,"kind":"segment","covers":' + covers + b"}\n")
    assert str(path) in examined.findings()["journal-files"].found


def test_an_archive_that_is_not_whole_is_a_problem(examined):
    archive = examined.journal_dir / "archive"
    archive.mkdir(mode=0o700)
    path = archive / "2020-W01-0001.ndjson.gz"
    path.write_bytes(gzip.compress(LINE * 100)[:-20])
    path.chmod(0o600)
    found = examined.findings()["journal-files"]
    assert found.state == "problem"
    assert str(path) in found.found
    assert f"mv {path} " in found.cure


def test_archived_segments_are_read_too(examined):
    archive = examined.journal_dir / "archive"
    archive.mkdir(mode=0o700)
    path = archive / "2020-W01-0001.ndjson.gz"
    path.write_bytes(gzip.compress(encode_line("segment", {"generation": "g"}) + LINE))
    path.chmod(0o600)
    TelemetryStore(examined.path).rebuild()
    found = examined.findings()
    assert found["journal"].found.startswith("2 segments, 1 archived, ")
    assert found["index-agreement"].found == "5 items, 10 runs: as in the journal"
    assert {f.state for f in found.values()} == {"ok"}


def test_progress_is_told_in_bytes(examined):
    told = []
    env = {"HOME": str(examined.home), "RYE_STATE_DIR": str(examined.path)}
    examine(env, project_path="/", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (examined.segment.stat().st_size,) * 2


def test_spills_are_counted(examined):
    journal = Journal(str(examined.path))
    holder = Journal(str(examined.path))
    assert holder.lock.acquire()
    journal.append(LINE, wait_s=0)
    holder.lock.release()
    found = examined.findings()
    assert found["spills"].found.startswith("1 file ")
    assert examined.all_but_ok() == {}


def test_what_killed_processes_left_is_named(examined):
    old = time.time() - 3600
    reports = examined.path / "telemetry" / "reports"
    reports.mkdir(exist_ok=True, mode=0o700)
    run_id = new_run_id(time.time_ns())
    left = [examined.journal_dir / "x.123.tmp", examined.path / "telemetry.yaml.tmp", reports / f"{run_id}.ndjson"]
    for path in left:
        path.write_text("")
        path.chmod(0o600)
        os.utime(path, (old, old))
    found = examined.findings()["leftovers"]
    assert found.state == "warning"
    assert found.found.startswith("3 files of killed processes")
    subprocess.run(found.cure, shell=True, check=True)
    assert examined.all_but_ok() == {}


def test_the_report_of_a_run_that_goes_on_is_no_leftover(examined):
    from rye_telemetry.liveness import this_process

    run = {"run_id": "r", "item_type": "tool", "item_id": "x", "started_at": "2026-01-01T00:00:00.000Z"}
    with examined.segment.open("ab") as file:
        file.write(encode_line("start", {**run, "process": this_process()}))
        file.write(encode_line("start", {**run, "run_id": "gone", "process": {**this_process(), "started": 1}}))
    reports = examined.path / "telemetry" / "reports"
    reports.mkdir(exist_ok=True, mode=0o700)
    for name in ("r", "gone"):
        (reports / f"{name}.ndjson").touch(0o600)
        os.utime(reports / f"{name}.ndjson", (1, 1))
    assert "gone.ndjson" in examined.findings()["leftovers"].found
    assert "/r.ndjson" not in examined.findings()["leftovers"].found


# -- index and telemetry.yaml


def scramble(data):
    return random.Random(1).randbytes(len(data))


@pytest.mark.parametrize(
    "harm", [lambda data: b"\0" * len(data), scramble, lambda _: b"tool: [", lambda data: data[: len(data) // 2]]
)
def test_a_corrupt_index_is_a_problem_that_rebuild_cures(examined, harm):
    examined.index.write_bytes(harm(examined.index.read_bytes()))
    found = examined.findings()
    bad = [f for f in found.values() if f.state == "problem"]
    assert {f.check for f in bad} <= {"index", "index-integrity"}
    assert [f.cure for f in bad] == ["rye-telemetry rebuild"]
    TelemetryStore(examined.path).rebuild()
    assert examined.all_but_ok() == {}


def test_pages_that_are_wrong_inside_are_found_by_sqlite(examined):
    data = bytearray(examined.index.read_bytes())
    data[4096 * 2 :] = bytes(len(data) - 4096 * 2)
    examined.keep_stamp(lambda: examined.index.write_bytes(data))
    found = examined.findings()
    assert "problem" in {found[check].state for check in ("index", "index-integrity") if check in found}


def test_an_index_of_another_format_is_a_problem(examined):
    with sqlite3.connect(examined.index) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    assert "another format" in examined.findings()["index"].found


def test_a_missing_index_is_a_warning(examined):
    examined.index.unlink()
    assert examined.findings()["index"].state == "warning"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "UPDATE items SET state=replace(state, '\"success\":', '\"success\":1') WHERE item_id='item1'",
            "tool item1 has",
        ),
        ("UPDATE items SET total_runs=100 WHERE item_id='item2'", "item2 is not the same in every column"),
        ("UPDATE items SET state='[' WHERE item_id='item0'", "tool item0 cannot be read"),
        ("DELETE FROM items WHERE item_id='guide'", "knowledge guide has no such item, the journal 1 run"),
        (
            "DELETE FROM runs WHERE rowid IS NULL OR run_id=(SELECT max(run_id) FROM runs)",
            "it lists 8 runs, the journal 9",
        ),
    ],
)
def test_an_index_that_differs_from_the_journal_is_a_problem(examined, change, said):
    def tamper():
        db = sqlite3.connect(examined.index, isolation_level=None)
        db.execute(change.replace("rowid IS NULL OR ", ""))
        db.close()

    examined.keep_stamp(tamper)
    found = examined.findings()["index-agreement"]
    assert (found.state, found.cure) == ("problem", "rye-telemetry rebuild")
    assert said in found.found
    TelemetryStore(examined.path).rebuild()
    assert examined.all_but_ok() == {}


def test_an_index_that_trails_the_journal_agrees_with_what_it_has_read(examined):
    journal = Journal(str(examined.path))
    fields = {
        "item_type": "tool",
        "item_id": "late",
        "started_at": "2026-01-01T00:00:00.000Z",
        "ended_at": "2026-01-01T00:00:00.000Z",
    }
    journal.append(encode_line("run", {"run_id": "late", "outcome": "success", **fields}))
    assert examined.all_but_ok() == {}


def test_an_index_that_something_else_wrote_is_a_warning(examined):
    os.utime(examined.index, (1, 1))
    found = examined.findings()["index"]
    assert found.state == "warning"
    assert "not what the last projection left" in found.found


def test_an_index_from_before_a_restart_is_said_to_be_normal(examined):
    stamp = json.loads((examined.path / "telemetry.lock").read_text())
    (examined.path / "telemetry.lock").write_text(json.dumps({**stamp, "state": "clean", "boot": "another"}))
    assert "normal after a restart" in examined.findings()["index"].found
    (examined.path / "telemetry.lock").write_text("")
    assert examined.findings()["index"].state == "warning"
    (examined.path / "telemetry.lock").write_text(json.dumps({**stamp, "state": "dirty"}))
    assert "bringing it up to date" in examined.findings()["index"].found


def test_an_index_of_another_journal_is_a_warning(examined):
    copy = examined.segment.read_bytes()
    examined.segment.unlink()
    (examined.journal_dir / "2020-W01-0001.ndjson").write_bytes(copy)
    found = examined.findings()
    assert found["index"].state == "warning"
    assert "earlier state of the journal" in found["index"].found
    assert "index-agreement" not in found


@pytest.mark.parametrize(
    "text", ["{", "[1]", "version: 1\nitems: []\n", "items: {}\n", 'items: {"item0": {"type": "tool"}}\n']
)
def test_a_telemetry_yaml_that_says_something_else_is_a_problem(examined, text):
    mark = examined.yaml.read_text().splitlines(keepends=True)[0]
    examined.yaml.write_text(mark + text)
    found = examined.findings()["telemetry-yaml"]
    assert (found.state, found.cure) == ("problem", "rye-telemetry rebuild")
    TelemetryStore(examined.path).rebuild()
    assert examined.all_but_ok() == {}


def test_a_missing_telemetry_yaml_is_a_warning(examined):
    examined.yaml.unlink()
    assert examined.all_but_ok() == {"telemetry-yaml": "warning"}


def test_a_telemetry_yaml_of_another_program_is_said(examined, tmp_path):
    examined.yaml.write_text("items: {}\n")
    assert examined.findings()["telemetry-yaml"].state == "warning"
    fresh = tmp_path / "fresh"
    fresh.mkdir(mode=0o700)
    (fresh / "telemetry.yaml").write_text("items: {}\n")
    (fresh / "telemetry.yaml").chmod(0o600)
    found = examined.findings(RYE_STATE_DIR=str(fresh))
    assert "imports it" in found["telemetry-yaml"].found
    assert {f.state for f in found.values()} == {"ok"}


# -- everything at once


def test_no_damage_makes_it_crash(examined, tmp_path):
    dice = random.Random(7)
    for attempt in range(60):
        copy = tmp_path / f"copy{attempt}"
        shutil.copytree(examined.path, copy)
        files = [path for path in sorted(copy.rglob("*")) if path.is_file()]
        for path in dice.sample(files, dice.randint(1, len(files))):
            _harm(path, dice)
        found = examined.findings(RYE_STATE_DIR=str(copy))
        assert all(f.cure for f in found.values() if f.state != "ok")
        shutil.rmtree(copy)


def _harm(path, dice):
    data = bytearray(path.read_bytes())
    kind = dice.choice(["flip", "cut", "noise", "empty", "gone", "folder"])
    if kind == "flip" and data:
        for _ in range(dice.randint(1, 20)):
            data[dice.randrange(len(data))] = dice.randrange(256)
    elif kind == "cut":
        del data[dice.randint(0, len(data)) :]
    elif kind == "noise":
        data += dice.randbytes(50)
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind != "gone":
        path.write_bytes(b"" if kind == "empty" else data)


def test_processes_that_record_meanwhile_are_no_problem(examined):
    record = (
        "import sys, time\nfrom rye_telemetry.store import TelemetryStore\n"
        "with TelemetryStore(sys.argv[1]) as store:\n"
        "    end = time.time() + 3\n"
        "    while time.time() < end:\n"
        "        store.record_execution('busy', 'tool', 'success', 1); time.sleep(0.001)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", record, str(examined.path)]) for _ in range(2)]
    looks = 0
    while any(writer.poll() is None for writer in writers):
        problems = [f for f in examined.findings().values() if f.state == "problem"]
        assert not problems, problems
        looks += 1
    assert looks
    assert {writer.returncode for writer in writers} == {0}
    assert is_healthy(examined.findings().values())
