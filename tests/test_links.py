"""Links in the journal and in the index: applied in any order, once each, and cleared with their run."""

from __future__ import annotations

import itertools
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import NOON_NS, make_run

from rye_telemetry import link_queries
from rye_telemetry.index import Index
from rye_telemetry.lines import encode_line, instant_text, new_run_id
from rye_telemetry.store import TelemetryStore

A, B, C, D = (letter * 40 for letter in "abcd")
AT = instant_text(NOON_NS)


def link(commit=A, run_id="r1", evidence="hook", **more):
    fields = {"run_id": run_id, "commit_hash": commit, "evidence": evidence, "linked_at": AT, "repo": "/r", **more}
    return encode_line("link", fields)


def rewrite(*pairs):
    return encode_line("rewrite", {"repo": "/r", "by": "rebase", "rewrites": [list(pair) for pair in pairs]})


def index_of(lines):
    index = Index.create(":memory:")
    index.begin()
    for line in lines:
        index.apply("s", 0, line)
    index.commit()
    return index


def found(lines):
    """Return {(commit, run, all evidence)} of the links that stand, after these lines in this order."""
    index = index_of(lines)
    assert index.db.execute("SELECT * FROM damage").fetchall() == []
    links = link_queries.read_links(index, [A, B, C, D])
    index.close()
    return {
        (commit[0], one["run_id"], *one["all_evidence"])
        for commit, several in links.items()
        for one in several
        if not one["contested_by"]
    }


def test_links_follow_rewrites_in_whatever_order_the_lines_come():
    lines = [link(A, "r1"), rewrite((A, B)), rewrite((B, C)), link(B, "r2"), link(C, "r2", "explicit")]
    wanted = {
        ("a", "r1", "hook"),
        ("b", "r1", "rewritten"),
        ("c", "r1", "rewritten"),
        ("b", "r2", "hook"),
        ("c", "r2", "explicit", "rewritten"),
    }
    for order in itertools.permutations(lines):
        assert found(order) == wanted


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_order_and_no_repetition_changes_what_is_linked(data):
    hashes = st.sampled_from([A, B, C, D])
    some = data.draw(
        st.lists(
            st.one_of(
                st.builds(link, hashes, st.sampled_from(["r1", "r2"]), st.sampled_from(["hook", "head-moved"])),
                st.builds(
                    lambda commit, run: link(commit, run, "head-moved", contested_by=["r9"]),
                    hashes,
                    st.sampled_from(["r1", "r2"]),
                ),
                st.builds(lambda old, new: rewrite((old, new)), hashes, hashes),
            ),
            max_size=8,
        )
    )
    shuffled = data.draw(st.permutations(some + some[:3]))
    assert found(shuffled) == found(some)


def test_a_rewrite_in_a_circle_ends():
    assert found([link(A), rewrite((A, B), (B, C), (C, A))]) == {
        ("a", "r1", "hook", "rewritten"),
        ("b", "r1", "rewritten"),
        ("c", "r1", "rewritten"),
    }


def test_a_squash_has_the_runs_of_all_that_went_into_it():
    assert found([link(A, "r1"), link(B, "r2"), rewrite((A, C), (B, C))]) >= {
        ("c", "r1", "rewritten"),
        ("c", "r2", "rewritten"),
    }


def test_the_same_link_twice_is_one_and_the_strongest_evidence_shows():
    index = index_of([link(evidence="tree"), link(), link(), link(evidence="explicit", commit_source="llm")])
    [shown] = link_queries.read_links(index, [A])[A]
    assert (shown["evidence"], shown["all_evidence"]) == ("hook", ["hook", "explicit", "tree"])
    assert shown["commit_source"] == "llm"  # what somebody says of a link counts
    assert index.db.execute("SELECT count(*) FROM links").fetchone() == (3,)
    index.close()


def test_what_is_said_later_counts_whichever_line_is_read_first():
    early = link(evidence="explicit", commit_source="manual", linked_at="2026-01-01T00:00:00.000Z")
    late = link(evidence="explicit", commit_source="llm", linked_at="2026-01-02T00:00:00.000Z")
    for lines in ([early, late], [late, early]):
        index = index_of(lines)
        assert [one["commit_source"] for one in link_queries.read_links(index, [A])[A]] == ["llm"]
        index.close()


def test_a_contested_link_is_a_candidate_until_it_is_said_without_a_doubt():
    contested = link(evidence="head-moved", contested_by=["r2"])
    assert found([contested]) == set()
    assert found([contested, rewrite((A, B))]) == set()
    assert found([contested, link(evidence="explicit"), rewrite((A, B))]) == {
        ("a", "r1", "head-moved", "explicit"),
        ("b", "r1", "rewritten"),
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"commit_hash": "abc"},
        {"commit_hash": "0" * 40},
        {"commit_hash": 5},
        {"commit_hash": "A" * 40},
        {"evidence": "guess"},
        {"run_id": None},
        {"linked_at": "yesterday"},
    ],
)
def test_a_link_that_names_nothing_is_damage(fields):
    whole = {"run_id": "r", "commit_hash": A, "evidence": "hook", "linked_at": AT}
    index = index_of([encode_line("link", {**whole, **fields})])
    assert index.db.execute("SELECT count(*) FROM damage").fetchone() == (1,)
    assert link_queries.read_links(index, [A]) == {}
    index.close()


@pytest.mark.parametrize("pairs", [None, "ab", [[A]], [[A, "x"]], [[A, B, C]], [A, B]])
def test_a_rewrite_without_pairs_is_damage(pairs):
    index = index_of([link(A), encode_line("rewrite", {"rewrites": pairs})])
    assert index.db.execute("SELECT count(*) FROM damage").fetchone() == (1,)
    index.close()


def test_what_is_known_of_a_commit_adds_up():
    index = index_of(
        [
            encode_line("commit", {"commit_hash": A, "repo": "/r", "branch": "b", "parents": [B], "tree": C}),
            encode_line("commit", {"commit_hash": A, "patch_id": D}),
            encode_line("commit", {"commit_hash": A, "repo": "/r"}),
        ]
    )
    fact = link_queries.read_commits(index, [A])[A]
    assert (fact["branch"], fact["parents"], fact["tree"], fact["patch_id"]) == ("b", [B], C, D)
    assert [found["commit_hash"] for found in link_queries.find_commits(index, tree=C, patch_id=None)] == [A]
    assert [found["commit_hash"] for found in link_queries.find_commits(index, tree=None, patch_id=D)] == [A]
    index.close()


def test_names_that_are_not_utf8_are_kept_as_far_as_they_can_be():
    name = os.fsdecode(b"/r\xff")
    index = index_of([link(repo=name), encode_line("commit", {"commit_hash": A, "branch": name})])
    assert link_queries.read_links(index, [A])[A][0]["repo"] == "/r\\udcff"
    index.close()


# -- the store


def run_in(store, repo="/r", **changes):
    run = make_run(git_repo=repo, **changes)
    store.append("run", run)
    return run["run_id"]


def test_the_newest_runs_of_a_repository_are_found_with_or_without_a_commit(store):
    first, second, third = (run_in(store, started_at=instant_text(NOON_NS + place)) for place in (0, 10**9, 2 * 10**9))
    run_in(store, "/other", started_at=instant_text(NOON_NS + 3 * 10**9))
    store.record_lines([("link", {"run_id": third, "commit_hash": A, "evidence": "hook", "linked_at": AT})])
    asked = [
        store.ask(
            lambda index, limit=limit, bare=bare: link_queries.latest_runs(index, "/r", limit=limit, unlinked=bare)
        )
        for limit, bare in ((1, True), (5, True), (2, False))
    ]
    assert asked == [[second], [second, first], [third, second]]


def test_runs_beside_are_those_of_the_same_worktree_at_the_same_time(store):
    second = 10**9

    def run(start_s, end_s, **changes):
        instants = {"started_at": instant_text(NOON_NS + start_s * second)}
        instants["ended_at"] = instant_text(NOON_NS + end_s * second)
        fields = make_run(run_id=new_run_id(NOON_NS + start_s * second), git_repo="/r", **instants, **changes)
        store.append("run", fields)
        return fields

    outer = run(0, 100)
    me = run(10, 20, parent_run_id=outer["run_id"])
    inner = run(12, 13, parent_run_id=me["run_id"])
    run(12, 12, parent_run_id=inner["run_id"])
    before, after = run(5, 11), run(19, 40)
    run(1, 9)
    run(21, 30)
    run(12, 13, git_worktree="/elsewhere")
    beside = store.ask(lambda index: link_queries.runs_beside(index, me))
    assert beside == [before["run_id"], after["run_id"]]
    beside = store.ask(lambda index: link_queries.runs_beside(index, {**me, "git_repo": "/other"}))
    assert beside == []


def test_clearing_an_item_takes_its_links_and_what_its_commits_alone_said(store):
    mine = run_in(store, item_id="secret-item")
    other = run_in(store, item_id="other")
    facts = {"repo": "/r", "branch": "secret-item"}
    store.record_lines(
        [
            ("link", {"run_id": mine, "commit_hash": A, "evidence": "hook", "linked_at": AT}),
            ("commit", {"commit_hash": A, **facts}),
            ("link", {"run_id": mine, "commit_hash": B, "evidence": "hook", "linked_at": AT}),
            ("link", {"run_id": other, "commit_hash": B, "evidence": "hook", "linked_at": AT}),
            ("commit", {"commit_hash": B, "repo": "/r", "branch": "main"}),
        ]
    )
    assert store.clear("secret-item") == 1
    assert [one["run_id"] for several in store.links([A, B]).values() for one in several] == [other]
    assert store.ask(lambda index: sorted(link_queries.read_commits(index, [A, B]))) == [B]
    for folder, _, files in os.walk(store.directory):
        for name in files:
            with open(os.path.join(folder, name), "rb") as f:
                assert b"secret-item" not in f.read(), name


def test_a_link_that_stands_before_its_run_goes_with_it_too(store):
    run = make_run(item_id="late")
    store.record_lines([("link", {"run_id": run["run_id"], "commit_hash": A, "evidence": "hook", "linked_at": AT})])
    store.append("run", run)
    store.clear("late")
    assert store.links([A]) == {}
    store.rebuild()
    assert store.links([A]) == {}


def test_links_come_back_after_a_rebuild(store):
    run_id = run_in(store)
    store.record_lines([("link", {"run_id": run_id, "commit_hash": A, "evidence": "hook", "linked_at": AT})])
    before = store.links([A])
    store.rebuild()
    assert store.links([A]) == before
    with TelemetryStore(store.directory, read_only=True) as reader:
        assert reader.links_of_runs([run_id]) == {run_id: before[A]}
        assert json.dumps(before)


def test_runs_can_be_asked_for_by_id(store):
    ids = [run_in(store) for _ in range(3)]
    assert {run["run_id"] for run in store.runs(run_ids=ids[:2])} == set(ids[:2])
    assert store.runs(run_ids=[]) == []
