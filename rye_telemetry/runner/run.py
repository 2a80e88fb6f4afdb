"""`run-with` from a valid request to an exit code."""

from __future__ import annotations

import errno
import os
import time

from rye_telemetry import config, paths
from rye_telemetry.errors import ParamsInvalid, StateUnavailable, UsageInvalid
from rye_telemetry.model import MAX_LABEL
from rye_telemetry.runner.given import candidates
from rye_telemetry.runner.supervise import (
    CAN_SUPERVISE,
    EXIT_NOT_EXECUTABLE,
    EXIT_NOT_FOUND,
    Ended,
    Terminal,
    block_signals,
    die_of,
    let_signals_through,
    restore_ignored,
    spawn,
    supervise,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping
    from typing import NoReturn

    from rye_telemetry.items.plan import Plan
    from rye_telemetry.model import Fields
    from rye_telemetry.runner.options import Request
    from rye_telemetry.runner.recorder import Recorder
else:
    import _signal as signal

MAX_PARAMS_BYTES = 16 * 1024 * 1024
_NO_ROOM = (errno.EAGAIN, errno.ENOMEM, errno.E2BIG)  # for a second process, or for what we add to the environment


class Job:
    """What is to be done: a command, or a text to print, with what is added to its environment."""

    __slots__ = ("argv", "env", "inputs", "path", "text", "unset")

    def __init__(self, argv: list[str] | None) -> None:
        self.argv = argv
        self.env: dict[str, str] = {}
        self.unset: tuple[str, ...] = ()
        self.text: str | None = None
        self.path: str | None = None
        self.inputs: Fields | None = None


def run(request: Request, env: Mapping[str, str]) -> int:
    """Run what the request names and return its exit code. With telemetry off a command replaces this process.

    Raises RyeTelemetryError when the item cannot be found, read or given its parameters; nothing is recorded then
    but what stands in the item's way itself.
    """
    project = _project(request.project_path, env)
    consent, durability = config.read_run_settings(env, project)
    if consent.warning:
        say(consent.warning)
    if not consent.enabled:
        return _run_unrecorded(_job(request, project, env), request.timeout_s, env)
    from rye_telemetry.runner.recorder import Recorder

    recorder = Recorder(env, durability=durability)
    try:
        job = _job(request, project, env)
    except ParamsInvalid as e:
        recorder.begin(request, path=None, project_path=project, inputs=None)
        recorder.end(outcome="failure", exit_code=e.exit_code, signal_name=None, error=str(e))
        recorder.publish()
        raise
    recorder.begin(request, path=job.path, project_path=project, inputs=job.inputs)
    return _print_recorded(job, recorder) if job.text is not None else _run_recorded(job, request, recorder, env)


def _job(request: Request, project: str, env: Mapping[str, str]) -> Job:
    params = _params(request.params)
    if request.command is not None:
        job = Job(request.command)
        if params is not None and request.params is not None:
            from rye_telemetry.items.params import script_env

            job.env = script_env(params)
    else:
        from rye_telemetry.items.find import find_item
        from rye_telemetry.items.plan import plan_item

        path = find_item(request.item_type, request.item_id, project_path=project, user_dir=_user_dir(env))
        plan: Plan = plan_item(
            request.item_type, request.item_id, path, params=params or {}, project_path=project, env=env
        )
        job = Job(plan.argv)
        job.env, job.unset, job.text, job.path = dict(plan.env), plan.unset, plan.text, path
    if params:
        job.inputs = {name[:MAX_LABEL]: type(value).__name__ for name, value in params.items()}
    return job


def _project(chosen: str | None, env: Mapping[str, str]) -> str:
    if chosen and not os.path.isdir(chosen):
        raise UsageInvalid(f"--project-path {chosen!r} is no directory")
    try:
        return os.path.abspath(chosen) if chosen else paths.find_project(os.getcwd(), env)
    except OSError:  # the working directory was removed; the command may not need one
        return os.sep


def _user_dir(env: Mapping[str, str]) -> str:
    try:
        return paths.user_space(env)
    except StateUnavailable:
        return ""


def _params(text: str | None) -> dict[str, object] | None:
    """Read `--params`: JSON, @FILE or -; UsageInvalid when it is no JSON object."""
    if text is None:
        return None
    from rye_telemetry.lines import decode_json

    where = "--params"
    try:
        if text == "-":
            where, text = "--params - (standard input)", _read_limited(0)
        elif text.startswith("@"):
            where = f"--params {text}"
            fd = os.open(text[1:], os.O_RDONLY)
            try:
                text = _read_limited(fd)
            finally:
                os.close(fd)
        value = decode_json(text)
    except OSError as e:
        raise UsageInvalid(f"{where}: {e.strerror or e}: name a file that can be read") from e
    except ValueError as e:
        raise UsageInvalid(f'{where}: {e}: give a JSON object such as {{"key": "value"}}') from e
    if not isinstance(value, dict):
        raise UsageInvalid(f'{where}: not a JSON object: give one such as {{"key": "value"}}')
    return value


def _read_limited(fd: int) -> str:
    parts, size = [], 0
    while part := os.read(fd, 1 << 16):
        size += len(part)
        if size > MAX_PARAMS_BYTES:
            raise ValueError(f"more than {MAX_PARAMS_BYTES} bytes")
        parts.append(part)
    return b"".join(parts).decode()


# -- telemetry off


def _run_unrecorded(job: Job, timeout_s: float | None, env: Mapping[str, str]) -> int:
    if job.text is not None:
        return print_text(job.text)
    argv = job.argv or []
    child_env = _with(env, job)
    if timeout_s is None and os.name == "posix":
        return _become(argv, child_env)
    ended = _supervised(argv, child_env, timeout_s)
    return leave_as(ended) if isinstance(ended, Ended) else ended[0]


def _with(env: Mapping[str, str], job: Job) -> Mapping[str, str]:
    if not (job.env or job.unset):
        return env
    return {name: value for name, value in env.items() if name not in job.unset} | job.env


def _become(argv: list[str], env: Mapping[str, str]) -> int:
    """Replace this process by the command; return only when that cannot be done."""
    restore_ignored()
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        _exec(argv, env)
    except OSError as e:
        return said_failure(argv[0], e)[0]


def _exec(argv: list[str], env: Mapping[str, str]) -> NoReturn:
    """Do as `execvp`: every place in PATH is tried, and a file without a shebang is a script of sh."""
    refused: OSError | None = None
    for program in candidates(argv[0], env):
        try:
            os.execve(program, argv, env)
        except OSError as e:
            if e.errno == errno.ENOEXEC:
                os.execve("/bin/sh", ["/bin/sh", program, *argv[1:]], env)
            if e.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                raise
            if e.errno == errno.EACCES or refused is None:
                refused = e
    raise refused or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])


# -- telemetry on


def _run_recorded(job: Job, request: Request, recorder: Recorder, env: Mapping[str, str]) -> int:
    from rye_telemetry.runner import handdown

    bare_env = _with(env, job)
    child_env = handdown.child_environment(bare_env, run_id=recorder.run_id, report=recorder.report)
    ended = _supervised(job.argv or [], child_env, request.timeout_s, recorder=recorder, bare_env=bare_env)
    if isinstance(ended, Ended):
        outcome, signal_name, error = classify(ended, request.timeout_s)
        recorder.end(outcome=outcome, exit_code=ended.exit_code, signal_name=signal_name, error=error)
        if CAN_SUPERVISE:
            let_signals_through()  # the run is kept: whatever holds the rest up, we can be interrupted again
        recorder.link()
        recorder.publish()
    else:
        recorder.keep_item()
        recorder.end(outcome="failure", exit_code=ended[0], signal_name=None, error=ended[1])
        recorder.publish()
    if recorder.trouble:
        say(recorder.trouble)
    return leave_as(ended) if isinstance(ended, Ended) else ended[0]


def _supervised(
    argv: list[str],
    env: Mapping[str, str],
    timeout_s: float | None,
    *,
    recorder: Recorder | None = None,
    bare_env: Mapping[str, str] | None = None,
) -> Ended | tuple[int, str]:
    """Run the command to its end; (exit code, reason) when it could not be started."""
    if not CAN_SUPERVISE:
        from rye_telemetry.runner import portable

        return portable.run(argv, env, timeout_s, spawned=recorder.keep_item if recorder else None)
    mask = block_signals()
    terminal = None if timeout_s is None else Terminal()
    began = time.monotonic()
    if recorder:
        recorder.started()
    try:
        pid = spawn(argv, env, mask=mask, own_group=terminal is not None)
    except OSError as e:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if bare_env is not None and timeout_s is None and e.errno in _NO_ROOM:
            return _in_our_place(argv, bare_env, e)
        return said_failure(argv[0], e)
    if terminal:
        terminal.lend(pid)
    if recorder:
        recorder.spawned()
    deadline = None if timeout_s is None else began + timeout_s
    return supervise(pid, terminal=terminal, deadline=deadline, meanwhile=recorder.prepare if recorder else None)


def _in_our_place(argv: list[str], env: Mapping[str, str], error: OSError) -> tuple[int, str]:
    """Let the command have our place where there is room for one process, or one environment, only."""
    say(f"run not recorded to its end: {error.strerror}, so the command takes the place of run-with")
    return _become(argv, env), error.strerror or str(error)


def _print_recorded(job: Job, recorder: Recorder) -> int:
    recorder.keep_item()  # before: whoever reads the text may take their time
    code = print_text(job.text or "")
    outcome = "success" if code == 0 else "failure"
    recorder.end(outcome=outcome, exit_code=code, signal_name=None, error=None if code == 0 else "output was closed")
    recorder.publish()
    if recorder.trouble:
        say(recorder.trouble)
    return code


def print_text(text: str) -> int:
    data = memoryview(text.encode("utf-8", "surrogateescape"))
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError as e:
        say(f"standard output: {e.strerror}")
        return 1
    return 0


def classify(ended: Ended, timeout_s: float | None) -> tuple[str, str | None, str | None]:
    """Return outcome, signal name and error of an ended child (DESIGN: section 4 of the words, section 5)."""
    name = _signal_name(ended.died_of) if ended.died_of else None
    if ended.timed_out:
        return "timeout", None, f"timed out after {timeout_s:g} s"
    if ended.died_of == signal.SIGINT or (ended.interrupted_by and ended.exit_code):
        return "cancelled", name, f"interrupted by {name or _signal_name(ended.interrupted_by)}"
    if ended.died_of:
        return "failure", name, f"killed by {name}"
    if ended.exit_code:
        return "failure", None, f"exited with status {ended.exit_code}"
    return "success", None, None


def _signal_name(number: int) -> str:
    import signal as named

    try:
        return named.Signals(number).name
    except ValueError:  # a real-time signal has no name of its own
        return f"signal {number}"


def said_failure(name: str, error: OSError) -> tuple[int, str]:
    """Say on stderr why the command could not be started, as a shell would; return its exit code and the reason."""
    missing = isinstance(error, FileNotFoundError)
    reason = "command not found" if missing and "/" not in name else (error.strerror or str(error))
    say(f"{name}: {reason}")
    return (EXIT_NOT_FOUND if missing else EXIT_NOT_EXECUTABLE), reason


def leave_as(ended: Ended) -> int:
    """Return the exit code, unless ^C at the terminal ended child and all: then end of it too, as shells expect."""
    if ended.died_of in (signal.SIGINT, signal.SIGQUIT) and ended.interrupted_by and ended.from_terminal:
        die_of(ended.died_of)
    return ended.exit_code


def say(text: str) -> None:
    """Write one line on stderr, whatever state it is in; never fail for it."""
    line = "rye-telemetry: " + " ".join(text.split()) + "\n"
    try:
        os.fstat(2)
        os.write(2, line.encode("utf-8", "backslashreplace"))
    except OSError:
        pass
