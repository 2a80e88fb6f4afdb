"""What links survive between repositories, rewriting tools and opt-in carriers; the table in docs/git.md has every row."""

from __future__ import annotations

import subprocess
import sys

import survival
import test_survival
from repositories import git, install_hooks, said, store
from survival import ROWS, TESTED, remembered, row, stack

work = survival.work


def test_every_row_of_the_page_has_its_test_and_every_test_its_row():
    assert set(TESTED) == set(ROWS)


# -- forges: a bare repository, and somebody who knows of no run


@remembered
def push_topic(work, *tools):
    """Put main on a forge, begin a topic branch, and let runs commit on it."""
    work.begin().commit("zero", "z")
    git(".", "init", "-q", "--bare", "--template=", work.path.with_name("forge"))
    work.git("remote", "add", "origin", str(work.path.with_name("forge"))).git("push", "-q", "origin", "main")
    work.git("checkout", "-qb", "topic")
    return work.stack(*tools).git("push", "-q", "origin", "topic") if tools else work


class Forge:
    """What is done to main elsewhere; only main comes back."""

    def __init__(self, work):
        self.work = work
        self.place = work.path.with_name("elsewhere")
        if not self.place.exists():
            git(".", "clone", "-q", "--template=", work.path.with_name("forge"), self.place)
        git(self.place, "fetch", "-q", "origin")
        git(self.place, "checkout", "-q", "main")

    def git(self, *args):
        self.work.now += 1
        git(self.place, *args, GIT_COMMITTER_DATE=f"{self.work.now} +0000")
        return self

    def commit(self, name):
        (self.place / name).write_text(f"{name}\n")
        return self.git("add", "-A").git("commit", "-qm", name)

    def squash(self, branch, message="squash", **files):
        self.git("merge", "-q", "--squash", f"origin/{branch}")
        for name, text in files.items():
            (self.place / name).write_text(text)
        return self.git("add", "-A").git("commit", "-qm", message)

    def fetched(self):
        """Push main and fetch it, alone, into the repository that the runs worked in."""
        self.git("push", "-q", "origin", "main")
        self.work.git("fetch", "-q", "origin", "main").git("checkout", "-q", "main")
        return self.work.git("merge", "-q", "--ff-only", "origin/main")


@row("forge-squash")
def test_a_branch_that_a_forge_squashed(work):
    push_topic(work, "a", "b")
    Forge(work).squash("topic").fetched()
    work.expect(("main", "a"), ("main", "b"), kept=(("topic", "b"), ("topic~1", "a"), ("main~1", "z")))


@row("forge-squash-one")
def test_a_branch_of_one_commit_that_a_forge_squashed(work):
    push_topic(work, "a")
    Forge(work).squash("topic").fetched()
    work.expect(("main", "a"), kept=(("topic", "a"), ("main~1", "z")))


@row("forge-squash-moved")
def test_two_branches_that_a_forge_squashed_while_main_moved_on(work):
    push_topic(work, "a", "b").git("checkout", "-qb", "other", "main")
    work.commit("four", "c").commit("by hand").commit("five", "d").git("push", "-q", "origin", "other")
    Forge(work).commit("side").squash("other", "other").squash("topic").fetched()
    squashes = (("main", "a"), ("main", "b"), ("main~1", "c"), ("main~1", "d"))
    on_branches = (("topic", "b"), ("topic~1", "a"), ("other", "d"), ("other~2", "c"))
    work.expect(*squashes, kept=(*on_branches, ("main~3", "z")))


@row("forge-squash-merged")
def test_a_branch_that_merged_main_before_a_forge_squashed_it(work):
    push_topic(work, "a")
    Forge(work).commit("side").fetched()
    work.git("checkout", "-q", "topic").git("merge", "-q", "main", "-m", "merge").commit("two", "b")
    work.git("push", "-q", "origin", "topic")
    Forge(work).squash("topic").fetched()
    work.expect(("main", "a"), ("main", "b"), kept=(("topic", "b"), ("topic~2", "a"), ("main~2", "z")))


@row("forge-squash-edited")
def test_a_branch_that_a_forge_squashed_with_another_content(work):
    push_topic(work, "a", "b")
    Forge(work).squash("topic", two="2\n").fetched()
    work.expect(("main", "a"), ("main", "b"), kept=(("topic", "b"), ("topic~1", "a"), ("main~1", "z")))


@row("forge-squash-part")
def test_a_branch_that_went_on_after_a_forge_squashed_it(work):
    push_topic(work, "a", "b")
    Forge(work).squash("topic").fetched()
    work.git("checkout", "-q", "topic").commit("three", "c")
    kept = (("topic", "c"), ("topic~1", "b"), ("topic~2", "a"), ("main~1", "z"))
    work.expect(("main", "a"), ("main", "b"), kept=kept)


@row("forge-squash-gone")
def test_a_branch_that_is_gone_since_a_forge_squashed_it(work):
    push_topic(work, "a", "b")
    Forge(work).squash("topic").fetched()
    work.git("branch", "-D", "topic").git("update-ref", "-d", "refs/remotes/origin/topic").forget()
    work.expect(("main", "a"), ("main", "b"), kept=(("main~1", "z"),))


@row("forge-rebase")
def test_a_branch_that_a_forge_rebased(work):
    push_topic(work, "a", "b")
    Forge(work).commit("side").git("cherry-pick", "origin/topic~1", "origin/topic").fetched()
    kept = (("topic", "b"), ("topic~1", "a"), ("main~3", "z"))
    work.expect(("main", "b"), ("main~1", "a"), kept=kept)


@row("forge-merge")
def test_a_branch_that_a_forge_merged(work):
    push_topic(work, "a", "b")
    Forge(work).git("merge", "-q", "--no-ff", "origin/topic", "-m", "merge").fetched()
    work.expect(("main", "b"), kept=(("topic", "b"), ("topic~1", "a"), ("main~1", "z")))


# -- clones


@row("clone")
def test_a_fresh_clone(work):
    clone = stack(work, "a", "b").clone("clone")
    clone.expect(("HEAD", "b"), ("HEAD~1", "a"))


@row("clone-fetched")
def test_a_forge_squashed_what_was_done_in_another_clone_and_fetched_here(work):
    push_topic(work, "a", "b")
    Forge(work).squash("topic").fetched()
    here = work.clone("here")
    here.expect(
        ("origin/main", "a"),
        ("origin/main", "b"),
        kept=(("origin/topic", "b"), ("origin/topic~1", "a"), ("main~1", "z")),
    )


@row("clone-not-fetched")
def test_a_forge_squashed_what_was_done_in_another_clone_and_only_that_was_fetched_here(work):
    push_topic(work, "a")
    Forge(work).squash("topic").fetched()
    here = work.clone("here", "--single-branch", "--branch", "main")
    here.expect(("main", "a"), kept=(("main~1", "z"),))


@row("clone-rebased")
def test_a_forge_rebased_what_was_done_in_another_clone_and_only_that_was_fetched_here(work):
    push_topic(work, "a", "b")
    Forge(work).commit("side").git("cherry-pick", "origin/topic~1", "origin/topic").fetched()
    here = work.clone("here", "--single-branch", "--branch", "main")
    here.expect(("main", "b"), ("main~1", "a"), kept=(("main~3", "z"),))


@row("two-repositories")
def test_the_same_change_made_by_hand_in_a_clone_of_a_clone(work):
    middle = work.begin().commit("zero", "z").clone("middle")
    far = middle.clone("far")
    work.stack("a", "b")
    far.commit("one").commit("two").commit("three")
    far.expect(("HEAD~1", "b"), ("HEAD~2", "a"), kept=(("HEAD~3", "z"),))
    work.expect_links(*work.untouched(("HEAD", "b"), ("HEAD~1", "a"), ("HEAD~2", "z")))


@row("shallow")
def test_a_shallow_clone(work):
    clone = stack(work, "a", "b").clone("clone", "--depth", "1")
    assert len(clone.history()) == 1
    clone.expect(("HEAD", "b"))


@row("shallow-work")
def test_work_in_a_shallow_clone(work):
    clone = stack(work, "a", "b").clone("clone", "--depth", "1")
    clone.commit("three", "c").git("commit", "-q", "--amend", "-m", "again")
    clone.git("checkout", "-q", "--orphan", "other").git("commit", "-qm", "everything")
    clone.expect(("main", "c"), kept=(("main~1", "b"),))


# -- places


@row("detached")
def test_a_detached_head(work):
    work.begin().git("checkout", "-q", "--detach").stack("a", "b").git("commit", "-q", "--amend", "-m", "again")
    work.expect(("HEAD", "b"), kept=(("HEAD~1", "a"),))


@row("worktree")
def test_a_linked_worktree(work):
    work.begin().commit("zero", "z").git("worktree", "add", "-q", "-b", "topic", "../linked")
    linked = work.at(work.path.with_name("linked")).stack("a", "b")
    work.commit("four", "d")
    linked.git("rebase", "-q", "main")
    linked.expect(("topic", "b"), ("topic~1", "a"), kept=(("main", "d"), ("main~1", "z")))
    work.expect(("topic", "b"), ("topic~1", "a"), kept=(("main", "d"), ("main~1", "z")))


def with_submodule(work):
    work.begin()
    git(".", "init", "-q", "--template=", work.path.with_name("part"))
    git(work.path.with_name("part"), "commit", "-q", "--allow-empty", "-m", "base")
    work.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../part").commit("with part")
    return work.at(work.path / "part").equip()


@row("submodule")
def test_a_run_in_a_submodule(work):
    part = with_submodule(work).stack("a", "b").git("commit", "-q", "--amend", "-m", "again")
    work.commit("part moved", "c")
    part.expect(("HEAD", "b"), kept=(("HEAD~1", "a"),))
    work.expect_links(*work.untouched(("HEAD", "c")))


@row("submodule-from-above")
def test_a_run_above_a_submodule_that_commits_in_it(work):
    part = with_submodule(work)
    (part.path / "f").write_text("f\n")
    work.run("a", "cd part && git add f && git commit -qm one && cd .. && git commit -qam 'part moved'")
    part.expect(("HEAD", "a"))
    work.expect_links(*work.untouched(("HEAD", "a")))


@row("orphan")
def test_an_orphan_branch(work):
    stack(work, "a", "b").git("checkout", "-q", "--orphan", "fresh").git("commit", "-qm", "everything by hand")
    work.git("checkout", "-q", "--orphan", "another").commit("everything", "c")
    work.expect(("fresh", "b"), kept=(("another", "c"), ("main", "b"), ("main~1", "a")))


@row("sha256")
def test_a_sha256_repository(work):
    work.begin("--object-format=sha256").stack("a", "b", "c").git("commit", "-q", "--amend", "-m", "again")
    assert len(work.say("rev-parse", "HEAD")) == 64
    work.expect(("HEAD", "c"), kept=test_survival.STACK)


@row("gc")
def test_what_was_rewritten_is_pruned(work):
    work.begin().commit("zero", "z").stack("a", "b", "c").rebase("HEAD~3", "pick two", "fixup three", "pick one")
    work.forget()
    squashed = [("HEAD~1", tool, "squashed") for tool in ("b", "c")]
    work.expect(("HEAD", "a", "others"), *squashed, kept=(("HEAD~2", "z"),))


# -- tools that rewrite everything


@row("filter-branch")
def test_filter_branch(work):
    stack(work, "a", "b")
    work.git("filter-branch", "-f", "--msg-filter", "sed s/$/!/", "main", FILTER_BRANCH_SQUELCH_WARNING="1")
    was = (("refs/original/refs/heads/main", "b"), ("refs/original/refs/heads/main~1", "a"))
    work.expect(("main", "b"), ("main~1", "a"), kept=was)


def filter_repo(work, *options):
    work.write("secret", "s\n").git("add", "-A").git("commit", "-q", "--amend", "--no-edit").stack("a", "b")
    filtering = [sys.executable, "-m", "git_filter_repo", "--force", "--quiet", *options]
    subprocess.run(filtering, cwd=work.path, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return work


@row("filter-repo")
def test_filter_repo_that_takes_a_file_out_of_all_history(work):
    filter_repo(work.begin(), "--invert-paths", "--path", "secret")
    work.expect(("HEAD", "b"), ("HEAD~1", "a"))


@row("filter-repo-changed")
def test_filter_repo_that_changes_what_runs_changed(work):
    filter_repo(work.begin(), "--path-rename", "one:first", "--path-rename", "two:second")
    work.expect(("HEAD", "b"), ("HEAD~1", "a"))


# -- carriers


def messages(work, revision="HEAD"):
    return work.say("log", "-1", "--format=%B", revision)


def runs_by_tool():
    with store() as opened:
        return {run["item_id"]: run["run_id"] for run in opened.runs(limit=100)}


TRAILED = 'git add -A && git commit -q -m {0} -m "Rye-Run: $RYE_RUN_ID"'


def with_trailers(work):
    """Let a hook write trailers; without hooks whoever commits writes them."""
    if work.hooks:
        install_hooks(work.path, "--trailers")
    return work


def trailed(work, subject, tool, **files):
    for name, text in (files or {subject: f"{subject}\n"}).items():
        work.write(name, text)
    script = f"git add -A && git commit -qm {subject}" if work.hooks else TRAILED.format(subject)
    return work.run(tool, script)


@row("trailers-amend")
def test_trailers_through_an_amend(work):
    with_trailers(work.begin())
    trailed(trailed(work, "one", "a"), "two", "b").write("two", "2\n").git("commit", "-qa", "--amend", "--no-edit")
    assert messages(work).endswith(f"\n\nRye-Run: {runs_by_tool()['b']}")
    work.expect(("HEAD", "b"), kept=(("HEAD~1", "a"),))


@row("trailers-squash")
def test_trailers_of_several_runs_after_a_squash_with_another_content(work):
    with_trailers(work.begin())
    for subject, tool in (("one", "a"), ("two", "b"), ("three", "c")):
        trailed(work, subject, tool)
    work.rebase("HEAD~3", "pick one", "squash two", "edit three", GIT_EDITOR="sh -c 'echo last words >> \"$1\"' -")
    work.git("rebase", "--continue").git("reset", "-q", "--hard", "HEAD")
    assert [line for line in messages(work, "HEAD~1").splitlines() if line.startswith("Rye-Run: ")] == [
        f"Rye-Run: {runs_by_tool()[tool]}" for tool in ("a", "b")
    ]
    work.expect(("HEAD~1", "a", "squashed"), ("HEAD~1", "b", "squashed"), ("HEAD", "c", "others"))


@row("trailers-forge")
def test_trailers_in_the_middle_of_the_message_of_a_forge_that_changed_the_content(work):
    with_trailers(work.begin())
    git(".", "init", "-q", "--bare", "--template=", work.path.with_name("forge"))
    work.git("remote", "add", "origin", str(work.path.with_name("forge"))).git("push", "-q", "origin", "main")
    work.git("checkout", "-qb", "topic")
    trailed(trailed(work, "one", "a"), "two", "b").git("push", "-q", "origin", "topic")
    body = "".join(f"* {messages(work, rev)}\n\n" for rev in ("HEAD~1", "HEAD"))
    Forge(work).squash("topic", f"squash (#1)\n\n{body}Reviewed-by: A Person <a@example.org>", two="2\n").fetched()
    work.expect(("main", "a"), ("main", "b"), kept=(("topic", "b"), ("topic~1", "a")))


@row("trailers-unknown")
def test_a_trailer_that_names_no_run_that_is_known(work):
    work.begin().stack("a").commit("by hand\n\nRye-Run: 0192a3b4-0000-7000-8000-000000000000", other="o\n")
    work.expect(("HEAD", "a"), kept=(("HEAD~1", "a"),))


def notes(work, revision="HEAD"):
    return said(work.path, "notes", "--ref=rye-telemetry", "show", revision).split()


@row("notes-amend")
def test_notes_through_an_amend(work):
    install_hooks(work.begin().path, "--notes")
    work.stack("a", "b").git("commit", "-q", "--amend", "-m", "again")
    runs = runs_by_tool()
    assert (notes(work), notes(work, "HEAD~1")) == ([runs["b"]], [runs["a"]])
    work.expect(("HEAD", "b"), kept=(("HEAD~1", "a"),))


@row("notes-squash")
def test_notes_of_several_runs_after_a_squash(work):
    install_hooks(work.begin().path, "--notes")
    work.stack("a", "b", "c").rebase("HEAD~3", "pick one", "squash two", "pick three")
    runs = runs_by_tool()
    assert notes(work, "HEAD~1") == sorted([runs["a"], runs["b"]])
    assert notes(work) == [runs["c"]]
    work.expect(("HEAD~1", "a"), ("HEAD~1", "b"), ("HEAD", "c"))


@row("notes-colleague")
def test_a_colleague_reads_our_notes(work, cli, tmp_path, monkeypatch):
    install_hooks(work.begin().path, "--notes")
    work.stack("a", "b").git("commit", "-q", "--amend", "-m", "again")
    runs = {run_id: tool for tool, run_id in runs_by_tool().items()}
    theirs = work.clone("theirs").git("fetch", "-q", "origin", "refs/notes/*:refs/notes/*")
    monkeypatch.setenv("RYE_STATE_DIR", str(tmp_path / "their state"))
    cli("commits", "import-notes", cwd=theirs.path)
    theirs.tools = runs
    theirs.expect(("HEAD", "b"), ("HEAD~1", "a"))
