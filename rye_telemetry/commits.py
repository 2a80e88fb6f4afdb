"""Commits as git tells of them: which one a revision names, and the facts by which it is found again after a rewrite."""

from __future__ import annotations

from rye_telemetry.errors import CommitUnknown, GitUnusable
from rye_telemetry.model import HASH_LENGTHS, is_commit_hash, utf8_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rye_telemetry.gitrun import Answer, Git

# As git's own settings are when nobody changes them, so that a patch-id is the same on every machine.
_DIFF = (
    "-c",
    "core.quotePath=true",
    "-c",
    "diff.suppressBlankEmpty=false",
    "diff-tree",
    "--stdin",
    "-r",
    "-p",
    "--root",
    "--no-ext-diff",
    "--no-textconv",
    "--no-renames",
    "--no-color",
    "--full-index",
    "--unified=3",
)
_FORWARD = ("--src-prefix=a/", "--dst-prefix=b/")
_BACKWARD = ("-R", "--src-prefix=b/", "--dst-prefix=a/")
_BINARY = b"\nBinary files "


class Commit:
    """One commit as its object tells of it; `parent_tree` is None without a parent, or where that is not here."""

    __slots__ = ("author", "authored_s", "commit_hash", "committed_s", "message", "parent_tree", "parents", "tree")

    def __init__(self, commit_hash: str, raw: bytes) -> None:
        head, _, message = raw.partition(b"\n\n")
        self.commit_hash = commit_hash
        self.tree = ""
        self.parents: list[str] = []
        self.parent_tree: str | None = None
        author, committer, encoding = b"", b"", b""
        for line in head.split(b"\n"):
            name, _, value = line.partition(b" ")
            if name == b"tree":
                self.tree = value.decode("ascii", "replace")
            elif name == b"parent":
                self.parents.append(value.decode("ascii", "replace"))
            elif name == b"author":
                author = value
            elif name == b"committer":
                committer = value
            elif name == b"encoding":
                encoding = value
        who, ended, _ = author.rpartition(b"> ")
        self.author = _text(who + b">" if ended else author, encoding).strip()
        self.message = _text(message, encoding)
        self.authored_s = _seconds(author)
        self.committed_s = _seconds(committer)

    @property
    def has_whole_diff(self) -> bool:
        """False for merges, and at the border of a shallow clone, where git takes the whole tree for a change."""
        return not self.parents or (len(self.parents) == 1 and self.parent_tree is not None)


def _seconds(signed: bytes) -> int:
    """Return the instant of an author or committer line in seconds since 1970; 0 for none."""
    text = signed.rpartition(b"> ")[2].partition(b" ")[0]
    return int(text) if text.isdigit() else 0


def _text(data: bytes, encoding: bytes) -> str:
    try:
        return utf8_text(data.decode(encoding.decode("ascii") or "utf-8"))
    except (LookupError, ValueError):
        return utf8_text(data.decode("utf-8", "surrogateescape"))


def resolve(git: Git, revision: str) -> str:
    """Return the hash of the commit that a revision names; CommitUnknown for none, several, or the null hash."""
    said = f"{utf8_text(revision)!r} names no commit here"
    if not revision or revision.startswith("-") or "\0" in revision or "\n" in revision:
        raise CommitUnknown(f"{said}: give a hash, a branch, a tag, or a revision such as HEAD~1")
    complaint = ""
    for form in (f"{revision}^{{commit}}", revision):  # the second for `:/text`, which takes all that follows
        found = git.run("rev-parse", "--verify", form)
        name = found.out.decode("ascii", "replace").strip()
        if found.code == 0 and len(name) in HASH_LENGTHS:
            commit = _peeled(git, name)
            if commit:
                return commit
        complaint = complaint or found.err
        if refuses(found):
            raise GitUnusable(f"{git.cwd or '.'}: {_first_complaint(found.err)}")
    if "ambiguous" in complaint:
        raise CommitUnknown(f"{revision!r} is ambiguous: give more of the hash")
    raise CommitUnknown(f"{said}: see `git log` for those that are")


def _peeled(git: Git, name: str) -> str:
    """Return the commit behind an object name that git may only have spelt, not looked up."""
    found = git.run("cat-file", "--batch-check", stdin=f"{name}^{{commit}}\n".encode())
    words = found.out.decode("utf-8", "replace").split()
    return words[0] if len(words) == 3 and words[1] == "commit" and is_commit_hash(words[0]) else ""


def refuses(answer: Answer) -> bool:
    """Say whether git would not work in that repository at all, whatever it was asked."""
    said = answer.err
    return answer.code == 128 and (
        "not a git repository" in said or "dubious ownership" in said or "unsafe repository" in said or "cannot change to" in said
        or "bad config" in said or "unknown repository extension" in said or "repository format version" in said
    )  # fmt: skip


def _first_complaint(text: str) -> str:
    return text.partition("fatal: ")[2] or text or "git refuses, and says nothing"


def read_commits(git: Git, commits: Sequence[str]) -> list[Commit]:
    """Return those of the commits that are there, in one git process; a name may be any revision without a space."""
    asked = "".join(f"{name}\n{name}^1\n" for name in commits)
    answer = git.run("cat-file", "--batch", "--buffer", stdin=asked.encode())
    if refuses(answer):
        raise GitUnusable(f"{git.cwd or '.'}: {_first_complaint(answer.err)}")
    found: list[Commit] = []
    objects = _batch(answer.out)
    for own, parent in zip(objects, objects, strict=False):
        if own is not None:
            commit = Commit(*own)
            commit.parent_tree = Commit(*parent).tree if parent is not None and commit.parents else None
            found.append(commit)
    return found


def _batch(data: bytes) -> Iterator[tuple[str, bytes] | None]:
    """Yield (name, content) of each commit that `cat-file --batch` was asked for, None for one that is not there."""
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        words = data[at:end].split(b" ")
        at = end + 1
        if len(words) == 3 and words[2].isdigit() and words[1] in (b"commit", b"tag", b"tree", b"blob"):
            size = int(words[2])
            yield (words[0].decode("ascii"), data[at : at + size]) if words[1] == b"commit" else None
            at += size + 1
        else:
            yield None


def patch_ids(git: Git, commits: Iterable[Commit]) -> dict[str, str]:
    """Return {commit: patch-id} in two git processes; none for merges, empty commits and changes of binary files."""
    return _patch_ids(git, [commit.commit_hash for commit in commits if commit.has_whole_diff], _FORWARD)


def range_patch_ids(git: Git, ranges: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return {tip tree: patch-id} of the whole changes from base tree to tip tree, each tip once, in two processes."""
    # Backwards, with the prefixes swapped back: patch-id names each patch by the first tree, and tips differ.
    return _patch_ids(git, [f"{tip} {base}" for base, tip in ranges], _BACKWARD)


def _patch_ids(git: Git, asked: list[str], way: Sequence[str]) -> dict[str, str]:
    if not asked:
        return {}
    diff = git.run(*_DIFF, *way, stdin="".join(f"{name}\n" for name in asked).encode())
    if diff.code or not diff.out:
        return {}
    told = git.run("patch-id", "--stable", stdin=diff.out)
    binary = _with_binary(diff.out, asked)
    found = {}
    for line in told.out.decode("ascii", "replace").splitlines():
        patch_id, _, name = line.partition(" ")
        if name not in binary:
            found[name] = patch_id
    return found


def _with_binary(diff: bytes, asked: list[str]) -> set[str]:
    """Return those whose diff has a binary file, of which patch-id sees nothing: other contents would look the same."""
    if _BINARY not in diff:
        return set()
    return {name.partition(" ")[0] for name, start, end in _parts(diff, asked) if diff.find(_BINARY, start, end) >= 0}


def _parts(diff: bytes, asked: Iterable[str]) -> list[tuple[str, int, int]]:
    """Return (name, start, end) of the diff of each of those that have one, in the order in which they were asked."""
    places: list[tuple[int, str]] = []
    at = 0
    for name in asked:
        place = diff.find(b"\n" + name.encode() + b"\n", at) if places or not diff.startswith(name.encode()) else 0
        if place >= 0:
            places.append((place, name))
            at = place
    ends = [place for place, _ in places[1:]] + [len(diff)]
    return [(name, start, end) for (start, name), end in zip(places, ends, strict=True)]


def read_diffs(git: Git, asked: Iterable[str]) -> dict[str, bytes]:
    """Return {what was asked: its diff}, in one git process, of commits and of `tree tree`; what changes nothing has none.

    GitUnusable when that is more than git may say.
    """
    names = list(dict.fromkeys(asked))
    if not names:
        return {}
    said = git.run(*_DIFF, *_FORWARD, stdin="".join(f"{name}\n" for name in names).encode())
    if said.code:
        raise GitUnusable(f"git compares no commits: {_first_complaint(said.err)}")
    return {name: said.out[start:end] for name, start, end in _parts(said.out, names)}
