"""What our hooks do once git calls them, installed by the real command, in real repositories."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess

import pytest
from making import look_at, mounted
from processes import RYE, wait_for, without_privileges
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
    said,
    store,
    write_git_config,
)

from rye_telemetry.linking import link_line

C = 'c() { echo "$1" >> "${2:-f}"; git add .; git commit -q -m "$1"; }\n'
NOTES = "refs/notes/rye-telemetry"


@pytest.fixture(autouse=True)
def identity(home):
    write_git_config(home, '[protocol "file"]\n\tallow = always\n')


@pytest.fixture
def repo(tmp_path):
    repo = new_repo(tmp_path / "repo", commits=2)
    install_hooks(repo)
    return repo


@pytest.fixture
def on(enabled):
    return enabled


def inside(repo, script, **more):
    run_in(repo, C + script, **more)
    return linked(repo)


def journal(state_dir):
    lines = []
    for path in sorted((state_dir / "telemetry" / "journal").glob("*.ndjson")):
        lines += [json.loads(line) for line in path.read_bytes().splitlines()]
    return lines


# -- post-commit


@pytest.mark.usefixtures("on")
def test_a_commit_of_an_agent_deep_inside_is_the_runs(repo, tmp_path):
    agent = tmp_path / "agent"
    agent.write_text(
        "#!/bin/sh\nset -e\n(echo a > a && git add a && git -c user.name=Claude -c user.email=noreply@anthropic.com commit -q -m one) &\nwait $!\n"
    )
    agent.chmod(0o755)
    assert inside(repo, f"env -u PWD setsid nohup {agent}") == {"one": "hook"}
    (link,) = all_links()
    assert (link["commit_source"], link["commit_author"]) == ("llm", "Claude <noreply@anthropic.com>")


@pytest.mark.usefixtures("on")
def test_every_kind_of_commit_is_seen(repo):
    script = "c one; git commit -q --amend -m amended; git commit -q --allow-empty -m empty; git revert --no-edit HEAD~1; git commit -q --no-verify --allow-empty -m two"
    assert set(inside(repo, script).values()) == {"hook"}
    assert set(linked(repo)) == {"one", "amended", "empty", 'Revert "amended"', "two"}


@pytest.mark.usefixtures("on")
def test_facts_that_find_the_commit_again_are_kept(repo, state_dir):
    inside(repo, "c one")
    facts = {}
    for line in journal(state_dir):
        if line["kind"] == "commit":
            facts |= {name: value for name, value in line.items() if value is not None}
    assert facts["commit_hash"] == head(repo)
    assert facts["tree"] == said(repo, "rev-parse", "HEAD^{tree}")
    assert facts["parent_tree"] == said(repo, "rev-parse", "HEAD~1^{tree}")
    assert facts["parents"] == [head(repo, "HEAD~1")]
    assert facts["branch"] == "main"
    shown = git(repo, "show", "--format=%H") + b"\n"
    assert facts["patch_id"] == said(repo, "patch-id", "--stable", stdin=shown).split()[0]


@pytest.mark.usefixtures("on")
def test_nested_runs_have_each_its_own(repo):
    run_in(
        repo,
        C + f"c outside; {RYE} run-with tool inner -- git commit -q --allow-empty -m inside; c later",
        item="outer",
    )
    assert linked(repo, "inner") == {"inside": "hook"}
    assert linked(repo, "outer") == {"outside": "hook", "later": "hook"}


@pytest.mark.usefixtures("on")
def test_a_commit_in_another_worktree_repository_or_submodule_is_the_runs_too(repo, tmp_path):
    git(repo, "worktree", "add", "-q", "-b", "side", tmp_path / "tree")
    other = new_repo(tmp_path / "other", commits=1)
    install_hooks(other)
    git(repo, "submodule", "--quiet", "add", other, "part")
    git(repo, "commit", "-q", "-m", "part")
    install_hooks(repo / "part")
    script = "(cd ../tree; c in-tree); (cd ../other; c in-other); (cd part; c in-part); cd /; git -C %s commit -q --allow-empty -m from-outside"
    run_in(repo, C + script % repo)
    found = {(os.path.basename(link["repo"]), link["evidence"], link["commit_hash"]) for link in all_links()}
    assert found == {
        ("repo", "hook", head(tmp_path / "tree")),
        ("other", "hook", head(other)),
        ("part", "hook", head(repo / "part")),
        ("repo", "hook", head(repo)),
    }


@pytest.mark.usefixtures("on")
def test_a_detached_head_has_a_commit_and_no_branch(repo, state_dir):
    assert inside(repo, "git checkout -q --detach; c one") == {"one": "hook"}
    assert {line.get("branch") for line in journal(state_dir) if line["kind"] == "commit"} == {None}


@pytest.mark.usefixtures("on")
def test_sha256(tmp_path):
    repo = new_repo(tmp_path / "long", "--object-format=sha256", commits=1)
    install_hooks(repo)
    assert inside(repo, "c one; git commit -q --amend -m two") == {"one": "hook", "two": "hook"}
    run_in(repo, C + "c three", item="y")
    git(repo, "commit", "-q", "--amend", "-m", "four")
    assert links(head(repo))[head(repo)] == {("y", "rewritten")}


@pytest.mark.usefixtures("on")
def test_a_path_of_any_bytes(tmp_path):
    place = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"a \xff\nb"))
    new_repo(place, commits=1)
    install_hooks(place)
    assert inside(place, "c one") == {"one": "hook"}
    with store() as opened:
        (run,) = opened.runs()
    assert all_links()[0]["repo"] == run["git_repo"]


@pytest.mark.usefixtures("on")
def test_a_run_that_has_ended_links_nothing_more(repo):
    daemon = "(while [ ! -e ../go ]; do sleep 0.01; done; git commit -q --allow-empty -m late; touch ../gone) </dev/null >/dev/null 2>&1 &"
    run_in(repo, daemon)
    assert runs()[0]["outcome"] == "success"
    (repo / "../go").touch()
    wait_for((repo / "../gone").exists)
    assert said(repo, "show", "-s", "--format=%s") == "late"
    assert all_links() == []


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize(
    "run_id", ["", "nonsense", "../../../etc/passwd", "00000000-0000-7000-8000-000000000000", "x" * 100_000]
)
def test_a_run_id_that_is_none_links_nothing(repo, run_id):
    commit_file(repo, "x", RYE_RUN_ID=run_id)
    assert all_links() == []


@pytest.mark.usefixtures("on")
def test_a_change_too_large_to_read_is_linked_all_the_same(repo):
    done = run_in(repo, "seq 1 9000000 > big; git add big; git commit -q -m big")
    assert done.stderr == ""
    assert linked(repo) == {"big": "hook"}


def test_with_telemetry_off_nothing_is_made_anywhere(repo, home):
    before = look_at(home)
    for env in ({}, {"RYE_RUN_ID": "01a1fc59-0d16-74eb-9485-385367acb5c9"}):
        commit_file(repo, "x", str(env), **env)
        git(repo, "commit", "-q", "--amend", "-m", f"better {env}", **env)
        git(repo, "rebase", "-q", "--force-rebase", "HEAD~1", **env)
    assert look_at(home) == before
    assert said(repo, "for-each-ref", "refs/notes") == ""


def test_off_by_the_projects_word_is_off(repo, enabled, state_dir):
    (repo / ".ai").mkdir()
    (repo / ".ai" / "config.yaml").write_text("telemetry:\n  enabled: false\n")
    run_in(repo, C + "c one", RYE_TELEMETRY="")
    assert not state_dir.exists()


# -- whatever is wrong, the commit is made


def commit_said(repo, prefix=(), **env):
    """Commit inside a run that goes on, and return what was said beside."""
    done = subprocess.run(
        [*prefix, "git", "commit", "-q", "--allow-empty", "-m", "one"],
        cwd=repo, capture_output=True, text=True, env={**os.environ, **ENV_OF_COMMITS, **env}, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert said(repo, "show", "-s", "--format=%s") == "one"
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) <= 1, lines
    assert all(line.startswith("rye-telemetry: ") for line in lines), lines
    return done.stderr


@pytest.fixture
def going_on(repo, on, tmp_path):
    """A run that goes on for the length of a test; the environment that its command has."""
    process = subprocess.Popen(
        [RYE, "run-with", "tool", "x", "--", "sh", "-c", f"env -0 > {tmp_path}/env; touch {tmp_path}/ready; cat"],
        stdin=subprocess.PIPE,
        cwd=tmp_path,
    )
    wait_for((tmp_path / "ready").exists)
    given = (tmp_path / "env").read_bytes().split(b"\0")
    env = dict(os.fsdecode(item).split("=", 1) for item in given if item.startswith((b"RYE_", b"TRACE")))
    yield env
    process.communicate(b"")


def test_a_run_that_goes_on_is_linked(repo, going_on):
    assert commit_said(repo, **going_on) == ""
    assert linked(repo) == {"one": "hook"}


def test_a_state_directory_that_may_not_be_written_costs_one_line(repo, going_on, state_dir):
    for path in (*state_dir.rglob("*"), state_dir):
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        line = commit_said(repo, prefix=without_privileges(), **going_on)
    finally:
        for path in (state_dir, *state_dir.rglob("*")):
            path.chmod(0o700)
    assert "post-commit" in line


def test_a_full_disk_costs_one_line(repo, on, tmp_path):
    with mounted(tmp_path / "disk", size="64k") as disk:
        env = {"RYE_STATE_DIR": str(disk)}
        fill = (
            f"dd if=/dev/zero of={disk}/fill bs=1k status=none || :; git commit -q --allow-empty -m one; rm {disk}/fill"
        )
        done = run_in(repo, fill, **env)
        assert said(repo, "show", "-s", "--format=%s") == "one"
        lines = [line for line in done.stderr.splitlines() if "dd:" not in line]
        assert 0 < len(lines) <= 2, lines  # the hook's, and the end of the run's
        assert all(line.startswith("rye-telemetry: ") for line in lines)


def test_no_git_in_path_costs_one_line(repo, going_on, tmp_path):
    """Git itself puts its own folder into PATH, so only a direct call can be without."""
    done = subprocess.run(
        [RYE, "hook", "post-commit"],
        cwd=repo,
        env={**os.environ, **going_on, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "rye-telemetry: post-commit: git is not on PATH: install it, or put it there\n"


@pytest.mark.parametrize("text", ["telemetry: [\n", "\0\0\0", "telemetry:\n  enabled: perhaps\n", "- a\n- b\n"])
def test_a_broken_config_does_not_reach_the_commit(repo, home, going_on, text):
    (home / ".ai" / "config.yaml").write_text(text)
    commit_said(repo, **going_on)


def test_a_broken_journal_line_and_index_do_not_reach_the_commit(repo, going_on, state_dir):
    with next((state_dir / "telemetry" / "journal").glob("*.ndjson")).open("ab") as f:
        f.write(b"{torn")
    (state_dir / "telemetry" / "index.sqlite").write_bytes(b"nonsense" * 1000)
    commit_said(repo, **going_on)
    git(repo, "commit", "-q", "--amend", "--allow-empty", "-m", "two")
    assert links(head(repo))[head(repo)] == {("x", "rewritten")}


def test_a_command_that_is_gone_does_not_reach_the_commit(repo, going_on):
    hook = repo / ".git" / "hooks" / "post-commit"
    hook.write_text(hook.read_text().replace(RYE, "/nowhere/rye-telemetry"))
    assert commit_said(repo, **{**going_on, "PATH": "/usr/bin:/bin"}) == ""


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_do_not_reach_the_commit(repo, going_on, closed):
    subprocess.run(
        ["sh", "-c", f"exec git commit -q --allow-empty -m one {closed}"],
        cwd=repo,
        env={**os.environ, **going_on},
        check=True,
    )
    assert linked(repo) == {"one": "hook"}


# -- post-rewrite


@pytest.mark.usefixtures("on")
def test_an_amend_outside_of_any_run_carries_the_link(repo):
    run_in(repo, C + "c one")
    old = head(repo)
    git(repo, "commit", "-q", "--amend", "-m", "two")
    assert linked(repo) == {"one": "hook", "two": "rewritten"}
    with store() as opened:
        assert opened.links([head(repo)])[head(repo)][0]["from_commit"] == old


@pytest.mark.usefixtures("on")
def test_a_rebase_of_150_carries_150_links(repo, tmp_path):
    base = head(repo)
    mark = tmp_path / "stream"
    made = [f"reset refs/heads/long\nfrom {base}\n\n"]
    made += [
        f"commit refs/heads/long\ncommitter A <a@b> {n + 10} +0000\ndata 4\nn{n:03}\nM 100644 inline n{n}\ndata 1\nx\n"
        for n in range(150)
    ]
    mark.write_text("".join(made))
    git(repo, "fast-import", "--quiet", stdin=mark.read_bytes())
    git(repo, "checkout", "-q", "long")
    run_in(repo, "true")
    before = hashes(repo, f"{base}..long")
    with store() as opened:
        run_id = opened.runs()[0]["run_id"]
        opened.record_lines(a_link(run_id, old, repo) for old in before)
    git(repo, "rebase", "-q", "--force-rebase", base)
    after = hashes(repo, f"{base}..long")
    assert len(set(before) | set(after)) == 300
    assert links(*after) == {commit: {("x", "rewritten")} for commit in after}


def rewritten(repo, data, *, by="amend", lines=0):
    """Give post-rewrite a map as git would."""
    done = subprocess.run(
        [RYE, "hook", "post-rewrite", by], cwd=repo, input=data, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, b"")
    assert len(done.stderr.splitlines()) == lines, done.stderr
    return done


def a_link(run_id, commit, repo):
    return link_line(
        run_id,
        commit,
        repo=str(repo),
        evidence="hook",
        source="manual",
        author=None,
        linked_at="2026-01-01T00:00:00.000Z",
    )


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize("length", [40, 64])
@pytest.mark.parametrize("pairs", [1, 1000, 2001])
def test_a_map_of_any_length_is_kept_whole(repo, pairs, length):
    run_in(repo, "true")
    names = [(f"{n + 1:0{length}x}", f"{n + 100_001:0{length}x}") for n in range(pairs)]
    with store() as opened:
        opened.record_lines([a_link(opened.runs()[0]["run_id"], old, repo) for old, _ in names])
    rewritten(repo, "".join(f"{old} {new}\n" for old, new in names).encode())
    assert links(*(new for _, new in names)) == {new: {("x", "rewritten")} for _, new in names}


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"garbage\n",
        b"a b c d\n",
        b"1" * 40 + b"\n",
        b"1" * 40 + b" " + b"1" * 40 + b"\n",
        b"1" * 40 + b" " + b"0" * 40 + b"\n",
        b"1" * 39 + b" " + b"2" * 40 + b"\n",
        b"\xff\xfe\0\n" * 1000,
        b"x" * 1_000_000,
    ],
)
def test_a_map_that_is_none_says_nothing(repo, state_dir, data):
    rewritten(repo, data)
    assert [line for line in journal(state_dir) if line["kind"] == "rewrite"] == []


@pytest.mark.usefixtures("on")
def test_good_lines_among_garbage_are_kept_once(repo, state_dir):
    good = b"1" * 40 + b" " + b"2" * 40
    rewritten(
        repo,
        b"garbage\n" + good + b" extra words\r\n" + good + b"\n\xff\n" + b"3" * 40 + b" " + b"3" * 40 + b"\n",
        by="amend",
    )
    (line,) = [line for line in journal(state_dir) if line["kind"] == "rewrite"]
    assert (line["by"], line["rewrites"], line["repo"]) == ("amend", [["1" * 40, "2" * 40]], str(repo))


@pytest.mark.usefixtures("on")
def test_a_map_without_end_is_refused_in_one_line(repo):
    rewritten(repo, (b"1" * 40 + b" " + b"2" * 40 + b"\n") * 900_000, lines=1)


@pytest.mark.usefixtures("on")
def test_what_finds_the_new_commit_again_is_noted(repo, state_dir):
    run_in(repo, C + "c one")
    (repo / "f").write_text("something else\n")
    git(repo, "commit", "-q", "-a", "--amend", "-m", "two")
    facts = [line for line in journal(state_dir) if line["kind"] == "commit" and line["commit_hash"] == head(repo)]
    assert facts[0]["tree"] == said(repo, "rev-parse", "HEAD^{tree}")
    assert facts[0]["patch_id"]


# -- notes


def note(repo, commit="HEAD"):
    return said(repo, "notes", f"--ref={NOTES}", "show", commit, code=None).split("\n")


@pytest.mark.usefixtures("on")
def test_notes_hold_one_run_a_line_and_survive_an_amend(repo):
    install_hooks(repo, "--notes")
    run_in(repo, C + "c one", item="a")
    run_in(repo, "git commit -q --amend -m two", item="b")
    first, second = (run["run_id"] for run in runs())
    assert note(repo) == sorted([first, second])
    git(repo, "commit", "-q", "--amend", "-m", "three")
    assert note(repo) == sorted([first, second])
    run_in(repo, "git commit -q --amend -m four; git commit -q --amend -m five", item="c")
    assert note(repo) == sorted(run["run_id"] for run in runs())


@pytest.mark.usefixtures("on")
def test_notes_of_others_in_the_same_place_are_not_kept_from_the_commit(repo):
    install_hooks(repo, "--notes")
    run_in(
        repo,
        f"git commit -q --allow-empty -m one; git notes --ref={NOTES} add -f -m 'free text' HEAD; git commit -q --allow-empty --amend -m two",
    )
    assert runs()[0]["run_id"] in note(repo)


def test_a_note_that_is_there_is_added_to_and_kept_in_order(repo, going_on):
    earlier, later = "00000000-0000-7000-8000-000000000000", "ffffffff-0000-7000-8000-000000000000"
    git(repo, "notes", f"--ref={NOTES}", "add", "-m", f"{later}\n{earlier}")
    for _ in range(2):
        subprocess.run([RYE, "hook", "post-commit", "--notes"], cwd=repo, env={**os.environ, **going_on}, check=True)
    assert note(repo) == [earlier, going_on["RYE_RUN_ID"], later]


@pytest.mark.usefixtures("on")
def test_without_the_option_no_ref_is_made(repo):
    run_in(repo, C + "c one")
    assert said(repo, "for-each-ref", "refs/notes") == ""


@pytest.mark.usefixtures("on")
def test_a_note_that_cannot_be_made_costs_one_line_and_no_link(repo):
    install_hooks(repo, "--notes")
    done = run_in(repo, C + "touch .git/refs/notes; c one")
    assert len(done.stderr.splitlines()) == 1
    assert "no note was made" in done.stderr
    assert linked(repo) == {"one": "hook"}


# -- trailers


@pytest.fixture
def trailing(repo, on):
    install_hooks(repo, "--trailers")
    return repo


def message(repo, revision="HEAD"):
    return said(repo, "show", "-s", "--format=%B", revision).rstrip("\n")


def editor(tmp_path, script):
    """Return an editor that does this to the file it is given."""
    path = tmp_path / "editor"
    path.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/shown\n{script}\n')
    path.chmod(0o755)
    return str(path)


def test_the_trailer_names_the_run_once(trailing):
    run_in(trailing, C + "c one; git commit -q --amend --no-edit; git commit -q --amend --no-edit")
    run_id = runs()[0]["run_id"]
    assert message(trailing) == f"one\n\nRye-Run: {run_id}"


def test_a_second_run_adds_its_own(trailing):
    run_in(trailing, C + "c one")
    run_in(trailing, "git commit -q --amend --no-edit")
    one, two = (run["run_id"] for run in runs())
    assert message(trailing) == f"one\n\nRye-Run: {one}\nRye-Run: {two}"


def test_the_trailer_joins_those_that_are_there(trailing):
    run_in(trailing, "git commit -q --allow-empty -s -m 'one: two' -m body -m 'Co-authored-by: B <b@c>'")
    assert message(trailing).split("\n")[2:] == [
        "body",
        "",
        "Co-authored-by: B <b@c>",
        "Signed-off-by: Ada <ada@example.org>",
        f"Rye-Run: {runs()[0]['run_id']}",
    ]


def test_outside_of_a_run_messages_are_left_alone(trailing):
    git(trailing, "commit", "-q", "--allow-empty", "-m", "one")
    assert message(trailing) == "one"


@pytest.mark.parametrize(
    "config",
    [
        [],
        ["-c", "core.commentChar=;"],
        ["-c", "core.commentChar=%"],
        ["-c", "commit.verbose=true"],
        ["-c", "commit.verbose=true", "-c", "core.commentChar=%"],
        ["-c", "commit.cleanup=scissors"],
        ["-c", "core.commentChar=auto"],
    ],
    ids=str,
)
def test_an_aborted_commit_stays_aborted(trailing, tmp_path, config):
    before = head(trailing)
    words = shlex.join(config)
    run_in(trailing, f"echo x >> f0; git {words} commit -q -a", code=1, GIT_EDITOR=editor(tmp_path, "true"))
    run_in(trailing, f"git {words} commit -q -a -m ''", code=1)
    run_in(trailing, f"git {words} commit -q -a", code=1, GIT_EDITOR=editor(tmp_path, ': > "$1"'))
    assert head(trailing) == before
    assert "Rye-Run" not in (tmp_path / "shown").read_text()


def test_a_template_that_nobody_filled_in_stays_refused(trailing, tmp_path):
    (tmp_path / "template").write_text("Subject:\n\n# fill this in\n")
    before = head(trailing)
    script = f"echo x >> f0; git -c commit.template={tmp_path}/template commit -q -a"
    run_in(trailing, script, code=1, GIT_EDITOR=editor(tmp_path, "true"))
    assert head(trailing) == before
    run_in(trailing, script, item="filled", GIT_EDITOR=editor(tmp_path, 'sed -i "s/Subject:/Subject: x/" "$1"'))
    assert message(trailing) == "Subject: x"
    assert linked(trailing, "filled") == {"Subject: x": "hook"}


@pytest.mark.parametrize(
    "config",
    [[], ["-c", "commit.verbose=true"], ["-c", "core.commentChar=%"], ["-c", "commit.cleanup=scissors"]],
    ids=str,
)
def test_the_trailer_goes_before_comments_and_the_change(trailing, tmp_path, config):
    words = shlex.join(config)
    (trailing / "f0").write_text("changed\n")
    run_in(trailing, f"git {words} commit -q -a -e -m one", GIT_EDITOR=editor(tmp_path, "true"))
    run_id = runs()[0]["run_id"]
    assert message(trailing) == f"one\n\nRye-Run: {run_id}"
    assert (tmp_path / "shown").read_text().startswith(f"one\n\nRye-Run: {run_id}\n")


def test_a_line_of_dashes_does_not_end_the_message(trailing):
    run_in(trailing, "git commit -q --allow-empty -m one -m 'before' -m '---' -m 'after'")
    assert message(trailing) == f"one\n\nbefore\n\n---\n\nafter\n\nRye-Run: {runs()[0]['run_id']}"


def test_merges_and_squashes_have_it_too(trailing):
    git(trailing, "checkout", "-q", "-b", "side", "HEAD~1")
    run_in(trailing, C + "c one a; c two b", item="side")
    git(trailing, "checkout", "-q", "main")
    run_in(trailing, "git merge -q --no-edit --no-ff side", item="merge")
    side, merge = (run["run_id"] for run in runs())
    assert message(trailing) == f"Merge branch 'side'\n\nRye-Run: {merge}"
    git(trailing, "reset", "-q", "--hard", "HEAD~1")
    run_in(trailing, "git merge -q --squash side; git commit -q --no-edit", item="squash")
    text = message(trailing)
    assert text.endswith(f"\n\nRye-Run: {runs()[2]['run_id']}")
    assert text.count(f"    Rye-Run: {side}") == 2


def test_settings_for_trailers_of_others_are_left_to_them(trailing, tmp_path):
    git(trailing, "config", "trailer.see.command", f"touch {tmp_path}/ran; echo x")
    git(trailing, "config", "trailer.separators", "%=")
    git(trailing, "config", "trailer.ifmissing", "doNothing")
    git(trailing, "config", "trailer.where", "start")
    run_in(trailing, "git commit -q --allow-empty -m one")
    assert message(trailing) == f"one\n\nRye-Run: {runs()[0]['run_id']}"
    assert not (tmp_path / "ran").exists()


def test_a_message_file_that_is_not_there_costs_one_line(trailing, going_on):
    done = subprocess.run(
        [RYE, "hook", "prepare-commit-msg", "/nowhere/x"],
        cwd=trailing,
        env={**os.environ, **going_on},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1)


def test_hooks_without_their_arguments_do_nothing(repo, going_on, state_dir):
    for name in ("post-rewrite", "prepare-commit-msg"):
        done = subprocess.run(
            [RYE, "hook", name],
            cwd=repo,
            env={**os.environ, **going_on},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    outside = subprocess.run(
        [RYE, "hook", "post-commit"], cwd=state_dir, env={**os.environ, **going_on}, capture_output=True, check=False
    )
    assert (outside.returncode, outside.stderr) == (0, b"")
    shutil.rmtree(repo / ".git" / "objects")
    broken = subprocess.run(
        [RYE, "hook", "post-commit"], cwd=repo, env={**os.environ, **going_on}, capture_output=True, check=False
    )
    assert (broken.returncode, broken.stderr) == (0, b"")


# -- what git's map says of a rebase, and what the rebase did


def linked_items(repo, *revisions):
    with store() as opened:
        links = opened.links(hashes(repo, *revisions))
    return {
        said(repo, "log", "-1", "--format=%s", commit): sorted((one["item_id"], one["evidence"]) for one in several)
        for commit, several in links.items()
    }


@pytest.fixture
def upstream(enabled, tmp_path):
    """A topic with a run's commit A of x, and main with a colleague's commit that holds the same and more."""
    write_git_config(enabled)
    repo = new_repo(tmp_path / "upstream", commits=1)
    install_hooks(repo)
    git(repo, "checkout", "-q", "-b", "topic")
    run_in(repo, "echo x > x; git add x; git commit -qm A", item="writer")
    git(repo, "checkout", "-q", "main")
    (repo / "x").write_text("x\n")
    (repo / "y").write_text("y\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "upstream")
    git(repo, "checkout", "-q", "topic")
    return repo


@pytest.mark.parametrize("backend", ["--merge", "--apply"])
def test_a_commit_that_came_to_nothing_makes_nobody_elses_its_own(upstream, backend):
    git(upstream, "rebase", "-q", backend, "main")
    assert head(upstream) == head(upstream, "main")
    assert linked_items(upstream) == {}


def test_a_commit_that_was_skipped_leaves_the_one_before_alone(upstream):
    run_in(upstream, "echo z > z; git add z; git commit -qm B", item="second")
    run_in(upstream, "echo other > y; git add y; git commit -qm C", item="third")
    git(upstream, "rebase", "-q", "main", code=1)
    git(upstream, "rebase", "--skip")
    assert linked_items(upstream) == {"B": [("second", "rewritten")]}


def test_what_is_added_while_a_rebase_stands_is_not_what_it_stands_at(enabled, tmp_path):
    write_git_config(enabled)
    repo = new_repo(tmp_path / "added", commits=1)
    install_hooks(repo)
    run_in(repo, "echo a > a; git add a; git commit -qm A", item="first")
    run_in(repo, "echo b > b; git add b; git commit -qm B", item="second")
    git(repo, "rebase", "-q", "-i", "HEAD~2", GIT_SEQUENCE_EDITOR="sed -i 1s/pick/edit/")
    commit_file(repo, "extra", message="extra")
    git(repo, "rebase", "--continue")
    assert linked_items(repo) == {"A": [("first", "hook")], "B": [("second", "rewritten")]}
    git(repo, "rebase", "-q", "-i", "HEAD~3", GIT_SEQUENCE_EDITOR="sed -i 2s/pick/edit/")
    git(repo, "reset", "-q", "--hard", "HEAD^")
    git(repo, "rebase", "--continue")
    assert linked_items(repo)["A"] == [("first", "hook")]


def test_a_conflict_that_is_committed_by_hand_is_the_same_commit(upstream):
    run_in(upstream, "echo other > y; git add y; git commit -qm C", item="third")
    git(upstream, "rebase", "-q", "main", code=1)
    (upstream / "y").write_text("both\n")
    git(upstream, "commit", "-q", "-a", "-m", "C by hand")
    git(upstream, "rebase", "--continue")
    assert linked_items(upstream) == {"C by hand": [("third", "rewritten")]}


def test_the_hook_links_the_commit_it_was_called_for(upstream):
    run_in(
        upstream,
        "git commit -q --allow-empty -m RUN & sleep .012; env -u RYE_RUN_ID git commit -q --allow-empty -m HAND; wait",
    )
    assert "HAND" not in linked_items(upstream)
