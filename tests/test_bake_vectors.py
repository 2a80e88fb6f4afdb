"""The published vectors, one test each; they may grow, never change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rye_telemetry.bake import bake_bytes, read_bytes, strip_bytes
from rye_telemetry.errors import BakeRefused

PUBLISHED = json.loads((Path(__file__).parent / "data" / "bake" / "vectors.json").read_bytes())
FIELDS = PUBLISHED["fields"]
VECTORS = PUBLISHED["vectors"]


def each(vectors):
    return pytest.mark.parametrize("vector", vectors, ids=[vector["id"] for vector in vectors])


# Their inputs have a block of ours already: it is replaced, or left as it is.
BAKED_BEFORE = {"V43", "V44", "V45", "V46", "V47", "V48", "V80"}


@each([vector for vector in VECTORS if "output" in vector])
def test_a_vector_is_baked_as_published(vector):
    data = vector["input"].encode()
    baked = bake_bytes(data, vector["file"], FIELDS)
    assert baked.data == vector["output"].encode(), vector["note"]
    assert baked.changed is (baked.data != data)


@each([vector for vector in VECTORS if "refuse" in vector])
def test_a_vector_is_refused_with_a_published_code(vector):
    with pytest.raises(BakeRefused) as refused:
        bake_bytes(vector["input"].encode(), vector["file"], FIELDS)
    assert refused.value.code in vector["refuse"], vector["note"]


@each([vector for vector in VECTORS if "output" in vector])
def test_a_published_output_bakes_again_to_itself_and_reads_as_the_fields(vector):
    output = vector["output"].encode()
    again = bake_bytes(output, vector["file"], FIELDS)
    assert (again.data, again.changed) == (output, False)
    assert read_bytes(output, vector["file"]) == FIELDS


@each([vector for vector in VECTORS if "output" in vector and vector["id"] not in BAKED_BEFORE])
def test_a_published_output_that_inserts_strips_back_to_its_input(vector):
    stripped = strip_bytes(vector["output"].encode(), vector["file"])
    assert stripped.data == vector["input"].encode()
    assert stripped.changed
    assert read_bytes(stripped.data, vector["file"]) is None


def test_an_invalid_header_is_baked_with_a_warning():
    by_id = {vector["id"]: vector for vector in VECTORS}
    for number in ("V30", "V31"):
        assert bake_bytes(by_id[number]["input"].encode(), "a.md", FIELDS).warnings
    assert not bake_bytes(by_id["V01"]["input"].encode(), "a.md", FIELDS).warnings


def test_only_the_last_part_of_a_path_counts():
    vector = next(vector for vector in VECTORS if vector["file"] == "SKILL.md")
    for path in (".ai/skills/x/SKILL.md", "/tmp/a.py/SKILL.md", "a.json/SKILL.md"):
        assert bake_bytes(vector["input"].encode(), path, FIELDS).data == vector["output"].encode()
