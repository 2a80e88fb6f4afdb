"""The runs behind commits, as answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rye_telemetry.errors import CommitUnknown
from rye_telemetry.gitlink.repair import find_runs
from rye_telemetry.lines import instant_text
from rye_telemetry.model import is_commit_hash

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rye_telemetry.gitlink.repository import Repository
    from rye_telemetry.model import Fields
    from rye_telemetry.store import TelemetryStore

_HIDDEN = ("commit_hash", "repo", "contested_by", "action")  # of a link; the first is said once for all
SCANNED = 10_000  # commits that `list --unlinked` looks through


def show_commit(store: TelemetryStore, repository: Repository, revision: str) -> Fields:
    """Return `commit`, `subject`, `author`, its `runs`, and `candidates` that nothing decides between."""
    commit = repository.commit(revision)
    found = find_runs(store, repository, commit)
    return {
        "commit": commit.commit_hash,
        "subject": commit.message.strip().partition("\n")[0],
        "author": commit.author,
        "runs": [_run(link) for link in found.links],
        "candidates": [_run(link) for link in found.candidates],
    }


def show_range(store: TelemetryStore, repository: Repository, revisions: str) -> list[Fields]:
    """Return what is stored of each commit of a range, newest first."""
    return _with_runs(store, repository.list_commits(revisions))


def list_commits(
    store: TelemetryStore, repository: Repository, revisions: str, *, unlinked: bool, limit: int
) -> list[Fields]:
    """Return the newest commits with what is stored of them; only those without a run where `unlinked`."""
    listed = repository.list_commits(revisions, limit=SCANNED if unlinked else limit)
    found = _with_runs(store, listed)
    return [entry for entry in found if not (unlinked and entry["runs"])][:limit]


def _with_runs(store: TelemetryStore, listed: Iterable[tuple[str, int, str]]) -> list[Fields]:
    commits = list(listed)
    links = store.links([commit_hash for commit_hash, _, _ in commits])
    entries = []
    for commit_hash, committed_s, subject in commits:
        sure: list[Fields] = []
        unsure: list[Fields] = []
        for link in links.get(commit_hash, ()):
            (unsure if link["contested_by"] else sure).append(_run(link))
        entries.append(
            {
                "commit": commit_hash,
                "subject": subject,
                "committed_at": instant_text(committed_s * 1_000_000_000),
                "runs": sure,
                "candidates": unsure,
            }
        )
    return entries


def _run(link: Fields) -> Fields:
    for name in _HIDDEN:
        link.pop(name, None)
    return link


def runs_of(store: TelemetryStore, repository: Repository | None, revision: str) -> list[str]:
    """Return the ids of the runs behind one commit; without a repository its hash must be whole."""
    if repository is not None:
        return [run["run_id"] for run in show_commit(store, repository, revision)["runs"]]
    if not is_commit_hash(revision):
        raise CommitUnknown(f"{revision!r} cannot be looked up, there is no repository here: give the whole hash")
    return [link["run_id"] for link in store.links([revision]).get(revision, []) if not link["contested_by"]]
