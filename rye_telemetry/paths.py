"""Where things are: the state directory, the user's space, the project. No heavy imports: run-with starts here."""

from __future__ import annotations

import os
import sys

from rye_telemetry.errors import StateUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

APP = "rye"
ITEM_FOLDERS = {"directive": "directives", "tool": "tools", "knowledge": "knowledge"}


def rye_state_dir(env: Mapping[str, str]) -> str:
    """Return the state directory: `platformdirs.user_state_dir("rye", appauthor=False)` unless RYE_STATE_DIR says other.

    Raises StateUnavailable where no home directory is known.
    """
    chosen = env.get("RYE_STATE_DIR", "")
    if chosen:
        return _absolute(os.path.expanduser(chosen))
    if not sys.platform.startswith("linux"):
        import platformdirs

        return platformdirs.user_state_dir(APP, appauthor=False)
    base = env.get("XDG_STATE_HOME", "").strip()
    if not os.path.isabs(base):  # the specification says to ignore a relative one; it would lie in a repository
        base = os.path.join(_home(env), ".local", "state")
    return os.path.join(_absolute(base), APP)


def user_space(env: Mapping[str, str]) -> str:
    """Return the directory that stands for `~/.ai`: `$USER_SPACE`, or its `.ai` where that exists, else `~/.ai`.

    RYE's older releases mean the directory itself by USER_SPACE, newer ones its parent; both layouts are found.
    Raises StateUnavailable where no home directory is known.
    """
    moved = env.get("USER_SPACE", "")
    if not moved:
        return os.path.join(_home(env), ".ai")
    moved = _absolute(os.path.expanduser(moved))
    inner = os.path.join(moved, ".ai")
    return inner if os.path.isdir(inner) else moved


def find_project(start: str, env: Mapping[str, str]) -> str:
    """Return the nearest directory at or above `start` with `.ai/` (the user's own apart) or `.git`, else `start`."""
    start = os.path.abspath(start)
    try:
        own = user_space(env)
    except StateUnavailable:
        own = ""
    here = start
    while True:
        ai = os.path.join(here, ".ai")
        if ai != own and os.path.isdir(ai):
            return here
        if os.path.lexists(os.path.join(here, ".git")):
            return here
        parent = os.path.dirname(here)
        if parent == here:
            return start
        here = parent


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except OSError as e:  # the working directory was removed
        raise StateUnavailable(f"{path} is relative and there is no working directory: make it absolute") from e


def _home(env: Mapping[str, str]) -> str:
    home = env.get("HOME", "") if os.name == "posix" else ""
    if not home:
        home = os.path.expanduser("~") if "HOME" not in env or os.name != "posix" else _home_of_user()
    if not os.path.isabs(home):
        raise StateUnavailable("no home directory is known: set HOME, or RYE_STATE_DIR and USER_SPACE")
    return home


def _home_of_user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""
