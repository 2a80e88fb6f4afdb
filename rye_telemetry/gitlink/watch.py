"""The repository around one run: what it was as the run began, and the commits that the run made in it."""

from __future__ import annotations

import os
import stat
import time

from rye_telemetry.gitdir import find_git, read_head, read_regular, reflog_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from rye_telemetry.gitdir import GitDir
    from rye_telemetry.gitrun import GitProcess
    from rye_telemetry.model import Fields
    from rye_telemetry.store import TelemetryStore

STATUS_WAIT_S = 0.02  # past the end of the command; a repository that takes longer is not told dirty or clean
MAX_STATUS_BYTES = 8 * 1024 * 1024  # of the list of changed files
MAX_LOOKED_AT = 500  # of them: the first that was changed before decides
AT_ONCE_NS = 60_000_000
MARGIN_NS = 20_000_000  # file times come from a clock that may be a tick or two behind
MAX_CONFIG_BYTES = 64 * 1024
_NO_DAEMON = ("-c", "core.fsmonitor=false", "-c", "protocol.allow=never")
_STATUS = ("status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=dirty", "--no-renames")
# Files that are not as the index last saw them, whatever they hold: what was put back meanwhile is among them. A command
# that is over at once is spared this look: it had no time to put anything back before git saw it.
_TOUCHED = ("diff-files", "--name-only", "-z", "--ignore-submodules=dirty")


class Watch:
    """Looks at the repository around `cwd` without a process; `began_ns` is the instant that "before" means."""

    def __init__(self, cwd: str, *, began_ns: int) -> None:
        self.cwd = cwd
        self.began_ns = began_ns
        self.git = find_git(cwd)
        self.head = read_head(self.git) if self.git else None
        self._status: GitProcess | None = None
        self._env: Mapping[str, str] = {}

    @property
    def fields(self) -> Fields:
        """Repository, branch and HEAD, for the start of the run; nothing outside of a repository."""
        if self.git is None or self.head is None:
            return {}
        return {**_names(self.git), "git_branch": self.head.branch, "git_commit_hash": self.head.commit}

    # -- dirty or clean

    def begin_status(self, env: Mapping[str, str]) -> None:
        """Let git look for changed files while the command runs."""
        if self.git is None or self.git.worktree is None or os.name != "posix" or _has_filters(self.git):
            return
        from rye_telemetry.errors import RyeTelemetryError
        from rye_telemetry.gitrun import clean_environment

        self._env = clean_environment(env)
        try:
            self._status = self._look(_STATUS)
        except (RyeTelemetryError, OSError):
            self._status = None  # no git, no room for it: not told

    def _look(self, command: tuple[str, ...]) -> GitProcess:
        from rye_telemetry.gitrun import GitProcess

        assert self.git is not None and self.git.worktree is not None  # noqa: PT018, S101 (there was something to ask)
        return GitProcess(["git", *_NO_DAEMON, "-C", self.git.worktree, *command], self._env, feeds=False)

    @property
    def asks(self) -> bool:
        return self._status is not None

    def end_status(self) -> bool | None:
        """Return whether tracked files differed from HEAD as the run began; None where that cannot be told any more."""
        status, self._status = self._status, None
        if status is None:
            return None
        lasted_ns = time.time_ns() - self.began_ns
        deadline = time.monotonic() + STATUS_WAIT_S
        changed = _told(status, deadline)
        if changed is None or self.git is None:
            return None
        found = self._was_dirty(changed)
        if found is False and lasted_ns > AT_ONCE_NS:
            touched = _told(self._look(_TOUCHED), deadline)
            root = os.fsencode(self.git.worktree or self.cwd)
            before = self.began_ns - MARGIN_NS
            if touched is None or any(_changed_ns(os.path.join(root, path)) >= before for path in _parts(touched)):
                return None
        return found

    def _was_dirty(self, changed: bytes) -> bool | None:
        """Judge by what was changed before the run began: the command may have changed files, or put them back, since."""
        assert self.git is not None and self.head is not None  # noqa: PT018, S101 (there was something to ask)
        before = self.began_ns - MARGIN_NS
        head = read_head(self.git)
        untouched = (
            head.mark == self.head.mark
            and head.commit == self.head.commit
            and _changed_ns(os.path.join(self.git.directory, "index")) < before
        )
        root = os.fsencode(self.git.worktree or self.cwd)
        entries = _parts(changed)
        if not entries:
            return False if untouched else None
        for entry in entries:
            if untouched and entry[:1] not in b" ?":
                return True
            if entry[1:2] in b"MDT" and _changed_ns(os.path.join(root, entry[3:])) < before:
                return True
        return None

    # -- commits

    def link_commits(self, run: Fields, store: TelemetryStore, env: Mapping[str, str]) -> None:
        """Link the run to what HEAD's reflog says was committed while it went on."""
        git = self.git or find_git(self.cwd)  # the command may have made the repository
        if git is None:
            return
        mark = self.head.mark if self.head else (0, 0)
        from rye_telemetry.gitlink.reflog import gained_entries

        entries = gained_entries(git, mark)
        if self.git is None:  # it may have been unpacked here with all its history
            entries = [entry for entry in entries if entry.made_at_s >= self.began_ns // 1_000_000_000]
        if not any(entry.makes_commit for entry in entries):
            return
        from rye_telemetry.gitlink.moved import link_entries

        link_entries(entries, git, {**run, **_names(git)}, store, env)


def watches(project_path: str, *, began_ns: int) -> list[Watch]:
    """Return a look at the project's repository, and one at that of the working directory where it is another."""
    found = [Watch(project_path, began_ns=began_ns)]
    try:
        cwd = os.getcwd()
    except OSError:  # it was removed
        return found
    if cwd != project_path:
        other = Watch(cwd, began_ns=began_ns)
        known = found[0].git.directory if found[0].git else None
        if other.git is not None and other.git.directory != known:
            found.insert(len(found) if known else 0, other)
    return found


def _has_filters(git: GitDir) -> bool:
    """Say whether the repository's own settings may name programs that git would run over its files to compare them."""
    for path in (os.path.join(git.common, "config"), os.path.join(git.directory, "config.worktree")):
        text = read_regular(path, 0, MAX_CONFIG_BYTES).lower()
        if b"filter" in text or b"include" in text or len(text) == MAX_CONFIG_BYTES:
            return True
    return False


def _names(git: GitDir) -> Fields:
    name = git.name
    worktree = git.worktree and os.path.realpath(git.worktree)
    return {"git_repo": name, "git_worktree": worktree if worktree != name else None}


def _told(look: GitProcess, deadline: float) -> bytes | None:
    """Return what git says, if it says it in time."""
    from rye_telemetry.errors import GitUnusable
    from rye_telemetry.gitrun import hear

    try:
        out, _ = hear(look, b"", limit_bytes=MAX_STATUS_BYTES, wait_s=max(deadline - time.monotonic(), 0.001))
    except GitUnusable:
        return None
    finally:
        look.close()
    return None if look.code else out


def _parts(listing: bytes) -> list[bytes]:
    return listing.split(b"\0")[:-1][:MAX_LOOKED_AT]


def _changed_ns(path: str | bytes) -> int:
    """Return when a file, or what is left around it, was changed last; of a submodule, when its HEAD was."""
    try:
        found = os.lstat(path)
        git = find_git(os.fsdecode(path)) if stat.S_ISDIR(found.st_mode) else None
        return (os.stat(reflog_path(git)) if git else found).st_ctime_ns
    except OSError:
        pass
    try:
        return os.lstat(os.path.dirname(path)).st_ctime_ns
    except OSError:
        return time.time_ns()
