"""Install our hooks in a repository or for all to come, take them out again, say how they stand."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rye_telemetry.config import read_consent
from rye_telemetry.errors import GitMissing, GitUnusable, RyeTelemetryError, UsageInvalid
from rye_telemetry.gitlink import install_global
from rye_telemetry.gitlink.install_config import Settings, carry_notes, drop_notes
from rye_telemetry.gitlink.install_files import MOVED, look_at_hook, put_hook, read_hook, take_hook
from rye_telemetry.gitlink.install_place import find_place, managers, remarks
from rye_telemetry.gitlink.install_script import NAMES, STEPS, block, by_hand, has_notes, steps_of
from rye_telemetry.paths import find_project

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rye_telemetry.gitlink.install_place import Place

_TRAILERS = "prepare-commit-msg"
_STEPS = "pre-commit"
_AGAINST = {"strip": frozenset(("bake", "check")), "bake": frozenset(("strip",)), "check": frozenset(("strip",))}
_WAYS = {
    "own": "a file of ours",
    "inserted": "in the hook that was there",
    "chained": "before the hook that was there",
    "moved": "moved by pre-commit, which runs it",
}


@dataclass
class Done:
    """What was done, one line a hook, and what the user should know beside it."""

    lines: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Wanted:
    """What is asked for beside the hooks that link; `steps` are names of install_script.STEPS."""

    trailers: bool = False
    notes: bool = False
    steps: Sequence[str] = ()


def install_hooks(directory: str, wanted: Wanted, *, env: Mapping[str, str]) -> Done:
    """Install in the repository that `directory` is in; what an earlier install switched on stays on."""
    _check(wanted)
    place = find_place(directory, env)
    done = Done()
    put = _put(place.hooks_dir, done, wanted)
    if wanted.notes:
        carry_notes(_settings(place))
    done.remarks += remarks(place, {name: by_hand(name, text) for name, text in put.items()})
    if not read_consent(env, find_project(place.top, env)).enabled:
        done.remarks.append("telemetry is off: hooks record nothing until `rye-telemetry configure --enabled true`")
    return done


def uninstall_hooks(directory: str, *, env: Mapping[str, str]) -> Done:
    """Take out of a repository what an install put there, and nothing else."""
    place = find_place(directory, env)
    done = Done()
    for name in NAMES:
        said = take_hook(place.hooks_dir, name)
        if said:
            done.lines.append(_line(place.hooks_dir, name, said))
    if drop_notes(_settings(place)):
        done.lines.append("notes are no longer carried along")
    return done


def install_everywhere(directory: str, wanted: Wanted, *, env: Mapping[str, str]) -> Done:
    """Install for every repository made or cloned from now on, and for the one that `directory` is in."""
    _check(wanted)
    done = Done()
    with install_global.global_settings(env) as settings:
        everywhere = install_global.find_everywhere(settings)
        if everywhere.by is None:
            install_global.make_template(settings)
        _put(everywhere.hooks_dir, done, wanted)
        if everywhere.by is None:
            install_global.use_template(settings)
        if wanted.notes:
            carry_notes(settings)
    if everywhere.by != "core.hooksPath":
        done.remarks.append(
            "new repositories and clones get the hooks; one that is there gets them by `git init` or `hooks install` in it"
        )
    _also_here(done, directory, wanted, env=env)
    return done


def _also_here(done: Done, directory: str, wanted: Wanted, *, env: Mapping[str, str]) -> None:
    try:
        here = install_hooks(directory, wanted, env=env)
    except GitUnusable as e:
        done.remarks.append(f"only for repositories to come: {e}")
        return
    done.lines += [line for line in here.lines if line not in done.lines]
    done.remarks += here.remarks


def uninstall_everywhere(directory: str, *, env: Mapping[str, str]) -> Done:
    """Undo `install_everywhere`; repositories made meanwhile keep their copies."""
    done = Done()
    with install_global.global_settings(env) as settings:
        for folder, said in install_global.take_everywhere(settings).items():
            done.lines += [f"{line} ({folder})" for line in said]
        if drop_notes(settings):
            done.lines.append("notes are no longer carried along")
    if done.lines:
        done.remarks.append("repositories made meanwhile keep their hooks: `rye-telemetry hooks uninstall` in each")
    try:
        done.lines += uninstall_hooks(directory, env=env).lines
    except GitMissing:
        raise
    except GitUnusable:
        pass  # no repository here
    return done


def hooks_status(directory: str, *, env: Mapping[str, str]) -> dict[str, Any]:
    """Say how our hooks stand; the shape is that of `hooks status --json`."""
    place = find_place(directory, env)
    looked = {name: look_at_hook(place.hooks_dir, name) for name in NAMES}
    steps = _steps_there(place.hooks_dir) if looked[_STEPS][0] != "absent" else []
    return {
        "hooks_dir": place.hooks_dir,
        "hooks": {name: state for name, (state, _) in looked.items()},
        "how": {name: way for name, (_, way) in looked.items()},
        "trailers": looked[_TRAILERS][0] != "absent",
        "notes": _notes_on(place.hooks_dir),
        **{step: step in steps for step in STEPS},
        "managers": managers(place),
        "global": _global_status(env),
        "enabled": read_consent(env, find_project(place.top, env)).enabled,
    }


def status_lines(found: Mapping[str, Any]) -> list[str]:
    """Return what a person reads of `hooks_status`."""
    lines = [f"hooks folder: {found['hooks_dir']}"]
    for name, state in found["hooks"].items():
        way = found["how"][name]
        words = "after the hook that was there" if (name, way) == (_STEPS, "chained") else _WAYS.get(way)
        lines.append(f"{name}: {state}{f' ({words})' if words else ''}")
    lines += [f"{word}: {'on' if found[word] else 'off'}" for word in ("trailers", "notes", *STEPS)]
    lines.append(f"hook managers: {', '.join(found['managers']) or 'none'}")
    there = [name for name, state in found["global"]["hooks"].items() if state != "absent"]
    lines.append(f"every new repository: {', '.join(there) or 'no hook of ours'}")
    lines.append(f"telemetry: {'on' if found['enabled'] else 'off, so hooks record nothing'}")
    return lines


def _global_status(env: Mapping[str, str]) -> dict[str, Any]:
    with install_global.global_settings(env) as settings:
        try:
            everywhere = install_global.find_everywhere(settings)
        except RyeTelemetryError:
            return {"by": "core.hooksPath", "hooks_dir": None, "hooks": dict.fromkeys(NAMES, "absent")}
    hooks = {name: look_at_hook(everywhere.hooks_dir, name)[0] for name in NAMES}
    return {"by": everywhere.by, "hooks_dir": everywhere.hooks_dir if everywhere.by else None, "hooks": hooks}


def _put(hooks_dir: str, done: Done, wanted: Wanted) -> dict[str, bytes]:
    """Put in what is wanted and what an earlier install was asked for; return {hook: our part of it}."""
    before = _steps_there(hooks_dir)
    steps = {*before, *wanted.steps} - {opposite for step in wanted.steps for opposite in _AGAINST.get(step, ())}
    done.remarks += [f"{step} is off now: the hook cannot do both" for step in before if step not in steps]
    asked = {_TRAILERS: wanted.trailers or look_at_hook(hooks_dir, _TRAILERS)[0] != "absent", _STEPS: bool(steps)}
    notes = wanted.notes or _notes_on(hooks_dir)
    put = {name: block(name, notes=notes, steps=steps) for name in NAMES if asked.get(name, True)}
    for name, text in put.items():
        done.lines.append(_line(hooks_dir, name, put_hook(hooks_dir, name, text)))
    return put


def _check(wanted: Wanted) -> None:
    if any(_AGAINST.get(step, frozenset()) & {*wanted.steps} for step in wanted.steps):
        raise UsageInvalid(
            "strip takes out what bake and check want there, so no commit would pass: ask for one of them"
        )


def _steps_there(hooks_dir: str) -> list[str]:
    """Return what our pre-commit hook does, be it where it belongs or where a hook manager moved it."""
    places = [os.path.join(hooks_dir, _STEPS + ending) for ending in ("", *(ending for ending, _ in MOVED))]
    return next((steps for place in places if (steps := steps_of(read_hook(place) or b""))), [])


def _notes_on(hooks_dir: str) -> bool:
    return has_notes(read_hook(os.path.join(hooks_dir, NAMES[0])) or b"")


def _line(folder: str, name: str, said: str) -> str:
    return f"{name}: {said} ({folder})"


def _settings(place: Place) -> Settings:
    return Settings("--local", place.top, place.env)
