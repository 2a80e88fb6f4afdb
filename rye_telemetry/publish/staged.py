"""The same in git's index: what is staged gets its block, the work tree gets it too, and unstaged edits stay unstaged."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from rye_telemetry.bake import bake_bytes, strip_bytes
from rye_telemetry.errors import BakeRefused, FileNotReplaced, GitUnusable, RyeTelemetryError
from rye_telemetry.gitrun import Git, clean_environment, hook_environment
from rye_telemetry.publish.files import sign_again
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
        told = git.run("rev-parse", "--show-toplevel")
        if told.code:
            raise GitUnusable(f"{start}: no work tree with an index: {told.err.removeprefix('fatal: ')}")
        self.root = os.fsdecode(told.out.rstrip(b"\n"))
        # Relative names in the environment are relative to where the hook began, which is here.
        self.git = git if inherited else Git(self.root, git.env)

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
            if mode in _FILE_MODES and _ITEM.search(path):
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
        made = [(entry, outcome) for entry, outcome in changed if outcome.changed]
        for _, outcome in made:
            _bring_along(bakery, outcome)
        if made:
            index.put(made)
    return outcomes


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


def _bring_along(bakery: Bakery, outcome: Outcome) -> None:
    """Put the block into the work tree's file too; where that cannot be, what is staged has it all the same."""
    path = outcome.path
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return
        found = read_file(path)
        if found.data != outcome.new:
            replace_file(found, _likewise(bakery, found.data, outcome), sync=False)
    except FileNotFoundError:
        return  # staged, and gone from the work tree
    except (BakeRefused, RyeTelemetryError, OSError) as e:
        outcome.warnings.append(f"{e}: the block is staged, the file in the work tree is left as it is")


def _likewise(bakery: Bakery, data: bytes, outcome: Outcome) -> bytes:
    name = os.path.basename(outcome.path)
    if data == outcome.old:
        return outcome.new
    if bakery.wish.strip:
        return strip_bytes(data, name).data
    return bake_bytes(data, name, outcome.fields or {}).data
