"""Which commit a revision names, who made it, and its patch-id: each as plain git answers."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from repositories import commit_file, git, hashes, head, new_repo, said, the_git, write_git_config

from rye_telemetry.commits import Commit, patch_ids, range_patch_ids, read_commits, resolve
from rye_telemetry.errors import CommitUnknown, GitUnusable

# Every one of these changes what `git diff` or `git show` prints, or has it run something.
HOSTILE = """
[core]
	fsmonitor = "touch {mark}; false"
	quotePath = false
	attributesFile = {attributes}
	pager = touch {mark}
[color]
	ui = always
[diff]
	external = "touch {mark}; echo"
	noprefix = true
	mnemonicPrefix = true
	context = 0
	interHunkContext = 9
	renames = copies
	suppressBlankEmpty = true
	algorithm = histogram
	ignoreSubmodules = all
	submodule = log
	wordRegex = .
	orderFile = {attributes}
	indentHeuristic = false
	wsErrorHighlight = all
	colorMoved = zebra
	statGraphWidth = 2
[diff "evil"]
	command = "touch {mark}; echo"
	textconv = "touch {mark}; tr a-z b-za <"
[patchid]
	stable = false
	verbatim = true
[log]
	showSignature = true
	diffMerges = first-parent
"""


@pytest.fixture(autouse=True)
def identity(home):
    write_git_config(home)


@pytest.fixture
def repo(tmp_path):
    return new_repo(tmp_path / "repo", commits=2)


def known_answer(repo, commit):
    """Return the patch-id that plain git computes of one commit."""
    shown = git(repo, "show", "--no-renames", "--format=%H", commit) + b"\n"
    return said(repo, "patch-id", "--stable", stdin=shown).split(" ")[0]


def patch_ids_of(repo, *commits):
    the = the_git(repo)
    return patch_ids(the, read_commits(the, commits or hashes(repo)))


# -- which commit


def test_every_way_to_name_a_commit(repo):
    git(repo, "branch", "side/way", "HEAD~1")
    git(repo, "tag", "light", "HEAD~1")
    git(repo, "tag", "-a", "-m", "note", "heavy", "HEAD~1")
    git(repo, "tag", "-a", "-m", "note", "heavier", "heavy")
    git(repo, "branch", "-q", "--set-upstream-to=side/way")
    first, last = hashes(repo)
    for revision in (
        first, first[:7], first.upper(), "side/way", "refs/heads/side/way", "light", "heavy", "heavier", "heavy^{}", "HEAD~1", "HEAD^",
        "@{u}", "main@{1}", "HEAD@{1}", ":/commit 0", "HEAD^{/commit 0}", "main~1", "heavy^{commit}", "HEAD^{commit}~1",
    ):  # fmt: skip
        assert resolve(the_git(repo), revision) == first, revision
    for revision in ("HEAD", "@", "main", last, ":/commit"):
        assert resolve(the_git(repo), revision) == last, revision


def test_a_message_is_searched_for_what_was_asked_and_no_more(repo):
    commit_file(repo, "other", message="we want text here")
    wanted = head(repo)
    commit_file(repo, "another", message="about text^{commit} in git")
    commit_file(repo, "last", message="we want text here")
    assert resolve(the_git(repo), ":/want text") == head(repo) != wanted
    assert resolve(the_git(repo), ":/text") == head(repo)


def test_what_names_no_commit_is_refused_in_words(repo):
    blob, tree = said(repo, "rev-parse", "HEAD:f0"), said(repo, "rev-parse", "HEAD^{tree}")
    git(repo, "tag", "a-blob", blob)
    for revision in (
        "", "nothing", "0" * 40, "deadbeef" * 5, "deadbeef" * 8, blob, blob[:8], tree, "HEAD:f0", "HEAD:", "a-blob", "HEAD~9", "--all", "-1",
        "-h", "--output=x", "^HEAD", "HEAD..HEAD~1", "HEAD HEAD", "HEAD\n", "HEAD\0", "\udcff", "HEAD^{tree}", ":/no such", "@{u}", "HEAD@{9}", "*",
    ):  # fmt: skip
        with pytest.raises(CommitUnknown, match="names no commit here"):
            resolve(the_git(repo), revision)
    assert not (repo / "x").exists()


def test_an_ambiguous_hash_is_said_to_be_so(repo):
    made = b"".join(
        b"commit refs/heads/many\nmark :%d\ncommitter A <a@b> %d +0000\ndata 0\n" % (number + 1, number)
        for number in range(2000)
    )
    git(repo, "fast-import", "--quiet", stdin=made)
    names = sorted(hashes(repo, "many"))
    one, _ = next(pair for pair in pairwise(names) if pair[0][:4] == pair[1][:4])
    with pytest.raises(CommitUnknown, match="is ambiguous: give more of the hash"):
        resolve(the_git(repo), one[:4])
    assert resolve(the_git(repo), one) == one


def test_a_hash_that_is_ambiguous_among_objects_and_not_among_commits_is_not(repo):
    first = head(repo)
    for number in range(3000):
        (repo / f"b{number}").write_text(str(number))
    git(repo, "add", ".")
    blobs = [line.split()[1] for line in said(repo, "ls-files", "-s").splitlines()]
    shared = next((blob[:4] for blob in blobs if blob[:4] == first[:4]), None)
    if shared:
        assert resolve(the_git(repo), shared) == first


def test_a_whole_hash_of_sha256(tmp_path):
    repo = new_repo(tmp_path / "long", "--object-format=sha256", commits=2)
    assert resolve(the_git(repo), "HEAD") == head(repo)
    assert len(resolve(the_git(repo), head(repo)[:9])) == 64
    with pytest.raises(CommitUnknown):
        resolve(the_git(repo), "0" * 64)


def test_a_repository_that_git_refuses_is_unusable_and_not_unknown(repo, tmp_path):
    (repo / ".git" / "config").write_text("[core\n")
    with pytest.raises(GitUnusable, match="bad config"):
        resolve(the_git(repo), "HEAD")
    with pytest.raises(GitUnusable, match="not a git repository"):
        resolve(the_git(tmp_path), "HEAD")
    with pytest.raises(GitUnusable):
        read_commits(the_git(tmp_path), ["HEAD"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository to somebody else")
def test_a_repository_of_somebody_else_is_unusable_and_says_why(repo):
    os.chown(repo, 12345, 12345)
    os.chown(repo / ".git", 12345, 12345)
    with pytest.raises(GitUnusable, match="dubious ownership"):
        resolve(the_git(repo), "HEAD")


# -- what a commit says


def test_commits_that_are_not_there_are_left_out(repo):
    first, last = hashes(repo)
    tag_of_it = said(repo, "rev-parse", "HEAD^{tree}")
    found = read_commits(the_git(repo), ["deadbeef" * 5, first, tag_of_it, last, "nothing"])
    assert [commit.commit_hash for commit in found] == [first, last]
    assert (found[0].parents, found[0].parent_tree) == ([], None)
    assert (found[1].parents, found[1].parent_tree) == ([first], found[0].tree)
    assert found[1].tree == said(repo, "rev-parse", "HEAD^{tree}")


def test_a_merge_has_all_its_parents(repo):
    git(repo, "checkout", "-q", "-b", "side", "HEAD~1")
    commit_file(repo, "s")
    git(repo, "merge", "-q", "--no-ff", "-m", "both", "main")
    (merge,) = read_commits(the_git(repo), ["HEAD"])
    assert merge.parents == said(repo, "show", "-s", "--format=%P").split()
    assert not merge.has_whole_diff


@pytest.mark.parametrize("name", ["Ada", "Ada Lovelace", "Zoë Ж 日本 🐙", 'O\'Neil "x" y', "a, b: c", "x" * 300])
def test_an_author_is_who_git_says(repo, name):
    git(repo, "commit", "-q", "--allow-empty", "-m", "m", GIT_AUTHOR_NAME=name, GIT_AUTHOR_EMAIL="me+you@example.org")
    (commit,) = read_commits(the_git(repo), ["HEAD"])
    assert commit.author == said(repo, "show", "-s", "--format=%an <%ae>") == f"{name} <me+you@example.org>"


@pytest.mark.parametrize(
    ("line", "author"),
    [
        (b" <a@b> 1 +0000", "<a@b>"),
        (b"<a@b> 1 +0000", "<a@b>"),
        (b"A < B <a@b> 1 +0000", "A < B <a@b>"),
        (b"A > B <a@b> 1 +0000", "A > B <a@b>"),
        (b"A <> 1 +0000", "A <>"),
        (b"No Mail 1 +0000", "No Mail 1 +0000"),
        (b"A \xff <a@b> 1 +0000", "A \\udcff <a@b>"),
        (b"", ""),
    ],
)
def test_an_author_that_git_itself_would_not_write(line, author):
    commit = Commit("f" * 40, b"tree " + b"a" * 40 + b"\nauthor " + line + b"\ncommitter C <c@d> 1 +0000\n\nmessage\n")
    assert commit.author == author
    assert commit.message == "message\n"


def test_commits_in_another_encoding_are_read_in_it(repo):
    name = "Zoë".encode("latin-1")
    git(
        repo,
        "-c",
        "i18n.commitEncoding=ISO-8859-1",
        "commit",
        "-q",
        "--allow-empty",
        "-F",
        "-",
        stdin="für".encode("latin-1"),
        GIT_AUTHOR_NAME=os.fsdecode(name),
    )
    (commit,) = read_commits(the_git(repo), ["HEAD"])
    assert (commit.author, commit.message) == ("Zoë <ada@example.org>", "für\n")


@pytest.mark.parametrize(
    "encoding", [b"nonsense", b"utf-16", b"hex", b"rot13", b"\xff", b"unicode_escape", b"utf-7", b"undefined", b"a\0b"]
)
def test_an_encoding_that_is_none_still_gives_text_that_can_be_kept(encoding):
    raw = b"tree x\nauthor Zo\xc3\xab \\ud800 +2AA- <a@b> 1 +0000\nencoding " + encoding + b"\n\nm\n"
    commit = Commit("f" * 40, raw)
    assert commit.author.endswith("<a@b>")
    (commit.author + commit.message).encode()


def test_signatures_and_merged_tags_in_a_header_are_passed_by():
    raw = b"tree 1\nparent 2\nauthor A <a@b> 1 +0\ncommitter A <a@b> 1 +0\nmergetag object 3\n tree 4\n parent 5\n author E <e@f> 1 +0\n \n x\ngpgsig -----\n \n tree 6\n\nm"
    commit = Commit("f" * 40, raw)
    assert (commit.tree, commit.parents, commit.author, commit.message) == ("1", ["2"], "A <a@b>", "m")


# -- patch-ids


def test_patch_ids_are_those_of_plain_git(repo):
    commit_file(repo, "f1", "".join(f"line {n}\n\n" for n in range(60)), message="long")
    commit_file(repo, "f1", "".join(f"line {n if n % 20 else -n}\n\n" for n in range(60)), message="three hunks")
    commit_file(repo, "f1", "no end of line", message="no newline")
    commit_file(
        repo,
        "f1",
        "--- a\n+++ b\ndiff --git a/x b/x\nBinary files a and b differ\n@@ -1 +1 @@\n" + "0" * 40 + "\n",
        message="looks like a diff",
    )
    commit_file(repo, "ü and \t tab", "x\n", message="a name that is quoted")
    git(repo, "mv", "f0", "moved")
    git(repo, "commit", "-q", "-m", "renamed")
    (repo / "moved").chmod(0o755)
    git(repo, "commit", "-q", "-a", "-m", "mode")
    (repo / "link").symlink_to("f1")
    git(repo, "add", "link")
    git(repo, "commit", "-q", "-m", "symbolic link")
    git(repo, "rm", "-q", "f1")
    git(repo, "commit", "-q", "-m", "gone")
    expected = {commit: known_answer(repo, commit) for commit in hashes(repo)}
    assert patch_ids_of(repo) == expected
    assert len(set(expected.values())) == len(expected)


def test_patch_ids_stay_the_same_when_only_context_moves(repo):
    commit_file(repo, "f", "".join(f"{n}\n" for n in range(50)))
    base = head(repo)
    one = commit_file(repo, "f", "".join(f"{n}\n" for n in range(50)) + "end\n")
    git(repo, "checkout", "-q", base)
    commit_file(repo, "f", "start\n" + "".join(f"{n}\n" for n in range(50)))
    git(repo, "cherry-pick", one)
    found = patch_ids_of(repo, one, head(repo))
    assert found[one] == found[head(repo)]


def test_no_patch_id_for_what_has_none_of_its_own(repo):
    git(repo, "commit", "-q", "--allow-empty", "-m", "empty")
    empty = head(repo)
    binary = commit_file(repo, "image", b"\0\1\2" * 100, message="binary")
    both = commit_file(repo, "image", b"\0\1\3" * 100, message="binary too")
    (repo / "text").write_text("text\n")
    git(repo, "add", "text")
    mixed = commit_file(repo, "image", b"\0\1\4", message="text and binary")
    plain = commit_file(repo, "text", "more\n")
    git(repo, "checkout", "-q", "-b", "side", "HEAD~1")
    commit_file(repo, "s", message="side")
    git(repo, "merge", "-q", "-m", "merge", "main")
    merge = head(repo)
    found = patch_ids_of(repo)
    assert not {empty, binary, both, mixed, merge} & set(found)
    assert found[plain] == known_answer(repo, plain)
    assert patch_ids_of(repo, binary, plain) == {plain: found[plain]}
    assert patch_ids_of(repo, plain, binary) == {plain: found[plain]}
    assert patch_ids_of(repo, empty, plain, binary) == {plain: found[plain]}


def test_no_patch_id_at_the_border_of_a_shallow_clone(repo, tmp_path):
    for number in range(3):
        commit_file(repo, "f", f"{number}\n")
    git(tmp_path, "clone", "-q", "--depth", "2", f"file://{repo}", "shallow")
    shallow = tmp_path / "shallow"
    border, last = hashes(shallow)
    found = patch_ids_of(shallow)
    assert found == {last: known_answer(repo, last)}
    assert border not in found
    assert read_commits(the_git(shallow), [border])[0].parent_tree is None


def test_patch_ids_of_sha256(tmp_path):
    repo = new_repo(tmp_path / "long", "--object-format=sha256", commits=3)
    commit_file(repo, "image", b"\0\1")
    expected = {commit: known_answer(repo, commit) for commit in hashes(repo)[:-1]}
    assert patch_ids_of(repo) == expected


@pytest.fixture
def hostile(repo, home, tmp_path):
    """Return a path that exists once the settings of the repository have had something run."""
    mark, attributes = tmp_path / "ran", home / "attributes"
    attributes.write_text("*.txt diff=evil\n")

    def turn_on():
        (home / ".gitconfig").write_text(
            (home / ".gitconfig").read_text() + HOSTILE.format(mark=mark, attributes=attributes)
        )
        (repo / ".gitattributes").write_text("*.txt diff=evil\n")
        (repo / ".git" / "info" / "attributes").write_text("*.txt diff=evil\n")
        return mark

    return turn_on


def test_settings_neither_change_a_patch_id_nor_run_anything(repo, hostile, monkeypatch):
    text = "".join(f"line {n}\n\n" for n in range(60))
    commit_file(repo, "a.txt", text)
    commit_file(repo, "a.txt", text.replace("line 1", "Line 1"))
    commit_file(repo, "b.txt", "\n\nx\n\n")
    git(repo, "mv", "a.txt", "c.txt")
    git(repo, "commit", "-q", "-m", "renamed")
    commit_file(repo, "b.txt", "\n\ny\n\n")
    expected = {commit: known_answer(repo, commit) for commit in hashes(repo)}
    trees = [said(repo, "rev-parse", f"HEAD~{n}^{{tree}}") for n in (0, 3)]
    whole = range_patch_ids(the_git(repo), [(trees[1], trees[0])])
    mark = hostile()
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", f"touch {mark}; echo")
    monkeypatch.setenv("GIT_DIFF_OPTS", "-u0")
    monkeypatch.setenv("GIT_PAGER", f"touch {mark}")
    assert patch_ids_of(repo) == expected
    assert range_patch_ids(the_git(repo), [(trees[1], trees[0])]) == whole
    assert not mark.exists()


def test_a_range_has_the_patch_id_of_its_whole_change(repo):
    for number in range(6):
        commit_file(repo, f"g{number % 3}", f"{number}\n\n{number}\n")
    commits = hashes(repo)
    trees = {commit: said(repo, "rev-parse", f"{commit}^{{tree}}") for commit in commits}
    pairs = [(commits[0], commits[-1]), (commits[1], commits[4]), (commits[3], commits[5])]
    expected = {}
    for base, tip in pairs:
        diff = git(repo, "diff", "--no-renames", base, tip) + b"\n"
        expected[trees[tip]] = said(repo, "patch-id", "--stable", stdin=diff).split(" ")[0]
    assert range_patch_ids(the_git(repo), [(trees[base], trees[tip]) for base, tip in pairs]) == expected


def test_a_range_that_ends_where_it_began_or_holds_a_binary_has_none(repo):
    first = said(repo, "rev-parse", "HEAD^{tree}")
    commit_file(repo, "image", b"\0\1")
    binary = said(repo, "rev-parse", "HEAD^{tree}")
    commit_file(repo, "text", "x\n")
    last = said(repo, "rev-parse", "HEAD^{tree}")
    found = range_patch_ids(the_git(repo), [(first, first), (first, binary), (binary, last)])
    assert set(found) == {last}
    assert range_patch_ids(the_git(repo), [(first, last)]) == {}


def test_a_squash_has_the_patch_id_of_the_range_that_it_made_one_of(repo):
    base = head(repo)
    for number in range(3):
        commit_file(repo, "work", f"{number}\n" * (number + 1))
    tip_tree, base_tree = said(repo, "rev-parse", "HEAD^{tree}"), said(repo, "rev-parse", f"{base}^{{tree}}")
    git(repo, "checkout", "-q", "-b", "squashed", base)
    git(repo, "merge", "-q", "--squash", "main")
    git(repo, "commit", "-q", "-m", "squashed")
    assert (
        range_patch_ids(the_git(repo), [(base_tree, tip_tree)])[tip_tree] == patch_ids_of(repo, head(repo))[head(repo)]
    )


def test_nothing_asked_is_nothing_run(tmp_path):
    assert patch_ids(the_git(tmp_path), []) == {}
    assert range_patch_ids(the_git(tmp_path), []) == {}
