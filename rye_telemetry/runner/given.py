"""The environment that this process was given, whatever the interpreter made of it, and what a program's name means in it."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")


def given_environment(env: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment as it was given to this process: in the C locale the interpreter sets LC_CTYPE (PEP 538).

    A variable without a name, which only another program can make and none can spawn with, is left out.
    """
    coerced = env.get("LC_CTYPE") in _COERCED and not env.get("LC_ALL")
    if not coerced and "" not in env:
        return env
    given = {name: value for name, value in env.items() if name}
    if not coerced:
        return given
    try:
        with open("/proc/self/environ", "rb") as f:
            before = [entry for entry in f.read().split(b"\0") if entry.startswith(b"LC_CTYPE=")]
    except OSError:
        return given
    if before:
        given["LC_CTYPE"] = os.fsdecode(before[0].partition(b"=")[2])
    else:
        del given["LC_CTYPE"]
    return given


def candidates(name: str, env: Mapping[str, str]) -> list[str]:
    """Return the files that `execvp` tries, in their order."""
    if "/" in name:
        return [name]
    return [os.path.join(folder or ".", name) for folder in env.get("PATH", os.defpath).split(os.pathsep)]


def found_program(name: str, env: Mapping[str, str]) -> str:
    """Return the file that `execvp` would try; PermissionError where all there is may not be run, FileNotFoundError."""
    if "/" in name:
        return name
    refused = ""
    for path in candidates(name, env):
        if os.path.isfile(path):
            if os.access(path, os.X_OK):
                return path
            refused = path
    if refused:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), refused)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
