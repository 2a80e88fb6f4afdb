"""Hooks for every repository to come: a template that git copies, or the user's own folder for all. Never core.hooksPath."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rye_telemetry.errors import GitUnusable, RyeTelemetryError
from rye_telemetry.gitlink.install_config import Settings
from rye_telemetry.gitlink.install_files import take_hook
from rye_telemetry.gitlink.install_script import NAMES
from rye_telemetry.gitrun import clean_environment, run_git

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HOOKS_PATH, _TEMPLATE = "core.hooksPath", "init.templateDir"
# What `git init` makes itself; anything else there came from git's own template. Not `config`: it would go into every repository.
_NOT_OF_TEMPLATE = frozenset(("HEAD", "config", "objects", "refs"))
_LIST = ".rye-telemetry"  # git copies nothing whose name begins with a dot


@dataclass(frozen=True)
class Everywhere:
    """The hooks folder that all repositories to come get theirs from, and the setting that says so (None: ours to make)."""

    by: str | None
    hooks_dir: str


@contextmanager
def global_settings(env: Mapping[str, str]) -> Iterator[Settings]:
    """Yield git's settings as they hold outside every repository."""
    with tempfile.TemporaryDirectory(prefix="rye-telemetry-") as nowhere:
        apart = {**clean_environment(env), "GIT_CEILING_DIRECTORIES": os.path.dirname(os.path.realpath(nowhere))}
        yield Settings("--global", nowhere, apart)


def find_everywhere(settings: Settings) -> Everywhere:
    """Return where hooks for every repository belong; RyeTelemetryError where a setting leaves no such place."""
    hooks_path = settings.values(_HOOKS_PATH, everywhere=True, path=True)[-1:]
    if hooks_path and not os.path.isabs(hooks_path[0]):
        raise RyeTelemetryError(
            f"core.hooksPath is {hooks_path[0]!r} for all repositories, a folder in each: install in each, without --global"
        )
    if hooks_path:
        return Everywhere(_HOOKS_PATH, hooks_path[0])
    template = settings.values(_TEMPLATE, everywhere=True, path=True)[-1:]
    if template and template[0]:
        return Everywhere(_TEMPLATE, os.path.join(template[0], "hooks"))
    return Everywhere(None, os.path.join(own_template(), "hooks"))


def own_template() -> str:
    import platformdirs

    return os.path.join(platformdirs.user_data_dir("rye", appauthor=False), "git-template")


def make_template(settings: Settings) -> None:
    """Make our template directory: git's own, to which the hooks are added."""
    final = own_template()
    if os.path.isdir(final):
        return  # an earlier install was killed before it set init.templateDir
    temporary = f"{final}.{os.getpid()}.tmp"
    made = os.path.join(settings.directory, "repository")
    env = {name: value for name, value in settings.env.items() if name != "GIT_TEMPLATE_DIR"}
    answer = run_git(["init", "--quiet", "--bare", made], cwd=settings.directory, env=env)
    if answer.code != 0:
        raise GitUnusable(f"git makes no repository to take its template from: {answer.err}")
    try:
        shutil.copytree(made, temporary, symlinks=True, ignore=lambda at, _: _NOT_OF_TEMPLATE if at == made else ())
        os.makedirs(os.path.join(temporary, "hooks"), exist_ok=True)
        with open(os.path.join(temporary, _LIST), "wb") as f:
            f.writelines(_listed(temporary))
        os.rename(temporary, final)
    except OSError as e:
        shutil.rmtree(temporary, ignore_errors=True)
        raise RyeTelemetryError(f"{final!r} cannot be made ({e.strerror}): check its permissions") from e


def use_template(settings: Settings) -> None:
    settings.add(_TEMPLATE, own_template())


def take_everywhere(settings: Settings) -> dict[str, list[str]]:
    """Take our hooks out of every folder for all repositories; return what was done in each."""
    folders = [value for value in settings.values(_HOOKS_PATH, everywhere=True, path=True)[-1:] if os.path.isabs(value)]
    templates = [*settings.values(_TEMPLATE, everywhere=True, path=True)[-1:], own_template()]
    folders += [os.path.join(template, "hooks") for template in dict.fromkeys(templates) if template]
    done = {folder: _take_all(folder) for folder in folders}
    if os.path.isfile(os.path.join(own_template(), _LIST)):
        done[own_template()] = [_remove_template(settings)]
    return {folder: said for folder, said in done.items() if said}


def _take_all(folder: str) -> list[str]:
    return [f"{name}: {said}" for name in NAMES if (said := take_hook(folder, name))]


def _remove_template(settings: Settings) -> str:
    """Remove our template, and the setting that names it, unless somebody put something of theirs into it."""
    template = own_template()
    try:
        with open(os.path.join(template, _LIST), "rb") as f:
            written = set(f)
        if not written.issuperset(_listed(template)):
            return "kept, with init.templateDir: it holds files that are not ours"
        settings.remove(_TEMPLATE, template)
        shutil.rmtree(template)
    except OSError as e:
        raise RyeTelemetryError(f"{template!r} cannot be removed ({e.strerror}): check its permissions") from e
    return "removed"


def _listed(folder: str) -> Iterator[bytes]:
    """Yield a line for every file: its hash, its mode, its path."""
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            if path == os.path.join(folder, _LIST):
                continue
            with open(path, "rb") as f:
                digest = hashlib.sha256(f.read()).hexdigest()
            inner = os.fsencode(os.path.relpath(path, folder))
            yield b"%s %o %s\n" % (digest.encode(), os.stat(path).st_mode, inner.replace(b"\n", b"\\n"))
