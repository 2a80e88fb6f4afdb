"""A hook's text: our part of it, put in and taken out again. Bytes in, bytes out."""

from __future__ import annotations

import os
import re
import shlex
import sys

from rye_telemetry.errors import RyeTelemetryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

NAMES = ("post-commit", "post-rewrite", "prepare-commit-msg", "pre-commit")
# What pre-commit can be asked for, in the order in which it is done, and the command that does it.
STEPS = {
    "guard": "guard --staged",
    "strip": "bake --strip --staged --hook",
    "bake": "bake --staged --hook",
    "check": "bake --check --staged --hook",
}
KEPT_FOLDER = "rye-telemetry"  # in the hooks folder: hooks that cannot take our lines, run from there

_PATH_LOOKUP = b"    command -v rye-telemetry >/dev/null"
_NOTES = (b"set -- hook post-commit\n", b"set -- hook post-commit --notes\n")
_STEPS = re.compile(rb"(?m)^(  for rye_telemetry_step in )([a-z ]+)(?=; do$)")
_SHELLS = frozenset((b"sh", b"bash", b"dash", b"ash", b"ksh", b"ksh93", b"mksh", b"zsh"))
# Left out: `-r` may not run a command by its path, `-a` would export the rewrite map, `-C` not write the file it passes through.
_SHELL_FLAG = re.compile(rb"-[befhlmpuvxE]+|--|--posix|--norc|--noprofile")
_SHELL_OPTION = frozenset((b"errexit", b"nounset", b"pipefail", b"xtrace", b"errtrace"))
# A script that hands itself to a program, which then reads our lines too: Perl, Tcl and Python behind `sh`, archives.
_READS_ITSELF = re.compile(
    rb"""^[^#\n]*\b(?:exec|tail|head|sed|awk|perl|python3?|unzip)\b[^\n]*[\s"]\$(?:0|\{0\})["\s]""", re.MULTILINE
)
_RUN_KEPT = rb"""case $0 in */*) set -- "${0%%/*}/rye-telemetry/%(name)s" "$@" ;; *) set -- ./rye-telemetry/%(name)s "$@" ;; esac
"""
# The hook that was there runs in our process, so its exit code and its end are its own.
_AFTER = (
    b"# The hook that was here before is in rye-telemetry/, and runs from there.\n"
    + _RUN_KEPT
    + b"""[ ! -x "$1" ] || exec "$@"
"""
)
# This one goes first, for it may write the whole message anew; what it refuses, we leave alone.
_BEFORE = (
    b"# The hook that was here before is in rye-telemetry/, and runs from there.\n"
    + _RUN_KEPT
    + b"""[ ! -x "$1" ] || "$@" || exit
shift
"""
)


def block(name: str, *, notes: bool = False, steps: Collection[str] = STEPS) -> bytes:
    """Return our part of hook `name`: from mark to mark, with the command that runs now."""
    data = _shipped(name)
    found = _found(data, name)
    if found is None:
        raise RyeTelemetryError(f"the hook {name} of this installation is damaged: install rye-telemetry again")
    text = data[slice(*found)]
    head, lookup, rest = text.partition(_PATH_LOOKUP)
    head = head.replace(*_NOTES) if notes else head
    return _with_steps(head, steps) + _command_line() + lookup + rest


def _with_steps(text: bytes, steps: Collection[str]) -> bytes:
    asked = " ".join(step for step in STEPS if step in steps)
    return _STEPS.sub(lambda found: found[1] + asked.encode(), text)


def own_file(name: str, text: bytes) -> bytes:
    """Return the hook where there was none."""
    return _head(name) + text


def chaining_file(name: str, text: bytes) -> bytes:
    """Return the hook that also runs the one kept in `rye-telemetry/`."""
    before, after = _chained(name)
    return _head(name) + before + text + after


def _chained(name: str) -> tuple[bytes, bytes]:
    fill = {b"name": os.fsencode(name)}
    return (_BEFORE % fill, b"") if name == "prepare-commit-msg" else (b"", _AFTER % fill)


def how(data: bytes, name: str) -> str | None:
    """Say how our part stands in this text: `own`, `chained`, `inserted`, or None where it does not."""
    rest = without(data, name)
    if rest == data:
        return None
    if rest in (_head(name), _head(name).rstrip(b"\n")):
        return "own"
    return "chained" if rest == _head(name) + b"".join(_chained(name)) else "inserted"


def runs_kept(data: bytes, name: str) -> bool:
    """Say whether this text, whatever else is in it, still runs the hook kept in `rye-telemetry/`."""
    return b"rye-telemetry/%b" % os.fsencode(name) in without(data, name)


def part(data: bytes, name: str) -> bytes:
    """Return our part of this text, empty where there is none."""
    found = _found(data, name)
    return data[slice(*found)] if found else b""


def insert(data: bytes, text: bytes, name: str) -> bytes:
    """Return a shell script with our part after its first line, or in the place of the part it has."""
    found = _found(data, name)
    if found:
        start, end = found
        whole = text if data[start:end].endswith(b"\n") else text[:-1]
        return data[:start] + whole + without(data[end:], name)
    if not data.startswith(b"#!"):
        return text + data
    first, newline, rest = data.partition(b"\n")
    return first + b"\n" + text + rest if newline else first + b"\n" + text[:-1]


def without(data: bytes, name: str) -> bytes:
    """Return the text without our part."""
    while found := _found(data, name):
        start, end = found
        if not data[start:end].endswith(b"\n") and data[start - 1 : start] == b"\n":
            start -= 1  # the line before had no end until we came
        data = data[:start] + data[end:]
    return data


def mine(data: bytes, name: str) -> bytes:
    """Return what a user has made of a file that we wrote: its text without our part and our first line."""
    lines = without(data, name).splitlines(keepends=True)
    return b"".join(line for line in lines if line not in _head(name).splitlines(keepends=True)[1:])


def takes_lines(data: bytes) -> bool:
    """Say whether this is a shell script that stays what it is with lines of ours after its first."""
    if b"\0" in data or _READS_ITSELF.search(data):
        return False
    if not data.startswith(b"#!"):
        return True  # git runs it with sh
    first = data.partition(b"\n")[0]
    if first.endswith(b"\r"):
        return False
    words = first[2:].split()
    if words and _base(words[0]) == b"env":
        words = words[2:] if words[1:2] == [b"-S"] else words[1:]
    if words and _base(words[0]) == b"busybox":
        words = words[1:]
    return bool(words) and _base(words[0]) in _SHELLS and _harmless(words[1:])


def _base(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _harmless(flags: list[bytes]) -> bool:
    rest = iter(flags)
    for flag in rest:
        if flag.startswith(b"-") and flag.endswith(b"o") and (flag == b"-o" or _SHELL_FLAG.fullmatch(flag[:-1])):
            if next(rest, b"") not in _SHELL_OPTION:
                return False
        elif not _SHELL_FLAG.fullmatch(flag):
            return False
    return True


def state(data: bytes, name: str) -> str:
    """Say whether our part is `absent`, `installed` as this version writes it, or `outdated`."""
    there = part(data, name)
    if not there:
        return "absent"
    command = _command_of(there)
    plain = _with_steps(there.replace(command, b"", 1).replace(_NOTES[1], _NOTES[0]), STEPS).rstrip(b"\n")
    shipped = _shipped(name)
    return "installed" if plain == part(shipped, name).rstrip(b"\n") and _is_there(command) else "outdated"


def has_notes(data: bytes) -> bool:
    return _NOTES[1] in part(data, "post-commit")


def steps_of(data: bytes) -> list[str]:
    """Return what our part of a pre-commit hook does, in its order."""
    found = _STEPS.search(part(data, "pre-commit"))
    return [step for step in STEPS if found and step.encode() in found[2].split()]


def by_hand(name: str, text: bytes) -> str:
    """Return what a hook of the user's own would call to do what our part of it does."""
    if name != "pre-commit":
        return f'rye-telemetry hook {name} "$@"'
    return " && ".join(f"rye-telemetry {STEPS[step]}" for step in steps_of(text))


def _command_of(text: bytes) -> bytes:
    start = text.find(b"    [ -x ")
    end = text.find(_PATH_LOOKUP)
    return text[start:end] if 0 <= start < end else b""


def _is_there(command: bytes) -> bool:
    """Say whether the command that a hook calls is still there; one that leaves it to PATH has nothing to miss."""
    try:
        words = shlex.split(os.fsdecode(command))
    except ValueError:
        return False
    return not words or (len(words) > 2 and os.access(words[2], os.X_OK))


def _found(data: bytes, name: str) -> tuple[int, int] | None:
    marked = os.fsencode(name)
    begin = re.search(rb"^# >>> rye-telemetry %b >>>" % re.escape(marked), data, re.MULTILINE)
    if begin is None:
        return None
    end = re.compile(rb"^# <<< rye-telemetry %b <<<\r?(?:\n|\Z)" % re.escape(marked), re.MULTILINE).search(
        data, begin.end()
    )
    if end is None:
        raise RyeTelemetryError(
            f"in the hook {name} the mark that ends our lines is gone: take those lines out by hand"
        )
    return begin.start(), end.end()


def _head(name: str) -> bytes:
    data = _shipped(name)
    found = _found(data, name)
    return data[: found[0]] if found else data


def _shipped(name: str) -> bytes:
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    inside = os.path.join(here, "hooks")
    folder = inside if os.path.isdir(inside) else os.path.join(os.path.dirname(here), "hooks")  # an editable install
    with open(os.path.join(folder, name), "rb") as f:
        return f.read().replace(b"\r\n", b"\n")


def _command_line() -> bytes:
    """Return the line that calls the command installed here, by its path, if it is there."""
    python = os.path.abspath(sys.executable)
    script = os.path.join(os.path.dirname(python), "rye-telemetry")
    if _runs(script):
        quoted = _quote(script)
        return b'    [ -x %b ] && exec %b "$@"\n' % (quoted, quoted)
    # `-m` would look for modules in the repository first.
    start = (
        b"'import sys; sys.path[:] = filter(None, sys.path); from rye_telemetry.entry import main; sys.exit(main())'"
    )
    return b'    [ -x %b ] && exec %b -c %b "$@"\n' % (_quote(python), _quote(python), start)


def _runs(script: str) -> bool:
    """Say whether a script can be started: pip writes an interpreter's path into it that may hold a space."""
    try:
        with open(script, "rb") as f:
            interpreter = f.readline(4096)[2:].split()
    except OSError:
        return False
    return (
        os.name == "posix" and os.access(script, os.X_OK) and bool(interpreter) and os.access(interpreter[0], os.X_OK)
    )


def _quote(path: str) -> bytes:
    return b"'" + os.fsencode(path).replace(b"'", b"'\\''") + b"'"
