"""Items of every shape, each a real file below data/bake/items with its reason in data/bake/reasons.json."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bake_readers import (
    EXTRAS,
    FIELDS,
    LATER,
    SIGNATURE,
    assert_readers_agree,
    assert_same_fields,
    inserted,
)

from rye_telemetry.bake import bake_bytes, read_bytes, strip_bytes
from rye_telemetry.errors import BakeRefused

HERE = Path(__file__).parent / "data" / "bake"
ITEMS = HERE / "items"
REASONS = json.loads((HERE / "reasons.json").read_bytes())


def below(*folders):
    return [path for path in sorted(REASONS) if path.startswith(folders)]


REFUSED, PERHAPS, BAKED = below("refused/"), below("may/"), below("baked/")
TAKEN = [path for path in sorted(REASONS) if not path.startswith(("refused/", "may/", "baked/"))]
KNOWN = [path for path in TAKEN if (ITEMS / f"{path}.baked").exists()]


def fields_of(path):
    """The six, and in every third item the extras as well."""
    return FIELDS | EXTRAS if path not in KNOWN and sorted(REASONS).index(path) % 3 == 0 else FIELDS


def codes_of(path):
    return path.split("/")[1].split("+")


def content(path):
    return (ITEMS / path).read_bytes()


def first_lines(data):
    return data.split(b"\n")[:2]


def each(paths):
    return pytest.mark.parametrize("path", paths)


def assert_lawful(path, old, fields):
    """All laws for an item without a block: the readers of its type included."""
    new = bake_bytes(old, path, fields).data
    block = inserted(old, new)
    assert_same_fields(read_bytes(new, path), fields)
    assert_block_is_plain(block)
    again = bake_bytes(new, path, fields)
    assert (again.data, again.changed) == (new, False)
    assert strip_bytes(new, path).data == old
    assert_readers_agree(path, old, new, fields)
    later = bake_bytes(new, path, LATER).data
    assert later == bake_bytes(old, path, LATER).data, "the same as a first bake with these numbers"
    assert_same_fields(read_bytes(later, path), LATER)
    assert strip_bytes(later, path).data == old


def assert_block_is_plain(block):
    assert block.isascii()
    lines = block.replace(b"\r\n", b"\n").split(b"\n")
    fences = [line for line in lines if line in (b"---", b"```yaml", b"```")]
    assert len(fences) in {0, 2}, "one header at most"
    for never in (b"---", b"-->", b"*/", b"`", b"\r"):
        assert not any(never in line for line in lines if line not in fences)
    assert len(set(re.findall(rb"\r?\n", block))) <= 1, "one line ending"


def test_every_file_has_a_reason_and_every_reason_a_file():
    files = {path.relative_to(ITEMS).as_posix() for path in ITEMS.rglob("*") if path.is_file()}
    files = {path for path in files if path != ".gitattributes" and not path.endswith(".baked")}
    assert files == set(REASONS)
    assert all(REASONS.values())
    assert len(REASONS) >= 160
    assert len(KNOWN) >= 20


def test_line_ends_and_marks_survived_the_checkout():
    assert b"\r\n" in content("yaml/tool_crlf.yaml")
    assert content("agents/bom_crlf.md").startswith(b"\xef\xbb\xbf")
    assert content("code/no_newline.sh") == b"echo hi"


@each(TAKEN)
def test_an_item_is_baked_lawfully(path):
    assert read_bytes(content(path), path) is None
    assert_lawful(path, content(path), fields_of(path))


@each(KNOWN)
def test_an_item_is_baked_as_written_beside_it(path):
    assert bake_bytes(content(path), path, FIELDS).data == content(f"{path}.baked")


@each(TAKEN)
def test_an_item_without_a_block_is_stripped_of_nothing(path):
    stripped = strip_bytes(content(path), path)
    assert (stripped.data, stripped.changed) == (content(path), False)


@each([path for path in TAKEN if any(map(SIGNATURE.search, first_lines(content(path))))])
def test_a_signature_stays_on_its_line(path):
    old, new = first_lines(content(path)), first_lines(bake_bytes(content(path), path, FIELDS).data)
    signed = [at for at, line in enumerate(old) if SIGNATURE.search(line)]
    assert [new[at] for at in signed] == [old[at] for at in signed]


@each(REFUSED)
def test_an_item_is_refused_with_the_code_of_its_folder(path):
    with pytest.raises(BakeRefused) as refused:
        bake_bytes(content(path), path, fields_of(path))
    assert refused.value.code in codes_of(path)
    assert str(refused.value)


@each(REFUSED)
def test_a_refused_item_is_never_stripped_of_what_is_not_ours(path):
    try:
        stripped = strip_bytes(content(path), path)
    except BakeRefused:
        return
    assert (stripped.data, stripped.changed) == (content(path), False)


@each(PERHAPS)
def test_an_item_on_the_edge_is_baked_lawfully_or_refused(path):
    old, refused = content(path), refusal(path)
    if refused is not None:
        assert refused in codes_of(path)
    elif read_bytes(old, path) is None:
        assert_lawful(path, old, FIELDS)
    else:
        assert_baked_lawfully(path, old)


def refusal(path):
    try:
        bake_bytes(content(path), path, FIELDS)
    except BakeRefused as refused:
        return refused.code
    return None


@each(BAKED)
def test_the_same_numbers_change_nothing_whatever_their_style(path):
    found = read_bytes(content(path), path)
    assert found is not None
    again = bake_bytes(content(path), path, found)
    assert (again.data, again.changed) == (content(path), False)
    assert_same_fields({name: found[name] for name in FIELDS}, FIELDS)


@each(BAKED)
def test_other_numbers_change_the_block_and_nothing_else(path):
    assert_baked_lawfully(path, content(path))


def assert_baked_lawfully(path, old):
    """All laws for an item that has a block: what surrounds it stays, with other numbers and without any."""
    new, bare = bake_bytes(old, path, LATER).data, strip_bytes(old, path).data
    assert_same_fields(read_bytes(new, path), LATER)
    again = bake_bytes(new, path, LATER)
    assert (again.data, again.changed) == (new, False)
    assert read_bytes(bare, path) is None
    assert strip_bytes(bare, path).data == bare
    assert strip_bytes(new, path).data == bare
    inserted(bare, old)
    inserted(bare, new)
