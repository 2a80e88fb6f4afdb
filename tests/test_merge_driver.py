"""Items merged by real git: lines as ever, and the block from one side, from the store, or from the side with more runs."""

from __future__ import annotations

import json
import os
import random
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from repositories import commit_file, git, new_repo, said, write_git_config

from rye_telemetry.bake import bake_bytes, read_bytes, strip_bytes
from rye_telemetry.errors import GitUnusable, MergeFailed
from rye_telemetry.publish.merge import Merged, choose_block, merge_driver, merge_item
from rye_telemetry.publish.merge_install import (
    driver_command,
    has_merge_driver,
    install_merge_driver,
    uninstall_merge_driver,
)

ITEM = ".ai/tools/t.py"
DIRECTIVE = ".ai/directives/do.md"
BODIES = {
    "do.md": b"---\nname: do\ndescription: d\nlast: 1\n---\n\n# Do\n\none\n\ntwo\n\nthree\n\nfour\n",
    "plain.md": b"# Do\n\none\n\ntwo\n\nthree\n\nfour\n",
    "SKILL.md": b"---\nname: do\ndescription: d\n---\n\none\n\ntwo\n\nthree\n",
    "t.py": b'#!/usr/bin/env python3\n"""one"""\n\nx = "two"\n\n\ny = "three"\n',
    "t.yaml": b"name: one\n\nmore: two\n\nlast: three\n",
    "t.sh": b"#!/bin/sh\necho one\n\necho two\n\necho three\n",
    "t.json": b'{\n  "name": "one",\n  "a": 1,\n  "more": "two",\n  "b": 1,\n  "last": "three"\n}\n',
    "crlf.md": b"---\r\nname: do\r\n---\r\n\r\none\r\n\r\ntwo\r\n\r\nthree\r\n",
}
EACH = pytest.mark.parametrize("name", BODIES)


def fields(runs, **more):
    return {"total_runs": runs, "success_rate": 1.0, "last_run": f"2026-01-{runs % 28 + 1:02}T12:00:00Z", **more}


def baked(data, name, runs, **more):
    return bake_bytes(data, name, fields(runs, **more)).data


def nothing():
    return None


def unasked():
    raise AssertionError("the store was asked")


def merge(base, ours, theirs, name="do.md", recorded=nothing, **more):
    return merge_item(base, ours, theirs, name, recorded, env=os.environ, **more)


def by_git(folder, base, ours, theirs, *options):
    """Return what git itself makes of three texts."""
    for name, data in (("base", base), ("ours", ours), ("theirs", theirs)):
        (folder / name).write_bytes(data)
    labels = [word for name in ("ours", "base", "theirs") for word in ("-L", name)]
    return subprocess.run(
        ["git", "merge-file", "-p", "-q", *options, *labels, "ours", "base", "theirs"],
        cwd=folder,
        capture_output=True,
        check=False,
    ).stdout


# -- the block


def test_a_block_that_one_side_changed_is_that_sides():
    assert choose_block(fields(1), fields(1), fields(2), unasked) == fields(2)
    assert choose_block(fields(1), fields(2), fields(1), unasked) == fields(2)
    assert choose_block(fields(9), fields(2), fields(9), unasked) == fields(2), "also where it has fewer runs"
    assert choose_block(fields(1), fields(2), fields(2), unasked) == fields(2)
    assert choose_block(None, None, fields(2), unasked) == fields(2)
    assert choose_block(None, None, None, unasked) is None


def test_a_block_that_one_side_removed_is_removed():
    assert choose_block(fields(1), None, fields(1), unasked) is None
    assert choose_block(fields(1), fields(1), None, unasked) is None
    assert choose_block(fields(1), None, None, unasked) is None


def test_a_block_that_both_changed_is_that_of_the_store_or_that_with_more_runs():
    assert choose_block(fields(1), fields(2), fields(3), lambda: fields(7)) == fields(7)
    assert choose_block(fields(1), fields(2), fields(3), nothing) == fields(3)
    assert choose_block(fields(1), fields(5), fields(3), nothing) == fields(5)
    late, early = {**fields(5), "last_run": "2026-02-01T00:00:00Z"}, {**fields(5), "last_run": "2026-01-31T00:00:00Z"}
    assert choose_block(fields(1), early, late, nothing) == late
    assert choose_block(fields(1), late, early, nothing) == late
    assert choose_block(fields(1), None, fields(3), nothing) == fields(3), "removed there, and new runs here"


def test_a_store_that_cannot_be_read_stops_no_merge():
    def broken():
        raise GitUnusable("broken")

    assert choose_block(fields(1), fields(2), fields(3), broken) == fields(3)


# -- texts and blocks together


@EACH
def test_sides_that_differ_only_in_the_block_merge_clean(name):
    text = BODIES[name]
    base, ours, theirs = (baked(text, name, runs) for runs in (1, 20, 30))
    found = merge(base, ours, theirs, name)
    assert found == Merged(theirs, conflicts=False)
    assert merge(base, ours, theirs, name, lambda: fields(44)) == Merged(baked(text, name, 44), conflicts=False)


@EACH
def test_both_sides_that_put_a_block_into_the_same_text_merge_clean(name):
    text = BODIES[name]
    assert merge(text, baked(text, name, 2), baked(text, name, 3), name) == Merged(baked(text, name, 3), False)


@EACH
@pytest.mark.parametrize(
    "runs", [(1, 20, 30), (None, 20, 30), (1, 1, 30), (1, None, 1), (1, 20, None), (1, None, None)]
)
def test_lines_are_merged_as_git_merges_them_without_blocks(name, runs, tmp_path):
    text = BODIES[name]
    texts = [text, text.replace(b"one", b"ONE"), text.replace(b"three", b"THREE")]
    sides = [each if some is None else baked(each, name, some) for each, some in zip(texts, runs, strict=True)]
    found = merge(*sides, name)
    assert not found.conflicts
    assert strip_bytes(found.data, name).data == by_git(tmp_path, *texts)
    chosen = choose_block(*[None if some is None else fields(some) for some in runs], nothing)
    assert read_bytes(found.data, name) == chosen


def test_an_item_that_both_sides_made_merges_from_nothing():
    for name, text in BODIES.items():
        assert merge(b"", baked(text, name, 2), baked(text, name, 3), name) == Merged(baked(text, name, 3), False)


def test_a_header_that_only_carries_a_block_goes_with_it():
    text = BODIES["plain.md"]
    with_block = baked(text, "plain.md", 2)
    assert merge(with_block, text, with_block.replace(b"three", b"THREE"), "plain.md").data == text.replace(
        b"three", b"THREE"
    )


def test_a_block_that_needs_no_decision_keeps_its_style_and_its_place():
    base = b"---\ntelemetry: {total_runs: 1, success_rate: 1.0}  # mine\nname: do\nlast: 1\n---\n\none\n\ntwo\n"
    ours, theirs = base.replace(b"one", b"ONE"), base.replace(b"two", b"TWO")
    assert merge(base, ours, theirs).data == ours.replace(b"two", b"TWO")
    more = theirs.replace(b"total_runs: 1", b"total_runs: 9")
    assert merge(base, ours, more).data == ours.replace(b"two", b"TWO").replace(b"total_runs: 1", b"total_runs: 9")


def test_a_block_is_one_sides_as_a_whole_and_never_a_line_of_each():
    """Git alone would take the runs of one side and the rate of the other."""
    text = BODIES["do.md"]
    old = {"total_runs": 10, "success_count": 9, "failure_count": 1, "success_rate": 0.9, "avg_duration_ms": 5.0}
    base, ours, theirs = (
        bake_bytes(text, "do.md", {**old, **more}).data for more in ({}, {"total_runs": 11}, {"avg_duration_ms": 9.0})
    )
    assert read_bytes(merge(base, ours, theirs).data, "do.md") == {**old, "total_runs": 11}


def test_an_instant_without_quotes_is_an_instant_all_the_same():
    text = BODIES["do.md"]
    base, ours, theirs = (baked(text, "do.md", runs).replace(b'"', b"") for runs in (1, 2, 3))
    found = merge(base, ours, theirs)
    assert found == Merged(baked(text, "do.md", 3), conflicts=False)
    assert merge(base, base, theirs) == Merged(theirs, conflicts=False)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.png", b"\x89PNG\0one\n\ntwo\n\nthree\n"),
        ("t.txt", b"one\n\ntwo\n\nthree\n"),
        ("t.yaml", b"telemetry:\n  endpoint: one\na: two\n\n\nb: three\n"),
        ("t.yaml", b"- one\n- x\n- two\n- y\n- three\n"),
        ("d.md", b"---\nname: one\n\ntwo\n\nthree\n"),
        ("t.py", b"one = (\n\ntwo\n\nthree\n# >>> rye-telemetry >>>\n"),
        ("l.md", b"version https://git-lfs.github.com/spec/v1\noid one\n\ntwo\nthree\n"),
    ],
)
def test_what_carries_no_block_of_ours_is_merged_as_git_merges_it(name, data, tmp_path):
    ours, theirs = data.replace(b"one", b"ONE"), data.replace(b"three", b"THREE")
    if b"\0" in data:
        assert merge(data, ours, theirs, name, unasked) == Merged(ours, conflicts=True), (
            "of binary files git keeps ours"
        )
        return
    assert merge(data, ours, theirs, name, unasked) == Merged(by_git(tmp_path, data, ours, theirs), conflicts=False)
    clash = data.replace(b"one", b"other")
    assert merge(data, ours, clash, name, unasked) == Merged(by_git(tmp_path, data, ours, clash), conflicts=True)


def test_one_damaged_side_leaves_all_to_git(tmp_path):
    text = BODIES["t.py"]
    base, ours, theirs = (baked(text, "t.py", runs) for runs in (1, 2, 3))
    ours = ours.replace(b"# <<< rye-telemetry <<<\n", b"")
    found = merge(base, ours, theirs, "t.py", unasked)
    assert found == Merged(by_git(tmp_path, base, ours, theirs), conflicts=True)


# -- conflicts


def in_conflict(name, old, mine, yours, *, runs=(1, 20, 30)):
    """Return three versions of an item with different numbers, and the same without them."""
    text = BODIES[name]
    texts = [text, text.replace(old, mine), text.replace(old, yours)]
    return [baked(each, name, some) for each, some in zip(texts, runs, strict=True)], texts


def chosen(data, side):
    """Resolve all conflicts for one side, as a user does by hand."""
    kept, within = [], None
    for line in data.splitlines(keepends=True):
        begun = {b"<<<<<<< ": "ours", b"||||||| ": "base", b"=======": "theirs", b">>>>>>> ": None}
        mark = next((mark for mark in begun if line.startswith(mark)), None)
        if mark:
            within = begun[mark]
        elif within in (None, side):
            kept.append(line)
    return b"".join(kept)


@EACH
@pytest.mark.parametrize("word", [b"one", b"two", b"three"])
@pytest.mark.parametrize("style", ["merge", "diff3"])
def test_a_real_conflict_stays_git_s_and_the_block_is_right_whichever_side_is_chosen(home, name, word, style):
    write_git_config(home, f"[merge]\n\tconflictStyle = {style}\n")
    if word not in BODIES[name]:
        pytest.skip("it has no such word")
    repo = new_repo(home / "repo")
    sides, texts = in_conflict(name, word, b"mine", b"yours")
    os.chdir(repo)
    found = merge(*sides, name)
    assert found.conflicts
    assert found.data.count(b"<<<<<<< ours") == found.data.count(b">>>>>>> theirs") == 1
    assert found.data.count(b"||||||| base") == (style == "diff3")
    for side, text in (("ours", texts[1]), ("theirs", texts[2])):
        resolved = chosen(found.data, side)
        assert read_bytes(resolved, name) == fields(30)
        assert strip_bytes(resolved, name).data == text


def test_nothing_but_the_lines_in_conflict_is_between_the_marks():
    sides, _ = in_conflict("do.md", b"last: 1", b"last: mine", b"last: yours")
    found = merge(*sides)
    assert b"\n<<<<<<< ours\nlast: mine\n=======\nlast: yours\n>>>>>>> theirs\ntelemetry:\n" in found.data


def test_a_block_that_goes_goes_in_a_conflict_too(tmp_path):
    sides, texts = in_conflict("do.md", b"two", b"mine", b"yours")
    sides[1] = texts[1]
    sides[2] = baked(texts[2], "do.md", 1)
    assert merge(*sides, recorded=unasked) == Merged(by_git(tmp_path, *texts), conflicts=True)


def test_headers_that_both_sides_made_are_in_conflict_each_with_the_block():
    base = b"one\n"
    ours, theirs = b"---\nname: mine\n---\nmine\n", baked(b"---\nname: yours\n---\nyours\n", "do.md", 3)
    found = merge(base, ours, theirs)
    assert found.conflicts
    assert chosen(found.data, "ours") == baked(ours, "do.md", 3)
    assert chosen(found.data, "theirs") == theirs
    assert b"added by" not in found.data


def test_a_block_that_one_choice_would_double_leaves_the_whole_conflict_to_git(tmp_path):
    """Behind a block scalar at the header's end it stands first, and elsewhere last."""
    text = b"---\nname: do\nlast: 1\n---\n\none\n"
    texts = [text, text.replace(b"last: 1\n", b"last: |\n  mine\n"), text.replace(b"last: 1", b"last: yours")]
    sides = [baked(each, "do.md", some) for each, some in zip(texts, (1, 20, 30), strict=True)]
    assert sides[1].startswith(b"---\ntelemetry:")
    assert merge(*sides) == Merged(by_git(tmp_path, *sides), conflicts=True)


def test_text_that_looks_like_marks_is_no_conflict():
    text = b"---\nname: do\n---\n\nTitle\n=======\n\n<<<<<<< one\n\n>>>>>>> two\n\nthree\n"
    base, ours, theirs = (baked(text, "do.md", runs) for runs in (1, 2, 3))
    assert merge(base, ours, theirs) == Merged(theirs, conflicts=False)
    found = merge(base, ours.replace(b"three", b"mine"), theirs.replace(b"three", b"yours"))
    assert found.conflicts
    assert found.data.count(b"mine") == found.data.count(b"yours") == 1


def test_marks_are_as_long_and_as_named_as_git_asks():
    text = BODIES["do.md"]
    ours, theirs = text.replace(b"two", b"mine"), text.replace(b"two", b"yours")
    found = merge(text, baked(ours, "do.md", 2), theirs, labels=("HEAD", "merged common", "topic"), marker_size=11)
    assert b"\n<<<<<<<<<<< HEAD\nmine\n===========\nyours\n>>>>>>>>>>> topic\n" in found.data
    assert read_bytes(found.data, "do.md") == fields(2)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_both_sides_change_the_text_is_the_one_that_git_merges_without_blocks(seed, tmp_path):
    """Clean where git is clean; else the same text, whichever side is chosen. Nothing outside a block is lost."""
    dice = random.Random(seed)
    for _ in range(25):
        name = dice.choice(list(BODIES))
        texts = [BODIES[name], edited(dice, BODIES[name], b"mine"), edited(dice, BODIES[name], b"yours")]
        sides = [baked(text, name, runs) if (runs := dice.randrange(4)) else text for text in texts]
        found, alone = merge(*sides, name), by_git(tmp_path, *texts)
        if not found.conflicts:
            assert strip_bytes(found.data, name).data == alone, (texts, sides)
            continue
        for side in ("ours", "theirs"):
            assert strip_bytes(chosen(found.data, side), name).data == chosen(alone, side), (texts, sides)


def edited(dice, text, tag):
    """Return a text with up to two words or blank lines changed."""
    lines = text.splitlines(keepends=True)
    for _ in range(dice.choice((0, 1, 1, 2))):
        at = dice.randrange(len(lines))
        words = [word for word in (b"one", b"two", b"three", b"four") if word in lines[at]]
        if words:
            lines[at] = lines[at].replace(words[0], words[0] + tag)
        elif not lines[at].strip():
            lines[at : at + 1] = dice.choice(([], [lines[at]] * 2))
    return b"".join(lines)


# -- the door for git


def test_the_driver_writes_the_result_into_ours(tmp_path):
    text = BODIES["do.md"]
    paths = [tmp_path / name for name in ("base", "ours", "theirs")]
    for path, runs in zip(paths, (1, 20, 3), strict=True):
        path.write_bytes(baked(text, "do.md", runs) + b"x" * (runs == 20) + b"\n")
    before = paths[1].stat().st_ino
    code = merge_driver(*map(str, paths), DIRECTIVE, recorded=lambda: fields(4), env=os.environ)
    assert code == 0
    assert paths[1].read_bytes() == baked(text, "do.md", 4) + b"x\n"
    assert paths[1].stat().st_ino == before
    paths[1].write_bytes(text.replace(b"two", b"mine"))
    paths[2].write_bytes(text.replace(b"two", b"yours"))
    assert merge_driver(*map(str, paths), DIRECTIVE, recorded=nothing, env=os.environ) == 1
    assert b"=======" in paths[1].read_bytes()


def test_a_driver_that_fails_leaves_ours_and_an_exit_code_that_is_no_conflict(tmp_path, monkeypatch):
    (tmp_path / "ours").write_bytes(b"ours\n")
    (tmp_path / "base").write_bytes(b"base\n")
    paths = [str(tmp_path / name) for name in ("base", "ours", "missing")]
    with pytest.raises(MergeFailed, match=r"'a.md' was not merged: .*missing") as e:
        merge_driver(*paths, "a.md", recorded=nothing, env=os.environ)
    assert e.value.exit_code > 128
    (tmp_path / "missing").write_bytes(b"theirs\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MergeFailed, match="git is not on PATH"):
        merge_driver(*paths, "a.md", recorded=nothing, env=os.environ)
    assert (tmp_path / "ours").read_bytes() == b"ours\n"


# -- in repositories

SCRIPT = """import json, os, sys
from rye_telemetry.publish.merge import merge_driver
base, ours, theirs, path, size = sys.argv[1:]
with open(os.environ["CALLS"], "a") as calls:
    print(path, file=calls)
def recorded():
    return json.loads(os.environ.get("RECORDED", "null"))
sys.exit(merge_driver(base, ours, theirs, path, recorded=recorded, env=os.environ, marker_size=int(size)))
"""


@pytest.fixture
def repo(home, tmp_path, monkeypatch):
    """A repository with an item of either kind, a driver, and a branch `topic` at the first commit."""
    write_git_config(home)
    repo = new_repo(tmp_path / "repo")
    commit_file(repo, DIRECTIVE, baked(BODIES["do.md"], "do.md", 1))
    commit_file(repo, ITEM, baked(BODIES["t.py"], "t.py", 1))
    git(repo, "branch", "topic")
    install_merge_driver(str(repo), os.environ)
    (tmp_path / "driver.py").write_text(SCRIPT)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    words = [sys.executable, str(tmp_path / "driver.py"), "%O", "%A", "%B", "%P", "%L"]
    driver = " ".join(word if word.startswith("%") else shlex.quote(word) for word in words)
    git(repo, "config", "merge.rye-telemetry.driver", driver)
    return repo


def change(repo, runs, old=b"", new=b"", *, path=DIRECTIVE):
    """Commit other numbers and another word."""
    name = os.path.basename(path)
    data = (repo / path).read_bytes().replace(old, new)
    return commit_file(repo, path, baked(data, name, runs), message=f"{path} {runs} {new.decode()}")


def apart(repo, *, path=DIRECTIVE, words=((b"one", b"ONE"), (b"three", b"THREE"))):
    """Let both branches bake and change a word each; main is checked out then."""
    git(repo, "checkout", "-q", "topic")
    change(repo, 30, *words[1], path=path)
    git(repo, "checkout", "-q", "main")
    change(repo, 20, *words[0], path=path)


def called(repo):
    calls = Path(os.environ["CALLS"])
    return calls.read_text().split() if calls.exists() else []


def numbers(repo, path=DIRECTIVE):
    return read_bytes((repo / path).read_bytes(), path)


def without_block(repo, path=DIRECTIVE):
    return strip_bytes((repo / path).read_bytes(), path).data


WAYS = pytest.mark.parametrize("way", [("merge", "topic"), ("cherry-pick", "topic"), ("rebase", "topic")], ids="-".join)


@WAYS
@pytest.mark.parametrize("path", [DIRECTIVE, ITEM])
def test_git_merges_both_texts_and_one_block(repo, way, path):
    apart(repo, path=path)
    text = BODIES[os.path.basename(path)].replace(b"one", b"ONE").replace(b"three", b"THREE")
    git(repo, *way)
    assert called(repo) == [path]
    assert without_block(repo, path) == text
    assert numbers(repo, path) == fields(30)
    assert git(repo, "status", "--porcelain") == b""


@WAYS
def test_git_takes_the_block_of_the_store(repo, way):
    apart(repo)
    git(repo, *way, RECORDED=json.dumps(fields(51)))
    assert numbers(repo) == fields(51)


def test_without_the_driver_the_same_merge_is_a_conflict(repo):
    apart(repo)
    assert uninstall_merge_driver(str(repo), os.environ)
    git(repo, "merge", "topic", code=1)
    assert b"<<<<<<<" in (repo / DIRECTIVE).read_bytes()


@WAYS
def test_a_real_conflict_is_git_s_and_can_be_resolved_and_goes_on(repo, way):
    apart(repo, words=((b"two", b"mine"), (b"two", b"yours")))
    git(repo, *way, code=1)
    data = (repo / DIRECTIVE).read_bytes()
    assert data.count(b"<<<<<<<") == data.count(b">>>>>>>") == 1
    assert said(repo, "diff", "--name-only", "--diff-filter=U") == DIRECTIVE
    assert read_bytes(data, DIRECTIVE) == fields(30)
    before, _, rest = data.partition(b"<<<<<<<")
    (repo / DIRECTIVE).write_bytes(before + b"both\n" + rest.partition(b">>>>>>>")[2].partition(b"\n")[2])
    git(repo, "add", DIRECTIVE)
    git(repo, "commit", "-qm", "done") if way[0] != "rebase" else git(repo, "rebase", "--continue")
    assert without_block(repo) == BODIES["do.md"].replace(b"two", b"both")


def test_a_stash_comes_back_over_new_numbers(repo):
    data = (repo / DIRECTIVE).read_bytes()
    (repo / DIRECTIVE).write_bytes(baked(data.replace(b"one", b"ONE"), "do.md", 20))
    git(repo, "stash")
    change(repo, 30, b"three", b"THREE")
    git(repo, "stash", "pop")
    assert without_block(repo) == BODIES["do.md"].replace(b"one", b"ONE").replace(b"three", b"THREE")
    assert numbers(repo) == fields(30)


def test_a_series_of_commits_is_rebased_each_with_its_block(repo):
    git(repo, "checkout", "-q", "topic")
    for number, word in enumerate((b"one", b"two", b"three"), 2):
        change(repo, number, word, word.upper())
    git(repo, "checkout", "-q", "main")
    change(repo, 100, b"four", b"FOUR")
    git(repo, "checkout", "-q", "topic")
    git(repo, "rebase", "main")
    assert numbers(repo) == fields(100)
    assert len(called(repo)) == 3
    assert without_block(repo) == BODIES["do.md"].replace(b"one", b"ONE").replace(b"two", b"TWO").replace(
        b"three", b"THREE"
    ).replace(b"four", b"FOUR")


def test_a_criss_cross_merge_merges_its_bases_too(repo):
    apart(repo)
    main, topic = said(repo, "rev-parse", "main"), said(repo, "rev-parse", "topic")
    git(repo, "merge", "-m", "a", topic)
    git(repo, "checkout", "-q", "topic")
    git(repo, "merge", "-m", "b", main, RECORDED=json.dumps(fields(40)))
    change(repo, 60, b"two", b"TWO")
    git(repo, "checkout", "-q", "main")
    change(repo, 50)
    git(repo, "merge", "topic")
    assert without_block(repo) == BODIES["do.md"].replace(b"one", b"ONE").replace(b"two", b"TWO").replace(
        b"three", b"THREE"
    )
    assert numbers(repo) == fields(60)
    assert len(called(repo)) >= 4, "the bases of a criss-cross merge are merged among themselves"


def test_a_merge_from_a_folder_of_the_repository_and_in_a_worktree_asks_us_too(repo, tmp_path):
    apart(repo)
    git(repo, "worktree", "add", "-q", "-b", "other", tmp_path / "other", "main")
    git(tmp_path / "other" / ".ai" / "tools", "merge", "topic")
    assert numbers(tmp_path / "other") == fields(30)
    git(repo / ".ai", "merge", "topic")
    assert numbers(repo) == fields(30)
    assert called(repo) == [DIRECTIVE] * 2


def test_any_name_of_an_item_reaches_the_driver(repo):
    path = ".ai/tools/it's a $(touch x) é.py"
    commit_file(repo, path, baked(BODIES["t.py"], "t.py", 1))
    git(repo, "branch", "-f", "topic")
    apart(repo, path=path)
    git(repo, "merge", "topic")
    assert numbers(repo, path) == fields(30)
    assert not (repo / "x").exists()


def test_other_files_are_none_of_ours(repo):
    commit_file(repo, "README.md", BODIES["do.md"])
    git(repo, "branch", "-f", "topic")
    apart(repo, path="README.md")
    git(repo, "merge", "topic", code=1)
    assert called(repo) == []


# -- installing


def look(repo):
    """Return what an install may change, and what it may not."""
    attributes = repo / ".git" / "info" / "attributes"
    return (
        (repo / ".git" / "config").read_bytes(),
        attributes.read_bytes() if attributes.exists() else None,
        (repo / ".git" / "info").exists(),
        git(repo, "status", "--porcelain", "--ignored"),
    )


@pytest.fixture
def bare_of_it(home, tmp_path):
    write_git_config(home)
    repo = new_repo(tmp_path / "a % repository's")
    commit_file(repo, DIRECTIVE, BODIES["do.md"])
    return repo


@pytest.mark.parametrize(
    "theirs",
    [
        None,
        b"",
        b"*.md diff=x\n",
        b"*.md merge=union",
        b"# CRLF\r\n*.md text\r\n",
        b"\xef\xbb\xbf*.md text\n",
        "folder",
    ],
)
def test_installed_and_taken_out_to_the_byte(bare_of_it, theirs):
    repo = bare_of_it
    attributes = repo / ".git" / "info" / "attributes"
    if theirs == "folder":
        (attributes.parent / "exclude").unlink(missing_ok=True)
        attributes.parent.rmdir()
    elif theirs is not None:
        attributes.parent.mkdir(exist_ok=True)
        attributes.write_bytes(theirs)
    before = look(repo)
    assert not has_merge_driver(str(repo), os.environ)
    assert install_merge_driver(str(repo), os.environ) == [f"merge driver: installed ({attributes})"]
    after = look(repo)
    assert after[3] == before[3]
    assert has_merge_driver(str(repo), os.environ)
    assert install_merge_driver(str(repo), os.environ) == [f"merge driver: as it was ({attributes})"]
    assert look(repo) == after, "twice is once"
    assert uninstall_merge_driver(str(repo), os.environ) == [f"merge driver: removed ({attributes})"]
    assert look(repo) == before
    assert uninstall_merge_driver(str(repo), os.environ) == []
    assert look(repo) == before


def merge_attribute(repo, path, name="merge"):
    return said(repo, "check-attr", name, "--", path).rpartition(": ")[2]


def test_the_first_line_behind_a_byte_order_mark_keeps_its_meaning(bare_of_it):
    attributes = bare_of_it / ".git" / "info" / "attributes"
    attributes.parent.mkdir(exist_ok=True)
    attributes.write_bytes(b"\xef\xbb\xbf*.md diff=x\n")
    install_merge_driver(str(bare_of_it), os.environ)
    assert merge_attribute(bare_of_it, "a.md", "diff") == "x"
    assert merge_attribute(bare_of_it, ITEM) == "rye-telemetry"


def test_git_asks_us_for_items_and_for_nothing_else(bare_of_it):
    install_merge_driver(str(bare_of_it), os.environ)
    for path in (DIRECTIVE, ITEM, ".ai/knowledge/a/b/c.md"):
        assert merge_attribute(bare_of_it, path) == "rye-telemetry"
    for path in ("README.md", ".ai/config.yaml", "src/tools/x.py"):
        assert merge_attribute(bare_of_it, path) == "unspecified"


def test_lines_of_the_users_own_attributes_win(bare_of_it):
    attributes = bare_of_it / ".git" / "info" / "attributes"
    attributes.parent.mkdir(exist_ok=True)
    attributes.write_bytes(b".ai/tools/** -merge\n")
    install_merge_driver(str(bare_of_it), os.environ)
    assert merge_attribute(bare_of_it, ITEM) == "unset"
    assert merge_attribute(bare_of_it, DIRECTIVE) == "rye-telemetry"


def test_an_older_driver_is_renewed(bare_of_it):
    install_merge_driver(str(bare_of_it), os.environ)
    after = look(bare_of_it)
    git(bare_of_it, "config", "merge.rye-telemetry.driver", "old command")
    assert "renewed" in install_merge_driver(str(bare_of_it), os.environ)[0]
    assert look(bare_of_it) == after
    attributes = bare_of_it / ".git" / "info" / "attributes"
    attributes.write_bytes(b"a -text\n" + attributes.read_bytes().replace(b".ai/tools/**", b"tools/**") + b"b -text\n")
    assert "renewed" in install_merge_driver(str(bare_of_it), os.environ)[0]
    assert attributes.read_bytes() == b"a -text\n" + after[1] + b"b -text\n"
    uninstall_merge_driver(str(bare_of_it), os.environ)
    assert attributes.read_bytes() == b"a -text\nb -text\n"


def test_installing_from_a_worktree_serves_the_whole_repository(bare_of_it, tmp_path):
    git(bare_of_it, "worktree", "add", "-q", tmp_path / "other")
    install_merge_driver(str(tmp_path / "other" / ".ai"), os.environ)
    assert has_merge_driver(str(bare_of_it), os.environ)
    assert merge_attribute(bare_of_it, ITEM) == "rye-telemetry"


def test_outside_a_repository_there_is_nothing_to_install(tmp_path):
    with pytest.raises(GitUnusable, match="in no git repository"):
        install_merge_driver(str(tmp_path), os.environ)


def test_the_installed_line_runs_the_command_wherever_it_is(repo, tmp_path, monkeypatch):
    folder = tmp_path / "100 %A %P's $HOME"
    folder.mkdir()
    script = folder / "rye-telemetry"
    script.write_text(
        '#!/bin/sh\n[ "$1 $2 $3 $5" = "bake --merge --marker-size --" ] || exit 9\n'
        f'exec "{sys.executable}" "{tmp_path}/driver.py" "$6" "$7" "$8" "$9" "$4"\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    install_merge_driver(str(repo), os.environ)
    apart(repo)
    git(repo, "merge", "topic")
    assert called(repo) == [DIRECTIVE]
    assert numbers(repo) == fields(30)


def test_a_command_that_is_gone_leaves_the_merge_to_git(repo):
    """Not the file of one side, as if the other had never been."""
    command = driver_command()
    script = str(Path(sys.executable).with_name("rye-telemetry"))
    assert script in command
    git(repo, "config", "merge.rye-telemetry.driver", command.replace(script, "/nowhere/rye-telemetry"))
    apart(repo)
    nowhere = {"PATH": os.pathsep.join(["/usr/bin", "/bin"])}
    git(repo, "merge", "topic", code=1, **nowhere)
    data = (repo / DIRECTIVE).read_bytes()
    assert b"<<<<<<< ours" in data
    assert b"ONE" in data
    assert b"THREE" in data
    git(repo, "merge", "--abort")
    git(repo, "reset", "-q", "--hard", "topic~")
    change(repo, 1, b"one", b"ONE")
    git(repo, "checkout", "-q", "topic")
    git(repo, "reset", "-q", "--hard", "topic~")
    change(repo, 1, b"three", b"THREE")
    git(repo, "merge", "main", **nowhere)
    assert without_block(repo) == BODIES["do.md"].replace(b"one", b"ONE").replace(b"three", b"THREE")


# -- with the command itself


@pytest.fixture
def installed(repo):
    """The same repository, where git calls the command."""
    assert "renewed" in install_merge_driver(str(repo), os.environ)[0]
    return repo


@WAYS
def test_the_command_merges_without_any_store(installed, way, home):
    apart(installed)
    git(installed, *way)
    assert without_block(installed) == BODIES["do.md"].replace(b"one", b"ONE").replace(b"three", b"THREE")
    assert numbers(installed) == fields(30)
    assert git(installed, "status", "--porcelain") == b""
    assert not (home / ".local").exists()


@pytest.mark.usefixtures("enabled")
def test_the_command_takes_the_numbers_of_the_store(installed, cli):
    for _ in range(2):
        cli("run-with", "tool", "t", cwd=installed)
    apart(installed, path=ITEM)
    git(installed, "merge", "topic")
    found = numbers(installed, ITEM)
    assert (found["total_runs"], found["success_count"], found["success_rate"]) == (2, 2, 1.0)
    assert without_block(installed, ITEM) == BODIES["t.py"].replace(b"one", b"ONE").replace(b"three", b"THREE")


def test_the_command_leaves_a_real_conflict_to_the_user(installed):
    apart(installed, words=((b"two", b"mine"), (b"two", b"yours")))
    git(installed, "merge", "topic", code=1)
    data = (installed / DIRECTIVE).read_bytes()
    assert data.count(b"<<<<<<<") == 1
    assert read_bytes(data, DIRECTIVE) == fields(30)


def test_settings_that_cannot_be_read_lose_neither_side(installed, home):
    """Whatever the command says of them: an exit code of 1 alone would be a conflict with one side in the file."""
    (home / ".ai").mkdir()
    (home / ".ai" / "config.yaml").write_text("telemetry: [\n")
    apart(installed)
    git(installed, "merge", "topic", code=None)
    data = (installed / DIRECTIVE).read_bytes()
    assert b"ONE" in data
    assert b"THREE" in data


def test_a_binary_file_among_the_items_is_a_conflict_as_ever(installed):
    path = ".ai/tools/icon.png"
    commit_file(installed, path, b"\x89PNG\0base")
    git(installed, "branch", "-f", "topic")
    commit_file(installed, path, b"\x89PNG\0mine")
    git(installed, "checkout", "-q", "topic")
    commit_file(installed, path, b"\x89PNG\0yours")
    git(installed, "checkout", "-q", "main")
    git(installed, "merge", "topic", code=1)
    assert said(installed, "diff", "--name-only", "--diff-filter=U") == path
    assert (installed / path).read_bytes() == b"\x89PNG\0mine"
