"""Linking a run to a commit because somebody says so."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from rye_telemetry.commits import patch_ids, read_commits, resolve
from rye_telemetry.errors import CommitUnknown
from rye_telemetry.gitdir import find_git
from rye_telemetry.gitrun import Git, clean_environment
from rye_telemetry.lines import instant_text
from rye_telemetry.linking import check_author, check_source, commit_line, guess_source, is_linked, link_line
from rye_telemetry.model import is_commit_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Protocol

    from rye_telemetry.commits import Commit
    from rye_telemetry.linking import Line
    from rye_telemetry.model import Fields

    class Store(Protocol):
        def run(self, prefix: str) -> Fields: ...
        def links(self, commits: Iterable[str]) -> dict[str, list[Fields]]: ...
        def record_lines(self, lines: Iterable[Line]) -> None: ...
        def publish(self) -> None: ...


class Named:
    """A commit that was named: its hash, and its object and repository where there is one to look in."""

    def __init__(self, commit_hash: str, commit: Commit | None, repo: str | None, git: Git | None) -> None:
        self.commit_hash = commit_hash
        self.commit = commit
        self.repo = repo
        self.git = git


def associate(
    store: Store, run_id: str, commit_hash: str, commit_source: str | None, commit_author: str | None
) -> tuple[bool, str]:
    """Link them and say so; RyeTelemetryError for an unknown run or commit, or what cannot be a source or an author."""
    run = store.run(str(run_id))
    places = [run["git_repo"], os.getcwd()]
    named = find_named(str(commit_hash), [place for place in places if place], env=os.environ)
    return link_named(store, run, named, source=commit_source, author=commit_author, env=os.environ)


def find_named(revision: str, places: Iterable[str], *, env: Mapping[str, str]) -> Named:
    """Return the commit from the first of the places that has it; without any repository a whole hash is believed."""
    clean = clean_environment(env)
    unknown: CommitUnknown | None = None
    for place in places:
        found = find_git(place)
        if found is None:
            continue
        git = Git(place, clean)
        try:
            commit_hash = resolve(git, revision)
        except CommitUnknown as e:
            unknown = unknown or e
            continue
        return Named(commit_hash, read_commits(git, [commit_hash])[0], found.name, git)
    if unknown is not None:
        raise unknown
    if not is_commit_hash(revision):
        raise CommitUnknown(f"{revision!r} cannot be looked up, there is no repository here: give the whole hash")
    return Named(revision, None, None, None)


def link_named(  # noqa: PLR0913 (what is linked, and what is said of it)
    store: Store, run: Fields, named: Named, *, source: str | None, author: str | None, env: Mapping[str, str]
) -> tuple[bool, str]:
    """Link a run to a commit that was found; return (True, what was done)."""
    commit = named.commit
    known = store.links([named.commit_hash]).get(named.commit_hash, [])
    said_before = next(
        (one for one in known if one["run_id"] == run["run_id"] and "explicit" in one["all_evidence"]), {}
    )
    source = check_source(source) if source else said_before.get("commit_source")
    source = source or (guess_source(commit, env) if commit else "manual")
    author = check_author(author) if author else said_before.get("commit_author")
    author = author or (commit.author if commit else None)
    said = f"run {run['run_id']} ({run['item_type']} {run['item_id']}) "
    commit_said = f"commit {named.commit_hash[:12]} ({source}{f', {author}' if author else ''})"
    if commit is None:
        commit_said += ", which was not looked up: no repository is here"
    if is_linked(known, run["run_id"], source=source, author=author):
        return True, f"{said}is linked to {commit_said} already"
    store.record_lines(_lines(run, named, source=source, author=author))
    store.publish()
    return True, f"{said}linked to {commit_said}"


def _lines(run: Fields, named: Named, *, source: str, author: str | None) -> Iterable[Line]:
    if named.commit is not None and named.git is not None:
        found = patch_ids(named.git, [named.commit])
        yield commit_line(named.commit, repo=named.repo, branch=None, patch_id=found.get(named.commit_hash))
    yield link_line(
        run["run_id"],
        named.commit_hash,
        repo=named.repo or run["git_repo"],
        evidence="explicit",
        source=source,
        author=author,
        linked_at=instant_text(time.time_ns()),
    )
