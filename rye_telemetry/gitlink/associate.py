"""`associate-commit`: which runs, and which commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rye_telemetry import link_queries
from rye_telemetry.associating import Named, link_named
from rye_telemetry.errors import InvalidRecord, RunNotFound, UsageInvalid
from rye_telemetry.linking import check_author, check_source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rye_telemetry.gitlink.repository import Repository
    from rye_telemetry.store import TelemetryStore


def associate_commit(  # noqa: PLR0913 (one parameter a choice of the user's)
    store: TelemetryStore,
    repository: Repository,
    revision: str,
    *,
    run_ids: Sequence[str],
    last: int | None,
    source: str | None,
    author: str | None,
    env: Mapping[str, str],
) -> list[str]:
    """Link the runs that are named, else the newest one here without a commit; return what was done, a line a run."""
    if run_ids and last is not None:
        raise UsageInvalid("--run and --last both say which runs: use one of them")
    try:
        source = source and check_source(source)
        author = author and check_author(author)
    except InvalidRecord as e:
        raise UsageInvalid(str(e)) from e
    commit = repository.commit(revision)
    named = Named(commit.commit_hash, commit, repository.name, repository.git)
    chosen = run_ids or _newest(store, repository.name, last)
    runs = [store.run(run_id) for run_id in chosen]
    return [link_named(store, run, named, source=source, author=author, env=env)[1] for run in runs]


def _newest(store: TelemetryStore, repo: str, last: int | None) -> list[str]:
    found = store.ask(
        lambda index: link_queries.latest_runs(index, repo, limit=1 if last is None else last, unlinked=last is None)
    )
    if found:
        return found
    if last is None and store.ask(lambda index: link_queries.latest_runs(index, repo, limit=1, unlinked=False)):
        raise RunNotFound(
            f"every run of {repo} has a commit already: name runs by --run, or --last 1 for the newest one"
        )
    raise RunNotFound(f"no run of {repo} is recorded: name one by --run (`rye-telemetry runs list` has the ids)")
