from __future__ import annotations

import math

import pytest

from rye_telemetry.errors import InvalidRecord, RyeTelemetryError
from rye_telemetry.model import (
    ENDED,
    MAX_DURATION_MS,
    check_count,
    check_item_id,
    check_item_type,
    check_outcome,
    clean_text,
    usable_duration,
)


@pytest.mark.parametrize(
    "item_id",
    [
        "",
        "\n",
        "a\nb",
        "\t",
        "\x00",
        "\x7f",
        "\x85",
        "\x9f",
        "\u2028",
        "\u2029",
        "\ufeff",
        "\uffff",
        "\ud800",
        "a\udcff",
        "x" * 513,
        None,
        5,
        b"x",
    ],
)
def test_an_id_that_no_yaml_reader_gives_back_is_refused(item_id):
    with pytest.raises(InvalidRecord):
        check_item_id(item_id)


def test_a_refused_id_is_a_value_error_and_one_of_ours_and_says_what_to_do():
    with pytest.raises(ValueError, match="remove it") as caught:
        check_item_id("a\nb")
    assert isinstance(caught.value, RyeTelemetryError)
    assert "U+000A at 1" in str(caught.value)


@pytest.mark.parametrize("item_id", ["x" * 512, "🐙", "a/b@1.2", " ", "null", "\u200d", "\u00a0"])
def test_every_other_id_is_kept_as_it_is(item_id):
    assert check_item_id(item_id) == item_id


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("failed", "failure"),
        ("error", "failure"),
        ("completed", "success"),
        ("succeeded", "success"),
        ("canceled", "cancelled"),
    ]
    + [(outcome, outcome) for outcome in ENDED],
)
def test_an_outcome_has_one_name(said, meant):
    assert check_outcome(said) == meant


@pytest.mark.parametrize("outcome", ["running", "Success", "", "ok", None, 0, [], {}])
def test_an_unknown_outcome_is_refused(outcome):
    with pytest.raises(InvalidRecord, match="use one of success"):
        check_outcome(outcome)


@pytest.mark.parametrize("item_type", ["tools", "", None, 1, []])
def test_an_unknown_type_is_refused(item_type):
    with pytest.raises(InvalidRecord, match="directive, tool, knowledge"):
        check_item_type(item_type)


@pytest.mark.parametrize("count", [-1, 1.0, True, "1", None, 2**53, math.nan])
def test_a_count_is_a_whole_number_from_zero(count):
    with pytest.raises(InvalidRecord, match="http_calls"):
        check_count("http_calls", count)


@pytest.mark.parametrize(
    ("given", "kept"),
    [(0, 0), (1.23456, 1.235), (7, 7), (MAX_DURATION_MS, MAX_DURATION_MS)]
    + [(bad, None) for bad in (math.nan, math.inf, -math.inf, -0.001, 1e300, 10**400, -(10**400))],
)
def test_a_duration_that_cannot_be_averaged_is_none(given, kept):
    assert usable_duration(given) == kept


@pytest.mark.parametrize("given", ["5", None, True, [], 1j])
def test_a_duration_of_another_type_is_refused(given):
    with pytest.raises(InvalidRecord, match="duration_ms"):
        usable_duration(given)


def test_text_is_cut_with_what_was_cut_said():
    assert clean_text("x" * 2000) == "x" * 2000
    assert clean_text("x" * 2003) == "x" * 2000 + "… (3 more characters)"


def test_text_that_is_not_utf8_is_escaped():
    assert clean_text("a\udcffé") == "a\\udcffé"
