"""The state directory and the files in it: kinds, owners, modes, and what killed processes left behind."""

from __future__ import annotations

import os
import shlex
import stat
import time
from typing import TYPE_CHECKING, NamedTuple

from rye_telemetry.doctor.finding import Finding, fine, named, plural, problem, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PREFIX = "telemetry"
_JOURNAL = "telemetry/journal"
FOLDERS = ("telemetry", _JOURNAL, f"{_JOURNAL}/spill", f"{_JOURNAL}/archive", "telemetry/reports")
FILE_SUFFIXES = (".ndjson", ".gz", ".sqlite", ".lock", ".yaml", ".tmp")
# Younger than this, a temporary file may belong to a process that is writing it now.
IN_USE_S = 60.0
ELSEWHERE = "or point RYE_STATE_DIR to a directory of yours"


class Place(NamedTuple):
    """A file or directory of ours; `name` is its path below the state directory, `.` for that itself."""

    name: str
    path: str
    status: os.stat_result


def check_state_dir(path: str) -> Finding:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return _missing(path)
    except OSError as e:
        return problem("state-dir", f"{path}: {e.strerror}", f"make it reachable, {ELSEWHERE}")
    quoted = shlex.quote(path)
    if not stat.S_ISDIR(status.st_mode):
        return problem("state-dir", f"{path} is not a directory", f"mv {quoted} {quoted}.aside, {ELSEWHERE}")
    if status.st_mode & 0o700 != 0o700 and os.name == "posix":
        mode = f"{status.st_mode & 0o7777:04o}"
        return problem("state-dir", f"{path} is not writable: mode {mode}", f"chmod 700 {quoted}")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return problem(
            "state-dir", f"{path} is not yours to read and write", f"make it yours and writable, {ELSEWHERE}"
        )
    return fine("state-dir", path)


def _missing(path: str) -> Finding:
    if os.path.lexists(path):
        return problem("state-dir", f"{path} is a symbolic link to nothing", f"rm {shlex.quote(path)}, {ELSEWHERE}")
    above = path
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above):
        return problem("state-dir", f"{path} cannot be made: {above} is not a directory", f"move it away, {ELSEWHERE}")
    if not os.access(above, os.W_OK | os.X_OK):
        return problem("state-dir", f"{path} cannot be made: {above} is not writable", f"make it writable, {ELSEWHERE}")
    return fine("state-dir", f"{path} (not there yet: the first recorded run makes it)")


def find_places(state_dir: str) -> tuple[list[Place], list[str]]:
    """Return all that is ours, without following a link, and the names of what cannot be listed."""
    places: list[Place] = []
    closed: list[str] = []
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            names = sorted(os.listdir(os.path.join(state_dir, folder)))
        except OSError as e:
            closed.append(f"{folder or '.'} ({e.strerror})")
            continue
        for place in _placed(state_dir, folder, names):
            places.append(place)
            if stat.S_ISDIR(place.status.st_mode):
                folders.append(place.name)
    return places, closed


def _placed(state_dir: str, folder: str, names: Sequence[str]) -> Iterator[Place]:
    for name in names:
        if not folder and not name.startswith(PREFIX):
            continue  # the state directory may hold files of other programs
        below = f"{folder}/{name}" if folder else name
        path = os.path.join(state_dir, below)
        try:
            yield Place(below, path, os.lstat(path))
        except OSError:  # gone meanwhile
            continue


def check_files(places: Sequence[Place], closed: Sequence[str]) -> Finding:
    """Each file a regular file, each directory a directory, nothing a link to somewhere else."""
    wrong = [(place, kind) for place in places if (kind := _wrong_kind(place))]
    if wrong:
        found = named([f"{place.name} is {kind}" for place, kind in wrong])
        aside = shlex.quote(wrong[0][0].path)
        verb = "rm" if "link" in wrong[0][1] else "mv"
        return problem("files", found, f"{verb} {aside}" + ("" if verb == "rm" else f" {aside}.aside"))
    if closed:
        return problem("files", f"not to be listed: {named(closed)}", f"make them yours and readable, {ELSEWHERE}")
    return fine("files", plural(len(places), "file") + " and directories of the right kind" if places else "none yet")


def _wrong_kind(place: Place) -> str:
    mode = place.status.st_mode
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if place.name in FOLDERS:
        return "" if stat.S_ISDIR(mode) else "not a directory"
    if stat.S_ISREG(mode):
        return ""
    if stat.S_ISDIR(mode):
        return "a directory" if place.name.endswith(FILE_SUFFIXES) else ""
    return "not a regular file"


def check_owner(places: Sequence[Place]) -> Finding:
    if not hasattr(os, "geteuid"):
        return fine("owner", "not looked at on this system")
    own = os.geteuid()
    others = [place for place in places if place.status.st_uid != own]
    if not others:
        return fine("owner", f"all yours ({_user_name(own)})")
    found = named([f"{place.name} belongs to {_user_name(place.status.st_uid)}" for place in others])
    top = shlex.quote(os.path.commonpath([place.path for place in others]))
    return problem("owner", found, f"sudo chown -R {own} {top}, {ELSEWHERE}")


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def check_modes(state_dir: str, places: Sequence[Place]) -> Finding:
    """Directories 0700 and files 0600: nobody else may look, and we may write."""
    if os.name != "posix":
        return fine("modes", "not looked at on this system")
    real = [place for place in places if not stat.S_ISLNK(place.status.st_mode)]
    open_to_all = [place for place in real if place.status.st_mode & 0o077]
    if open_to_all:
        found = "open to other users: " + named([_mode(place) for place in open_to_all])
        return problem("modes", found, _chmod("go-rwx", state_dir, open_to_all))
    shut = [place for place in real if _is_shut(place.status.st_mode)]
    if shut:
        found = "not to be written: " + named([_mode(place) for place in shut])
        return problem("modes", found, _chmod("u+rwX", state_dir, shut))
    return fine("modes", "only you can read and write")


def _is_shut(mode: int) -> bool:
    needed = 0o700 if stat.S_ISDIR(mode) else 0o600
    return mode & needed != needed


def _mode(place: Place) -> str:
    return f"{place.name} {place.status.st_mode & 0o7777:04o}"


def _chmod(change: str, state_dir: str, places: Sequence[Place]) -> str:
    """Return one command for all; below a state directory that other programs share, only ours are touched."""
    tops = sorted({os.path.join(state_dir, place.name.partition("/")[0]) for place in places})
    paths = [state_dir] if any(place.name == "." for place in places) else tops
    return f"chmod -R {change} {' '.join(map(shlex.quote, paths))}"


def check_leftovers(places: Sequence[Place], open_runs: frozenset[str] | None) -> Finding:
    """Files that a killed process left; `open_runs` are ids of runs that are not over, None when nobody knows."""
    now = time.time()
    left = [place for place in places if now - place.status.st_mtime > IN_USE_S and _is_leftover(place, open_runs)]
    if not left:
        return fine("leftovers", "none")
    size = sum(place.status.st_size for place in left)
    found = f"{plural(len(left), 'file')} of killed processes, {size:,} bytes: {named([place.name for place in left])}"
    return warning("leftovers", found, "rm " + " ".join(shlex.quote(place.path) for place in left[:20]))


def _is_leftover(place: Place, open_runs: frozenset[str] | None) -> bool:
    if not stat.S_ISREG(place.status.st_mode):
        return False
    if place.name.endswith((".tmp", ".sqlite.new", ".sqlite.new-journal")):
        return True
    folder, _, name = place.name.rpartition("/")
    return folder == "telemetry/reports" and open_runs is not None and name.removesuffix(".ndjson") not in open_runs
