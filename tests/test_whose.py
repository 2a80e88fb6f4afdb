"""Which recorded item a file is."""

from __future__ import annotations

import pytest

from rye_telemetry.errors import BakeRefused
from rye_telemetry.publish.numbers import Numbers, Scope
from rye_telemetry.publish.whose import own_ids, place_of, whose


@pytest.fixture
def owner(store, tmp_path):
    """Say whose a file of the project is, after some items were recorded."""

    def find(below, data=b"", recorded=()):
        for item_type, item_id, path in recorded:
            store.record_execution(item_id, item_type, "success", 1, path=None if path is None else tmp_path / path)
        path = tmp_path / below
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return whose(str(path), data, Numbers(store, Scope()))

    return find


def test_the_recorded_path_wins(owner):
    recorded = [("tool", "odd name", ".ai/tools/x.py"), ("tool", "x", ".ai/tools/deep/x.py")]
    assert owner(".ai/tools/x.py", recorded=recorded) == ("tool", "odd name")


def test_a_path_through_a_link_is_the_same_path(owner, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to("real")
    assert owner("linked/.ai/tools/x.py", recorded=[("tool", "x", "real/.ai/tools/x.py")]) == ("tool", "x")


@pytest.mark.parametrize("item_id", ["deep/er/x", "er/x", "x", "deep/er/x.py", "x.py"])
def test_a_place_below_the_items_gives_the_id_with_and_without_folders(owner, item_id):
    assert owner(".ai/tools/deep/er/x.py", recorded=[("tool", item_id, None)]) == ("tool", item_id)


def test_the_folder_gives_the_type(owner):
    recorded = [("tool", "x", None), ("directive", "x", None)]
    assert owner(".ai/directives/x.md", recorded=recorded) == ("directive", "x")
    assert owner(".ai/knowledge/x.md") is None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.md", b"---\nname: own\n---\n"),
        ("a.md", b"<!-- rye:signed:T:H:S:K -->\n```yaml\nid: own\ntitle: t\n```\n"),
        ("a.md", b"# T\n\n```xml\n<directive version='1' name=\"own\">\n</directive>\n```\n"),
        ("a.yaml", b"name: own\n"),
        ("a.json", b'{"id": "own"}'),
        ("a.py", b'__tool_id__ = "own"\n'),
        ("a.py", b"__tool_id__: str = 'own'\n"),
    ],
)
def test_a_file_s_own_metadata_gives_the_id(owner, name, data):
    assert own_ids(data, name) == ["own"]
    assert owner(f".ai/tools/{name}", data, recorded=[("tool", "own", None)]) == ("tool", "own")
    assert owner(f"elsewhere/{name}", data) == ("tool", "own")


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.md", b"---\na: [\n---\n"), ("a.md", b"---\non: 1\n---\n"), ("a.yaml", b"- a\n"), ("a.yaml", b"a: b: c"), ("a.json", b"{"),
     ("a.json", b"[" * 100_000), ("a.md", b"\xff"), ("a.yaml", b"d: 2024-99-99\n"), ("a.md", b"---\nname: [x]\n---\n"), ("a.txt", b"name: x")],
)  # fmt: skip
def test_metadata_that_cannot_be_read_gives_none(name, data):
    assert own_ids(data, name) == []


def test_several_items_are_named_and_none_is_chosen(owner):
    recorded = [("tool", "x", None), ("tool", "deep/x", None)]
    with pytest.raises(BakeRefused, match="tool deep/x, tool x") as refused:
        owner(".ai/tools/deep/x.py", recorded=recorded)
    assert refused.value.code == "ambiguous_item"
    both = [("tool", "one", ".ai/tools/y.py"), ("tool", "two", ".ai/tools/y.py")]
    with pytest.raises(BakeRefused, match="tool one, tool two"):
        owner(".ai/tools/y.py", recorded=both)


def test_a_place_and_a_name_that_disagree_are_several(owner):
    with pytest.raises(BakeRefused, match="tool x, tool y"):
        owner(".ai/tools/x.yaml", b"name: y\n", recorded=[("tool", "x", None), ("tool", "y", None)])


def test_an_item_that_was_run_from_another_file_is_not_this_one(owner, tmp_path):
    assert owner(".ai/tools/a/x.py", recorded=[("tool", "x", ".ai/tools/a/x.py")]) == ("tool", "x")
    assert owner(".ai/tools/b/x.py") is None
    assert owner("copy/.ai/tools/a/x.py") == ("tool", "x")  # the same place in a clone
    assert owner("copy/.ai/tools/b/x.py") is None
    (tmp_path / ".ai/tools/a/x.py").unlink()  # moved to b/
    assert owner(".ai/tools/b/x.py") == ("tool", "x")


def test_places():
    assert place_of("/p/.ai/tools/a/b.py") == ("/p/.ai", "tool", "a/b.py")
    assert place_of("/p/.ai/tools/.ai/knowledge/k.md") == ("/p/.ai/tools/.ai", "knowledge", "k.md")
    assert place_of("/p/.ai/other/a.py") is None
    assert place_of("/p/.ai/tools") is None
    assert place_of("/p/a.py") is None
