"""What an install writes into git's settings, through git alone, and remembers so that it can be taken back."""

from __future__ import annotations

import fnmatch
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rye_telemetry.errors import GitUnusable
from rye_telemetry.gitrun import run_git

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTES_REF = "refs/notes/rye-telemetry"
_NOTES_GLOB = "refs/notes/rye-telemetr[y]"  # of a plain name git says that it is invalid until there is a note
_REF, _MODE = "notes.rewriteRef", "notes.rewriteMode"
_MODE_VALUE = "cat_sort_uniq"  # one run id a line, each once
_MEMORY = {_REF: "rye-telemetry.addedRewriteRef", _MODE: "rye-telemetry.addedRewriteMode"}


@dataclass(frozen=True)
class Settings:
    """Git's settings of one scope, `--local` or `--global`, as seen from a directory."""

    scope: str
    directory: str
    env: Mapping[str, str]

    def values(self, name: str, *, everywhere: bool = False, path: bool = False) -> list[str]:
        """Return all values of one setting, of this scope or as they hold here; `path` expands `~`."""
        args = ["config", *(() if everywhere else (self.scope, "--includes")), *(("--type=path",) if path else ())]
        answer = run_git([*args, "-z", "--get-all", name], cwd=self.directory, env=self.env)
        if answer.code > 1:
            raise GitUnusable(f"git's settings cannot be read: {answer.err.removeprefix('fatal: ')}")
        return [os.fsdecode(value) for value in answer.out.split(b"\0")[:-1]]

    def add(self, name: str, value: str) -> None:
        self._change("--add", name, value)

    def remove(self, name: str, value: str) -> None:
        """Remove one setting where it has this value; no matter when it has not."""
        if value in self.values(name):
            escaped = "".join(f"[{c}]" if c in ".+*?()|{}$" else f"\\{c}" if c in "\\^[]" else c for c in value)
            self._change("--unset-all", name, f"^{escaped}$")

    def _change(self, *args: str) -> None:
        answer = run_git(["config", self.scope, *args], cwd=self.directory, env=self.env)
        if answer.code != 0:
            reason = answer.err.removeprefix("error: ").removeprefix("fatal: ")
            raise GitUnusable(f"git's settings cannot be changed: {reason or f'git config ends with {answer.code}'}")


def carry_notes(settings: Settings) -> None:
    """Let git carry our notes along when it rewrites commits, beside what the user has set for theirs."""
    refs = settings.values(_REF, everywhere=True)
    modes = settings.values(_MODE, everywhere=True)
    if not any(fnmatch.fnmatchcase(NOTES_REF, ref) for ref in refs):
        _add(settings, _REF, _NOTES_GLOB)
    if not modes and not [ref for ref in refs if ref not in (NOTES_REF, _NOTES_GLOB)]:
        _add(settings, _MODE, _MODE_VALUE)


def _add(settings: Settings, name: str, value: str) -> None:
    settings.add(_MEMORY[name], "true")  # first: what is remembered and not there is no harm
    settings.add(name, value)


def drop_notes(settings: Settings) -> bool:
    """Take back exactly what `carry_notes` set; say whether there was something."""
    found = False
    for name, value in ((_REF, _NOTES_GLOB), (_MODE, _MODE_VALUE)):
        if settings.values(_MEMORY[name]):
            settings.remove(name, value)
            settings.remove(_MEMORY[name], "true")
            found = True
    return found
