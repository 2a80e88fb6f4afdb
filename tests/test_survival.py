"""What links survive in one repository, held against the table in docs/git.md: every commit, and nothing else, is linked."""

from __future__ import annotations

import survival
from survival import row, stack, topic

work = survival.work
STACK = (("HEAD~1", "b"), ("HEAD~2", "a"))  # below the third commit of `stack("a", "b", "c")`


@row("commit")
def test_a_commit_made_in_a_run_is_linked_and_one_made_by_hand_is_not(work):
    stack(work, "a", "b").commit("by hand")
    work.expect(("HEAD~1", "b"), ("HEAD~2", "a"))


# -- amend


@row("amend-message")
def test_amend_with_a_new_message(work):
    stack(work, "a", "b", "c").git("commit", "-q", "--amend", "-m", "again")
    work.expect(("HEAD", "c"), kept=STACK)


@row("amend-same")
def test_amend_of_nothing_but_the_date(work):
    stack(work, "a", "b", "c").git("commit", "-q", "--amend", "--no-edit")
    work.expect(("HEAD", "c"), kept=STACK)


@row("amend-content")
def test_amend_with_another_content(work):
    stack(work, "a", "b", "c").write("three", "3\n").git("commit", "-qa", "--amend", "--no-edit")
    work.expect(("HEAD", "c"), kept=STACK)


@row("amend-forgotten")
def test_amend_that_no_reflog_tells_of(work):
    stack(work, "a", "b", "c").git("commit", "-q", "--amend", "-m", "again").forget_moves()
    work.expect(("HEAD", "c"), kept=STACK)


@row("amend-in-run")
def test_amend_in_another_run(work):
    stack(work, "a", "b", "c").write("three", "3\n").run("d", "git commit -qa --amend --no-edit")
    work.expect(("HEAD", "c", "the first run"), ("HEAD", "d", "the amending run"), kept=STACK)


@row("amend-binary")
def test_amend_of_a_binary_file(work):
    work.begin().commit("one", "a").commit("two", "b", picture=b"\0one").git("commit", "-q", "--amend", "-m", "again")
    work.git("checkout", "-qb", "other", "HEAD~1").commit("another picture", picture=b"\0two").forget_moves()
    work.expect(("main", "b"), kept=(("main~1", "a"),))


@row("amend-empty")
def test_amend_of_an_empty_commit(work):
    work.begin().commit("one", "a").run("b", "git commit -q --allow-empty -m nothing")
    work.git("commit", "-q", "--amend", "--allow-empty", "-m", "again")
    work.git("checkout", "-qb", "other", "HEAD~1").git("commit", "-q", "--allow-empty", "-m", "nothing as well")
    work.forget_moves().expect(("main", "b"), kept=(("main~1", "a"),))


# -- rebase


@row("rebase-pick")
def test_rebase(work):
    topic(work, "a", "b", "c").git("rebase", "-q", "main")
    work.expect(("HEAD", "c"), ("HEAD~1", "b"), ("HEAD~2", "a"), kept=(("main~1", "z"),))


@row("rebase-apply")
def test_rebase_by_patches(work):
    topic(work, "a", "b", "c").git("rebase", "-q", "--apply", "main")
    work.expect(("HEAD", "c"), ("HEAD~1", "b"), ("HEAD~2", "a"), kept=(("main~1", "z"),))


@row("rebase-conflict")
def test_rebase_with_a_conflict_solved_by_hand(work):
    work.begin().git("branch", "topic").commit("side", shared="side\n").git("checkout", "-q", "topic")
    work.commit("one", "a", shared="one\n").commit("two", "b").git("rebase", "-q", "main", code=1)
    work.write("shared", "both\n").git("add", "-A").git("rebase", "--continue")
    work.expect(("HEAD", "b", "after it"), ("HEAD~1", "a", "solved"))


@row("rebase-reword")
def test_reword(work):
    editor = "sh -c 'echo again > \"$1\"' -"
    topic(work, "a", "b", "c").rebase("main", "pick one", "reword two", "pick three", GIT_EDITOR=editor)
    assert work.say("log", "-1", "--format=%s", "HEAD~1") == "again"
    work.expect(("HEAD", "c"), ("HEAD~1", "b"), ("HEAD~2", "a"), kept=(("main~1", "z"),))


@row("rebase-edit")
def test_edit(work):
    topic(work, "a", "b", "c").rebase("main", "pick one", "edit two", "pick three")
    work.write("two", "2\n").git("commit", "-qa", "--amend", "--no-edit").git("rebase", "--continue")
    work.expect(("HEAD", "c", "others"), ("HEAD~1", "b", "edited"), ("HEAD~2", "a", "others"), kept=(("main~1", "z"),))


@row("rebase-squash")
def test_squash(work):
    topic(work, "a", "b", "c").rebase("main", "pick one", "squash two", "pick three")
    work.expect(
        ("HEAD", "c", "others"), ("HEAD~1", "a", "squashed"), ("HEAD~1", "b", "squashed"), kept=(("main~1", "z"),)
    )


@row("rebase-fixup")
def test_fixup_of_all_that_follows(work):
    topic(work, "a", "b", "c").rebase("main", "pick one", "fixup two", "fixup three")
    work.expect(("HEAD", "a"), ("HEAD", "b"), ("HEAD", "c"), kept=(("main~1", "z"),))


@row("autosquash")
def test_autosquash(work):
    topic(work, "a", "b")
    work.write("one", "1\n").run("c", "git commit -qa --fixup=:/one")
    work.git("rebase", "-q", "-i", "--autosquash", "main")
    work.expect(
        ("HEAD", "b", "others"), ("HEAD~1", "a", "squashed"), ("HEAD~1", "c", "squashed"), kept=(("main~1", "z"),)
    )


@row("rebase-drop")
def test_drop(work):
    topic(work, "a", "b", "c").rebase("main", "pick one", "drop two", "pick three")
    work.expect(("HEAD", "c", "others"), ("HEAD~1", "a", "others"), ("HEAD", "b", "dropped"), kept=(("main~1", "z"),))


@row("rebase-reorder")
def test_reorder_after_which_the_last_tree_is_what_it_was(work):
    stack(work, "a", "b", "c")
    tree = work.say("rev-parse", "HEAD^{tree}")
    work.rebase("HEAD~2", "pick three", "pick two")
    assert work.say("rev-parse", "HEAD^{tree}") == tree
    work.expect(("HEAD", "b"), ("HEAD~1", "c"), kept=(("HEAD~2", "a"),))


@row("rebase-reorder-binary")
def test_reorder_of_binary_files_after_which_the_last_tree_is_what_it_was(work):
    work.begin().commit("one", "a").commit("two", "b", two=b"\0two").commit("three", "c", three=b"\0three")
    work.rebase("HEAD~2", "pick three", "pick two")
    work.expect(("HEAD", "b"), ("HEAD~1", "c"), kept=(("HEAD~2", "a"),))


@row("rebase-exec")
def test_exec_that_commits_and_amends(work):
    commit = "exec echo x > extra && git add extra && git commit -qm extra"
    amend = "exec echo 2 > two && git commit -qa --amend --no-edit"
    topic(work, "a", "b", "c").rebase("main", "pick one", commit, "pick two", amend, "pick three")
    assert work.say("log", "--format=%s", "main..HEAD").split() == ["three", "two", "extra", "one"]
    work.expect(
        ("HEAD", "c", "others"),
        ("HEAD~1", "b", "amended by it"),
        ("HEAD~2", "b", "committed by it"),
        ("HEAD~3", "a", "others"),
        kept=(("main~1", "z"),),
    )


@row("rebase-split")
def test_edit_that_splits_a_commit_in_two(work):
    work.begin().commit("one", "a").commit("two", "b", left="l\n", right="r\n").commit("three", "c")
    work.rebase("HEAD~2", "edit two", "pick three")
    work.git("reset", "-q", "HEAD^").git("add", "left").git("commit", "-qm", "left")
    work.git("add", "right").git("commit", "-qm", "right").git("rebase", "--continue")
    work.expect(
        ("HEAD", "c", "others"), ("HEAD~1", "b", "last part"), ("HEAD~2", "b", "other parts"), kept=(("HEAD~3", "a"),)
    )


@row("rebase-in-run")
def test_rebase_in_another_run(work):
    topic(work, "a", "b", "c").run("d", "git rebase -q main")
    by_first = [(rev, tool, "the first runs") for rev, tool in (("HEAD", "c"), ("HEAD~1", "b"), ("HEAD~2", "a"))]
    by_last = [(rev, "d", "the rebasing run") for rev in ("HEAD", "HEAD~1", "HEAD~2")]
    work.expect(*by_first, *by_last, kept=(("main~1", "z"),))


@row("rebase-merges")
def test_rebase_that_keeps_merges(work):
    work.begin().move_main().commit("one", "a").git("checkout", "-qb", "part").commit("two", "b")
    work.git("checkout", "-q", "topic").commit("three", "c").git("merge", "-q", "part", "-m", "merge")
    work.git("branch", "-D", "part").git("rebase", "-q", "--rebase-merges", "main")
    work.expect(("HEAD^1", "c"), ("HEAD^2", "b"), ("HEAD~2", "a"))


@row("pull-rebase")
def test_pull_that_rebases(work):
    work.begin().commit("zero", "z")
    here = work.clone("here").stack("a", "b")
    work.commit("side")
    here.git("pull", "-q", "--rebase")
    here.expect(("HEAD", "b"), ("HEAD~1", "a"), kept=(("HEAD~3", "z"),))


# -- copies and their opposites


@row("cherry-pick")
def test_cherry_pick(work):
    topic(work, "a", "b").git("checkout", "-q", "main")
    work.git("cherry-pick", "topic")
    work.expect(("main", "b"), kept=(("topic", "b"), ("topic~1", "a"), ("main~2", "z")))


@row("cherry-pick-x")
def test_cherry_pick_that_names_its_source(work):
    topic(work, "a", "b").git("checkout", "-q", "main")
    work.git("cherry-pick", "-x", "topic~1", "topic")
    work.expect(("main", "b"), ("main~1", "a"), kept=(("topic", "b"), ("topic~1", "a"), ("main~3", "z")))


@row("cherry-pick-conflict")
def test_cherry_pick_with_a_conflict_solved_by_hand(work):
    work.begin().git("branch", "topic").commit("side", shared="side\n").git("checkout", "-q", "topic")
    work.commit("one", "a", shared="one\n").git("checkout", "-q", "main").git("cherry-pick", "topic", code=1)
    work.write("shared", "both\n").git("add", "-A").git("cherry-pick", "--continue")
    work.expect(("main", "a"), kept=(("topic", "a"),))


@row("cherry-pick-in-run")
def test_cherry_pick_in_another_run(work):
    work.begin().move_main().stack("a", "b").git("checkout", "-q", "main").run("d", "git cherry-pick topic")
    work.expect(
        ("main", "b", "the first run"), ("main", "d", "the picking run"), kept=(("topic", "b"), ("topic~1", "a"))
    )


@row("revert")
def test_revert(work):
    stack(work, "a", "b").git("revert", "--no-edit", "HEAD")
    work.expect(("HEAD", "b"), kept=(("HEAD~1", "b"), ("HEAD~2", "a")))


@row("revert-revert")
def test_revert_of_a_revert(work):
    stack(work, "a", "b").git("revert", "--no-edit", "HEAD").git("revert", "--no-edit", "HEAD")
    work.expect(("HEAD", "b"), kept=(("HEAD~2", "b"), ("HEAD~3", "a")))


@row("am")
def test_am(work):
    topic(work, "a", "b").git("format-patch", "-q", "-o", "../mail", "main")
    mails = sorted((work.path.parent / "mail").iterdir())
    work.git("checkout", "-q", "main").git("branch", "-D", "topic").git("am", "-q", *mails)
    work.expect(("HEAD", "b"), ("HEAD~1", "a"), kept=(("HEAD~3", "z"),))


@row("am-in-run")
def test_am_in_a_run(work):
    work.begin().move_main().stack("a", "b").git("format-patch", "-q", "-o", "../mail", "main")
    work.git("checkout", "-q", "main").git("branch", "-D", "topic").run("d", "git am -q ../mail/*")
    first = [("HEAD", "b", "the first runs"), ("HEAD~1", "a", "the first runs")]
    work.expect(*first, ("HEAD", "d", "the applying run"), ("HEAD~1", "d", "the applying run"))


@row("stash")
def test_stash_and_a_commit_by_hand_of_what_a_run_left(work):
    stack(work, "a", "b").run("c", "echo 2 > two && git stash -q && git stash apply -q")
    work.git("commit", "-qam", "by hand")
    work.expect(("HEAD", "c"), ("refs/stash", "c"), kept=(("HEAD~1", "b"), ("HEAD~2", "a")))


@row("stash-commit")
def test_a_commit_that_went_through_the_stash(work):
    stack(work, "a", "b").git("reset", "-q", "--soft", "HEAD~1").git("stash", "-q").git("stash", "pop", "-q")
    work.git("commit", "-qam", "again")
    work.expect(("HEAD", "b"), kept=(("HEAD~1", "a"),))


# -- merge, reset


@row("merge")
def test_merge(work):
    work.begin().move_main().stack("a", "b").git("checkout", "-q", "main").git("merge", "-q", "topic", "-m", "merge")
    work.expect(("HEAD", "b"), kept=(("topic", "b"), ("topic~1", "a")))


@row("merge-in-run")
def test_merge_in_a_run(work):
    work.begin().move_main().stack("a", "b").git("checkout", "-q", "main").run("d", "git merge -q topic -m merge")
    work.expect(("HEAD", "d"), kept=(("topic", "b"), ("topic~1", "a")))


@row("merge-squash")
def test_merge_squash_of_a_branch_with_a_commit_by_hand_in_it(work):
    work.begin().move_main().commit("one", "a").commit("by hand").commit("two", "b")
    work.git("checkout", "-q", "main").git("merge", "-q", "--squash", "topic").git("commit", "-qm", "squash")
    work.expect(("main", "a"), ("main", "b"), kept=(("topic", "b"), ("topic~2", "a")))


@row("merge-squash-one")
def test_merge_squash_of_one_commit(work):
    work.begin().commit("zero", "z").move_main().commit("one", "a")
    work.git("checkout", "-q", "main").git("merge", "-q", "--squash", "topic").git("commit", "-qm", "squash")
    work.expect(("main", "a"), kept=(("topic", "a"), ("main~2", "z")))


@row("reset-one")
def test_reset_and_the_commit_made_anew(work):
    stack(work, "a", "b", "c").git("reset", "-q", "--soft", "HEAD~1").git("commit", "-qm", "again")
    work.expect(("HEAD", "c"), kept=STACK)


@row("reset-several")
def test_reset_and_one_commit_made_of_several(work):
    stack(work, "a", "b", "c").git("reset", "-q", "--soft", "HEAD~2").git("commit", "-qm", "again")
    work.expect(("HEAD", "b"), ("HEAD", "c"), kept=(("HEAD~1", "a"),))


@row("reset-more")
def test_reset_and_one_commit_made_of_several_and_more(work):
    stack(work, "a", "b", "c").git("reset", "-q", "--soft", "HEAD~2").commit("more")
    work.expect(("HEAD", "b"), ("HEAD", "c"), kept=(("HEAD~1", "a"),))


@row("reset-split")
def test_reset_that_splits_a_commit_in_two(work):
    work.begin().commit("one", "a").commit("two", "b", left="l\n", right="r\n").git("reset", "-q", "HEAD~1")
    work.git("add", "left").git("commit", "-qm", "left").git("add", "right").git("commit", "-qm", "right")
    work.expect(("HEAD", "b", "last part"), ("HEAD~1", "b", "other parts"), kept=(("HEAD~2", "a"),))


@row("reset-away")
def test_reset_that_throws_a_commit_away(work):
    stack(work, "a", "b").git("reset", "-q", "--hard", "HEAD~1").commit("something else")
    work.expect(("HEAD", "b"), kept=(("HEAD~1", "a"),))


# -- the same change twice


@row("same-change")
def test_the_same_change_made_by_hand_where_its_commit_is_not(work):
    topic(work, "a", "b").git("checkout", "-q", "main").commit("two")
    work.expect(("main", "b"), kept=(("topic", "b"), ("topic~1", "a"), ("main~2", "z")))


@row("same-change-after")
def test_the_same_change_made_by_hand_after_it_was_taken_back(work):
    stack(work, "a", "b").git("rm", "-q", "two").git("commit", "-qm", "away").commit("two")
    work.expect(("HEAD", "b"), kept=(("HEAD~2", "b"), ("HEAD~3", "a")))


@row("same-change-settled")
def test_the_same_change_made_by_hand_after_its_commit_became_another(work):
    stack(work, "a", "b", "c").write("three", "3\n").git("commit", "-qa", "--amend", "--no-edit")
    work.git("rm", "-q", "three").git("commit", "-qm", "away").commit("three")
    work.expect(("HEAD~2", "c", "amended"), ("HEAD", "c", "by hand"), kept=(("HEAD~3", "b"), ("HEAD~4", "a")))


@row("same-change-twice")
def test_the_same_change_made_by_two_runs(work):
    work.begin().move_main().commit("two", "a").git("checkout", "-qb", "other", "HEAD~1").commit("two", "b")
    work.git("checkout", "-q", "main").commit("two")
    work.expect(("main", "a"), ("main", "b"), kept=(("topic", "a"), ("other", "b")))


@row("empty")
def test_an_empty_commit_by_hand_beside_that_of_a_run(work):
    work.begin().commit("one", "a").run("b", "git commit -q --allow-empty -m nothing")
    work.git("checkout", "-qb", "other", "HEAD~1").git("commit", "-q", "--allow-empty", "-m", "nothing as well")
    work.expect(("other", "b"), kept=(("main", "b"), ("main~1", "a")))


@row("tree")
def test_a_commit_by_hand_that_comes_to_the_same_tree_another_way(work):
    work.begin().commit("one", "a", f=b"\0" + b"1").commit("two", "b", f=b"\0" + b"2")
    work.git("checkout", "-qb", "other", "HEAD~2").commit("detour", f=b"\0" + b"9").commit("arrival", f=b"\0" + b"2")
    assert work.say("rev-parse", "main^{tree}") == work.say("rev-parse", "other^{tree}")
    work.expect(("other", "b"), kept=(("main", "b"), ("main~1", "a")))
