"""Where a repository's hooks are, by git's own answer, and who else looks after them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rye_telemetry.errors import GitUnusable
from rye_telemetry.gitlink.install_files import MOVED, read_hook
from rye_telemetry.gitrun import clean_environment, run_git

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rye_telemetry.gitrun import Answer

_HOOKS_TO_READ = ("pre-commit", "pre-push", "commit-msg", "post-commit", "post-rewrite", "prepare-commit-msg")
_CONFIG_FILES = {
    "pre-commit": (".pre-commit-config.yaml",),
    "lefthook": tuple(
        f"{dot}lefthook.{kind}" for dot in ("", ".", ".config/") for kind in ("yml", "yaml", "toml", "json", "jsonc")
    ),
}


@dataclass(frozen=True)
class Place:
    """A repository: `top` is where its hooks run, the worktree's top or a bare repository itself."""

    top: str
    git_dir: str
    hooks_dir: str
    hooks_path: str | None  # core.hooksPath, as it is set
    env: Mapping[str, str]

    def git(self, *args: str) -> Answer:
        return run_git(args, cwd=self.top, env=self.env)


def find_place(directory: str, env: Mapping[str, str]) -> Place:
    """Return the repository that `directory` is in. GitUnusable where there is none, or git will not work in it."""
    env = clean_environment(env)
    git_dir = _ask(directory, env, "rev-parse", "--absolute-git-dir")
    top = _top(directory, git_dir, env)
    common = os.path.join(top, _ask(top, env, "rev-parse", "--git-common-dir"))
    hooks = _ask(top, env, "rev-parse", "--git-path", "hooks")
    hooks_path = run_git(["config", "--get", "core.hooksPath"], cwd=top, env=env)
    if not hooks or (hooks_path.code == 0 and not hooks_path.out.strip()):
        raise GitUnusable(f"core.hooksPath is empty in {top!r}, so git runs no hook: git config --unset core.hooksPath")
    return Place(
        top=top,
        git_dir=common,
        hooks_dir=os.path.join(top, hooks),
        hooks_path=os.fsdecode(hooks_path.out[:-1]) if hooks_path.code == 0 else None,
        env=env,
    )


def _top(directory: str, git_dir: str, env: Mapping[str, str]) -> str:
    found = run_git(["rev-parse", "--show-toplevel"], cwd=directory, env=env)
    if found.code == 0 and found.out[:-1]:
        return os.fsdecode(found.out[:-1])
    outer = os.path.dirname(git_dir)
    if os.path.basename(git_dir) == ".git":  # we stand inside it
        found = run_git(["rev-parse", "--show-toplevel"], cwd=outer, env=env)
        if found.code == 0:
            return os.fsdecode(found.out[:-1])
    return git_dir


def _ask(directory: str, env: Mapping[str, str], *args: str) -> str:
    answer = run_git(args, cwd=directory, env=env)
    if answer.code != 0:
        raise GitUnusable(_refusal(directory, answer.err))
    return os.fsdecode(answer.out[:-1])


def _refusal(directory: str, said: str) -> str:
    if not os.path.isdir(directory):
        return f"there is no directory {directory!r}: name a repository's with --repo"
    if "not a git repository" in said:
        return f"{directory!r} is in no git repository: name one with --repo"
    return f"git refuses {directory!r}: {said.removeprefix('fatal: ')}"


def managers(place: Place) -> list[str]:
    """Return which hook managers look after this repository: husky, lefthook, pre-commit."""
    marks = {"pre-commit": MOVED[0][1], "lefthook": MOVED[1][1]}
    texts = [read_hook(os.path.join(place.hooks_dir, name)) or b"" for name in _HOOKS_TO_READ]
    found = ["husky"] if _is_husky(place.hooks_dir, texts) else []
    for manager, files in sorted(_CONFIG_FILES.items()):
        by_file = any(os.path.isfile(os.path.join(place.top, file)) for file in files)
        if by_file or any(marks[manager] in text for text in texts):
            found.append(manager)
    return found


def _is_husky(hooks_dir: str, texts: Sequence[bytes]) -> bool:
    return ".husky" in hooks_dir.split(os.sep)[-2:] or any(b"husky" in text[:400] for text in texts)


def remarks(place: Place, calls: Mapping[str, str]) -> list[str]:
    """Return what a user should know before relying on hooks in this place, one line each.

    `calls`: of each hook that was installed, the command that does the same when it is called by hand.
    """
    found = managers(place)
    said = [_REMARKS[manager].format(names=", ".join(calls)) for manager in found if manager in _REMARKS]
    if os.path.basename(place.hooks_dir) == "_" and "husky" in found:
        linking = ", ".join(name for name in calls if name != "pre-commit")
        said.insert(0, _HUSKY.format(folder=place.hooks_dir, names=linking))
    if found and "pre-commit" in calls:
        said += [_IN_SETTINGS[manager].format(call=calls["pre-commit"]) for manager in found]
    if _is_tracked(place):
        said.append(
            f"git tracks {place.hooks_dir!r}: what changed there is a change in the repository, yours to commit"
        )
    elif place.hooks_path is not None and not _is_within(place):
        said.append(
            f"core.hooksPath names {place.hooks_dir!r}: every repository that uses this folder has the hooks now"
        )
    if place.hooks_path and not os.path.isabs(os.path.expanduser(place.hooks_path)) and _has_worktrees(place):
        said.append("core.hooksPath is relative, so each worktree has hooks of its own: install in each")
    return said


_HUSKY = (
    'husky writes {folder!r} anew when it installs: to keep ours add `rye-telemetry hook NAME "$@"` to .husky/NAME '
    "(NAME: {names})"
)
_REMARKS = {
    "lefthook": "lefthook writes its hooks anew when its settings change: run `rye-telemetry hooks install` after that, or "
    "call `rye-telemetry hook NAME` from its settings",
    "pre-commit": "pre-commit is in use: after a `pre-commit install -t NAME` (NAME: {names}) run "
    "`rye-telemetry hooks install` again",
}


_IN_SETTINGS = {
    "husky": "with husky, `{call}` at the end of .husky/pre-commit does what our pre-commit hook does",
    "lefthook": "with lefthook, a last job of pre-commit, `run: {call}`, does what our pre-commit hook does",
    "pre-commit": "pre-commit has hooks of ours for its own settings, which do what our pre-commit hook does: hooks/README.md",
}


def _is_tracked(place: Place) -> bool:
    answer = place.git("ls-files", "-z", "--", f":(top,literal){_relative(place)}") if _is_within(place) else None
    return answer is not None and answer.code == 0 and bool(answer.out)


def _relative(place: Place) -> str:
    return os.path.relpath(os.path.realpath(place.hooks_dir), os.path.realpath(place.top))


def _is_within(place: Place) -> bool:
    folder = os.path.realpath(place.hooks_dir)
    return any(folder.startswith(os.path.realpath(root) + os.sep) for root in (place.top, place.git_dir))


def _has_worktrees(place: Place) -> bool:
    return os.path.isdir(os.path.join(place.git_dir, "worktrees"))
