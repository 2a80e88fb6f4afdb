"""What finds a linked commit again, for those linked commits of which it is not known yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rye_telemetry import link_queries
from rye_telemetry.commits import patch_ids, read_commits
from rye_telemetry.errors import GitUnusable
from rye_telemetry.linking import commit_line
from rye_telemetry.store import TelemetryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rye_telemetry.gitrun import Git
    from rye_telemetry.index import Index
    from rye_telemetry.linking import Line

MAX_COMMITS = 5000


def missing_facts(git: Git, repo: str, commits: Sequence[str], *, state_dir: str) -> list[Line]:
    """Return the `commit` lines of those commits that are linked and not described."""
    with TelemetryStore(state_dir) as store:
        if not store.projector.acquire():  # who holds the lock may hold it for long; a later look finds them too
            return []
        store.projector.lock.release()
        wanted = store.ask(lambda index: undescribed(index, commits))
    return described(git, repo, wanted)


def undescribed(index: Index, commits: Sequence[str]) -> list[str]:
    """Return those of the commits that are linked and of which no tree is known."""
    linked = link_queries.read_links(index, commits)
    known = link_queries.read_commits(index, linked)
    return [name for name in commits if name in linked and not known.get(name, {}).get("tree")]


def described(git: Git, repo: str, wanted: Sequence[str]) -> list[Line]:
    """Return the `commit` lines of those commits that are there, in three git processes."""
    if not wanted:
        return []
    commits = read_commits(git, wanted[:MAX_COMMITS])
    try:
        known = patch_ids(git, commits)
    except GitUnusable:  # too large a change to wait for
        known = {}
    return [commit_line(c, repo=repo, branch=None, patch_id=known.get(c.commit_hash)) for c in commits]
