"""The merge driver in one repository: put into its own settings and attributes, and taken out. Nothing tracked changes."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from rye_telemetry.errors import GitUnusable, RyeTelemetryError
from rye_telemetry.files import O_BINARY, write_all
from rye_telemetry.gitlink.install_config import Settings
from rye_telemetry.gitlink.install_place import find_place
from rye_telemetry.gitlink.install_script import block
from rye_telemetry.publish.write import read_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rye_telemetry.gitlink.install_place import Place

_NAME, _DRIVER = "merge.rye-telemetry.name", "merge.rye-telemetry.driver"
_TITLE = "an item's lines as ever, its telemetry block from the store or the side with more runs"
_LINES = b"".join(b".ai/%b/** merge=rye-telemetry\n" % folder for folder in (b"directives", b"tools", b"knowledge"))
# What an uninstall must know: whether the file, and its folder, were there before.
_MADE = {"": b"", "file": b" made this file", "folder": b" made this file and its folder"}
_OURS = re.compile(
    rb"(?:^|(?<=\xef\xbb\xbf))# >>> rye-telemetry merge driver >>>(?P<made>[a-z ]*)\r?\n"
    rb".*?^# <<< rye-telemetry merge driver <<<\r?(?:\n|\Z)",
    re.MULTILINE | re.DOTALL,
)
_BOM = b"\xef\xbb\xbf"


def install_merge_driver(repo_start: str, env: Mapping[str, str]) -> list[str]:
    """Let git merge the items of this repository by `bake --merge`; return what was done, a line each. Twice is once."""
    place = find_place(repo_start, env)
    settings = Settings("--local", place.top, place.env)
    changed = [_set(settings, name, value) for name, value in ((_NAME, _TITLE), (_DRIVER, driver_command()))]
    path = _attributes_path(place)
    said = _put(path)
    return [f"merge driver: {'renewed' if said == 'as it was' and any(changed) else said} ({path})"]


def uninstall_merge_driver(repo_start: str, env: Mapping[str, str]) -> list[str]:
    """Take out what an install put there; return what was done, nothing where there was nothing of ours."""
    place = find_place(repo_start, env)
    path = _attributes_path(place)
    found = _take(path)
    settings = Settings("--local", place.top, place.env)
    for name in (_DRIVER, _NAME):
        for value in settings.values(name):
            settings.remove(name, value)
            found = True
    return [f"merge driver: removed ({path})"] if found else []


def has_merge_driver(repo_start: str, env: Mapping[str, str]) -> bool:
    """Say whether git asks us here when it merges items."""
    place = find_place(repo_start, env)
    settings = Settings("--local", place.top, place.env)
    return bool(settings.values(_DRIVER)) and _OURS.search(_text(_attributes_path(place)) or b"") is not None


def driver_command() -> str:
    """Return the shell line that git runs, which calls the command by the path that hooks call it by.

    Git takes any failure for a conflict, and what is in the file for all that came of it: of a command that is gone, or
    failed, the other side would be lost unseen. So where nothing was merged, git merges the lines after all.
    """
    call = next(line.strip() for line in os.fsdecode(block("post-commit")).splitlines() if line.startswith("    [ -x "))
    return (
        "(set -- bake --merge --marker-size %L -- %O %A %B %P; "
        + call.replace("%", "%%")
        + '; command -v rye-telemetry >/dev/null && exec rye-telemetry "$@"; exit 127) </dev/null; '
        "code=$?; [ $code -ne 0 ] || exit 0; [ $code -ne 1 ] || ! grep -q '^<<<<<<<' %A || exit 1; "
        "git merge-file --marker-size=%L -L ours -L base -L theirs %A %O %B; "
        "code=$?; [ $code -le 127 ] || code=1; exit $code"  # above, it failed too, on binary files
    )


def _set(settings: Settings, name: str, value: str) -> bool:
    there = settings.values(name)
    if there == [value]:
        return False
    for old in dict.fromkeys(there):
        settings.remove(name, old)
    settings.add(name, value)
    return True


def _attributes_path(place: Place) -> str:
    told = place.git("rev-parse", "--git-path", "info/attributes")
    if told.code:
        raise GitUnusable(f"git refuses {place.top!r}: {told.err.removeprefix('fatal: ')}")
    return os.path.join(place.top, os.fsdecode(told.out[:-1]))


def _part(made: str) -> bytes:
    return b"# >>> rye-telemetry merge driver >>>%b\n%b# <<< rye-telemetry merge driver <<<\n" % (_MADE[made], _LINES)


def _put(path: str) -> str:
    with _plainly(path):
        data = _text(path)
        if data is None:
            _make(path)
            return "installed"
    ours = _OURS.search(data)
    if ours is None:
        start = len(_BOM) if data.startswith(_BOM) else 0
        new = (
            data[:start] + _part("") + data[start:]
        )  # first: of two lines that match a path, git follows the later one
    else:
        made = next((made for made, words in _MADE.items() if words == ours["made"].rstrip()), "")
        new = data[: ours.start()] + _part(made) + data[ours.end() :]
    replace_file(read_file(path), new)
    return "installed" if ours is None else "as it was" if new == data else "renewed"


def _make(path: str) -> None:
    folder = os.path.dirname(path)
    made = "file"
    if not os.path.isdir(folder):
        os.mkdir(folder)
        made = "folder"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | O_BINARY, 0o666)
    try:
        write_all(fd, _part(made))
    finally:
        os.close(fd)


def _take(path: str) -> bool:
    with _plainly(path):
        data = _text(path)
        ours = data and _OURS.search(data)
        if not data or not ours:
            return False
        rest = data[: ours.start()] + data[ours.end() :]
        made = ours["made"].rstrip()
        if rest or not made:
            replace_file(read_file(path), rest)
            return True
        os.unlink(path)
        if made == _MADE["folder"]:
            with contextlib.suppress(OSError):  # something else is in it by now
                os.rmdir(os.path.dirname(path))
        return True


def _text(path: str) -> bytes | None:
    return read_file(path).data if os.path.lexists(path) else None


@contextlib.contextmanager
def _plainly(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise RyeTelemetryError(f"{path!r}: {e.strerror}: check its permissions") from e
