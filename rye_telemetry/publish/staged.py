"""The same in git's index: what is staged gets its block, the work tree gets it too, and unstaged edits stay unstaged."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from rye_telemetry.bake import bake_bytes, is_supported, strip_bytes
from rye_telemetry.errors import BakeRefused, FileNotReplaced, GitUnusable, RyeTelemetryError
from rye_telemetry.gitrun import Git, clean_environment, hook_environment
from rye_telemetry.publish.files import is_below, sign_again
from rye_telemetry.publish.write import read_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rye_telemetry.publish.files import Bakery, Outcome
    from rye_telemetry.publish.write import Found

_ITEM = re.compile(rb"(?:^|/)\.ai/(?:directives|tools|knowledge)/")
_FILE_MODES = (b"100644", b"100755")


class Staged(NamedTuple):
    """A file in the index: its mode and blob, its path below the work tree as git spells it."""

    mode: bytes
    blob: str
    path: bytes


class Index:
    """The index of the work tree around `start`: in a hook the one that git is about to commit."""

    def __init__(self, start: str, env: Mapping[str, str]) -> None:
        inherited = "GIT_INDEX_FILE" in env
        git = Git(start, hook_environment(env) if inherited else clean_environment(env))
        told = git.run("rev-parse", "--show-toplevel", "--git-path", "index")
        if told.code:
            raise GitUnusable(f"{start}: no work tree with an index: {told.err.removeprefix('fatal: ')}")
        root, _, index = os.fsdecode(told.out.rstrip(b"\n")).rpartition("\n")
        self.root = root
        # Relative names in the environment are relative to where the hook began, which is here.
        self.git = git if inherited else Git(self.root, git.env)
        self.path_of_index = os.path.join(start, index)
        if os.path.lexists(f"{self.path_of_index}.lock"):
            raise GitUnusable(f"{self.path_of_index}.lock is there: another git is at work, or died: remove it then")

    def run(self, *args: str, stdin: bytes = b"") -> bytes:
        told = self.git.run(*args, stdin=stdin)
        if told.code:
            raise GitUnusable(f"git {args[0]} in {self.root}: {told.err.removeprefix('fatal: ')}")
        return told.out

    def path(self, staged: Staged) -> str:
        return os.path.join(self.root, os.fsdecode(staged.path))

    def staged_items(self) -> list[Staged]:
        """Return the regular files below `.ai/` that are added or changed in the index."""
        said = self.run(
            "diff", "--cached", "--raw", "-z", "--no-abbrev", "--no-renames", "--no-ext-diff", "--no-relative",
            "--ignore-submodules=all", "--diff-filter=AMT",
        ).split(b"\0")  # fmt: skip
        found = []
        for entry, path in zip(said[::2], said[1::2], strict=False):
            _, mode, _, blob, _ = entry.split(b" ")
            if mode in _FILE_MODES and _ITEM.search(path) and is_supported(os.fsdecode(path)):
                found.append(Staged(mode, blob.decode(), path))
        return found

    def filtered(self, staged: Sequence[Staged]) -> dict[bytes, str]:
        """Return {path: attribute} of files whose blob is not what the work tree holds: a filter stands between."""
        if not staged:
            return {}
        names = b"".join(entry.path + b"\0" for entry in staged)
        said = self.run("check-attr", "-z", "--stdin", "filter", "working-tree-encoding", stdin=names).split(b"\0")
        answers = zip(said[::3], said[1::3], said[2::3], strict=False)
        return {path: name.decode() for path, name, value in answers if value not in (b"unspecified", b"unset")}

    def read_blobs(self, staged: Sequence[Staged]) -> Iterator[bytes]:
        """Yield the content of each."""
        if not staged:
            return
        said = self.run("cat-file", "--batch", stdin="".join(f"{entry.blob}\n" for entry in staged).encode())
        at = 0
        for entry in staged:
            end = said.index(b"\n", at)
            head = said[at:end].split(b" ")
            if head[-1] == b"missing" or len(head) != 3:
                raise GitUnusable(f"{self.path(entry)}: git has no content of what is staged: run `git fsck`")
            size = int(head[2])
            yield said[end + 1 : end + 1 + size]
            at = end + size + 2

    def put(self, changed: Sequence[tuple[Staged, Outcome]]) -> None:
        """Make blobs of the new bytes and stage them, all in one step."""
        blobs = self._write_blobs([outcome.new for _, outcome in changed])
        now = {(entry.path, entry.blob) for entry in self.staged_items()}
        moved = [self.path(entry) for entry, _ in changed if (entry.path, entry.blob) not in now]
        if moved:
            raise GitUnusable(f"{moved[0]}: it was staged anew meanwhile: try again")
        entries = b"".join(
            entry.mode + b" " + blob + b"\t" + entry.path + b"\0"
            for (entry, _), blob in zip(changed, blobs, strict=True)
        )
        self.run("update-index", "-z", "--index-info", stdin=entries)
        self.git.run("update-index", "-q", "--refresh")  # so that git need not read these files again

    def _write_blobs(self, contents: Sequence[bytes]) -> list[bytes]:
        """Return the names of blobs with these contents: in one pack, for a thousand loose files take half a second."""
        told = b"".join(b"blob\nmark :1\ndata %d\n%s\nget-mark :1\n" % (len(data), data) for data in contents)
        return self.run("fast-import", "--quiet", stdin=told).split()


def bake_staged(bakery: Bakery, index: Index, *, env: Mapping[str, str]) -> list[Outcome]:
    """Bake, check or strip what is staged; then the same in the work tree, whose other changes stay as they are."""
    staged = index.staged_items()
    bakery.load(index.path(entry) for entry in staged)
    outcomes = [
        bakery.decide(index.path(entry), data) for entry, data in zip(staged, index.read_blobs(staged), strict=True)
    ]
    changed = [(entry, outcome) for entry, outcome in zip(staged, outcomes, strict=True) if outcome.changed]
    _refuse_filtered(changed, index)
    if bakery.wish.write and not bakery.wish.check:
        _sign(bakery, [outcome for _, outcome in changed if outcome.code == "resign"], env)
        _let_go(changed, index)
        for _, outcome in changed:
            if outcome.changed:
                _bring_along(bakery, outcome, index.root)
        made = [(entry, outcome) for entry, outcome in changed if outcome.changed]
        if made:
            index.put(made)
    return outcomes


def _let_go(changed: Sequence[tuple[Staged, Outcome]], index: Index) -> None:
    """Let a commit go on for files that it would not find baked at a second try.

    `git commit -a` and `-i` commit a copy of the index, which becomes the index, and is thrown away when they are
    stopped. What they add from the work tree comes again; what was staged before comes as it was.
    """
    if os.path.basename(index.path_of_index) != "index.lock":
        return
    env = {**index.git.env, "GIT_INDEX_FILE": index.path_of_index.removesuffix(".lock")}
    said = Git(index.git.cwd, env).run("ls-files", "-s", "-z").out.split(b"\0")
    kept = {entry.partition(b"\t")[2]: entry.split(b" ")[1].decode() for entry in said if entry}
    for entry, outcome in changed:
        outcome.stops = kept.get(entry.path) != entry.blob


def _sign(bakery: Bakery, signed: list[Outcome], env: Mapping[str, str]) -> None:
    """Sign files again in the work tree, the only place where a sign command finds them."""
    found: dict[str, Found] = {}
    for outcome in signed:
        try:
            found[outcome.path] = read_file(outcome.path)
            if found[outcome.path].data != outcome.old:
                raise FileNotReplaced(
                    f"{outcome.path} is signed and has edits that are not staged: stage or stash them"
                )
            replace_file(found[outcome.path], outcome.new, sync=False)
        except RyeTelemetryError as e:
            outcome.result, outcome.code, outcome.message = "refused", "not_signed", str(e)
    sign_again(bakery, [outcome for outcome in signed if outcome.changed], found, env)


def _refuse_filtered(changed: list[tuple[Staged, Outcome]], index: Index) -> None:
    filtered = index.filtered([entry for entry, _ in changed])
    for entry, outcome in changed:
        if entry.path in filtered:
            outcome.result, outcome.code = "refused", "filtered"
            outcome.message = (
                f"{outcome.path}: git's {filtered[entry.path]} attribute stands between it and what is committed:"
                f" bake it by its path, then add it"
            )


def _bring_along(bakery: Bakery, outcome: Outcome, root: str) -> None:
    """Put the block into the work tree's file first; where that cannot be, what is staged gets none either.

    Else the work tree would seem to take the block out again, and `git commit -a` would do it.
    """
    path = outcome.path
    try:
        if not is_below(os.path.realpath(path), root) or os.path.realpath(path) != os.path.join(
            os.path.realpath(root), os.path.relpath(path, root)
        ):
            raise FileNotReplaced(f"{path!r} lies behind a symbolic link")
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return
        found = read_file(path)
        if found.data != outcome.new:
            replace_file(found, _likewise(bakery, found.data, outcome), sync=False)
    except FileNotFoundError:
        return  # staged, and gone from the work tree
    except (BakeRefused, RyeTelemetryError, OSError) as e:
        outcome.result, outcome.code = "refused", getattr(e, "code", "not_written")
        outcome.message = f"{path}: its edits that are not staged take no block, so it is left as it is: {e}"


def _likewise(bakery: Bakery, data: bytes, outcome: Outcome) -> bytes:
    name = os.path.basename(outcome.path)
    if data == outcome.old:
        return outcome.new
    if bakery.wish.strip:
        return strip_bytes(data, name).data
    return bake_bytes(data, name, outcome.fields or {}).data
