"""One git process: started without the `subprocess` module, in an environment that names no repository by accident."""

from __future__ import annotations

import errno
import os
import time

from rye_telemetry.errors import GitMissing, GitUnusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence
    from typing import Any
else:
    import _signal as signal  # the `signal` module imports enum, which costs 3 ms

WAIT_S = 120.0
MAX_ANSWER_BYTES = 512 * 1024 * 1024
MAX_COMPLAINT_BYTES = 16 * 1024
# What git itself names as belonging to one repository (`git rev-parse --local-env-vars`), and what changes a diff.
# GIT_CONFIG_COUNT stays: people set safe.directory by it.
LOCAL_VARIABLES = frozenset(
    (
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_CONFIG",
        "GIT_CONFIG_PARAMETERS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_GRAFT_FILE",
        "GIT_INDEX_FILE",
        "GIT_INDEX_VERSION",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_REPLACE_REF_BASE",
        "GIT_PREFIX",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_QUARANTINE_PATH",
        "GIT_REFLOG_ACTION",
        "GIT_SHALLOW_FILE",
        "GIT_COMMON_DIR",
    )
)
_DIFF_VARIABLES = frozenset(("GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS", "GIT_LITERAL_PATHSPECS", "GIT_ATTR_SOURCE"))
_OURS = {
    "LC_ALL": "C",
    "LANGUAGE": "C",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
}
# Nothing is fetched for a partial clone, no program of the repository's settings is run, no object is replaced.
_SETTINGS = (
    "--no-replace-objects",
    "-c",
    "protocol.allow=never",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.quotePath=false",
)


class Answer:
    """What one git process said: exit code, standard output, standard error as one line."""

    __slots__ = ("code", "err", "out")

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code = code
        self.out = out
        self.err = " ".join(err.decode("utf-8", "replace").split())


def clean_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a git process in a repository that is named by its path alone."""
    dropped = LOCAL_VARIABLES | _DIFF_VARIABLES
    return {name: value for name, value in env.items() if name not in dropped} | _OURS


def hook_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a git process of a hook, in that hook's own repository."""
    return {name: value for name, value in env.items() if name not in _DIFF_VARIABLES} | _OURS


class Git:
    """Git in one repository (`cwd`: any directory of it), with bounds on what one process may say and take."""

    __slots__ = ("cwd", "env", "limit_bytes", "wait_s")

    def __init__(
        self,
        cwd: str | None,
        env: Mapping[str, str],
        *,
        limit_bytes: int = MAX_ANSWER_BYTES,
        wait_s: float = WAIT_S,
    ) -> None:
        self.cwd = cwd
        self.env = env
        self.limit_bytes = limit_bytes
        self.wait_s = wait_s

    def run(self, *args: str, stdin: bytes = b"") -> Answer:
        """Run one git command to its end, as `run_git` does."""
        return run_git(args, cwd=self.cwd, env=self.env, stdin=stdin, limit_bytes=self.limit_bytes, wait_s=self.wait_s)


def run_git(  # noqa: PLR0913 (what a process is given)
    args: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | None = None,
    stdin: bytes = b"",
    limit_bytes: int = MAX_ANSWER_BYTES,
    wait_s: float = WAIT_S,
) -> Answer:
    """Run one git command to its end. GitMissing without git; GitUnusable when it says too much or takes too long."""
    argv = ["git", *_SETTINGS, *(("-C", cwd) if cwd is not None else ()), *args]
    if os.name != "posix":
        return _run_elsewhere(argv, env, stdin, wait_s)
    git = GitProcess(argv, env, feeds=bool(stdin))
    try:
        out, err = hear(git, stdin, limit_bytes=limit_bytes, wait_s=wait_s)
    except GitUnusable as e:
        verb = args[2 * args.count("-c")]  # after the settings
        raise GitUnusable(f"git {verb}: {e}") from e
    finally:
        git.close()
    return Answer(git.code, out, err)


class GitProcess:
    """A git process with pipes, in a group of its own; `close` ends it, and all that it started, if it has not ended."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], *, feeds: bool) -> None:
        self.code = -1
        self.pid = 0
        self.stdin = self.stdout = self.stderr = -1
        theirs: list[int] = []
        try:
            self.stdout, child_out = os.pipe()
            theirs.append(child_out)
            self.stderr, child_err = os.pipe()
            theirs.append(child_err)
            first: tuple[Any, ...] = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
            if feeds:
                child_in, self.stdin = os.pipe()
                theirs.append(child_in)
                os.set_blocking(self.stdin, False)
                first = (os.POSIX_SPAWN_DUP2, child_in, 0)
            self.pid = _spawn(
                argv, env, [first, (os.POSIX_SPAWN_DUP2, child_out, 1), (os.POSIX_SPAWN_DUP2, child_err, 2)]
            )
        except BaseException:
            self.close()
            raise
        finally:
            for fd in theirs:
                os.close(fd)

    def close_input(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
        self.stdin = -1

    def close(self) -> None:
        """Let go of the pipes and reap the process, killed with its children if it still runs."""
        self.close_input()
        for fd in (self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.stdout = self.stderr = -1
        if self.pid:
            try:
                if os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                    os.killpg(self.pid, signal.SIGKILL)
                    os.waitpid(self.pid, 0)
            except ChildProcessError:  # as in `wait`
                pass
            self.pid = 0

    def wait(self) -> None:
        try:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:  # SIGCHLD is ignored here, so its exit code went to nobody; `subprocess` takes 0 too
            self.code = 0
        self.pid = 0


def _spawn(argv: Sequence[str], env: Mapping[str, str], actions: Sequence[tuple[Any, ...]]) -> int:
    try:
        return os.posix_spawnp(
            "git",
            list(argv),
            dict(env),
            file_actions=actions,
            setpgroup=0,  # what git starts ends with it, and ^C ends it through us
            setsigmask=(),
            setsigdef=(signal.SIGPIPE,),
        )
    except FileNotFoundError as e:
        raise GitMissing("git is not on PATH: install it, or put it there") from e
    except OSError as e:
        hint = "its arguments are too long" if e.errno == errno.E2BIG else (e.strerror or str(e))
        raise GitUnusable(f"git could not be started: {hint}") from e


def hear(git: GitProcess, stdin: bytes, *, limit_bytes: int, wait_s: float) -> tuple[bytes, bytes]:
    """Feed a process and return all of its output and its complaints, with its exit code in `code`.

    GitUnusable when it says more, or takes longer; whoever made it closes it.
    """
    import select

    deadline = time.monotonic() + wait_s
    out, err = bytearray(), bytearray()
    told = {git.stdout: out, git.stderr: err}
    waiting = select.poll()
    for fd in told:
        waiting.register(fd, select.POLLIN)
    if git.stdin >= 0:
        waiting.register(git.stdin, select.POLLOUT)
    rest = memoryview(stdin)
    while told:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise GitUnusable("it took too long and was ended")
        for fd, _ in waiting.poll(left_s * 1000):
            if fd == git.stdin:
                rest = rest[_write_some(fd, rest) :]
                if not rest:
                    waiting.unregister(fd)
                    git.close_input()
            elif part := os.read(fd, 1 << 18):
                told[fd] += part
            else:
                waiting.unregister(fd)
                del told[fd]
        del err[MAX_COMPLAINT_BYTES:]
        if len(out) > limit_bytes:
            raise GitUnusable(f"it said more than {limit_bytes} bytes")
    git.wait()
    return bytes(out), bytes(err)


def _write_some(fd: int, data: memoryview) -> int:
    try:
        return os.write(fd, data[: 1 << 18])
    except BlockingIOError:
        return 0
    except BrokenPipeError:  # it has heard enough
        return len(data)


def _run_elsewhere(argv: list[str], env: Mapping[str, str], stdin: bytes, wait_s: float) -> Answer:
    import subprocess

    try:
        done = subprocess.run(argv, env=dict(env), input=stdin, capture_output=True, timeout=wait_s, check=False)
    except FileNotFoundError as e:
        raise GitMissing("git is not on PATH: install it, or put it there") from e
    except (OSError, subprocess.TimeoutExpired) as e:
        raise GitUnusable(f"git: {e}") from e
    return Answer(done.returncode, done.stdout, done.stderr)
