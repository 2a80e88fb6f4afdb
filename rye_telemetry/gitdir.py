"""What a repository's own files say, read without git: where it is, its branch, its HEAD, how long HEAD's reflog is.

Layout: gitrepository-layout(5). A run begins with this, so it costs some ten system calls and no process.
"""

from __future__ import annotations

import os
import stat

from rye_telemetry.model import is_commit_hash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PACKED_BYTES = 1024 * 1024  # of packed-refs; who has more branches than that is told no HEAD at the start
_BRANCHES = "refs/heads/"


class GitDir:
    """A repository as found: `directory` is this worktree's git directory, `common` the one all worktrees share."""

    __slots__ = ("common", "directory", "worktree")

    def __init__(self, directory: str, common: str, worktree: str | None) -> None:
        self.directory = directory
        self.common = common
        self.worktree = worktree  # None: a bare one

    @property
    def name(self) -> str:
        """What stands for the repository in records: the same for all of its worktrees."""
        path = os.path.realpath(self.common)
        head, tail = os.path.split(path)
        return head if tail == ".git" else path


class Head:
    """Where HEAD stands: branch (None: detached), commit (None: none yet, or not told by the files), reflog's end."""

    __slots__ = ("branch", "commit", "mark")

    def __init__(self, branch: str | None, commit: str | None, mark: tuple[int, int]) -> None:
        self.branch = branch
        self.commit = commit
        self.mark = mark


def find_git(start: str) -> GitDir | None:
    """Return the repository that git would find from `start` upwards; GIT_DIR is not asked."""
    here = os.path.abspath(start)
    while True:
        dot = os.path.join(here, ".git")
        found = _named(dot, here)
        if found is None and os.path.isfile(dot):
            return None  # it leads nowhere: git looks no further
        if found is None and _is_git_dir(here):
            found = GitDir(here, _common_of(here), None)
        if found is not None:
            return found
        parent = os.path.dirname(here)
        if parent == here:
            return None
        here = parent


def hook_git(env: Mapping[str, str], cwd: str) -> GitDir | None:
    """Return the repository that a hook runs for: GIT_DIR where git sets it, else the one around its directory."""
    named = env.get("GIT_DIR")
    if not named:
        return find_git(cwd)
    path = os.path.join(cwd, named)
    if not _is_git_dir(path):
        return None
    common = env.get("GIT_COMMON_DIR")
    return GitDir(path, os.path.join(cwd, common) if common else _common_of(path), env.get("GIT_WORK_TREE") or cwd)


def read_head(git: GitDir) -> Head:
    """Read branch, commit and the end of HEAD's reflog; what cannot be read is None."""
    mark = reflog_mark(git)
    text = _read_start(os.path.join(git.directory, "HEAD"), 4096)
    if not text.startswith("ref:"):
        commit = text.strip()
        return Head(None, commit if is_commit_hash(commit) else None, mark)
    ref = text[4:].strip()
    branch = ref.removeprefix(_BRANCHES)
    return Head(None if branch == ".invalid" else branch, _read_ref(git, ref), mark)


def reflog_path(git: GitDir) -> str:
    return os.path.join(git.directory, "logs", "HEAD")


def reflog_mark(git: GitDir) -> tuple[int, int]:
    """Return (inode, size) of HEAD's reflog; zeros where there is none."""
    try:
        found = os.stat(reflog_path(git))
    except OSError:
        return 0, 0
    return found.st_ino, found.st_size


def _named(dot: str, worktree: str) -> GitDir | None:
    try:
        mode = os.stat(dot).st_mode
    except OSError:
        return None
    if stat.S_ISDIR(mode):
        return GitDir(dot, _common_of(dot), worktree) if _is_git_dir(dot) else None
    if not stat.S_ISREG(mode):
        return None
    text = _read_start(dot, 8192)
    if not text.startswith("gitdir:"):
        return None
    path = os.path.normpath(os.path.join(worktree, text[7:].strip("\r\n").lstrip(" ")))
    return GitDir(path, _common_of(path), worktree) if _is_git_dir(path) else None


def _is_git_dir(path: str) -> bool:
    """Do as git's own look: a HEAD, and objects and refs here or in the shared directory."""
    if not os.path.lexists(os.path.join(path, "HEAD")):
        return False
    common = _common_of(path)
    return os.path.isdir(os.path.join(common, "objects")) and os.path.isdir(os.path.join(common, "refs"))


def _common_of(directory: str) -> str:
    text = _read_start(os.path.join(directory, "commondir"), 8192).rstrip("\r\n")
    return os.path.normpath(os.path.join(directory, text)) if text else directory


def _read_ref(git: GitDir, ref: str) -> str | None:
    if not ref or ref.startswith("/") or ".." in ref.split("/"):
        return None
    for base in (git.directory, git.common):
        commit = _read_start(os.path.join(base, ref), 256).strip()
        if is_commit_hash(commit):
            return commit
    packed = _read_start(os.path.join(git.common, "packed-refs"), MAX_PACKED_BYTES)
    end = packed.find(f" {ref}\n")
    commit = packed[packed.rfind("\n", 0, end) + 1 : end] if end > 0 else ""
    return commit if is_commit_hash(commit) else None


def read_regular(path: str, offset: int, limit: int) -> bytes:
    """Return bytes of a regular file, or none: a FIFO would have us wait for ever."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return b""
        os.lseek(fd, offset, os.SEEK_SET)
        parts = []
        while limit > 0 and (part := os.read(fd, min(limit, 1 << 20))):
            parts.append(part)
            limit -= len(part)
        return b"".join(parts)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _read_start(path: str, limit: int) -> str:
    """Return the text of a small regular file, or nothing."""
    return os.fsdecode(read_regular(path, 0, limit))
