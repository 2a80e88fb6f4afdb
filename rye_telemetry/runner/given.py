"""The environment that this process was given: what a command must get, whatever the interpreter made of it."""

from __future__ import annotations

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
