from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import HOSTILE_IDS, by_every_yaml_reader

from rye_telemetry import snapshot
from rye_telemetry.errors import InvalidRecord
from rye_telemetry.model import check_item_id

printable = st.characters(exclude_categories=["Cs"])


def read_back(*blocks):
    text = f"version: 1\nitems:\n{''.join(blocks)}"
    return {name: document["items"] for name, document in by_every_yaml_reader(text)}


@pytest.mark.parametrize("item_id", HOSTILE_IDS)
def test_an_id_comes_back_from_every_yaml_reader(item_id):
    block = snapshot.render_item(check_item_id(item_id), {"type": "tool", "paths": [item_id], "last_error": item_id})
    for name, items in read_back(block).items():
        assert items == {item_id: {"type": "tool", "paths": [item_id], "last_error": item_id}}, name
        assert type(next(iter(items))) is str or next(iter(items)).__class__.__mro__[1] is str


def test_all_ids_come_back_from_one_file():
    blocks = [snapshot.render_item(item_id, {"type": "tool"}) for item_id in dict.fromkeys(HOSTILE_IDS)]
    for name, items in read_back(*blocks).items():
        assert list(items) == list(dict.fromkeys(HOSTILE_IDS)), name


@given(st.text(printable, min_size=1, max_size=20))
def test_any_id_comes_back_or_is_refused(item_id):
    try:
        check_item_id(item_id)
    except InvalidRecord:
        return
    for name, items in read_back(snapshot.render_item(item_id, {"type": "tool"})).items():
        assert items == {item_id: {"type": "tool"}}, name


@given(
    st.text(
        printable | st.sampled_from("\x00\x07\t\n\r\x1b\x7f\x80\x85\x9f\u2028\u2029\ufeff\ufffe\uffff\"'\\: #"),
        max_size=20,
    )
)
def test_any_text_comes_back_as_a_value(text):
    for name, items in read_back(snapshot.render_item("x", {"last_error": text, "paths": [text]})).items():
        assert items == {"x": {"last_error": text, "paths": [text]}}, name


@given(st.none() | st.integers(-(2**53), 2**53) | st.integers(0, 10**16).map(lambda n: round(n / 1000, 3)))
def test_a_number_comes_back_as_the_number_it_was(number):
    for name, items in read_back(snapshot.render_item("x", {"number": number})).items():
        assert items["x"]["number"] == number, name
        assert isinstance(items["x"]["number"], type(number)), name


def test_text_that_is_not_utf8_is_escaped_and_the_file_is_utf8():
    block = snapshot.render_item("x", {"paths": ["/a\udcff"]})
    for items in read_back(block).values():
        assert items["x"]["paths"] == ["/a\\udcff"]


def test_a_snapshot_without_items_is_a_mapping_still(tmp_path):
    path = str(tmp_path / "telemetry.yaml")
    snapshot.write_snapshot(path, [], updated=None)
    for name, document in by_every_yaml_reader((tmp_path / "telemetry.yaml").read_text()):
        assert document == {"version": 1, "updated": None, "items": {}}, name
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_what_we_wrote_is_known_from_what_others_wrote(tmp_path):
    path = tmp_path / "telemetry.yaml"
    assert snapshot.is_ours(str(path))
    snapshot.write_snapshot(str(path), [], updated=None)
    assert snapshot.is_ours(str(path))
    for text in ("", "version: 1\n", "# Written by"):
        path.write_text(text)
        assert not snapshot.is_ours(str(path))
