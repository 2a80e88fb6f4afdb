"""`commits repair`, `commits relink` and `commits import-notes`: what is stored, what is only said, and what it costs."""

from __future__ import annotations

import json
import os
import stat

import pytest
from processes import runs
from repositories import commit_file, git, hashes, head, install_hooks, new_repo, run_in, said, write_git_config

from rye_telemetry import TelemetryStore
from rye_telemetry.gitlink.repository import open_repository
from rye_telemetry.gitlink.show import show_commit
from rye_telemetry.lines import instant_text, new_run_id
from rye_telemetry.paths import rye_state_dir


@pytest.fixture
def cli(cli_here):
    return cli_here


@pytest.fixture
def repo(enabled, tmp_path):
    write_git_config(enabled)
    return new_repo(tmp_path / "repo", commits=1)


def store():
    return TelemetryStore(rye_state_dir(os.environ))


def make(repo, name, item=None, text=None):
    """Commit a file in a run of its own; return the run's id."""
    run_in(
        repo,
        f"printf %s '{text or name}' > {name} && git add {name} && git commit -qm 'add {item or name}'",
        item=item or name,
    )
    return runs()[0]["run_id"]


def stored(repo, *revisions):
    """Return {subject: {(item, evidence)}} of what is stored."""
    with store() as opened:
        links = opened.links(hashes(repo, *revisions))
    return {
        said(repo, "log", "-1", "--format=%s", commit): {(one["item_id"], one["evidence"]) for one in several}
        for commit, several in links.items()
    }


def repair(cli, repo, *args):
    return json.loads(cli("commits", "repair", "--json", *args, cwd=repo).stdout)


def rebased(repo):
    """Two commits of two runs, rebased without hooks onto another."""
    first = head(repo)
    made = make(repo, "a"), make(repo, "b")
    git(repo, "checkout", "-q", "-b", "base", first)
    commit_file(repo, "other", message="other")
    git(repo, "checkout", "-q", "main")
    git(repo, "rebase", "-q", "base")
    return made


def test_repair_stores_what_commits_became_and_then_has_nothing_to_do(cli, repo):
    rebased(repo)
    assert stored(repo) == {}
    dry = repair(cli, repo, "--dry-run")
    assert stored(repo) == {}
    done = repair(cli, repo)
    assert {**dry, "dry_run": False} == done
    assert [(one["item_id"], one["evidence"]) for one in done["linked"]] == [("b", "patch-id"), ("a", "patch-id")]
    assert (done["tip"], done["looked_at"], done["candidates"]) == (head(repo), 2, [])
    assert stored(repo) == {"add a": {("a", "patch-id")}, "add b": {("b", "patch-id")}}
    assert repair(cli, repo)["linked"] == []
    assert "Nothing to link." in cli("commits", "repair", cwd=repo).stdout


def test_repair_says_what_it_does_in_a_table(cli, repo):
    rebased(repo)
    out = cli("commits", "repair", "--dry-run", cwd=repo, env={**os.environ, "COLUMNS": "80"}).stdout
    assert "2 links would be made." in out
    assert head(repo)[:12] in out
    assert max(map(len, out.splitlines())) <= 80
    assert "2 links made." in cli("commits", "repair", cwd=repo).stdout


def test_repair_of_another_tip_and_from_another_place(cli, repo, tmp_path):
    rebased(repo)
    git(repo, "branch", "moved")
    git(repo, "reset", "-q", "--hard", "base")
    assert repair(cli, repo)["linked"] == []
    done = json.loads(cli("commits", "repair", "moved", "--repo", repo, "--json", cwd=tmp_path).stdout)
    assert len(done["linked"]) == 2


def test_a_second_rewrite_is_found_from_the_first(cli, repo):
    rebased(repo)
    repair(cli, repo)
    git(repo, "commit", "-q", "--allow-empty", "-m", "under")
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    git(repo, "rebase", "-q", "--root", "--force-rebase", GIT_COMMITTER_DATE="2000-01-01T00:00:00Z")
    assert {one["item_id"] for one in repair(cli, repo)["linked"]} == {"a", "b"}


def test_two_runs_that_made_the_same_change_are_both_named_and_neither_is_linked(cli, repo):
    start = head(repo)
    first = make(repo, "same", item="one")
    git(repo, "checkout", "-q", "-b", "second", start)
    second = make(repo, "same", item="two", text="same")
    git(repo, "checkout", "-q", "-b", "third", start)
    commit_file(repo, "other", message="other")
    commit_file(repo, "same", "same", message="by hand")
    done = repair(cli, repo)
    assert done["linked"] == []
    assert [(one["evidence"], set(one["run_ids"])) for one in done["candidates"]] == [("patch-id", {first, second})]
    assert "nothing was linked" in cli("commits", "repair", cwd=repo).stdout
    found = json.loads(cli("commits", "show", "--json", cwd=repo).stdout)
    assert (found["runs"], {one["item_id"] for one in found["candidates"]}) == ([], {"one", "two"})
    assert "nothing decides between them" in cli("commits", "show", cwd=repo).stdout


def test_one_change_that_was_made_again_twice_is_not_linked(cli, repo):
    start = head(repo)
    run_id = make(repo, "same")
    git(repo, "checkout", "-q", "-b", "again", start)
    commit_file(repo, "same", "same", message="once")
    git(repo, "revert", "--no-edit", "HEAD")
    git(repo, "revert", "--no-edit", "HEAD")
    done = repair(cli, repo)
    assert done["linked"] == []
    assert {run for one in done["candidates"] for run in one["run_ids"]} == {run_id}


def test_contested_links_lead_nowhere(cli, repo):
    start = head(repo)
    made = commit_file(repo, "x", "x", message="x")
    with store() as opened:
        run_id = opened.record_execution("x", "tool", "success", 1)
        opened.record_lines(
            [("link", {"run_id": run_id, "commit_hash": made, "evidence": "head-moved", "contested_by": [new_run_id(1)],
                       "linked_at": instant_text(1)})]
        )  # fmt: skip
    git(repo, "checkout", "-q", "-b", "again", start)
    commit_file(repo, "other", message="other")
    commit_file(repo, "x", "x", message="x again")
    done = repair(cli, repo)
    assert (done["linked"], done["candidates"]) == ([], [])


def test_a_hundred_rebased_commits_take_as_many_git_processes_as_two(cli, repo, tmp_path):
    counted = tmp_path / "bin"
    counted.mkdir()
    log = tmp_path / "calls"
    (counted / "git").write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {git_path()} "$@"\n')
    (counted / "git").chmod(stat.S_IRWXU)
    env = {**os.environ, "PATH": f"{counted}:{os.environ['PATH']}"}

    def calls():
        done = json.loads(cli("commits", "repair", "--json", cwd=repo, env=env).stdout)
        lines = log.read_text().splitlines()
        log.unlink()
        return len(done["linked"]), len(lines)

    rebased(repo)
    few = calls()
    start = head(repo)
    lines = []
    for number in range(100):
        commit = commit_file(repo, f"n{number}", f"{number}\n", message=f"n{number}")
        run_id = new_run_id(1_800_000_000_000_000_000 + number)
        run = {"run_id": run_id, "item_type": "tool", "item_id": "many", "outcome": "success"}
        lines += [
            ("run", {**run, "started_at": instant_text(1), "ended_at": instant_text(2), "git_repo": str(repo)}),
            ("link", {"run_id": run_id, "commit_hash": commit, "repo": str(repo), "evidence": "hook",
                      "linked_at": instant_text(2)}),
        ]  # fmt: skip
    with store() as opened:
        opened.record_lines(lines)
    git(repo, "checkout", "-q", "-b", "under", start)
    commit_file(repo, "under", message="under")
    git(repo, "checkout", "-q", "main")
    git(repo, "rebase", "-q", "under")
    many = calls()
    assert (few[0], many[0]) == (2, 100)
    assert many[1] <= few[1] <= 16


def git_path():
    import shutil

    return shutil.which("git")


# -- relink


@pytest.fixture
def squashed(repo):
    """A topic of two runs and a commit by hand, and main with its squash, made elsewhere."""
    git(repo, "checkout", "-q", "-b", "topic")
    made = make(repo, "a"), make(repo, "b")
    commit_file(repo, "hand", "by hand", message="by hand")
    git(repo, "checkout", "-q", "main")
    git(repo, "merge", "-q", "--squash", "topic")
    git(repo, "commit", "-qm", "squash")
    return made


def test_relink_links_the_runs_of_a_range_to_what_it_became(cli, repo, squashed):
    args = ("commits", "relink", "--range", "main~1..topic", "--onto", "main", "--json")
    dry = json.loads(cli(*args, "--dry-run", cwd=repo).stdout)
    assert stored(repo, "main", "^topic") == {}
    done = json.loads(cli(*args, cwd=repo).stdout)
    assert {**dry, "dry_run": False} == done
    assert (done["commit"], done["evidence"], done["looked_at"]) == (head(repo), "range-patch-id", 3)
    assert stored(repo, "main", "^topic") == {"squash": {("a", "range-patch-id"), ("b", "range-patch-id")}}
    assert json.loads(cli(*args, cwd=repo).stdout)["linked"] == []


def test_relink_onto_something_else_is_what_somebody_says(cli, repo, squashed):
    commit_file(repo, "more", message="squash")
    git(repo, "reset", "-q", "--soft", "HEAD~2")
    git(repo, "commit", "-qm", "squash and more")
    done = json.loads(cli("commits", "relink", "--range", "main~1..topic", "--onto", "main", "--json", cwd=repo).stdout)
    assert {one["evidence"] for one in done["linked"]} == {"explicit"}


@pytest.mark.parametrize(
    ("revisions", "onto", "reason"),
    [
        ("main~1..nowhere", "main", "is no range of commits here"),
        ("topic..main~1", "main", "holds no commits"),
        ("main~1..topic", "nowhere", "names no commit here"),
        ("main~1..topic", "0" * 40, "names no commit here"),
    ],
)
def test_relink_says_what_is_wrong(cli, repo, squashed, revisions, onto, reason):
    err = cli("commits", "relink", "--range", revisions, "--onto", onto, cwd=repo, code=1).stderr
    assert reason in err
    assert err.count("\n") == 1


def test_relink_of_what_people_made_is_nothing_to_do(cli, repo, squashed):
    done = cli("commits", "relink", "--range", "topic~1..topic", "--onto", "main", cwd=repo)
    assert (done.stdout, done.stderr) == ("Nothing to link.\n", "")
    assert "is no range" in cli("commits", "relink", "--range", "topic", "--onto", "main", cwd=repo, code=2).stderr


# -- notes


def test_notes_of_a_colleague_are_read_once(cli, repo, tmp_path, monkeypatch):
    install_hooks(repo, "--notes")
    run_id = make(repo, "a")
    git(repo, "notes", "--ref=rye-telemetry", "append", "-m", "not a run\n\n", "HEAD")
    git(repo, "notes", "--ref=rye-telemetry", "add", "-m", "nothing at all", "HEAD~1")
    monkeypatch.setenv("RYE_STATE_DIR", str(tmp_path / "theirs"))
    dry = json.loads(cli("commits", "import-notes", "--dry-run", "--json", cwd=repo).stdout)
    assert stored(repo) == {}
    done = json.loads(cli("commits", "import-notes", "--json", cwd=repo).stdout)
    assert {**dry, "dry_run": False} == done
    assert [(one["commit"], one["run_id"], one["item_id"]) for one in done["linked"]] == [(head(repo), run_id, None)]
    assert (done["known"], done["rejected"]) == (0, 2)
    with store() as opened:
        [one] = show_commit(opened, open_repository(str(repo), os.environ), "HEAD")["runs"]
    assert (one["run_id"], one["item_id"], one["evidence"]) == (run_id, None, "note")
    again = json.loads(cli("commits", "import-notes", "--json", cwd=repo).stdout)
    assert (again["linked"], again["known"]) == ([], 1)
    assert "Nothing to link. 2 lines named no run." in cli("commits", "import-notes", cwd=repo).stdout
    git(repo, "update-ref", "refs/notes/origin/rye-telemetry", "refs/notes/rye-telemetry")
    assert "Nothing" in cli("commits", "import-notes", "refs/notes/origin/rye-telemetry", cwd=repo).stdout


def test_notes_that_are_not_there_are_one_line(cli, repo):
    assert "there is no refs/notes/rye-telemetry here" in cli("commits", "import-notes", cwd=repo, code=1).stderr
    for ref in ("--all", "rye-telemetry"):
        assert "is no whole name of a ref" in cli("commits", "import-notes", "--", ref, cwd=repo, code=1).stderr
