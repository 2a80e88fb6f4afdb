"""Without hooks: what a run's HEAD gained is linked to the run, and nothing else is. Always through the real command."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from processes import RYE, wait_for, wrap
from repositories import (
    ENV_OF_COMMITS,
    all_links,
    commit_file,
    git,
    hashes,
    head,
    install_hooks,
    linked,
    links,
    new_repo,
    run_in,
    runs,
    write_git_config,
)

pytestmark = pytest.mark.usefixtures("enabled")
C = 'c() { echo "$1" >> "${2:-f}"; git add .; git commit -q -m "$1"; }\n'


@pytest.fixture(autouse=True)
def identity(home):
    write_git_config(
        home, '[protocol "file"]\n\tallow = always\n[pull]\n\trebase = false\n[rerere]\n\tenabled = false\n'
    )


@pytest.fixture
def repo(tmp_path):
    return new_repo(tmp_path / "repo", commits=2)


@pytest.fixture
def forked(repo):
    """A repository on main, with a branch called side that has two commits of its own."""
    git(repo, "checkout", "-q", "-b", "side", "HEAD~1")
    commit_file(repo, "s1", message="side 1")
    commit_file(repo, "s2", message="side 2")
    git(repo, "checkout", "-q", "main")
    return repo


def moved(repo, script, **more):
    """Run a script and return {subject: evidence} of what was linked to it."""
    run_in(repo, C + script, **more)
    return linked(repo)


# -- what makes commits


def test_a_commit(repo):
    assert moved(repo, "c one") == {"one": "head-moved"}
    (link,) = all_links()
    assert (link["repo"], link["commit_source"] in ("manual", "ci"), link["commit_author"]) == (
        str(repo),
        True,
        "Ada <ada@example.org>",
    )
    assert link["commit_hash"] == head(repo)


def test_several_commits_and_only_those(repo):
    assert moved(repo, "c one; c two; c three") == dict.fromkeys(["one", "two", "three"], "head-moved")


def test_the_first_commit_of_a_repository(tmp_path):
    assert moved(new_repo(tmp_path / "new"), "c one") == {"one": "head-moved"}


def test_a_commit_on_a_new_branch(repo):
    assert moved(repo, "git checkout -q -b new; c one; git checkout -q main") == {"one": "head-moved"}


def test_a_commit_on_an_orphan_branch(repo):
    assert moved(repo, "git checkout -q --orphan new; c one") == {"one": "head-moved"}


def test_a_commit_on_a_detached_head(repo):
    git(repo, "checkout", "-q", "--detach")
    assert moved(repo, "c one") == {"one": "head-moved"}


def test_a_commit_that_is_gone_again_by_the_end(repo):
    run_in(repo, C + "c one; git rev-parse HEAD > ../was; git reset -q --hard HEAD~1")
    was = (repo / "../was").read_text().strip()
    assert links(was) == {was: {("x", "head-moved")}}
    assert len(all_links()) == 1


def test_an_amend_links_the_new_commit_and_says_what_became_of_the_old(repo):
    assert moved(repo, "c one; git commit -q --amend -m better")["better"] == "head-moved"
    assert {link["evidence"] for link in all_links()} == {"head-moved"}


def test_an_amend_of_a_linked_commit_without_any_hook_keeps_its_link(repo):
    run_in(repo, C + "c one", item="first")
    run_in(repo, "git commit -q --amend -m better", item="second")
    assert links(head(repo))[head(repo)] == {("first", "rewritten"), ("second", "head-moved")}


def test_a_merge_that_is_none_of_a_fast_forward(forked):
    assert moved(forked, "git merge -q --no-edit side") == {"Merge branch 'side'": "head-moved"}


def test_a_merge_that_could_have_been_a_fast_forward(repo):
    git(repo, "branch", "ahead")
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    assert moved(repo, "git merge -q --no-ff --no-edit ahead") == {"Merge branch 'ahead'": "head-moved"}


def test_a_merge_of_three(forked):
    git(forked, "checkout", "-q", "-b", "third", "HEAD~1")
    commit_file(forked, "t", message="third")
    git(forked, "checkout", "-q", "main")
    assert list(moved(forked, "git merge -q --no-edit -m three side third")) == ["three"]


def test_a_conflicted_merge_that_is_concluded(repo):
    git(repo, "checkout", "-q", "-b", "side", "HEAD~1")
    commit_file(repo, "f1", "other\n", message="side")
    git(repo, "checkout", "-q", "main")
    script = "git merge -q side || { echo both > f1; git add f1; %s; }"
    assert moved(repo, script % "git commit -q --no-edit") == {"Merge branch 'side'": "head-moved"}
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    run_in(repo, script % "git merge --continue", item="second")
    assert linked(repo, "second") == {"Merge branch 'side'": "head-moved"}


def test_a_merge_that_is_squashed_and_committed(forked):
    assert moved(forked, "git merge -q --squash side; git commit -q -m squashed") == {"squashed": "head-moved"}


def test_cherry_picks(forked):
    assert moved(forked, "git cherry-pick side~1 side") == {"side 1": "head-moved", "side 2": "head-moved"}
    assert not set(links(*hashes(forked, "side")))


def test_a_conflicted_cherry_pick_that_goes_on(repo):
    git(repo, "checkout", "-q", "-b", "side", "HEAD~1")
    commit_file(repo, "f1", "other\n", message="picked")
    git(repo, "checkout", "-q", "main")
    script = "git cherry-pick side || { echo both > f1; git add f1; git cherry-pick --continue; }"
    assert moved(repo, script) == {"picked": "head-moved"}


def test_a_revert(repo):
    assert moved(repo, "git revert --no-edit HEAD") == {'Revert "commit 1"': "head-moved"}


def test_mails_that_are_applied(forked):
    git(forked, "format-patch", "-q", "-o", forked.parent / "mails", "main..side")
    assert moved(forked, "git am -q ../mails/*") == {"side 1": "head-moved", "side 2": "head-moved"}


@pytest.mark.parametrize("backend", ["--merge", "--apply"])
def test_a_rebase_links_what_it_made_anew(forked, backend):
    git(forked, "checkout", "-q", "side")
    before = hashes(forked, "main..side")
    assert moved(forked, f"git rebase -q {backend} main") == {"side 1": "head-moved", "side 2": "head-moved"}
    assert not links(*before)
    assert set(links(*hashes(forked, "main..side"))) == set(hashes(forked, "main..side"))


@pytest.mark.parametrize(
    ("todo", "subjects"),
    [
        ("2s/^pick/squash/", {"side 1"}),
        ("2s/^pick/fixup/", {"side 1"}),
        ("1s/^pick/reword/", {"side 1", "side 2"}),
        ("1{h;d};2{G}", {"side 1", "side 2"}),
        ("1d", {"side 2"}),
        ("1s/$/\\nexec true/", {"side 1", "side 2"}),
    ],
    ids=["squash", "fixup", "reword", "reorder", "drop", "exec"],
)
def test_every_step_of_an_interactive_rebase(forked, todo, subjects):
    git(forked, "checkout", "-q", "side")
    found = moved(forked, "git rebase -q -i main", GIT_SEQUENCE_EDITOR=f"sed -i -e '{todo}'")
    assert set(found) == subjects
    assert set(found.values()) == {"head-moved"}
    final = hashes(forked, "main..HEAD")
    assert set(final) <= set(links(*final))


def test_a_rebase_that_stops_for_an_edit(forked):
    git(forked, "checkout", "-q", "side")
    before = hashes(forked, "main..side")
    script = "git rebase -q -i main; echo more >> s1; git commit -q -a --amend -m edited; git rebase --continue"
    assert set(moved(forked, script, GIT_SEQUENCE_EDITOR="sed -i -e '1s/^pick/edit/'")) >= {"edited", "side 2"}
    assert not links(*before)


def test_a_conflicted_rebase_that_goes_on(repo):
    git(repo, "checkout", "-q", "-b", "side", "HEAD~1")
    commit_file(repo, "f1", "other\n", message="side")
    assert moved(repo, "git rebase -q main || { echo both > f1; git add f1; git rebase --continue; }") == {
        "side": "head-moved"
    }


def test_a_pull_that_merges_and_one_that_rebases(repo, tmp_path):
    for way, item, subjects in (("--no-rebase", "merging", None), ("--rebase", "rebasing", {"mine"})):
        place = tmp_path / item
        git(tmp_path, "clone", "-q", repo, place)
        commit_file(repo, item, message=f"theirs {item}")
        commit_file(place, "m", message="mine")
        run_in(place, f"git pull -q --no-edit {way}", item=item)
        found = linked(place, item)
        assert set(found.values()) == {"head-moved"}
        assert set(found) == subjects if subjects else next(iter(found)).startswith("Merge branch 'main' of")


def test_a_commit_whose_subject_looks_like_an_action(repo):
    subjects = [
        "Fast-forward",
        "fast-forward",
        "merge x: Merge made by",
        "checkout: moving from a to b",
        "reset: moving to HEAD",
        "rebase (finish): x",
    ]
    (repo / "subjects").write_text("\n".join(subjects) + "\n")
    assert moved(repo, 'while read -r line; do c "$line"; done < subjects') == dict.fromkeys(subjects, "head-moved")


def test_a_cherry_pick_of_a_commit_called_fast_forward(repo):
    git(repo, "checkout", "-q", "-b", "side", "HEAD~1")
    commit_file(repo, "s", message="Fast-forward")
    git(repo, "checkout", "-q", "main")
    assert moved(repo, "git cherry-pick side") == {"Fast-forward": "head-moved"}


@pytest.mark.parametrize("date", ["2001-01-01T00:00:00", "2090-01-01T00:00:00"])
def test_dates_do_not_count(repo, date):
    assert moved(repo, "c one", GIT_COMMITTER_DATE=date, GIT_AUTHOR_DATE=date) == {"one": "head-moved"}


def test_a_commit_by_a_command_that_fails_or_goes_too_long(repo):
    assert moved(repo, "c one; exit 3", code=3) == {"one": "head-moved"}
    subprocess.run(
        [RYE, "run-with", "tool", "slow", "--timeout", "1", "--", "sh", "-ec", C + "c two; sleep 60"],
        cwd=repo,
        check=False,
    )
    assert linked(repo, "slow") == {"two": "head-moved"}


def test_a_change_too_large_to_read_is_linked_all_the_same(repo):
    found = moved(repo, "i=0; seq 1 9000000 > big; git add big; git commit -q -m big")
    assert found == {"big": "head-moved"}


# -- what makes none


NO_COMMITS = {
    "checkout": "git checkout -q side; git checkout -q -",
    "switch": "git switch -q side",
    "a detached checkout": "git checkout -q --detach side",
    "reset": "git reset -q --hard HEAD~1; git reset -q --soft side",
    "a merge that fast-forwards": "git checkout -q first; git merge -q main",
    "a merge of what is there": "git merge -q first",
    "a merge that is not committed": "git merge -q --no-commit --no-ff side",
    "a squash that is not committed": "git merge -q --squash side",
    "a merge that is given up": "git merge -q --no-commit --no-ff side; git merge --abort",
    "a merge by an odd name": "git checkout -q first; git merge -q 'main^{/commit 1}'",
    "fetch": "git fetch -q . side:copy",
    "a pull that fast-forwards": "git checkout -q first; git pull -q . main",
    "a rebasing pull that fast-forwards": "git checkout -q first; git pull -q --rebase . main",
    "a rebase that fast-forwards": "git checkout -q first; git rebase -q main",
    "an interactive rebase that changes nothing": "git rebase -q -i first",
    "a rebase that is given up": "git checkout -q side; git rebase -q -i main -x false || git rebase --abort",
    "a cherry-pick that fast-forwards": "git checkout -q first; git cherry-pick --ff main",
    "stash": "echo x >> f1; git stash -q; git stash pop -q",
    "a branch that is renamed": "git branch -m main other; git branch -m other main",
    "a branch that is made": "git branch new; git checkout -q -b newer side",
    "update-ref": "git update-ref HEAD side",
    "a clone beside it": "git clone -q . ../clone",
    "another worktree": "git worktree add -q ../tree side",
    "a commit that no HEAD has": "git update-ref refs/heads/x $(git commit-tree -m x HEAD^{tree})",
    "a commit in another repository": "git init -q ../other; git -C ../other commit -q --allow-empty -m one",
    "a tag": "git tag -a -m x t",
    "nothing": "true",
    "a bisection": "git bisect start side first; git bisect reset",
}


@pytest.mark.parametrize("script", NO_COMMITS.values(), ids=NO_COMMITS)
def test_never(forked, script):
    git(forked, "branch", "first", "HEAD~1")
    given_up = "given up" in next(name for name, text in NO_COMMITS.items() if text == script)
    run_in(forked, script)
    if not (given_up and "rebase" in script):
        assert all_links() == []
    assert not links(*hashes(forked, "--all"))
    assert runs()[0]["outcome"] == "success"


def test_a_clone_into_the_runs_own_folder_makes_no_commit(repo, tmp_path):
    (tmp_path / "empty").mkdir()
    run_in(tmp_path / "empty", f"git clone -q {repo} .")
    assert all_links() == []


def test_a_repository_that_is_unpacked_into_the_runs_folder_brings_its_commits_along(repo, tmp_path):
    (tmp_path / "empty").mkdir()
    time.sleep(1.1)
    run_in(tmp_path / "empty", f"cp -R {repo}/. .; git status --short")
    assert all_links() == []


def test_a_commit_in_a_repository_made_in_the_run(tmp_path):
    (tmp_path / "empty").mkdir()
    assert (moved(tmp_path / "empty", "git init -q; c one; c two")) == {"one": "head-moved", "two": "head-moved"}
    assert {link["repo"] for link in all_links()} == {str(tmp_path / "empty")}
    assert runs()[0]["git_repo"] is None


def test_no_reflog_no_link(repo):
    git(repo, "config", "core.logAllRefUpdates", "false")
    shutil.rmtree(repo / ".git" / "logs")
    run_in(repo, C + "c one")
    assert all_links() == []


@pytest.mark.parametrize("tidy", ["git reflog expire --expire=now --all", "git gc -q"])
def test_a_reflog_that_was_tidied_up_in_the_run_is_not_believed(repo, tidy):
    run_in(repo, C + f"c one; {tidy}; c two")
    assert all_links() == []


def test_a_reflog_that_was_written_anew_twice_leads_to_no_wrong_link(repo):
    """The second time it may get the inode that it had at first, and holds what it held: then its entries are true."""
    run_in(repo, C + "c one; git reflog expire --all; git gc -q --prune=now; c two")
    commits = {link["commit_hash"] for link in all_links()}
    assert commits in (set(), set(git(repo, "rev-list", "-2", "HEAD").decode().split()))


def test_a_repository_that_was_replaced_in_the_run_is_not_believed(repo, tmp_path):
    other = new_repo(tmp_path / "other", commits=9)
    run_in(repo, f"rm -rf .git; cp -R {other}/.git .")
    assert all_links() == []


def test_a_repository_that_is_gone_at_the_end(repo):
    run_in(repo, "rm -rf .git")
    assert all_links() == []
    assert runs()[0]["outcome"] == "success"


# -- several runs


def wrapped(repo, script, *, item):
    return subprocess.Popen(
        [RYE, "run-with", "tool", item, "--", "sh", "-ec", script],
        cwd=repo,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **ENV_OF_COMMITS},
    )


def test_two_runs_at_once_in_one_worktree_are_both_candidates_and_none_is_linked(repo):
    one = wrapped(
        repo,
        f"touch ../one; while [ ! -e ../two ]; do sleep 0.01; done; {C} c one; touch ../done; while [ ! -e ../two-done ]; do sleep 0.01; done",
        item="one",
    )
    two = wrapped(repo, "touch ../two; while [ ! -e ../done ]; do sleep 0.01; done; touch ../two-done", item="two")
    assert (one.wait(60), two.wait(60)) == (0, 0)
    assert links(head(repo)) == {}
    ids = {run["item_id"]: run["run_id"] for run in runs()}
    found = {link["item_id"]: link["contested_by"] for link in all_links()}
    assert found == {"one": [ids["two"]], "two": [ids["one"]]}


def test_two_runs_at_once_in_two_worktrees_have_each_its_own(repo, tmp_path):
    tree = tmp_path / "tree"
    git(repo, "worktree", "add", "-q", "-b", "side", tree)
    wait = "while [ ! -e %s ]; do sleep 0.01; done; "
    one = wrapped(repo, f"touch {tmp_path}/one; {wait % (tmp_path / 'two')}{C} c one a", item="one")
    two = wrapped(tree, f"touch {tmp_path}/two; {wait % (tmp_path / 'one')}{C} c two b", item="two")
    assert (one.wait(60), two.wait(60)) == (0, 0)
    assert linked(repo, "one") == {"one": "head-moved"}
    assert linked(repo, "two") == {"two": "head-moved"}
    assert len({run["git_repo"] for run in runs()}) == 1
    assert {run["item_id"]: run["git_branch"] for run in runs()} == {"one": "main", "two": "side"}


def test_one_run_after_the_other_has_each_its_own(repo):
    for item in ("first", "second", "third"):
        run_in(repo, C + f"c {item}", item=item)
    for item in ("first", "second", "third"):
        assert linked(repo, item) == {item: "head-moved"}


def test_the_inner_of_two_nested_runs_has_the_commit(repo):
    run_in(
        repo,
        C + f"c outside; {RYE} run-with tool inner -- git commit -q --allow-empty -m inside; c later",
        item="outer",
    )
    assert linked(repo, "inner") == {"inside": "head-moved"}
    assert linked(repo, "outer") == {"outside": "head-moved", "later": "head-moved"}


def test_a_chain_of_nested_runs(repo):
    run_in(repo, f"{RYE} run-with tool b -- {RYE} run-with tool c -- git commit -q --allow-empty -m inside", item="a")
    assert [linked(repo, item) for item in "abc"] == [{}, {}, {"inside": "head-moved"}]


def test_two_inner_runs_at_once_leave_nothing_to_the_outer(repo):
    inner = f"{RYE} run-with tool %s -- sh -c 'touch ../%s; while [ ! -e ../%s ]; do sleep 0.01; done; %s' & "
    script = (
        inner % ("i", "i", "j", "git commit -q --allow-empty -m inside; touch ../k")
        + inner % ("j", "j", "k", "sleep 0.05")
        + "wait"
    )
    run_in(repo, script, item="outer")
    assert linked(repo, "outer") == {}
    assert {link["item_id"] for link in all_links() if link["contested_by"]} == {"i", "j"}
    assert links(head(repo)) == {}


# -- beside the hook


def test_with_the_hook_a_commit_is_the_hooks_to_tell(repo):
    install_hooks(repo)
    assert moved(repo, "c one; git merge -q --no-ff --no-edit HEAD~1 || :") == {"one": "hook"}


def test_with_the_hook_what_git_runs_no_hook_for_is_still_seen(forked):
    install_hooks(forked)
    assert moved(forked, "c one; git merge -q --no-edit side") == {"one": "hook", "Merge branch 'side'": "head-moved"}


def test_with_the_hook_a_person_beside_the_run_is_not_the_run(repo):
    install_hooks(repo)
    process = wrapped(repo, "touch ../ready; while [ ! -e ../done ]; do sleep 0.01; done", item="x")
    wait_for((repo / "../ready").exists)
    mine = commit_file(repo, "p", message="a person's")
    (repo / "../done").touch()
    assert process.wait(60) == 0
    assert links(mine) == {}
    assert all_links() == []


def test_a_hook_that_is_switched_off_is_none(repo):
    install_hooks(repo)
    (repo / ".git" / "hooks" / "post-commit").chmod(0o644)
    assert moved(repo, "git -c advice.ignoredHook=false commit -q --allow-empty -m one") == {"one": "head-moved"}


# -- the start of a run


def start_of(repo, *command, cwd=None):
    subprocess.run(wrap(*(command or ("true",))), cwd=cwd or repo, check=True, stdin=subprocess.DEVNULL)
    run = runs()[-1]
    return {name: run[f"git_{name}"] for name in ("repo", "branch", "commit_hash", "dirty")}


def settled():
    """Let what was done lie so far back that no clock doubts it came before."""
    time.sleep(0.06)


def test_a_run_records_where_it_began(repo):
    before = head(repo)
    settled()
    told = start_of(repo, "git", "commit", "-q", "--allow-empty", "-m", "later")
    assert (told["repo"], told["branch"], told["commit_hash"]) == (str(repo), "main", before)
    assert head(repo) != before


def test_outside_of_a_repository_nothing_is_said(tmp_path):
    assert set(start_of(tmp_path).values()) == {None}


def test_clean_is_clean(repo):
    (repo / "untracked").touch()
    settled()
    assert start_of(repo)["dirty"] is False


WAYS_TO_BE_DIRTY = {
    "changed": "echo changed > f0",
    "staged": "echo changed > f0; git add f0",
    "new": "echo new > n; git add n",
    "deleted": "rm f0",
    "removed": "git rm -q f0",
    "mode": "chmod 755 f0",
    "type": "rm f0; ln -s f1 f0",
    "an odd name": 'n=$(printf \'a \\377\\nb\'); echo 1 > "$n"; git add .; git commit -q -m odd; echo 22 > "$n"',
    "very much": "mkdir d; cd d; seq 3000 | sed 's/^/a-rather-long-name-so-that-no-pipe-holds-all-of-the-list-/' | xargs touch; git add .",
}


@pytest.mark.parametrize("script", WAYS_TO_BE_DIRTY.values(), ids=WAYS_TO_BE_DIRTY)
def test_dirty_is_dirty(repo, script):
    subprocess.run(["sh", "-ec", script], cwd=repo, check=True)
    settled()
    assert start_of(repo, "sleep", "0.1")["dirty"] is True


def test_dirty_is_dirty_on_an_unborn_branch(tmp_path):
    repo = new_repo(tmp_path / "new")
    settled()
    assert start_of(repo)["dirty"] is False
    (repo / "f").touch()
    git(repo, "add", "f")
    settled()
    assert start_of(repo)["dirty"] is True


SLOW = "sleep 0.2"


@pytest.mark.parametrize(
    "script",
    [
        "echo changed > f0",
        "echo changed > f0; git add f0",
        "rm f0",
        "git rm -q f0",
        "echo x >> f0; git commit -q -a -m x",
        "git checkout -q --detach HEAD~1",
        "chmod 755 f0; chmod 644 f0",
    ],
)
def test_what_the_command_does_is_not_taken_for_what_was_before(repo, script):
    settled()
    for wait in ("", f"; {SLOW}"):
        assert start_of(repo, "sh", "-c", script + wait)["dirty"] in (None, False)
        git(repo, "checkout", "-q", "-f", "main")
        git(repo, "reset", "-q", "--hard", "HEAD")
        settled()


@pytest.mark.parametrize(
    "script", ["git checkout -q f0", "git stash -q", "git commit -q -a -m x", "git reset -q --hard"]
)
def test_what_the_command_puts_back_was_not_clean_before(repo, script):
    for wait in ("", f"; {SLOW}"):
        (repo / "f0").write_text(f"changed{wait}\n")
        settled()
        assert start_of(repo, "sh", "-c", script + wait)["dirty"] in (None, True), wait
        git(repo, "reset", "-q", "--hard", "HEAD")


def slow_filter(repo, seconds):
    """Make git take its time for a look at a changed file."""
    git(repo, "config", "--global", "filter.slow.clean", f"sleep {seconds}; cat")
    (repo / ".gitattributes").write_text("f0 filter=slow\n")
    (repo / "f0").write_text("changed\n")
    os.utime(repo / "f0", (1, 1))


@pytest.mark.parametrize("script", ["echo 1 > f1", "git checkout -q f1", "git commit -q -m x f1", "git stash -q"])
def test_what_is_put_back_before_a_slow_look_was_not_clean_before(repo, script):
    slow_filter(repo, 0.2)
    (repo / "f0").write_text("0\n")
    git(repo, "add", "f0", ".gitattributes")
    git(repo, "commit", "-q", "-m", "with a filter")
    for name, text in (("f0", "0\n"), ("f1", "changed\n")):  # the first is read anew, slowly, before the second is seen
        (repo / name).write_text(text)
        os.utime(repo / name, (5, 5))
    time.sleep(1.1)  # git compares whole seconds
    assert start_of(repo, "sh", "-c", f"{script}; sleep 1")["dirty"] in (None, True)


def test_a_head_that_moves_before_a_slow_look_does_not_make_it_dirty_before(repo):
    slow_filter(repo, 0.2)
    (repo / "f0").write_text("0\n")
    git(repo, "add", "f0", ".gitattributes")
    git(repo, "commit", "-q", "-m", "with a filter")
    os.utime(repo / "f0", (5, 5))
    settled()
    assert start_of(repo, "sh", "-c", "git reset -q --soft HEAD~1; sleep 1")["dirty"] in (None, False)
    settled()
    assert start_of(repo, "sleep", "1")["dirty"] is True


def test_a_commit_in_a_submodule_meanwhile_does_not_make_it_dirty_before(repo, tmp_path):
    whole = new_repo(tmp_path / "whole", commits=1)
    git(whole, "submodule", "--quiet", "add", repo, "part")
    git(whole, "commit", "-q", "-m", "part")
    slow_filter(whole, 0.2)
    git(whole, "checkout", "-q", "f0")
    os.utime(whole / "f0", (5, 5))
    settled()
    script = "git -C part commit -q --allow-empty -m x; sleep 0.6"
    assert start_of(whole, "sh", "-c", script)["dirty"] in (None, False)
    settled()
    assert start_of(whole, "sleep", "0.6")["dirty"] is True


def test_a_slow_look_does_not_hold_up_the_end_and_leaves_nothing_behind(repo, tmp_path):
    git(repo, "config", "--global", "filter.slow.clean", f"touch {tmp_path}/asked; sleep 7.77; cat")
    (repo / ".gitattributes").write_text("f0 filter=slow\n")
    (repo / "f0").write_text("1\n")  # as long as it was, so that git has to read it
    settled()
    fast = new_repo(tmp_path / "fast", commits=1)
    times = {}
    for place in (fast, repo):
        took = []
        for _ in range(5):
            began = time.monotonic()
            start_of(place, "sleep", "0.1")
            took.append(time.monotonic() - began)
        times[place] = sorted(took)[2]
    assert times[repo] - times[fast] < 0.05
    assert (tmp_path / "asked").exists()
    assert runs()[-1]["git_dirty"] is None
    wait_for(lambda: not [p for p in Path("/proc").glob("[0-9]*/cmdline") if b"sleep\x007.77" in read(p)])


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_look_locks_and_writes_nothing_in_the_repository(repo):
    os.utime(repo / "f0", (1, 1))
    settled()
    before = (repo / ".git" / "index").stat().st_mtime_ns
    start_of(repo, "sleep", "0.1")
    assert (repo / ".git" / "index").stat().st_mtime_ns == before


# -- the command sees nothing of it


@pytest.mark.parametrize(
    "given", [{}, {"GIT_DIR": ".git", "GIT_INDEX_FILE": ".git/index", "GIT_PREFIX": "", "GIT_WORK_TREE": "."}]
)
def test_the_command_has_the_environment_it_would_have_bare(repo, given):
    ours = {"RYE_RUN_ID", "RYE_PARENT_RUN_ID", "RYE_REPORT", "TRACEPARENT", "_"}
    seen = []
    for argv in (["env", "-0"], wrap("env", "-0")):
        out = subprocess.run(argv, cwd=repo, env={**os.environ, **given}, check=True, capture_output=True).stdout
        seen.append({item for item in out.split(b"\0") if item and os.fsdecode(item.partition(b"=")[0]) not in ours})
    assert seen[0] == seen[1]
    assert not [item for item in seen[0] if item.startswith(b"GIT_PYTHON")]


def test_in_a_hook_the_command_has_what_the_hook_has(repo):
    hook = repo / ".git" / "hooks" / "pre-commit"
    hook.write_text(
        f"#!/bin/sh\nenv | grep ^GIT_ | sort > bare\n{RYE} run-with tool x -- sh -c 'env | grep ^GIT_ | sort > wrapped'\n"
    )
    hook.chmod(0o755)
    (repo / "f0").write_text("changed\n")
    git(repo, "commit", "-q", "-a", "-m", "one")
    assert (repo / "bare").read_text() == (repo / "wrapped").read_text() != ""
    assert "GIT_INDEX_FILE" in (repo / "bare").read_text()
    assert runs()[0]["git_repo"] == str(repo)


def test_git_dir_of_another_repository_does_not_say_where_the_run_is(repo, tmp_path):
    other = new_repo(tmp_path / "other", commits=3)
    settled()
    run_in(repo, "true", GIT_DIR=str(other / ".git"), GIT_WORK_TREE=str(other))
    run = runs()[0]
    assert (run["git_repo"], run["git_commit_hash"], run["git_dirty"]) == (str(repo), head(repo), False)


PROBE = ["sh", "-c", "cat; echo err >&2; exit 5"]


@pytest.mark.parametrize("trouble", ["config", "owner", "no git", "head", "loop", "pipe", "empty folder"])
def test_whatever_is_wrong_with_the_repository_the_command_is_as_bare_and_the_run_recorded(
    repo, trouble, tmp_path, monkeypatch
):
    if trouble == "config":
        (repo / ".git" / "config").write_text("[broken\n")
    elif trouble == "owner":
        if os.geteuid():
            pytest.skip("only root can give a repository to somebody else")
        for path in (repo, repo / ".git"):
            os.chown(path, 12345, 12345)
    elif trouble == "no git":
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        (tmp_path / "bin").mkdir()
        for name in ("sh", "cat"):
            (tmp_path / "bin" / name).symlink_to(shutil.which(name, path="/bin:/usr/bin"))
    elif trouble == "head":
        (repo / ".git" / "HEAD").write_text("nonsense\n")
    elif trouble == "loop":
        (repo / ".git" / "HEAD").unlink()
        (repo / ".git" / "HEAD").symlink_to("HEAD")
    elif trouble == "pipe":
        (repo / ".git" / "HEAD").unlink()
        os.mkfifo(repo / ".git" / "HEAD")
    else:
        shutil.rmtree(repo / ".git" / "objects")
    done = subprocess.run(wrap(*PROBE), cwd=repo, input=b"in", capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (5, b"in", b"err\n")
    (run,) = runs()
    assert (run["outcome"], run["exit_code"], run["git_dirty"]) == ("failure", 5, None)


def test_a_commit_in_a_repository_that_git_refuses_us_costs_one_line_and_no_run(repo):
    if os.geteuid():
        pytest.skip("only root can give a repository to somebody else")
    done = run_in(repo, C + "c one; chown 12345 . .git")
    assert runs()[0]["outcome"] == "success"
    assert all_links() == []
    assert len(done.stderr.splitlines()) == 1
    assert "dubious ownership" in done.stderr
    assert "recorded, but not linked" in done.stderr


def test_a_working_directory_that_is_gone_is_no_trouble(repo):
    (repo / "in").mkdir()
    done = subprocess.run(
        ["sh", "-c", f"cd in && rmdir ../in && exec {RYE} run-with tool x -- true"],
        cwd=repo,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert runs()[0]["outcome"] == "success"


@pytest.mark.parametrize("name", [b"with space", b"two\nlines", b"not \xff utf-8"])
def test_a_repository_at_a_path_of_any_bytes(tmp_path, name):
    place = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
    new_repo(place, commits=1)
    assert moved(place, "c one; git worktree add -q -b side ../tree") == {"one": "head-moved"}
    run_in(tmp_path / "tree", C + "c two", item="second")
    assert linked(place, "second") == {"two": "head-moved"}
    assert len({run["git_repo"] for run in runs()}) == 1


def test_a_repository_of_sha256(tmp_path):
    repo = new_repo(tmp_path / "long", "--object-format=sha256", commits=1)
    assert moved(repo, "c one") == {"one": "head-moved"}
    assert len(all_links()[0]["commit_hash"]) == 64
