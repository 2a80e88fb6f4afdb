"""`guard`: what is a part of a telemetry store of ours is refused by its content, everything else is let pass."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import shutil
import sqlite3
import time
import tracemalloc

import pytest
from conftest import SCRIPT
from hypothesis import given
from hypothesis import strategies as st
from making import line, make_run
from repositories import commit_file, git, new_repo, said, write_git_config

from rye_telemetry.journal import segment_header
from rye_telemetry.publish.guard import HEAD_BYTES, INDEX, INDEX_LOG, JOURNAL, TOTALS, what_is
from rye_telemetry.snapshot import MARK
from rye_telemetry.store import TelemetryStore

# As RYE's own store writes it, and as somebody's formatter leaves it.
RYE_TOTALS = b"""version: 1
updated: '2026-01-30T12:00:00Z'
items:
  my_tool: {type: tool, total_runs: 3, success_count: 2, failure_count: 1, last_run: 2026-01-30T12:00:00Z}
"""
BOMB = b"a: &a [x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (c, c, *[c - 1] * 8) for c in range(ord("b"), ord("z") + 1)
)


@pytest.fixture
def cli(cli_here):
    return cli_here


@pytest.fixture
def repo(home, tmp_path):
    write_git_config(home)
    return new_repo(tmp_path / "repo")


@pytest.fixture
def state(tmp_path):
    """The directory of a store with runs of seven items, projected."""
    with TelemetryStore(tmp_path / "state") as store:
        store.record_lines(("run", make_run(item_id=f"tool{n % 7}", paths=["a"])) for n in range(300))
        store.totals()
    return tmp_path / "state"


def part(state, name):
    [path] = state.rglob(name)
    return path


def test_every_file_of_a_store_that_holds_records_is_known(state):
    kinds = {path.name: what_is(path.read_bytes()) for path in state.rglob("*") if path.is_file()}
    [segment] = [name for name in kinds if name.endswith(".ndjson")]
    expected = {"telemetry.yaml": TOTALS, "index.sqlite": INDEX, segment: JOURNAL}
    assert {name: kind for name, kind in kinds.items() if not name.endswith(".lock")} == expected


def test_a_rebuilt_and_a_vacuumed_index_are_known(state):
    with TelemetryStore(state) as store:
        store.rebuild()
    path = part(state, "index.sqlite")
    assert what_is(path.read_bytes()) == INDEX
    db = sqlite3.connect(path)
    for statement in ("PRAGMA page_size=512", "VACUUM", "PRAGMA page_size=65536", "VACUUM"):
        db.execute(statement)
        assert what_is(path.read_bytes()) == INDEX
    db.close()


def test_an_index_of_which_a_table_lies_too_far_behind_is_known(tmp_path):
    tables = [f"CREATE TABLE {name} (id INTEGER)" for name in ("segments", "checkpoints", "items", "blocks", "runs")]
    assert what_is(database(tmp_path / "a", *tables)) == INDEX


def test_an_index_larger_than_what_is_looked_at_is_known(state):
    with TelemetryStore(state) as store:
        store.record_lines(("run", make_run(item_id=f"tool{n % 7}", error="x" * 1500)) for n in range(2000))
        store.totals()
    data = part(state, "index.sqlite").read_bytes()
    assert len(data) > 2 * HEAD_BYTES
    assert what_is(data[:HEAD_BYTES]) == INDEX


@pytest.mark.parametrize("mode", ["wal", "delete", "delete unsynced"])
def test_what_sqlite_leaves_beside_the_index_is_known(state, mode):
    path = part(state, "index.sqlite")
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA journal_mode={mode.split()[0]}")
    db.execute(f"PRAGMA synchronous={'OFF' if mode == 'delete' else 'FULL'}")
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE blocks SET block = replace(block, 'total_runs: 4', 'total_runs: 5')")
    db.execute("UPDATE runs SET error = 'x'")
    if mode == "wal":
        db.execute("COMMIT")
    beside = path.with_name(f"index.sqlite-{'wal' if mode == 'wal' else 'journal'}")
    assert what_is(beside.read_bytes()) == INDEX_LOG
    db.close()


def test_a_journal_is_known_in_every_form(state):
    segment = next(state.rglob("*.ndjson")).read_bytes()
    header, rest = segment_header(time.time()), line("run") + line("start")
    for data in (
        segment, header, rest, b"\n" + rest, b'{"v":1,"kind":"ru\n' + rest, segment.replace(b"\n", b"\r\n"),
        rest.replace(b'"v":1', b'"v":2'), segment[200:], line("checkpoint", checkpoint_id="x-1", items=[]),
        line("link", run_id="r", commit_hash="a" * 40, evidence="hook", linked_at="2026-01-01T00:00:00.000Z"),
        line("commit", commit_hash="a" * 40, tree="b" * 40), line("run", metrics={"x": ["y" * 50_000] * 4}),
    ):  # fmt: skip
        assert what_is(data) == JOURNAL, data[:80]
        assert what_is(gzip.compress(data)) == JOURNAL, data[:80]


def test_totals_are_known_whoever_wrote_or_formatted_them(state):
    ours = part(state, "telemetry.yaml").read_bytes()
    plain = ours.removeprefix(MARK.encode())
    empty = f"{MARK}version: 1\nupdated: null\nitems: {{}}\n".encode()
    for data in (
        ours, plain, empty, RYE_TOTALS, b"\xef\xbb\xbf" + ours, b"\xef\xbb\xbf" + empty, empty.replace(b"\n", b"\r\n"), ours.replace(b"\n", b"\r\n"), b"---\n" + plain,
        plain.replace(b"  ", b"    "), b"note: mine\n" + plain, plain[:-40], plain + b"<<<<<<< HEAD\n",
        plain.decode().encode("utf-16"), b"items:\n" + plain.partition(b"items:\n")[2] + b"version: 1\n",
        json.dumps({"version": 1, "items": {"x": {"total_runs": 1, "success_count": 1, "failure_count": 0, "last_run": None}}}).encode(),
    ):  # fmt: skip
        assert what_is(data) == TOTALS, data[:200]


def database(path, *statements):
    db = sqlite3.connect(path)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()
    return path.read_bytes()


def test_what_others_keep_under_such_names_is_let_pass(tmp_path):
    schema = "segments damage checkpoints items"
    tables = [f"CREATE TABLE {name} (id INTEGER)" for name in schema.split()]
    views = [f"CREATE VIEW {name} AS SELECT 1" for name in ("blocks", "runs")]
    source = ("CREATE TABLE t (text)", "INSERT INTO t VALUES ('CREATE TABLE checkpoints (checkpoint_id')")
    for name, data in {
        "an exporter's settings": b"version: 1\nitems: [a, b]\nreceivers: {otlp: {}}\n",
        "the same field names elsewhere": b"version: 1\nfields:\n  x: {total_runs: 1, success_count: 1, failure_count: 1, last_run: x}\n",
        "the same beside other items": b"version: 1\nitems: 3\nfields:\n  x: {total_runs: 1, success_count: 1, failure_count: 1, last_run: x}\n",
        "items without numbers": b"version: 1\nitems:\n  x: {title: total_runs, type: tool}\n",
        "one of our names": b"version: 1\nitems:\n  x: {total_runs: 1, colour: red}\n",
        "no version": RYE_TOTALS.partition(b"\n")[2],
        "a baked item": b"name: x\nversion: 1\nitems: []\ntelemetry:\n  total_runs: 3\n  success_count: 3\n  failure_count: 0\n  last_run: x\n",
        "a baked item in markdown": b"---\nname: x\ntelemetry:\n  total_runs: 3\n  success_count: 3\n  failure_count: 0\n---\nitems\n",
        "text that quotes us": b"Our file begins so:\n" + MARK.encode(),
        "a bomb": b"version: 1\nitems: {}\n# total_runs\n" + BOMB,
        "depth": b"version: 1\ntotal_runs: 1\nitems: " + b"[" * 100_000,
        "no database": b"SQLite format 3\0" + b"\xff" * 5000,
        "a short database": b"SQLite format 3\0",
        "a database whose first page is below itself": b"SQLite format 3\0\x02\0"
        + bytes(82)
        + b"\x05"
        + bytes(10)
        + b"\x01"
        + bytes(400),
        "their database": database(tmp_path / "a", *tables, *views),
        "a database that quotes us": database(tmp_path / "b", *source),
        "a log": b"\x37\x7f\x06\x82" + b"x" * 5000,
        "zeros": bytes(5000),
        "their lines": b'{"v":1,"kind":"run","id":4}\n{"v":1,"kind":"segment","duration":3}\n',
        "their commits": line("commit", commit_hash="a" * 40),
        "their lines, one of ours": b'{"a":1}\n' * 3 + line("run"),
        "not JSON": b"{nonsense\n" * 20,
        "deep JSON": b'{"v":' * 50_000,
        "gzip of nothing": gzip.compress(b""),
        "no gzip": b"\x1f\x8b" + b"x" * 100,
        "nothing": b"",
        "blank": b"\n\n\n",
        "bytes": bytes(range(256)) * 100,
    }.items():
        assert what_is(data) is None, name


def test_what_grows_when_unpacked_is_unpacked_no_further_than_it_is_looked_at():
    bomb = gzip.compress(b"\n" * 100_000_000, compresslevel=1)
    began = time.monotonic()
    tracemalloc.start()
    for data in (bomb, b"version: 1\nitems: {}\n# total_runs\n" + BOMB * 200):
        assert what_is(data[:HEAD_BYTES]) is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * HEAD_BYTES
    assert time.monotonic() - began < 5


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x1f\x8b", b"SQLite format 3\0\x02\x00", b'{"v":1,', b"items: total_runs: "]),
)
def test_any_bytes_are_let_pass_and_break_nothing(data, head):
    assert what_is(head + data) is None


def test_a_damaged_database_breaks_nothing(state, tmp_path):
    whole = bytearray(part(state, "index.sqlite").read_bytes()[:20_000])
    for at in range(16, 4200, 7):
        for value in (0, 255):
            what_is(bytes(whole[:at]) + bytes([value]) * 3 + bytes(whole[at + 3 :]))
    plain = tmp_path / "plain"
    whole = database(plain, *(f"CREATE TABLE t{n} (id INTEGER)" for n in range(40)))
    for at in range(0, len(whole), 61):
        what_is(whole[:at])


def test_files_are_judged_by_content_whatever_their_name(cli, state, tmp_path):
    shutil.copy(part(state, "index.sqlite"), tmp_path / "notes.txt")
    (tmp_path / "telemetry.yaml").write_text("receivers: {}\n")
    (tmp_path / "empty.ndjson").touch()
    os.symlink(part(state, "telemetry.yaml"), tmp_path / "link.yaml")  # git keeps the link, not what it names
    os.mkfifo(tmp_path / "a.sqlite")
    names = ["notes.txt", "telemetry.yaml", "empty.ndjson", "link.yaml", "a.sqlite", "state"]
    done = cli("guard", *names, code=1, cwd=tmp_path)
    assert done.stdout == ""
    [told] = done.stderr.splitlines()
    assert told.startswith("rye-telemetry: notes.txt is the index of a telemetry store")
    assert "git rm --cached notes.txt" in told
    assert ".gitignore" in told
    assert cli("guard", *names[1:], cwd=tmp_path).stderr == ""


def test_the_json_of_guard_is_stable(cli, state):
    paths = [str(part(state, name)) for name in ("telemetry.yaml", "index.sqlite", "*.ndjson")]
    done = cli("guard", "--json", *paths, code=1)
    kinds = [TOTALS, INDEX, JOURNAL]
    assert json.loads(done.stdout) == [{"file": p, "kind": k} for p, k in zip(paths, kinds, strict=True)]
    assert json.loads(cli("guard", "--json", os.devnull).stdout) == []


def test_a_name_cannot_forge_a_line_and_can_be_pasted(cli, state, tmp_path):
    for name in ("-x\ny.ndjson", "it's $(here).ndjson"):
        shutil.copy(part(state, "*.ndjson"), tmp_path / name)
        [told] = cli("guard", "--", name, code=1, cwd=tmp_path).stderr.splitlines()
        assert "git rm --cached" in told
    assert shlex.quote(name) in told
    assert " -- " in cli("guard", "--", "-x\ny.ndjson", code=1, cwd=tmp_path).stderr


def test_what_cannot_be_meant_or_read_is_told(cli, repo):
    assert "--staged" in cli("guard", code=2).stderr
    assert "--staged" in cli("guard", "--staged", "x", code=2).stderr
    assert "cannot be read" in cli("guard", "nowhere", code=1).stderr
    assert "repository" in cli("guard", "--staged", code=1).stderr  # in the home


def test_the_index_is_judged_and_not_the_work_tree(cli, repo, state):
    assert cli("guard", "--staged", cwd=repo).stderr == ""  # no commit, nothing staged
    totals = part(state, "telemetry.yaml")
    commit_file(repo, "telemetry.yaml", "receivers: {}\n")
    shutil.copy(totals, repo / "telemetry.yaml")
    assert cli("guard", "--staged", cwd=repo).stderr == ""
    git(repo, "add", ".")
    (repo / "telemetry.yaml").write_text("receivers: {}\n")
    assert "telemetry.yaml is the published totals" in cli("guard", "--staged", cwd=repo, code=1).stderr
    git(repo, "add", ".")
    assert cli("guard", "--staged", cwd=repo).stderr == ""
    commit_file(repo, "telemetry.yml", totals.read_bytes())  # somebody did: taking it out again is no new sin
    git(repo, "mv", "telemetry.yml", "a.ndjson.gz")  # the new name is
    assert "a.ndjson.gz" in cli("guard", "--staged", cwd=repo, code=1).stderr
    git(repo, "rm", "-q", "--cached", "a.ndjson.gz")
    assert cli("guard", "--staged", cwd=repo).stderr == ""


def test_every_kind_is_found_in_the_index_at_once(cli, repo, state):
    git(repo, "add", "--intent-to-add", ".")
    for number in range(70):  # more than one look
        (repo / f"{number}.ndjson").write_bytes(line("run"))
    (repo / "sub dir").mkdir()
    (repo / "sub dir" / "large.ndjson").write_bytes(line("run") * 10_000)
    (repo / "sub dir" / "theirs.ndjson").write_bytes(b'{"a":1}\n' * 200_000)
    (repo / "copy.sqlite3").write_bytes(part(state, "index.sqlite").read_bytes())
    (repo / "new\nline.ndjson.gz").write_bytes(gzip.compress(line("run")))
    (repo / "new.txt").write_bytes(line("run"))  # not under such a name: the hook does not look
    os.symlink("0.ndjson", repo / "link.ndjson")
    git(repo, "add", ".")
    found = {
        kept["file"]: kept["kind"] for kept in json.loads(cli("guard", "--staged", "--json", cwd=repo, code=1).stdout)
    }
    expected = {f"{n}.ndjson": JOURNAL for n in range(70)}
    expected |= {"sub dir/large.ndjson": JOURNAL, "new\nline.ndjson.gz": JOURNAL, "copy.sqlite3": INDEX}
    assert found == expected
    git(repo, "rm", "-rq", "--cached", "--force", ".")
    git(repo, "add", "sub dir/large.ndjson")
    [kept] = json.loads(cli("guard", "--staged", "--json", cwd=repo / "sub dir", code=1).stdout)
    git(repo / "sub dir", "rm", "-q", "--cached", kept["file"])  # what is told can be typed where it was told
    assert cli("guard", "--staged", cwd=repo).stderr == ""


def test_the_index_of_a_commit_of_named_files_is_the_one_judged(repo, state):
    """`git commit -a` and `git commit -- FILE` hand their hook an index of their own."""
    commit_file(repo, "telemetry.yaml", "receivers: {}\n")
    hook = repo / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexec rye-telemetry guard --staged\n")
    hook.chmod(0o755)
    path = os.pathsep.join([str(SCRIPT.parent), os.environ["PATH"]])
    shutil.copy(part(state, "telemetry.yaml"), repo / "telemetry.yaml")
    for how in (["-a"], ["--", "telemetry.yaml"]):
        git(repo, "commit", "-q", "-m", "two", *how, code=1, PATH=path)
    (repo / "fine").write_text("x")
    git(repo, "add", "fine")
    git(repo, "commit", "-q", "-m", "two", PATH=path)
    assert said(repo, "status", "--porcelain") == " M telemetry.yaml"


def test_looking_leaves_everything_as_it_was_and_needs_no_store(cli, repo, state, home):
    shutil.copy(part(state, "telemetry.yaml"), repo / "telemetry.yaml")
    git(repo, "add", ".")
    before = {path: path.stat().st_mtime_ns for path in [*home.rglob("*"), *repo.rglob("*")]}
    cli("guard", "--staged", cwd=repo, code=1)
    cli("guard", "telemetry.yaml", cwd=repo, code=1)
    assert {path: path.stat().st_mtime_ns for path in [*home.rglob("*"), *repo.rglob("*")]} == before
