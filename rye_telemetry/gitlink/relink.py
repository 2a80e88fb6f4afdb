"""`commits relink`: what a range became, said by whoever knows it, such as CI after a forge's squash."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rye_telemetry.commits import patch_ids, range_patch_ids, read_commits
from rye_telemetry.errors import CommitUnknown, UsageInvalid
from rye_telemetry.gitlink.evidence import sure_links
from rye_telemetry.gitlink.repository import is_range
from rye_telemetry.lines import instant_text
from rye_telemetry.linking import commit_line, link_line

if TYPE_CHECKING:
    from rye_telemetry.commits import Commit
    from rye_telemetry.gitlink.repository import Repository
    from rye_telemetry.linking import Line
    from rye_telemetry.model import Fields
    from rye_telemetry.store import TelemetryStore


def relink(store: TelemetryStore, repository: Repository, *, revisions: str, onto: str, dry_run: bool) -> Fields:
    """Link every run of a range to one commit: `range-patch-id` where that makes the same change, else `explicit`.

    Returns `commit`, `linked`, `evidence`, `looked_at` (commits of the range) and `dry_run`. CommitUnknown for a range or
    commit that is not there; a range without a run is nothing to link: CI relinks what people merge, too.
    """
    if not is_range(revisions):
        raise UsageInvalid(f"{revisions!r} is no range: write one such as main..HEAD")
    target = repository.commit(onto)
    names = [listed.commit_hash for listed in repository.list_commits(revisions)]
    if not names:
        raise CommitUnknown(f"{revisions!r} holds no commits: is it the other way round?")
    found = {name: sure_links(links) for name, links in store.links(names).items() if name != target.commit_hash}
    evidence = "range-patch-id" if _is_same_change(repository, names, target) else "explicit"
    known = {link["run_id"] for link in sure_links(store.links([target.commit_hash]).get(target.commit_hash, ()))}
    links = {link["run_id"]: link for name in reversed(names) for link in found.get(name, ())}
    new = [link for run_id, link in links.items() if run_id not in known]
    if new and not dry_run:
        store.record_lines(_lines(repository, target, new, evidence))
        store.publish()
    return {
        "commit": target.commit_hash,
        "evidence": evidence,
        "linked": [_said(target, link, evidence) for link in new],
        "looked_at": len(names),
        "dry_run": dry_run,
    }


def _is_same_change(repository: Repository, names: list[str], target: Commit) -> bool:
    """Compare the range as a whole, from below its first commit to its last."""
    commits = {commit.commit_hash: commit for commit in read_commits(repository.git, names)}
    if len(commits) < len(names):
        return False
    below = {parent for commit in commits.values() for parent in commit.parents} - commits.keys()
    base = (
        repository.git.run("merge-base", "--octopus", names[0], *sorted(below)).out.decode("ascii", "replace").split()
    )
    parents = read_commits(repository.git, base[:1])
    if not parents:
        return False
    tip = commits[names[0]]
    whole = range_patch_ids(repository.git, [(parents[0].tree, tip.tree)]).get(tip.tree)
    return whole is not None and whole == patch_ids(repository.git, [target]).get(target.commit_hash)


def _lines(repository: Repository, target: Commit, links: list[Fields], evidence: str) -> list[Line]:
    patch_id = patch_ids(repository.git, [target]).get(target.commit_hash)
    return [
        commit_line(target, repo=repository.name, branch=None, patch_id=patch_id),
        *(
            link_line(
                link["run_id"],
                target.commit_hash,
                repo=repository.name,
                evidence=evidence,
                source=link["commit_source"],
                author=link["commit_author"],
                linked_at=instant_text(time.time_ns()),
                from_commit=link["commit_hash"],
            )
            for link in links
        ),
    ]


def _said(target: Commit, link: Fields, evidence: str) -> Fields:
    return {
        "commit": target.commit_hash,
        "run_id": link["run_id"],
        "item_type": link["item_type"],
        "item_id": link["item_id"],
        "evidence": evidence,
        "from_commit": link["commit_hash"],
    }
