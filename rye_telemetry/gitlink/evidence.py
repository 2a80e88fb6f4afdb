"""Which linked commits a commit was made from: rules over what was gathered, without git and without the store.

A wrong link is worse than none. So a rule that finds two old commits of different runs, or two new ones, decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rye_telemetry.gitlink.changes import is_same, is_sum
from rye_telemetry.gitlink.doubts import differ, heirs, latest, may_become

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeVar

    from rye_telemetry.commits import Commit
    from rye_telemetry.gitlink.changes import Change
    from rye_telemetry.model import Fields

    Value = TypeVar("Value")

# Links by these actions say who put the commit here; who wrote the change may be another.
PICKS = ("cherry-pick", "rebase", "am")
DIRECT = ("hook", "head-moved")
MAX_PARTS = 10  # of one commit that was split


class Old(NamedTuple):
    """A linked commit that is not in the history looked at; `patch_id` is None where it cannot tell changes apart."""

    commit_hash: str
    parents: tuple[str, ...]
    tree: str | None
    parent_tree: str | None
    patch_id: str | None
    links: tuple[Fields, ...]
    elsewhere: bool = False  # it never was in this repository, only what came of it may be
    places: int = 0  # where it parted from the history, in the bits of `Ground.above`
    made_s: int = 0  # no later than this it was there; 0: nobody knows
    is_copy: bool = False  # all that is known is who put it there, by picking it

    @property
    def runs(self) -> frozenset[str]:
        return frozenset(link["run_id"] for link in self.links)


class Range(NamedTuple):
    """Commits one after the other, linked ones among them, and the change that they make together."""

    olds: tuple[Old, ...]
    base_tree: str
    tree: str
    patch_id: str | None

    @property
    def runs(self) -> frozenset[str]:
        return frozenset(run for old in self.olds for run in old.runs)


class Ground(NamedTuple):
    """What there is to go by. `news` are commits of the history looked at, newest first, with their links."""

    news: list[Commit]
    patch_ids: dict[str, str]
    links: dict[str, list[Fields]]
    olds: list[Old]
    ranges: Callable[
        [list[Commit]], list[Range]
    ]  # those that may be one of these commits; it costs, so it is asked late
    rewrites: dict[str, set[str]]  # old to new, as git told
    origins: dict[str, str]  # new to old, as HEAD's reflog says of amends, and filter-repo of what it rewrote
    linked: dict[str, list[Fields]]  # of every linked commit of this repository, old or not
    named: dict[str, list[str]]  # recorded runs that a commit's message names
    made_here: set[str]  # by `git commit`, as HEAD's reflog says
    above: dict[str, int]  # of the places where old ones parted from the history, which stand on a commit or are it
    changes: Callable[
        [Iterable[str]], dict[str, Change]
    ]  # of commits, and of `tree tree`; it costs, so it is asked late


class Match(NamedTuple):
    """A commit, and the linked ones it was made from; or the run that it names itself."""

    commit: Commit
    evidence: str
    olds: tuple[Old, ...]
    run_ids: tuple[str, ...] = ()


class Decided(NamedTuple):
    """What is certain, and what is not."""

    matches: list[Match]
    candidates: list[Match]


def sure_links(links: Iterable[Fields]) -> list[Fields]:
    return [link for link in links if not link["contested_by"]]


def is_open(links: Iterable[Fields]) -> bool:
    """Say whether a commit's runs are still looked for: none is known, or only who picked it."""
    return all(link["evidence"] in DIRECT and link["action"] in PICKS for link in sure_links(links))


def decide(ground: Ground) -> Decided:
    """Apply the rules, the strongest first; a commit that one of them explains is left alone by the next."""
    decided = Decided([], [])
    rest = [commit for commit in ground.news if is_open(ground.links.get(commit.commit_hash, ()))]
    settled = _settled(ground)
    for rule in (_by_origin, _by_trailer, _by_patch_id, _by_tree, _by_range, _by_split):
        rule(ground, rest, settled, decided)
        done = {match.commit.commit_hash for match in (*decided.matches, *decided.candidates)}
        rest = [commit for commit in rest if commit.commit_hash not in done]
        if rule is _by_tree:  # a squash may name the run of one of its parts alone
            rest += [match.commit for match in decided.matches if match.evidence == "trailer"]
        settled |= {old.commit_hash for match in decided.matches for old in match.olds}
    return decided


def _settled(ground: Ground) -> set[str]:
    """Return the old commits of which it is known already what became of them in this history."""
    here = {commit.commit_hash for commit in ground.news}
    by_rewrite = {old.commit_hash for old in ground.olds if heirs(old.commit_hash, ground.rewrites) & here}
    return by_rewrite | {
        link["from_commit"] for links in ground.links.values() for link in links if link["from_commit"]
    }


def _by_origin(ground: Ground, rest: list[Commit], _settled: set[str], decided: Decided) -> None:
    for commit in rest:
        old: str | None = ground.origins.get(commit.commit_hash)
        seen: set[str] = set()
        while old is not None and old not in seen:
            seen.add(old)
            links = sure_links(ground.linked.get(old, ()))
            if links:
                known = Old(old, (), None, None, None, tuple(links))
                decided.matches.append(Match(commit, "rewritten", (known,)))
                break
            old = ground.origins.get(old)


def _by_trailer(ground: Ground, rest: list[Commit], _settled: set[str], decided: Decided) -> None:
    for commit in rest:
        named = ground.named.get(commit.commit_hash)
        if named:
            decided.matches.append(Match(commit, "trailer", (), tuple(named)))


def _by_patch_id(ground: Ground, rest: list[Commit], settled: set[str], decided: Decided) -> None:
    wanted = {name: patch_id for name, patch_id in ground.patch_ids.items() if patch_id}
    _by_key(
        ground,
        rest,
        settled,
        decided,
        evidence="patch-id",
        news={commit.commit_hash: wanted.get(commit.commit_hash) for commit in ground.news},
        olds={old.commit_hash: old.patch_id for old in ground.olds},
    )


def _by_tree(ground: Ground, rest: list[Commit], settled: set[str], decided: Decided) -> None:
    """The tree alone lies after a reorder; and an empty commit has its parent's, as any other on it would."""

    def key(tree: str | None, parent_tree: str | None) -> str | None:
        return f"{parent_tree} {tree}" if tree and tree != parent_tree else None

    whole = {c.commit_hash: key(c.tree, c.parent_tree) if c.has_whole_diff else None for c in ground.news}
    olds = {old.commit_hash: key(old.tree, old.parent_tree) if len(old.parents) <= 1 else None for old in ground.olds}
    _by_key(ground, rest, settled, decided, evidence="tree", news=whole, olds=olds)


def _by_key(  # noqa: PLR0913 (what is compared, and where)
    ground: Ground,
    rest: list[Commit],
    settled: set[str],
    decided: Decided,
    *,
    evidence: str,
    news: Mapping[str, str | None],
    olds: Mapping[str, str | None],
) -> None:
    """Bring together old and new commits with the same key, where each finds one counterpart."""
    alike = _grouped((olds[old.commit_hash], old) for old in ground.olds if old.commit_hash not in settled)
    here = _grouped((news[commit.commit_hash], commit) for commit in ground.news)
    pairs = [
        (old, commit)
        for key in alike.keys() & here.keys()
        for old in alike[key]
        for commit in here[key]
        if may_become(old, commit, ground) and not (old.elsewhere and commit.commit_hash in ground.made_here)
    ]
    if evidence == "patch-id":
        changes = ground.changes(name for pair in pairs for name in (pair[0].commit_hash, pair[1].commit_hash))
        pairs = [(old, commit) for old, commit in pairs if not differ(old, commit, changes)]
    olds_of = _grouped((commit.commit_hash, old) for old, commit in pairs)
    news_of = _grouped((old.commit_hash, commit) for old, commit in pairs)
    for commit in rest:
        found = latest(olds_of.get(commit.commit_hash, ()), ground.rewrites)
        if found:
            alone = all(len(news_of[old.commit_hash]) == 1 for old in found)
            one = len({old.runs for old in found}) == 1 and alone
            kind = decided.matches if one else decided.candidates
            kind.append(Match(commit, evidence, tuple(found[:1] if one else found)))


def _grouped(keyed: Iterable[tuple[str | None, Value]]) -> dict[str, list[Value]]:
    found: dict[str, list[Value]] = {}
    for key, value in keyed:
        if key:
            found.setdefault(key, []).append(value)
    return found


def _by_range(ground: Ground, rest: list[Commit], settled: set[str], decided: Decided) -> None:
    """A squash makes the change of the commits that went into it."""
    free = [one for one in ground.ranges(rest) if not any(old.commit_hash in settled for old in one.olds)]
    fits = {
        commit.commit_hash: [
            one
            for one in free
            if _is_squash(commit, ground.patch_ids.get(commit.commit_hash), one)
            and all(may_become(old, commit, ground) for old in one.olds)
        ]
        for commit in rest
    }
    fits = _to_the_letter(ground, rest, fits)
    for commit in rest:
        found = fits[commit.commit_hash]
        if not found:
            continue
        names = {old.commit_hash for one in found for old in one.olds}
        alone = not any(
            names & {old.commit_hash for one in fits[other.commit_hash] for old in one.olds}
            for other in rest
            if other is not commit and fits[other.commit_hash]
        )
        olds = {old.commit_hash: old for one in found for old in one.olds}
        one_answer = len({one.runs for one in found}) == 1 and alone
        kind = decided.matches if one_answer else decided.candidates
        kind.append(Match(commit, "range-patch-id", found[0].olds if one_answer else tuple(olds.values())))


def _to_the_letter(ground: Ground, rest: list[Commit], fits: dict[str, list[Range]]) -> dict[str, list[Range]]:
    """Leave out those squashes of which only the patch-id is the same."""
    found = {commit.commit_hash: commit for commit in rest if fits[commit.commit_hash]}
    wholes = {f"{one.base_tree} {one.tree}" for name in found for one in fits[name]}
    changes = ground.changes([*found, *wholes])

    def is_it(commit: Commit, one: Range) -> bool:
        ours, theirs = changes.get(commit.commit_hash), changes.get(f"{one.base_tree} {one.tree}")
        same_trees = (commit.parent_tree, commit.tree) == (one.base_tree, one.tree)
        return same_trees or ours is None or theirs is None or is_same(ours, theirs)

    return {name: [one for one in several if is_it(found[name], one)] for name, several in fits.items()}


def _is_squash(commit: Commit, patch_id: str | None, one: Range) -> bool:
    if not commit.has_whole_diff or commit.tree == commit.parent_tree:
        return False
    if patch_id is not None and patch_id == one.patch_id:
        return True
    return (commit.parent_tree, commit.tree) == (one.base_tree, one.tree)


def _by_split(ground: Ground, rest: list[Commit], settled: set[str], decided: Decided) -> None:
    """Commits one after the other, from an old commit's parent to exactly its tree, are what it was split into.

    Git's own map names the last part alone, so an old commit that was rewritten into that is looked at too.
    """
    spare = {commit.commit_hash for commit in rest}
    splits: dict[str, list[tuple[Old, list[Commit]]]] = {}
    for old, parts in _whole_splits(ground, _splits(ground, settled, spare)):
        splits.setdefault(parts[0].commit_hash, []).append((old, parts))
    for several in splits.values():
        found = latest((old for old, _ in several), ground.rewrites)
        one = len({old.runs for old in found}) == 1
        for part in several[0][1]:
            if part.commit_hash in spare:
                kind = decided.matches if one else decided.candidates
                kind.append(Match(part, "range-patch-id", tuple(found[:1] if one else found)))
                spare.discard(part.commit_hash)


def _splits(ground: Ground, settled: set[str], spare: set[str]) -> list[tuple[Old, list[Commit]]]:
    """Return old commits, each with commits that lead from its parent to its tree, the last one first."""
    known = {commit.commit_hash: commit for commit in ground.news}
    lasts = _grouped((commit.tree, commit) for commit in ground.news)
    found = []
    for old in ground.olds:
        if len(old.parents) != 1 or not old.tree or old.tree == old.parent_tree:
            continue
        ends = heirs(old.commit_hash, ground.rewrites) if old.commit_hash in settled else spare
        for last in lasts.get(old.tree, ()):
            parts = _parts(last, old.parents[0], known, spare) if last.commit_hash in ends else []
            if parts and all(may_become(old, part, ground) for part in parts):
                found.append((old, parts))
    return found


def _whole_splits(ground: Ground, splits: list[tuple[Old, list[Commit]]]) -> list[tuple[Old, list[Commit]]]:
    """Leave out what goes a way round to the same tree."""
    wholes = {old.commit_hash: f"{old.parent_tree} {old.tree}" for old, _ in splits}
    changes = ground.changes([*wholes.values(), *(part.commit_hash for _, parts in splits for part in parts)])
    return [
        (old, parts)
        for old, parts in splits
        if (whole := changes.get(wholes[old.commit_hash]))
        and is_sum(whole, [changes[part.commit_hash] for part in parts if part.commit_hash in changes])
    ]


def may_be_part(commit: Commit, ground: Ground) -> bool:
    """Say whether commits that come after this one in another history could make it a part of a split."""
    known = {other.commit_hash: other for other in ground.news}
    bases = {old.parents[0] for old in ground.olds if len(old.parents) == 1}
    steps: Commit | None = commit
    for _ in range(MAX_PARTS):
        if steps is None or len(steps.parents) != 1:
            return False
        if steps.parents[0] in bases:
            return True
        steps = known.get(steps.parents[0])
    return False


def _parts(last: Commit, base: str, known: Mapping[str, Commit], spare: set[str]) -> list[Commit]:
    """Return the two or more commits from behind `base` to `last`, all of them unexplained but the last."""
    parts = [last]
    while len(parts) <= MAX_PARTS:
        first = parts[-1]
        if len(first.parents) != 1 or (first is not last and first.commit_hash not in spare):
            return []
        if first.parents[0] == base:
            return parts if len(parts) > 1 else []
        if first.parents[0] not in known:
            return []
        parts.append(known[first.parents[0]])
    return []
