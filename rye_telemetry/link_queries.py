"""Questions to an open index about commits: their runs, what finds them again, and which runs might have made them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rye_telemetry.lines import decode_json
from rye_telemetry.links import COMMIT_COLUMNS, LINK_COLUMNS
from rye_telemetry.model import EVIDENCE, utf8_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeVar

    from rye_telemetry.index import Index
    from rye_telemetry.model import Fields

    Value = TypeVar("Value")

AT_ONCE = 500  # SQLite before 3.32 takes 999 values a question
OF_RUN = ("outcome", "started_at", "duration_ms", "agent", "model", "workflow", "session_id")
_RANK = {evidence: rank for rank, evidence in enumerate(EVIDENCE)}
_SELECT_LINKS = (
    "SELECT "  # noqa: S608 (constants)
    + ", ".join(f"links.{name}" for name in LINK_COLUMNS)
    + ", items.item_type, items.item_id, "
    + ", ".join(f"runs.{name}" for name in OF_RUN)
    + " FROM links LEFT JOIN runs USING (run_id) LEFT JOIN items USING (item)"
)
_LINK_KEYS = (*LINK_COLUMNS, "item_type", "item_id", *OF_RUN)
LATEST = "9999"
_EARLIER_LOOKED_AT = 1000  # runs of a repository that began before one that they may have gone beside


def read_links(index: Index, commits: Iterable[str]) -> dict[str, list[Fields]]:
    """Return {commit: links}, one a run, of those commits that have any; candidates have `contested_by`."""
    return _links(index, "commit_hash", commits, by="commit_hash")


def by_strength(evidence: Iterable[str]) -> list[str]:
    """Return evidence, the strongest first."""
    return sorted(evidence, key=_RANK.__getitem__)


def read_briefly(index: Index, run_id: str) -> Fields:
    """Return what a link shows of its run; None for each of it when the run is not recorded here."""
    names = ", ".join(("item_type", "item_id", *(f"runs.{name}" for name in OF_RUN)))
    question = f"SELECT {names} FROM runs JOIN items USING (item) WHERE run_id=?"  # noqa: S608 (constants)
    row = index.db.execute(question, (run_id,)).fetchone()
    keys = ("item_type", "item_id", *OF_RUN)
    return dict(zip(keys, row or [None] * len(keys), strict=True))


def read_links_of_runs(index: Index, run_ids: Iterable[str]) -> dict[str, list[Fields]]:
    """Return {run id: links}, one a commit."""
    return _links(index, "run_id", run_ids, by="run_id")


def _links(index: Index, column: str, values: Iterable[str], *, by: str) -> dict[str, list[Fields]]:
    found: dict[tuple[str, str], Fields] = {}
    for some in _portions(list(values)):
        question = f"{_SELECT_LINKS} WHERE links.{column} IN ({_places(some)})"
        for row in index.db.execute(question, [utf8_text(value) for value in some]):
            link: Fields = dict(zip(_LINK_KEYS, row))  # noqa: B905 (strict costs a tenth of it all)
            link["all_evidence"] = [row[2]]
            known = found.setdefault(row[:2], link)
            if known is not link:
                _merge(known, link)
    grouped: dict[str, list[Fields]] = {}
    for link in found.values():
        if link["contested_by"] is not None:
            link["contested_by"] = decode_json(link["contested_by"])
        if len(link["all_evidence"]) > 1:
            link["all_evidence"].sort(key=_RANK.__getitem__)
        grouped.setdefault(link[by], []).append(link)
    for links in grouped.values():
        if len(links) > 1:
            links.sort(key=lambda link: (link["started_at"] or "", link["run_id"], link["commit_hash"]))
    return grouped


def _merge(known: Fields, other: Fields) -> None:
    """Make one link of two that say the same by other evidence: the strongest shows, what a user said of it counts."""
    known["all_evidence"].append(other["evidence"])
    if other["contested_by"] is None:
        known["contested_by"] = None
    stronger = _RANK[other["evidence"]] < _RANK[known["evidence"]]
    if stronger:
        known["evidence"] = other["evidence"]
        known["linked_at"], known["from_commit"] = other["linked_at"], other["from_commit"]
    said = "explicit" in (known["all_evidence"][:-1])
    if other["evidence"] == "explicit" or (stronger and not said):
        known["commit_source"] = other["commit_source"] or known["commit_source"]
        known["commit_author"] = other["commit_author"] or known["commit_author"]


def read_commits(index: Index, commits: Iterable[str]) -> dict[str, Fields]:
    """Return {commit: facts} of those that are known."""
    return {fact["commit_hash"]: fact for fact in _facts(index, "commit_hash", commits)}


def find_commits(index: Index, *, tree: str | None, patch_id: str | None) -> list[Fields]:
    """Return the facts of linked commits with this tree or this patch-id."""
    found = _facts(index, "tree", [tree] if tree else []) + _facts(index, "patch_id", [patch_id] if patch_id else [])
    return list({fact["commit_hash"]: fact for fact in found}.values())


def _facts(index: Index, column: str, values: Iterable[str]) -> list[Fields]:
    found = []
    for some in _portions(list(values)):
        names = ", ".join(COMMIT_COLUMNS)
        question = f"SELECT {names} FROM commits WHERE {column} IN ({_places(some)})"  # noqa: S608 (constants)
        for row in index.db.execute(question, list(some)):
            fact: Fields = dict(zip(COMMIT_COLUMNS, row, strict=True))
            fact["parents"] = decode_json(fact["parents"]) if fact["parents"] else []
            found.append(fact)
    return found


def linked_commits(index: Index, *, newest: int) -> list[str]:
    """Return the commits that were linked last, newest first, candidates apart."""
    question = (
        "SELECT commit_hash FROM links WHERE contested_by IS NULL"
        " GROUP BY commit_hash ORDER BY max(linked_at) DESC, commit_hash LIMIT ?"
    )
    return [row[0] for row in index.db.execute(question, (newest,))]


def read_rewrites(index: Index, commits: Iterable[str]) -> list[tuple[str, str]]:
    """Return (old, new) of each rewrite whose old commit is one of these."""
    found: list[tuple[str, str]] = []
    for some in _portions(list(commits)):
        question = f"SELECT old, new FROM rewrites WHERE old IN ({_places(some)}) ORDER BY old, new"  # noqa: S608 (constants)
        found += index.db.execute(question, list(some))
    return found


def latest_runs(index: Index, repo: str, *, limit: int, unlinked: bool) -> list[str]:
    """Return the ids of the newest runs of a repository, of those without a commit where `unlinked`."""
    where = " AND NOT EXISTS (SELECT 1 FROM links WHERE links.run_id=runs.run_id)" if unlinked else ""
    question = f"SELECT run_id FROM runs WHERE git_repo=?{where} ORDER BY started_at DESC, run_id DESC LIMIT ?"  # noqa: S608 (constants)
    return [row[0] for row in index.db.execute(question, (utf8_text(repo), limit))]


def runs_beside(index: Index, run: Fields) -> list[str]:
    """Return the runs that went on at the same time in the same worktree, those around it and inside it apart."""
    repo, began, ended = utf8_text(run["git_repo"]), run["started_at"], run.get("ended_at") or LATEST
    names = "run_id, parent_run_id, ended_at, outcome, git_worktree"
    during = f"SELECT {names} FROM runs WHERE git_repo=? AND started_at>=? AND started_at<=? ORDER BY started_at"  # noqa: S608 (constants)
    earlier = f"SELECT {names} FROM runs WHERE git_repo=? AND started_at<? ORDER BY started_at DESC LIMIT ?"  # noqa: S608 (constants)
    rows = [
        *index.db.execute(earlier, (repo, began, _EARLIER_LOOKED_AT)),
        *index.db.execute(during, (repo, began, ended)),
    ]
    nested = _around(index, run) | _inside(rows, run["run_id"])
    worktree = run.get("git_worktree")
    worktree = None if worktree is None else utf8_text(worktree)
    return [
        run_id
        for run_id, _, end, outcome, where in rows
        if run_id not in nested and where == worktree and (outcome == "running" or (end or "") >= began)
    ]


def _inside(rows: list[tuple[str, str | None, str | None, str, str | None]], run_id: str) -> set[str]:
    """Return the run and those that are nested in it."""
    inside: set[str] = set()
    more = {run_id}
    while more:
        inside |= more
        more = {row[0] for row in rows if row[1] in more} - inside
    return inside


def _around(index: Index, run: Fields) -> set[str]:
    """Return the run and those that it is nested in."""
    around: set[str] = set()
    run_id: str | None = run["run_id"]
    parent: str | None = run.get("parent_run_id")
    while run_id is not None and run_id not in around:
        around.add(run_id)
        run_id = parent
        row = index.db.execute("SELECT parent_run_id FROM runs WHERE run_id=?", (run_id,)).fetchone()
        parent = row[0] if row else None
    return around


def _places(values: Sequence[str]) -> str:
    return ",".join("?" * len(values))


def _portions(values: list[Value]) -> Iterator[list[Value]]:
    for start in range(0, len(values), AT_ONCE):
        yield values[start : start + AT_ONCE]
