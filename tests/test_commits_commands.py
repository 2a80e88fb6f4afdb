"""`associate-commit`, `commits show`, `commits list`, `runs show` and `runs list --commit`, as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from processes import runs
from repositories import commit_file, git, head, install_hooks, new_repo, write_git_config
from wcwidth import wcswidth

from rye_telemetry import TelemetryStore
from rye_telemetry.errors import CommitUnknown, GitMissing, GitUnusable
from rye_telemetry.gitlink.repository import open_repository


@pytest.fixture
def cli(cli_here):
    return cli_here


@pytest.fixture
def repo(enabled, tmp_path):
    write_git_config(enabled)
    return new_repo(tmp_path / "repo", commits=2)


@pytest.fixture
def run(cli, repo):
    """Run a command recorded as an item, in the repository; return the run's id."""

    def recorded(item, *command, cwd=repo, options=()):
        cli("run-with", "tool", item, *options, "--", *(command or ("true",)), cwd=cwd)
        return runs()[0]["run_id"]

    return recorded


def shown(cli, repo, *args):
    return json.loads(cli("commits", "show", *args, "--json", cwd=repo).stdout)


def test_the_newest_run_without_a_commit_is_linked_to_head(cli, repo, run):
    first, second = run("a"), run("b")
    done = cli("associate-commit", cwd=repo)
    assert done.stdout.startswith(f"Run {second} (tool b) linked to commit {head(repo)[:12]} (manual, Ada <ada@")
    assert done.stderr == ""
    found = shown(cli, repo)
    assert found["commit"] == head(repo)
    assert [(one["run_id"], one["item_type"], one["item_id"], one["evidence"]) for one in found["runs"]] == [
        (second, "tool", "b", "explicit")
    ]
    assert {"commit_source", "commit_author", "outcome", "duration_ms", "agent"} <= found["runs"][0].keys()
    assert f"Run {first} " in cli("associate-commit", "HEAD~1", cwd=repo).stdout
    assert "has a commit already" in cli("associate-commit", cwd=repo, code=1).stderr


def test_the_same_link_twice_is_one_link_and_says_so(cli, repo, run):
    run("a")
    cli("associate-commit", "--last", "1", cwd=repo)
    lines = sum(path.read_bytes().count(b'"kind":"link"') for path in journal())
    assert "already" in cli("associate-commit", "--last", "1", cwd=repo).stdout
    assert sum(path.read_bytes().count(b'"kind":"link"') for path in journal()) == lines == 1
    cli("associate-commit", "--last", "1", "--source", "llm", "--author", "B <b@example.org>", cwd=repo)
    [one] = shown(cli, repo)["runs"]
    assert (one["commit_source"], one["commit_author"]) == ("llm", "B <b@example.org>")
    assert "already" in cli("associate-commit", "--last", "1", cwd=repo).stdout  # a guess takes nothing back
    assert shown(cli, repo)["runs"] == [one]


def journal():
    with TelemetryStore() as store:
        return list(Path(store.journal.directory).glob("*.ndjson"))


def test_runs_are_named_by_as_much_of_their_ids_as_names_them(cli, repo, run):
    first, second = run("a"), run("b")
    out = cli("associate-commit", "HEAD~1", "--run", first[:23], "--run", second, cwd=repo).stdout
    assert [line.split(" ")[1] for line in out.splitlines()] == [first, second]
    assert {one["run_id"] for one in shown(cli, repo, "HEAD~1")["runs"]} == {first, second}
    assert "use one of them" in cli("associate-commit", "--run", first, "--last", "1", cwd=repo, code=2).stderr
    assert "no run has an id" in cli("associate-commit", "--run", "ffff", cwd=repo, code=1).stderr


def test_the_last_runs_are_those_of_this_repository(cli, repo, run, tmp_path):
    first, second = run("a"), run("b")
    run("elsewhere", cwd=new_repo(tmp_path / "other", commits=1))
    run("nowhere", cwd=tmp_path)
    out = cli("associate-commit", "--last", "5", cwd=repo).stdout
    assert [line.split(" ")[1] for line in out.splitlines()] == [second, first]
    bare = new_repo(tmp_path / "without", commits=1)
    assert "no run of" in cli("associate-commit", cwd=bare, code=1).stderr


@pytest.mark.parametrize("where", ["subfolder", "worktree", "--repo"])
def test_a_repository_is_one_from_all_its_places(cli, repo, run, tmp_path, where):
    run_id = run("a")
    (repo / "sub").mkdir()
    git(repo, "worktree", "add", "-q", tmp_path / "side")
    place = {"subfolder": repo / "sub", "worktree": tmp_path / "side", "--repo": tmp_path}[where]
    more = ("--repo", repo) if where == "--repo" else ()
    assert run_id in cli("associate-commit", *more, cwd=place).stdout


def test_a_run_whose_project_was_named_belongs_to_that_repository(cli, repo, tmp_path):
    cli("run-with", "tool", "x", "--project-path", repo, "--", "true", cwd=tmp_path)
    assert runs()[0]["git_repo"] == str(repo)
    assert "linked to commit" in cli("associate-commit", cwd=repo).stdout


@pytest.mark.parametrize(
    ("env", "message", "author", "source"),
    [
        ({}, "one", None, "manual"),
        ({"CI": "true"}, "one", None, "ci"),
        ({"CI": "false"}, "one", None, "manual"),
        ({}, "one\n\nCo-authored-by: Claude <noreply@anthropic.com>\n", None, "llm"),
        ({}, "one", "copilot-swe-agent[bot] <198982749+Copilot@users.noreply.github.com>", "llm"),
    ],
)
def test_the_source_is_guessed_from_the_surroundings_and_the_commit(cli, repo, run, env, message, author, source):
    run("a")
    git(repo, "commit", "-q", "--allow-empty", "-m", message, *(["--author", author] if author else []))
    cli("associate-commit", cwd=repo, env={**os.environ, "CI": "", **env})
    [one] = shown(cli, repo)["runs"]
    assert one["commit_source"] == source
    assert one["commit_author"] == (author or "Ada <ada@example.org>")


def test_what_cannot_be_meant_is_one_clear_line(cli, repo, run, tmp_path):
    run("a")
    blob = git(repo, "rev-parse", "HEAD:f0").decode()
    for revision in ("0" * 40, "f" * 40, "nowhere", "HEAD~9", blob, "--all", ""):
        err = cli("associate-commit", "--", revision, cwd=repo, code=1).stderr
        assert err.startswith("rye-telemetry: ")
        assert "names no commit here" in err
        assert err.count("\n") == 1
    for option, value, said, code in (
        ("--source", "robot", "manual, llm, ci", 2),
        ("--author", "Ada", "NAME <MAIL>", 2),
        ("--author", "<a@b>", "NAME <MAIL>", 2),
        ("--repo", tmp_path / "gone", "is no directory", 1),
        ("--repo", tmp_path, "no git repository at or above", 1),
    ):
        err = cli("associate-commit", option, value, cwd=repo, code=code).stderr
        assert said in err
        assert err.count("\n") == 1
    assert all(not several for several in TelemetryStore().links([head(repo)]).values())


def test_every_kind_of_revision_is_understood(cli, repo, run):
    run("a")
    git(repo, "tag", "-a", "v1", "-m", "tag", "HEAD~1")
    for revision in ("v1", "HEAD^", ":/commit 0", "main~1", head(repo, "HEAD~1")[:9], "HEAD@{1}"):
        assert head(repo, "HEAD~1")[:12] in cli("associate-commit", revision, "--last", "1", cwd=repo).stdout


def test_show_takes_one_commit_or_a_range(cli, repo, run):
    made = run("a", "git", "commit", "-q", "--allow-empty", "-m", "by a run", options=("--agent", "writer"))
    git(repo, "commit", "-q", "--allow-empty", "-m", "by hand")
    found = shown(cli, repo, "HEAD~2..HEAD")
    assert [(entry["commit"], [one["run_id"] for one in entry["runs"]]) for entry in found] == [
        (head(repo), []),
        (head(repo, "HEAD~1"), [made]),
    ]
    assert shown(cli, repo, "HEAD..HEAD") == []
    table = cli("commits", "show", "HEAD~2..HEAD", cwd=repo).stdout
    assert "2 commits, 1 without a run." in table
    assert all(word in table for word in (head(repo, "HEAD~1")[:12], "a  ", "success", "writer", "head-moved"))
    one = cli("commits", "show", "HEAD~1", cwd=repo).stdout
    assert all(word in one for word in (made[:18], "by a run", "Ada <ada@example.org>", "head-moved"))
    assert "No run is known to have made it." in cli("commits", "show", cwd=repo).stdout
    assert "is no range of commits here" in cli("commits", "show", "a..b", cwd=repo, code=1).stderr


def test_list_shows_commits_with_their_items_and_can_leave_out_the_linked(cli, repo, run):
    run("a", "git", "commit", "-q", "--allow-empty", "-m", "by a run")
    told = json.loads(cli("commits", "list", "--json", cwd=repo).stdout)
    assert [(entry["subject"], [one["item_id"] for one in entry["runs"]]) for entry in told] == [
        ("by a run", ["a"]),
        ("commit 1", []),
        ("commit 0", []),
    ]
    told = json.loads(cli("commits", "list", "--unlinked", "--limit", "1", "--json", cwd=repo).stdout)
    assert [entry["subject"] for entry in told] == ["commit 1"]
    assert "by a run" not in cli("commits", "list", "--unlinked", cwd=repo).stdout
    assert "commit 0" not in cli("commits", "list", "HEAD~2..HEAD", cwd=repo).stdout
    assert "No commits fit." in cli("commits", "list", "HEAD..HEAD", cwd=repo).stdout


def test_tables_keep_to_the_terminal(cli, repo, run):
    item = "an-item-with-a-name-" * 6
    run(item, "git", "commit", "-q", "--allow-empty", "-m", "日本語 " * 40, options=("--agent", "somebody " * 9))
    for args in (("show",), ("show", "HEAD~1..HEAD"), ("list",)):
        out = cli("commits", *args, cwd=repo, env={**os.environ, "COLUMNS": "80"}).stdout
        lines = [line for line in out.splitlines() if not line.startswith("subject")]
        assert max(map(wcswidth, lines)) <= 80


def test_runs_name_their_commits(cli, repo, run):
    run_id = run("a", "git", "commit", "-q", "--allow-empty", "-m", "by a run")
    told = json.loads(cli("runs", "show", run_id, "--json", cwd=repo).stdout)
    assert [(one["commit_hash"], one["evidence"]) for one in told["commits"]] == [(head(repo), "head-moved")]
    assert f"{head(repo)[:12]} (head-moved)" in cli("runs", "show", run_id, cwd=repo).stdout
    bare = run("b")
    assert json.loads(cli("runs", "show", bare, "--json", cwd=repo).stdout)["commits"] == []


def test_runs_are_found_by_their_commit(cli, repo, run, tmp_path):
    run_id = run("a", "git", "commit", "-q", "--allow-empty", "-m", "by a run")
    run("b")
    ask = ("runs", "list", "--json", "--commit")
    assert [one["run_id"] for one in json.loads(cli(*ask, "HEAD", cwd=repo).stdout)] == [run_id]
    assert json.loads(cli(*ask, "HEAD~1", cwd=repo).stdout) == []
    assert json.loads(cli(*ask, "HEAD", "--item", "b", cwd=repo).stdout) == []
    assert [one["run_id"] for one in json.loads(cli(*ask, head(repo), cwd=tmp_path).stdout)] == [run_id]
    assert "give the whole hash" in cli(*ask, "HEAD", cwd=tmp_path, code=1).stderr


def test_with_telemetry_off_looking_writes_nothing(cli, repo, run, state_dir):
    run("a", "git", "commit", "-q", "--allow-empty", "-m", "by a run")
    off = {**os.environ, "RYE_TELEMETRY": "0"}
    before = {path: path.stat().st_mtime_ns for path in state_dir.rglob("*")}
    found = json.loads(cli("commits", "show", "--json", cwd=repo, env=off).stdout)
    assert [one["evidence"] for one in found["runs"]] == ["head-moved"]
    cli("commits", "list", cwd=repo, env=off)
    assert {path: path.stat().st_mtime_ns for path in state_dir.rglob("*")} == before


def test_the_hook_makes_the_issue_and_the_documentation_true(cli, repo, run):
    install_hooks(repo)
    run("writer", "sh", "-c", "echo a > f && git add f && git commit -qm one")
    assert [one["evidence"] for one in shown(cli, repo, "HEAD")["runs"]] == ["hook"]
    git(repo, "commit", "-q", "--amend", "-m", "two")
    assert [one["evidence"] for one in shown(cli, repo, "HEAD")["runs"]] == ["rewritten"]
    author = "Claude Code <noreply@anthropic.com>"
    cli("associate-commit", "HEAD", "--last", "1", "--source", "llm", "--author", author, cwd=repo)
    [one] = shown(cli, repo, "HEAD")["runs"]
    assert (one["all_evidence"], one["commit_source"], one["commit_author"]) == (
        ["explicit", "rewritten"],
        "llm",
        author,
    )


# -- in Python


def test_the_store_links_and_says_what_it_did(repo, run, monkeypatch):
    run_id = run("a")
    with TelemetryStore() as store:
        done, said = store.associate_commit(run_id, head(repo)[:10], "llm", "Claude Code <noreply@anthropic.com>")
        assert done
        assert "linked to commit" in said
        assert store.associate_commit(run_id, head(repo), "llm", "Claude Code <noreply@anthropic.com>")[1].endswith(
            "already"
        )
        assert [one["commit_author"] for one in store.links([head(repo)])[head(repo)]] == [
            "Claude Code <noreply@anthropic.com>"
        ]
        for wrong, reason in (
            ((run_id, "0" * 40), "names no commit"),
            ((run_id, "f" * 40), "names no commit"),
            ((run_id, ""), "names no commit"),
            ((run_id, None), "names no commit"),
            (("no-such-run", head(repo)), "no run has an id"),
            ((None, head(repo)), "no run has an id"),
            ((run_id, head(repo), "robot"), "use one of manual, llm, ci"),
            ((run_id, head(repo), "llm", "nobody"), "NAME <MAIL>"),
        ):
            done, said = store.associate_commit(*wrong)
            assert not done
            assert reason in said


def test_without_a_repository_only_a_whole_hash_is_believed(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_id = store.record_execution("x", "tool", "success", 1)
    assert store.associate_commit(run_id, "ab" * 20, "ci", None) == (
        True,
        f"run {run_id} (tool x) linked to commit abababababab (ci), which was not looked up: no repository is here",
    )
    done, said = store.associate_commit(run_id, "ababab", "ci")
    assert not done
    assert "give the whole hash" in said
    assert not store.associate_commit(run_id, "0" * 40)[0]
    assert not store.associate_commit(run_id, "AB" * 20)[0]


def test_a_commit_of_another_repository_is_found_around_the_working_directory(repo, run, tmp_path, monkeypatch):
    other = new_repo(tmp_path / "other")
    commit_file(other, message="of the other one")
    run_id = run("a")
    monkeypatch.chdir(other)
    with TelemetryStore() as store:
        assert store.associate_commit(run_id, head(other))[0]
        assert store.links([head(other)])[head(other)][0]["repo"] == str(other)


def test_git_that_is_not_there_or_refuses_is_one_error(repo, tmp_path, cli, run, monkeypatch):
    run("a")
    err = cli("commits", "show", cwd=repo, env={**os.environ, "PATH": str(tmp_path)}, code=1).stderr
    assert err == "rye-telemetry: git is not on PATH: install it, or put it there\n"
    with monkeypatch.context() as there:
        there.setenv("PATH", str(tmp_path))
        with pytest.raises(GitMissing):
            open_repository(str(repo), os.environ)
    with pytest.raises(GitUnusable, match="no git repository"):
        open_repository(str(tmp_path), os.environ)
    if not os.getuid():
        subprocess.run(["chown", "-R", "65534", repo], check=True)
        with pytest.raises(GitUnusable, match=r"safe\.directory"):
            open_repository(str(repo), os.environ)
        subprocess.run(["chown", "-R", "0", repo], check=True)
    (repo / ".git" / "config").write_text("[broken\n")
    with pytest.raises(GitUnusable, match="bad config line 1"):
        open_repository(str(repo), os.environ)


def test_an_unborn_head_is_no_commit(enabled, tmp_path):
    write_git_config(enabled)
    with pytest.raises(CommitUnknown):
        open_repository(str(new_repo(tmp_path / "new")), os.environ).commit("HEAD")


def test_sha256_repositories_are_like_others(cli, enabled, tmp_path):
    write_git_config(enabled)
    repo = new_repo(tmp_path / "long", "--object-format=sha256", commits=1)
    cli("run-with", "tool", "x", "--", "git", "commit", "-q", "--allow-empty", "-m", "long", cwd=repo)
    found = shown(cli, repo)
    assert len(found["commit"]) == 64
    assert [one["evidence"] for one in found["runs"]] == ["head-moved"]
    assert "already" not in cli("associate-commit", "--last", "1", cwd=repo).stdout
