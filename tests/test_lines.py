from __future__ import annotations

import contextlib
import json
import math
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import line, make_run

from rye_telemetry.errors import StateTooNew
from rye_telemetry.lines import (
    MAX_LINE_BYTES,
    decode_json,
    decode_line,
    encode_json,
    encode_line,
    instant_text,
    new_run_id,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
def test_json_comes_back_as_it_went_and_as_the_json_package_reads_it(value):
    text = encode_json(value)
    assert decode_json(text) == value
    assert json.loads(text) == value
    assert "\n" not in text


@given(st.text(st.characters(), max_size=20))
def test_text_with_lone_surrogates_is_still_utf8_json(text):
    coded = encode_json({"a": text}).encode()
    assert json.loads(coded) == {"a": text}


@pytest.mark.parametrize(
    "text", ["", " ", "{", "nul", "NaN", "Infinity", "-Infinity", "[1,]", "{} {}", "'a'", "\x00", "01", "[" * 100_000]
)
def test_what_is_not_one_json_text_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        decode_json(text)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_has_no_word_for_nan(value):
    with pytest.raises(ValueError, match=r"."):
        encode_json({"a": value})


def test_a_line_comes_back_without_its_absent_fields():
    run = make_run(agent="a", error=None)
    raw = encode_line("run", {**run, "workflow": None})
    assert raw.endswith(b"\n")
    assert raw.count(b"\n") == 1
    assert decode_line(raw) == {"v": 1, "kind": "run", **run}


def raw_run(**changes):
    fields = {"v": 1, "kind": "run", **make_run()} | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"garbage",
        b"\xff\xfe",
        b"\x00" * 100,
        b"[]",
        b"5",
        b"{}",
        b'{"v":1}',
        b'{"v":"1","kind":"run"}',
        b'{"v":1,"kind":"bogus"}',
        b'{"v":1,"kind":["run"]}',
        b'{"v":1,"kind":"start"}',
        b'{"v":1,"kind":"abandoned"}',
        b'{"v":1,"kind":"abandoned","run_id":"a","ended_at":5}',
        b'{"v":1,"kind":"run","a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        raw_run(run_id=...),
        raw_run(run_id=5),
        raw_run(item_id=None),
        raw_run(item_id=["x"]),
        raw_run(item_type="bogus"),
        raw_run(item_type=["tool"]),
        raw_run(outcome="running"),
        raw_run(outcome=["success"]),
        raw_run(started_at=5),
        raw_run(started_at="yesterday"),
        raw_run(ended_at="zzzz"),
        raw_run(ended_at="2026-11-20T12:00:00"),
        raw_run(ended_at="2026-11-20 12:00:00.123Z"),
        raw_run(ended_at="9" * 23 + "Z"),
        raw_run(duration_ms="5"),
        raw_run(duration_ms=True),
        raw_run(duration_ms=-1),
        raw_run(duration_ms=1e14),
        raw_run(duration_ms=10**400),
        raw_run(duration_ms=math.nan),
        raw_run(duration_ms=...)[:-1] + b',"duration_ms":1e999}',
        raw_run(duration_ms=...)[:-1] + b',"duration_ms":' + b"9" * 5000 + b"}",
        raw_run(http_calls=1.5),
        raw_run(http_calls=-1),
        raw_run(subprocess_calls=2**53),
        raw_run(subprocess_calls="1"),
        raw_run(pad="x" * MAX_LINE_BYTES),
    ],
)
def test_a_line_that_is_not_ours_is_a_value_error(raw):
    with pytest.raises(ValueError, match=r"."):
        decode_line(raw)


def test_a_line_of_a_newer_version_is_refused_with_what_to_do():
    with pytest.raises(StateTooNew, match=r"version 2.*upgrade rye-telemetry"):
        decode_line(line().replace(b'"v":1', b'"v":2'))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_line_or_a_value_error(raw):
    with contextlib.suppress(ValueError, StateTooNew):
        decode_line(raw)


@pytest.mark.parametrize(
    ("at_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_176_000_123_999_999, "2026-11-20T12:00:00.123Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_an_instant_is_utc_with_milliseconds(at_ns, text):
    assert instant_text(at_ns) == text


def test_a_run_id_is_a_uuid_of_version_7_that_holds_its_instant():
    now = time.time_ns()
    made = uuid.UUID(new_run_id(now))
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == now // 1_000_000


def test_run_ids_order_by_time_within_a_millisecond():
    made = [new_run_id(1_800_000_000_000_000_000 + 300 * n) for n in range(1000)]
    assert made == sorted(made)
    assert len(set(made)) == 1000
