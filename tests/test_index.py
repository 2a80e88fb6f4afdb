from __future__ import annotations

import os
import random
import sqlite3
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import line, make_run, make_start

from rye_telemetry import queries
from rye_telemetry.errors import IndexUnusable
from rye_telemetry.index import Index
from rye_telemetry.lines import encode_line
from rye_telemetry.schema import FORMAT


@pytest.fixture
def index():
    made = Index.create(":memory:")
    yield made
    made.close()


def applied(*chunks):
    """Return what an index says after these chunks of whole lines, each in a transaction of its own."""
    index = Index.create(":memory:")
    offset = 0
    for chunk in chunks:
        index.begin()
        index.apply("s", offset, chunk)
        index.commit()
        offset += len(chunk)
    found = (
        queries.read_items(index),
        queries.read_runs(index, since=None, until=None, limit=999),
        queries.read_damage(index),
        list(index.blocks()),
    )
    index.close()
    return found


def test_a_line_applied_twice_counts_once():
    run, start = line(run_id="r"), line("start", run_id="r")
    assert applied(start, run)[0] == applied(start + run + run + start, run, start)[0]


def test_an_end_without_a_start_is_complete():
    items, (run,), _, _ = applied(line(run_id="r", agent="a"))
    assert items["x"]["total_runs"] == 1
    assert run["agent"] == "a"


def test_a_start_that_was_read_together_with_its_end_leaves_the_same_as_one_read_apart():
    lines = [
        line("start", run_id="r", item_type="tool"),
        line(run_id="other", item_type="directive"),
        line(run_id="r", item_type="tool"),
    ]
    together, apart = applied(b"".join(lines)), applied(*lines)
    assert together == apart
    assert together[0]["x"]["type"] == "tool"  # its start came first


def test_a_start_whose_end_cannot_be_read_is_still_open():
    bad = line(run_id="r").replace(b'"duration_ms":5', b'"exit_code":99999999999999999999')
    items, runs, damage, _ = applied(line("start", run_id="r") + bad)
    assert items["x"]["running"] == len(runs) == len(damage) == 1


def test_a_checkpoint_counts_once():
    entry = {"item_type": "tool", "item_id": "x", "state": {"counts": {"success": 3}, "http_calls": 2}}
    checkpoint = encode_line("checkpoint", {"checkpoint_id": "c", "items": [entry]})
    items, *_ = applied(checkpoint, checkpoint + line())
    assert (items["x"]["total_runs"], items["x"]["http_calls"]) == (4, 2)


def test_damage_is_named_by_its_place():
    good = line()
    *_, damage, _ = applied(good + b"bad\n\n" + good + b"\xff\n")
    assert [(place, size) for _, place, size, _ in damage] == [(len(good), 3), (2 * len(good) + 5, 1)]


lines_of_all_kinds = st.lists(
    st.sampled_from(
        [
            *(
                line("start", run_id=f"r{n}", item_id=f"i{n % 2}", item_type=t)
                for n in range(4)
                for t in ("tool", "directive")
            ),
            *(
                line(run_id=f"r{n}", item_id=f"i{n % 2}", outcome=o, item_type="tool")
                for n in range(4)
                for o in ("success", "failure")
            ),
            *(encode_line("abandoned", {"run_id": f"r{n}", "ended_at": "2027-01-15T08:00:01.000Z"}) for n in range(4)),
            b"damage\n",
        ]
    ),
    max_size=14,
)


@settings(max_examples=150, deadline=None)
@given(lines_of_all_kinds, st.integers(0, 2**14))
def test_lines_give_the_same_in_whatever_chunks_they_are_read(lines, cuts):
    chunks, current = [], b""
    for n, raw in enumerate(lines):
        current += raw
        if cuts >> n & 1:
            chunks.append(current)
            current = b""
    assert applied(*chunks, current) == applied(b"".join(lines)) == applied(*lines)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from([line()[:-1], line("start")[:-1], line()[:70], b'{"v":1,"kind":"start","run_id":"']),
        max_size=8,
    )
)
def test_any_bytes_are_applied_or_named(parts):
    data = b"\n".join(parts) + b"\n"
    items, _, damage, _ = applied(data)
    assert len(damage) >= sum(1 for part in parts if part == line()[:70])
    assert set(items) <= {"x"}


def test_an_index_file_is_private_and_has_our_format(tmp_path):
    path = str(tmp_path / "index.sqlite")
    before = os.umask(0)
    Index.create(path).close()
    os.umask(0o777)
    Index.create(path + "2").close()
    os.umask(before)
    for name in (path, path + "2"):
        assert stat.S_IMODE(os.stat(name).st_mode) == 0o600
        index = Index.open(name)
        assert index.db.execute("PRAGMA user_version").fetchone() == (FORMAT,)
        index.close()


def test_an_index_that_is_no_index_is_unusable(tmp_path):
    path = tmp_path / "index.sqlite"
    with pytest.raises(IndexUnusable, match="missing"):
        Index.open(str(path))
    for data in (b"", b"tool: [", os.urandom(8192), b"\x00" * 8192):
        path.write_bytes(data)
        with pytest.raises(IndexUnusable):
            Index.open(str(path))
    path.unlink()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version={FORMAT + 1}")
    db.close()
    with pytest.raises(IndexUnusable, match="another format"):
        Index.open(str(path))


def test_a_copy_in_memory_answers_alike(index, tmp_path):
    index.begin()
    index.apply("s", 0, line() + line("start"))
    index.commit()
    copy = index.copy_to_memory()
    assert queries.read_items(copy) == queries.read_items(index)
    copy.close()


def test_the_schema_is_what_runs_need(index):
    index.begin()
    index.apply("s", 0, line("start", **make_start(inputs={"a": 1}, process={"pid": 1})) + line(**make_run(invented=1)))
    index.commit()
    columns = [row[1] for row in index.db.execute("PRAGMA table_info(runs)")]
    assert {"process", "extra", "inputs", "duration_ms"} <= set(columns)


def test_questions_of_ten_thousand_runs_use_an_index(tmp_path):
    index = Index.create(str(tmp_path / "index.sqlite"))
    index.add_lookups()
    plan = index.db.execute(
        "EXPLAIN QUERY PLAN SELECT * FROM runs ORDER BY started_at DESC, run_id DESC LIMIT 20"
    ).fetchall()
    assert any("USING INDEX runs_by_start" in row[3] for row in plan)
    plan = index.db.execute(
        "EXPLAIN QUERY PLAN SELECT item, count(*) FROM runs WHERE outcome='running' GROUP BY item"
    ).fetchall()
    assert any("runs_open" in row[3] for row in plan)
    index.close()


def test_random_bytes_in_the_middle_of_a_line_never_stop_the_rest():
    rng = random.Random(3)
    for _ in range(150):
        spoiled = bytearray(line(run_id="bad", item_id="x", path="/p", error="e"))
        for _ in range(rng.randint(1, 4)):
            spoiled[rng.randrange(len(spoiled) - 1)] = rng.randrange(256)
        items, *_ = applied(line(run_id="a") + bytes(spoiled) + line(run_id="b"))
        assert items["x"]["total_runs"] >= 2
