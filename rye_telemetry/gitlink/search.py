"""Gathers what the rules of `evidence` need, in a number of git processes that does not grow with the history."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rye_telemetry import link_queries
from rye_telemetry.commits import patch_ids, range_patch_ids, read_commits, read_diffs
from rye_telemetry.errors import GitUnusable
from rye_telemetry.gitlink.changes import read_change
from rye_telemetry.gitlink.evidence import PICKS, Ground, Old, Range, sure_links
from rye_telemetry.gitlink.order import parting_places, places_above
from rye_telemetry.gitlink.reflog import read_entries
from rye_telemetry.lines import instant_text
from rye_telemetry.linking import named_runs
from rye_telemetry.model import is_commit_hash, utf8_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rye_telemetry.commits import Commit
    from rye_telemetry.gitlink.changes import Change
    from rye_telemetry.gitlink.repository import Repository
    from rye_telemetry.index import Index
    from rye_telemetry.model import Fields
    from rye_telemetry.store import TelemetryStore

MAX_SIDE = 20_000  # commits beside the history looked at
MAX_CHAIN = 2000  # commits of one branch
MAX_TIPS = 300
NEVER = "9999"
MAX_MAP_BYTES = 64 * 1024 * 1024
MAX_NAMED = 900  # SQLite before 3.32 takes 999 values a question
MAX_BASES = 20  # branches that merged the trunk, each of which costs a process
REWRITE_STEPS = 20


class Bounds(NamedTuple):
    """How far a search goes: linked commits looked at, and commits of the history looked at."""

    olds: int
    news: int
    asks_index: bool = False  # also linked commits of any age with the patch-id or tree of the commit itself


class Stored(NamedTuple):
    """What the index knows."""

    links: dict[str, list[Fields]]
    facts: dict[str, Fields]
    rewrites: dict[str, set[str]]


def gather(repository: Repository, tip: Commit, store: TelemetryStore, bounds: Bounds) -> Ground | None:
    """Return what there is to go by for the history of `tip`; None where no linked commit is outside of it."""
    patch_id = _patch_ids(repository, [tip]).get(tip.commit_hash) if bounds.asks_index else None
    asked = tip if bounds.asks_index else None
    stored = store.ask(lambda index: _stored(index, bounds.olds, asked, patch_id))
    entries = read_entries(repository.git_dir)
    origins = _filtered(repository) | {entry.new: entry.old for entry in entries if entry.amends}
    here = {c.commit_hash: c for c in read_commits(repository.git, _names(stored, origins))}
    ours = _ours(repository, stored, here)
    _follow_origins(origins, ours, stored)
    side = _side(repository, tip, [name for name in ours if name in here])
    olds = [
        _old(repository, name, ours[name], stored, here)
        for name in ours
        if name in side or _is_lost(repository, name, here)
    ]
    olds, places = _placed(olds, parting_places(side), here)
    olds = [old for old in olds if not old.places & places.get(tip.commit_hash, 0)]  # what stands on the tip
    if not olds and not origins:
        return None
    news, above = _news(repository, tip, olds, list(places), bounds.news)
    names = [commit.commit_hash for commit in news]
    links, more = store.ask(lambda index: (link_queries.read_links(index, names), _all_rewrites(index, names)))
    known = _patch_ids(
        repository, [*news, *(here[o.commit_hash] for o in olds if not o.patch_id and o.commit_hash in here)]
    )
    olds = [old if old.patch_id else old._replace(patch_id=known.get(old.commit_hash)) for old in olds]
    rewrites = {old: stored.rewrites.get(old, set()) | more.get(old, set()) for old in {*stored.rewrites, *more}}
    ranges = partial(_ranges, repository, tip, {old.commit_hash: old for old in olds}, side, here)
    made_here = {entry.new for entry in entries if entry.makes_commit and entry.verb == "commit"}
    return Ground(
        *(news, known, links, olds, ranges, rewrites, origins, ours, _named(news, store), made_here, above),
        partial(_changes, repository),
    )


def _filtered(repository: Repository) -> dict[str, str]:
    """Return {new: old} of what `git filter-repo` says it rewrote; not where several became one: some of them went away."""
    try:
        with open(os.path.join(repository.git_dir.common, "filter-repo", "commit-map"), "rb") as f:
            words = [line.split() for line in f.read(MAX_MAP_BYTES).decode("ascii", "replace").splitlines()]
    except OSError:
        return {}
    pairs = [(pair[0], pair[1]) for pair in words if len(pair) == 2 and all(map(is_commit_hash, pair))]
    times = Counter(new for _, new in pairs)
    return {new: old for old, new in pairs if old != new and times[new] == 1}


def _named(news: list[Commit], store: TelemetryStore) -> dict[str, list[str]]:
    """Return the recorded runs that messages name; what names others cannot be checked."""
    found = {commit.commit_hash: named for commit in news if (named := named_runs(commit.message))}
    known = known_runs(store, [run_id for named in found.values() for run_id in named])
    return {name: [run_id for run_id in named if run_id in known] for name, named in found.items()}


def known_runs(store: TelemetryStore, run_ids: list[str]) -> set[str]:
    return {run["run_id"] for run in store.runs(run_ids=run_ids[:MAX_NAMED], limit=MAX_NAMED)} if run_ids else set()


def _stored(index: Index, newest: int, asked: Commit | None, patch_id: str | None) -> Stored:
    names = link_queries.linked_commits(index, newest=newest)
    if asked is not None:
        alike = link_queries.find_commits(index, tree=asked.tree, patch_id=patch_id)[:newest]
        names = list(dict.fromkeys([*names, *(fact["commit_hash"] for fact in alike)]))
    return Stored(
        link_queries.read_links(index, names), link_queries.read_commits(index, names), _all_rewrites(index, names)
    )


def _all_rewrites(index: Index, names: Iterable[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    steps = list(names)
    for _ in range(REWRITE_STEPS):
        pairs = link_queries.read_rewrites(index, [name for name in steps if name not in found])
        for old, new in pairs:
            found.setdefault(old, set()).add(new)
        steps = [new for _, new in pairs]
        if not steps:
            break
    return found


def _follow_origins(origins: dict[str, str], ours: dict[str, list[Fields]], stored: Stored) -> None:
    """Let what a linked commit was amended into stand for it, where no hook told of that."""
    for new, old in origins.items():
        links = sure_links(ours.get(old, ()))
        if links and new not in ours:
            ours[new] = [{**link, "commit_hash": new, "evidence": "rewritten", "action": None} for link in links]
        if links:
            stored.rewrites.setdefault(old, set()).add(new)


def _placed(
    olds: list[Old], parted: dict[str, frozenset[str]], here: dict[str, Commit]
) -> tuple[list[Old], dict[str, int]]:
    """Return the old commits with where they parted from the history, and the bit of each place."""
    known = dict(parted)
    parents = {old.commit_hash: old.parents for old in olds if old.commit_hash not in parted}  # they are not here
    for name in parents:
        line = [name]
        while line[-1] in parents and line[-1] not in known and parents[line[-1]] and len(line) <= MAX_CHAIN:
            line.append(parents[line[-1]][0])
        last = line.pop()
        places = known.get(last) or frozenset([last] if last in here else [])
        known |= dict.fromkeys(line, places)
    bits: dict[str, int] = {}
    for old in olds:
        for place in known.get(old.commit_hash, ()):
            bits.setdefault(place, 1 << len(bits))
    return [old._replace(places=sum(bits[place] for place in known.get(old.commit_hash, ()))) for old in olds], bits


def _changes(repository: Repository, asked: Iterable[str]) -> dict[str, Change]:
    try:
        return {name: read_change(diff) for name, diff in read_diffs(repository.git, asked).items()}
    except GitUnusable:  # more than fits in memory
        return {}


def _names(stored: Stored, origins: dict[str, str]) -> list[str]:
    """Return the linked commits and their first parents: either shows that a repository shares their history."""
    made_of = [new for new, old in origins.items() if old in stored.links]
    parents = [fact["parents"][0] for fact in stored.facts.values() if fact["parents"]]
    return list(dict.fromkeys([*stored.links, *parents, *made_of]))


def _ours(repository: Repository, stored: Stored, here: dict[str, Commit]) -> dict[str, list[Fields]]:
    """Return the linked commits of this repository, and of others those that grew out of its history, step by step."""
    name_here, born = utf8_text(repository.name), _born(repository)
    grown: dict[str, list[str]] = {}
    for name in stored.links:
        parents = stored.facts[name]["parents"] if name in stored.facts else []
        grown.setdefault(parents[0] if parents else "", []).append(name)
    found = [
        name
        for name, links in stored.links.items()
        if name in here or any(link["repo"] == name_here and link["linked_at"] >= born for link in links)
    ]
    found += [name for parent, names in grown.items() if parent in here for name in names]
    for name in found:
        found += grown.pop(name, [])
    return {name: stored.links[name] for name in found if sure_links(stored.links[name])}


def _born(repository: Repository) -> str:
    """Return an instant at which the repository was there already; before it another may have stood at its path."""
    times = []
    for name in ("description", "config", os.path.join("info", "exclude"), os.path.join("objects", "info"), "refs"):
        with contextlib.suppress(OSError):
            times.append(os.stat(os.path.join(repository.git_dir.common, name)).st_mtime_ns)
    return instant_text(min(times)) if times else NEVER


def _is_lost(repository: Repository, name: str, here: dict[str, Commit]) -> bool:
    """Say whether a commit is not here at all; in a shallow clone it may be below, out of sight."""
    return name not in here and not os.path.exists(os.path.join(repository.git_dir.common, "shallow"))


def _old(repository: Repository, name: str, links: list[Fields], stored: Stored, here: dict[str, Commit]) -> Old:
    fact = stored.facts.get(name, {})
    commit = here.get(name)
    if commit is None:
        return Old(
            name,
            tuple(fact.get("parents") or ()),
            fact.get("tree"),
            fact.get("parent_tree"),
            fact.get("patch_id"),
            tuple(sure_links(links)),
            elsewhere=all(link["repo"] != utf8_text(repository.name) for link in links),
            made_s=_seconds_of_hook(links),
        )
    is_copy = all(link["action"] in PICKS for link in sure_links(links))
    return Old(
        name,
        tuple(commit.parents),
        commit.tree,
        commit.parent_tree,
        fact.get("patch_id"),
        tuple(sure_links(links)),
        made_s=commit.committed_s if is_copy else commit.authored_s,
        is_copy=is_copy,
    )


def _seconds_of_hook(links: list[Fields]) -> int:
    """Return when our hook saw a commit that is gone, in seconds since 1970; 0 where none did."""
    times = [link["linked_at"] for link in links if link["evidence"] == "hook"]
    return int(datetime.fromisoformat(min(times).replace("Z", "+00:00")).timestamp()) if times else 0


def _side(repository: Repository, tip: Commit, linked: list[str]) -> dict[str, list[str]]:
    """Return {commit: parents} of what is reachable from linked commits and branches, and not from the tip."""
    heads = repository.git.run("for-each-ref", "--format=%(objectname)", "refs/heads", "refs/remotes")
    starts = dict.fromkeys([*linked, *heads.out.decode("ascii", "replace").split()])
    if not starts:
        return {}
    asked = "".join(f"{name}\n" for name in [*starts, f"^{tip.commit_hash}"])
    told = repository.git.run(
        "rev-list",
        "--parents",
        "--topo-order",
        "--ignore-missing",
        f"--max-count={MAX_SIDE}",
        "--stdin",
        stdin=asked.encode(),
    )
    lines = [line.split() for line in told.out.decode("ascii", "replace").splitlines()]
    return {words[0]: words[1:] for words in lines}


def _news(
    repository: Repository, tip: Commit, olds: list[Old], places: list[str], most: int
) -> tuple[list[Commit], dict[str, int]]:
    """Return the commits of the tip's history since it parted from the old ones, newest first; and what stands on them."""
    base: list[str] = []
    if places and all(old.places for old in olds):
        parted = repository.git.run("merge-base", "--octopus", tip.commit_hash, *places)
        base = [f"^{name}" for name in parted.out.decode("ascii", "replace").split()]
    told = repository.git.run(
        "rev-list", "--parents", "--topo-order", f"--max-count={most}", tip.commit_hash, *base, "--"
    )
    lines = [line.split() for line in told.out.decode("ascii", "replace").splitlines()]
    history = {words[0]: words[1:] for words in lines}
    return read_commits(repository.git, list(history)), places_above(history, places)


def _patch_ids(repository: Repository, commits: list[Commit]) -> dict[str, str]:
    try:
        return patch_ids(repository.git, commits)
    except GitUnusable:  # more than fits in memory: the trees have to do
        return {}


# -- ranges


def _ranges(  # noqa: PLR0913, PLR0917 (what was gathered so far)
    repository: Repository,
    tip: Commit,
    olds: dict[str, Old],
    side: dict[str, list[str]],
    here: dict[str, Commit],
    rest: list[Commit],
) -> list[Range]:
    """Return what chains of commits beside the history change, each up to a linked commit or a branch's tip.

    Only of those that change the same files as one of `rest` is the change itself looked at.
    """
    squashes = [commit for commit in rest if commit.has_whole_diff and commit.parent_tree != commit.tree]
    if not squashes:
        return []
    found = _with_trees(repository, _chains(repository, tip, olds, side), here)
    names = _changed_names(repository, [*(c.commit_hash for c in squashes), *(f"{b} {t}" for b, t, _ in found)])
    wanted = {names.get(commit.commit_hash) for commit in squashes} - {None}
    found = [one for one in found if names.get(f"{one[0]} {one[1]}") in wanted]
    try:
        known = range_patch_ids(repository.git, dict.fromkeys((base, tree) for base, tree, _ in found))
    except GitUnusable:
        known = {}
    bases: dict[str, set[str]] = {}
    for base, tree, _ in found:
        bases.setdefault(tree, set()).add(base)
    return [
        Range(linked, base, tree, known.get(tree) if len(bases[tree]) == 1 else None) for base, tree, linked in found
    ]


def _chains(
    repository: Repository, tip: Commit, olds: dict[str, Old], side: dict[str, list[str]]
) -> list[tuple[str, str, tuple[Old, ...]]]:
    """Return (commit below, last commit, linked ones) of each chain of two or more with a linked one."""
    inner = {parent for parents in side.values() for parent in parents}
    tips = [name for name in side if name in olds or name not in inner][:MAX_TIPS]
    found: list[tuple[str, str, tuple[Old, ...]]] = []
    merging = 0
    for name in tips:
        chain, borders = _chain(name, side)
        linked = tuple(olds[commit] for commit in chain if commit in olds)
        if not linked or len(chain) < 2:
            continue
        if len(borders) > 1:
            merging += 1
            if merging > MAX_BASES:
                continue
            parted = repository.git.run("merge-base", tip.commit_hash, name)
            borders = set(parted.out.decode("ascii", "replace").split()[:1])
        if len(borders) == 1:
            found.append((borders.pop(), name, linked))
    return found


def _chain(name: str, side: dict[str, list[str]]) -> tuple[list[str], set[str]]:
    """Return the commits from `name` down to the history, and those of the history that they stand on."""
    chain = [name]
    seen = {name}
    borders: set[str] = set()
    for commit in chain:
        for parent in side[commit]:
            if parent not in side:
                borders.add(parent)
            elif parent not in seen:
                seen.add(parent)
                chain.append(parent)
        if len(chain) > MAX_CHAIN:
            return [], set()
    return chain, borders


def _with_trees(
    repository: Repository, found: list[tuple[str, str, tuple[Old, ...]]], here: dict[str, Commit]
) -> list[tuple[str, str, tuple[Old, ...]]]:
    """Return the same with trees in the place of commits; a chain that changes nothing is left out."""
    wanted = {name for base, last, _ in found for name in (base, last)} - here.keys()
    trees = {name: commit.tree for name, commit in here.items()}
    trees |= {c.commit_hash: c.tree for c in read_commits(repository.git, sorted(wanted))} if wanted else {}
    pairs = [(trees[base], trees[last], linked) for base, last, linked in found if base in trees and last in trees]
    return [pair for pair in pairs if pair[0] != pair[1]]


def _changed_names(repository: Repository, asked: list[str]) -> dict[str, bytes]:
    """Return {commit, or `tree tree`: the names of the files that change}, by tree alone."""
    told = repository.git.run(
        *("diff-tree", "--stdin", "-r", "--root", "--name-only", "-z", "--no-renames"),
        stdin="".join(f"{name}\n" for name in dict.fromkeys(asked)).encode(),
    )
    heads = {name.encode() for name in asked}
    names: dict[str, list[bytes]] = {}
    current: list[bytes] = []
    for part in told.out.replace(b"\n", b"\0").split(b"\0"):
        if part in heads:
            current = names.setdefault(part.decode("ascii"), [])
        elif part:
            current.append(part)
    return {name: b"\0".join(files) for name, files in names.items()}
