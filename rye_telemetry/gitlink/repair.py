"""What linked commits became: for one commit, and for a whole history."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from rye_telemetry import link_queries
from rye_telemetry.commits import read_commits
from rye_telemetry.gitlink.evidence import Decided, decide, is_open, may_be_part, sure_links
from rye_telemetry.gitlink.search import Bounds, gather, known_runs
from rye_telemetry.lines import instant_text
from rye_telemetry.linking import commit_line, link_line, named_runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rye_telemetry.commits import Commit
    from rye_telemetry.gitlink.evidence import Ground, Match
    from rye_telemetry.gitlink.repository import Repository
    from rye_telemetry.linking import Line
    from rye_telemetry.model import Fields
    from rye_telemetry.store import TelemetryStore

ONE = Bounds(olds=500, news=1000, asks_index=True)
ALL = Bounds(olds=20_000, news=20_000)


class Found(NamedTuple):
    """The links of one commit, and the candidates between which nothing decides."""

    links: list[Fields]
    candidates: list[Fields]


def find_runs(store: TelemetryStore, repository: Repository, commit: Commit) -> Found:
    """Return the runs behind one commit: what is stored, its trailers, and what the rules find; nothing is written."""
    stored = store.links([commit.commit_hash]).get(commit.commit_hash, [])
    links = {link["run_id"]: link for link in sure_links(stored)}
    unsure = {link["run_id"]: link for link in stored if link["contested_by"]}
    named = named_runs(commit.message)
    for run_id in sorted(known_runs(store, named), key=named.index):
        if run_id in links:
            _add_evidence(links[run_id], "trailer")
        else:
            links[run_id] = _new_link(store, commit, run_id, "trailer")
    if is_open(stored):
        matches, candidates = _looked_for(store, repository, commit)
        for kind, found in ((links, matches), (unsure, candidates)):
            for match in found:
                for link in _links_of(store, match):
                    kind.setdefault(link["run_id"], link)
    return Found(list(links.values()), [link for run_id, link in unsure.items() if run_id not in links])


def _looked_for(store: TelemetryStore, repository: Repository, commit: Commit) -> Decided:
    """Return what the rules say of a commit in its own history; else in HEAD's, where the other parts of a split are."""
    ground = gather(repository, commit, store, ONE)
    found = _of(commit, ground)
    if ground is None or found.matches or found.candidates or not may_be_part(commit, ground):
        return found
    head = read_commits(repository.git, ["HEAD"])
    if not head or head[0].commit_hash == commit.commit_hash:
        return found
    return _of(commit, gather(repository, head[0], store, ONE))


def _of(commit: Commit, ground: Ground | None) -> Decided:
    decided = decide(ground) if ground else Decided([], [])
    return Decided(*([match for match in kind if match.commit.commit_hash == commit.commit_hash] for kind in decided))


def _add_evidence(link: Fields, evidence: str) -> None:
    if evidence not in link["all_evidence"]:
        link["all_evidence"] = link_queries.by_strength([*link["all_evidence"], evidence])
        link["evidence"] = link["all_evidence"][0]


def _new_link(store: TelemetryStore, commit: Commit, run_id: str, evidence: str) -> Fields:
    of_run = store.ask(lambda index: link_queries.read_briefly(index, run_id))
    return {
        "run_id": run_id,
        **of_run,
        "evidence": evidence,
        "all_evidence": [evidence],
        "commit_source": None,
        "commit_author": commit.author,
        "linked_at": None,
        "from_commit": None,
    }


def _links_of(store: TelemetryStore, match: Match) -> list[Fields]:
    """Return the links that a match makes, one a run."""
    found = {run_id: _new_link(store, match.commit, run_id, match.evidence) for run_id in match.run_ids}
    for old in match.olds:
        for link in old.links:
            changed = {
                "evidence": match.evidence,
                "all_evidence": [match.evidence],
                "linked_at": None,
                "from_commit": old.commit_hash,
            }
            found.setdefault(link["run_id"], {**link, **changed})
    return list(found.values())


def repair(store: TelemetryStore, repository: Repository, revision: str, *, dry_run: bool) -> Fields:
    """Find what linked commits became in the history of a revision, and store it unless `dry_run`.

    Returns `tip`, `linked`, `candidates`, `looked_at` (linked commits outside of that history) and `dry_run`.
    """
    tip = repository.commit(revision)
    ground = gather(repository, tip, store, ALL)
    decided = decide(ground) if ground else None
    answer: Fields = {"tip": tip.commit_hash, "linked": [], "candidates": [], "looked_at": 0, "dry_run": dry_run}
    if ground is None or decided is None:
        return answer
    lines = [line for match in decided.matches for line in _lines(store, repository, ground, match, answer)]
    answer["looked_at"] = len(ground.olds)
    answer["candidates"] = [_candidate(match) for match in decided.candidates]
    if lines and not dry_run:
        store.record_lines(lines)
        store.publish()
    return answer


def _lines(
    store: TelemetryStore, repository: Repository, ground: Ground, match: Match, answer: Fields
) -> Iterable[Line]:
    """Return the lines that store a match, what is already known left out, and note them in the answer."""
    commit = match.commit
    known = {link["run_id"] for link in sure_links(ground.links.get(commit.commit_hash, ()))}
    known |= {link["run_id"] for link in answer["linked"] if link["commit"] == commit.commit_hash}
    new = [link for link in _links_of(store, match) if link["run_id"] not in known]
    if not new:
        return
    patch_id = ground.patch_ids.get(commit.commit_hash)
    yield commit_line(commit, repo=repository.name, branch=None, patch_id=patch_id)
    for link in new:
        yield link_line(
            link["run_id"],
            commit.commit_hash,
            repo=repository.name,
            evidence=match.evidence,
            source=link["commit_source"],
            author=link["commit_author"],
            linked_at=instant_text(time.time_ns()),
            from_commit=link["from_commit"],
        )
        names = ("run_id", "item_type", "item_id", "evidence", "from_commit")
        answer["linked"].append({"commit": commit.commit_hash, **{name: link[name] for name in names}})


def _candidate(match: Match) -> Fields:
    return {
        "commit": match.commit.commit_hash,
        "evidence": match.evidence,
        "run_ids": sorted({run for old in match.olds for run in old.runs}),
        "from_commits": sorted(old.commit_hash for old in match.olds),
    }
