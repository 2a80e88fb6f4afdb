"""Commits that a run made and no hook saw: evidence `head-moved`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from rye_telemetry import link_queries
from rye_telemetry.commits import patch_ids, read_commits
from rye_telemetry.errors import GitUnusable
from rye_telemetry.gitdir import read_regular
from rye_telemetry.gitrun import Git, clean_environment
from rye_telemetry.lines import instant_text
from rye_telemetry.linking import commit_line, guess_source, link_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rye_telemetry.commits import Commit
    from rye_telemetry.gitdir import GitDir
    from rye_telemetry.gitlink.reflog import Entry
    from rye_telemetry.index import Index
    from rye_telemetry.linking import Line
    from rye_telemetry.model import Fields
    from rye_telemetry.store import TelemetryStore

WAIT_S = 2.0  # that a run's end may take over one look at its commits
MAX_DIFF_BYTES = 64 * 1024 * 1024
OUR_MARK = b"rye-telemetry"


def link_entries(
    entries: list[Entry], found: GitDir, run: Fields, store: TelemetryStore, env: Mapping[str, str]
) -> None:
    """Record links, rewrites and facts of what the entries made; the links first, for a large change takes its time.

    Where our post-commit hook is in place, what it was silent about was not made by the run, so only that counts for
    which git runs no such hook. What another run has a better claim to is left to it, and what another run of the same
    worktree may have made as well is said to be contested.
    """
    git = Git(found.worktree or found.directory, clean_environment(env), limit_bytes=MAX_DIFF_BYTES, wait_s=WAIT_S)
    made = [entry for entry in entries if entry.makes_commit]
    now = instant_text(time.time_ns())
    lines = _rewrites(made, found.name, now)
    if _has_our_hook(git):
        made = [entry for entry in made if not entry.runs_post_commit]
    verbs = {entry.new: entry.verb for entry in made}
    names, beside = store.ask(lambda index: _unclaimed(index, list(verbs), run)) if verbs else ([], [])
    commits = read_commits(git, names)
    lines += [
        link_line(
            run["run_id"],
            commit.commit_hash,
            repo=found.name,
            evidence="head-moved",
            source=guess_source(commit, env),
            author=commit.author,
            linked_at=now,
            contested_by=beside,
            action=verbs[commit.commit_hash],
        )
        for commit in commits
    ]
    store.record_lines(lines)
    store.record_lines(_facts(git, found.name, run.get("git_branch"), commits))


def _facts(git: Git, repo: str, branch: str | None, commits: list[Commit]) -> list[Line]:
    try:
        known = patch_ids(git, commits)
    except GitUnusable:  # too large a change to wait for
        known = {}
    return [commit_line(c, repo=repo, branch=branch, patch_id=known.get(c.commit_hash)) for c in commits]


def _rewrites(made: list[Entry], repo: str, now: str) -> list[Line]:
    pairs = [[entry.old, entry.new] for entry in made if entry.amends]
    return [("rewrite", {"repo": repo, "by": "amend", "rewrites": pairs, "rewritten_at": now})] if pairs else []


def _has_our_hook(git: Git) -> bool:
    folder = os.fsdecode(git.run("rev-parse", "--git-path", "hooks").out).rstrip("\n")
    if folder in ("", "./"):  # core.hooksPath is empty: git runs none
        return False
    path = os.path.join(git.cwd or ".", folder, "post-commit")
    return os.access(path, os.X_OK) and OUR_MARK in read_regular(path, 0, 1 << 16)


def _unclaimed(index: Index, names: list[str], run: Fields) -> tuple[list[str], list[str]]:
    """Return the commits that no hook, and no run inside this one, has claimed; and the runs that might claim them too."""
    beside = link_queries.runs_beside(index, run)
    links = link_queries.read_links(index, names)
    taken = {
        name
        for name, claims in links.items()
        for claim in claims
        if claim["run_id"] != run["run_id"]
        and (
            "hook" in claim["all_evidence"] or ("head-moved" in claim["all_evidence"] and claim["run_id"] not in beside)
        )
    }
    return [name for name in names if name not in taken], beside
