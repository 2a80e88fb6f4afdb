"""What several tests make: valid runs, journal lines, and a look at a whole directory."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import pytest

from rye_telemetry import liveness
from rye_telemetry.lines import encode_line, instant_text, new_run_id

NOON_NS = 1_800_000_000_000_000_000  # 2027-01-15T08:00:00Z
HOSTILE_IDS = [
    "../..",
    "{}[]:#&*!|>'\"%@",
    "{", "}", "[", "]", ":", "#", "&", "*", "!", "|", ">", "'", '"', "%", "@", "`", "\\", "/", ",", "-", "?", "=", "~",
    "- a", "? a", "a: b", "a #b", ": ", " :", "!!str x", "&anchor", "*alias", "%YAML 1.1", "---", "...", "<<", "=",
    " leading", "trailing ", "  ", "tool::x", "::", "a\\nb", "\\u0041", "\\",
    "🐙", "👩‍👩‍👧‍👦", "日本語", "é", "é", "\u00a0", "\u200b", "\u202e", "\ue000", "\U0001fffe",
    "null", "Null", "NULL", "~", "true", "True", "yes", "no", "on", "off", "y", "n", "On",
    "1.10", "1", "0", "-1", "+1", "0o14", "014", "0x1F", "1_000", "1e3", "1e999", ".5", ".inf", "-.inf", ".nan", "NaN",
    "190:20:30", "1:2", "2026-11-20", "2026-11-20T12:00:00Z", "0b1", "version", "items", "updated",
    '"' * 512, "\\" * 512, "x" * 512, "日" * 512, "🐙" * 512, "'" * 500 + ": #",
]  # fmt: skip


def make_run(**changes):
    """Return the fields of a valid ended run; None takes one away."""
    run = {
        "run_id": new_run_id(time.time_ns()),
        "item_type": "tool",
        "item_id": "x",
        "outcome": "success",
        "started_at": instant_text(NOON_NS),
        "ended_at": instant_text(NOON_NS + 5_000_000),
        "duration_ms": 5,
    }
    run.update(changes)
    return {name: value for name, value in run.items() if value is not None}


def make_start(**changes):
    """Return the fields of a valid start line, of this process."""
    run = make_run(**{"process": liveness.this_process(), **changes})
    return {name: value for name, value in run.items() if name not in ("outcome", "ended_at", "duration_ms")}


def line(kind="run", **changes):
    made = {"run": make_run, "start": make_start}.get(kind, dict)
    return encode_line(kind, made(**changes))


def dead_process():
    """Return what `this_process` said in a process that is gone now."""
    code = "import json; from rye_telemetry.liveness import this_process; print(json.dumps(this_process()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return json.loads(done.stdout)


def look_at(directory):
    """Return {relative path: (mode, mtime, size, bytes)} of everything below a directory, itself included."""
    found = {}
    for folder, _, files in os.walk(directory):
        for path in [folder, *(os.path.join(folder, name) for name in files)]:
            stat = os.lstat(path)
            data = None
            if path in (os.path.join(folder, name) for name in files):
                with open(path, "rb") as f:
                    data = f.read()
            found[os.path.relpath(path, directory)] = (stat.st_mode, stat.st_mtime_ns, stat.st_ino, data)
    return found


def segments(state):
    return sorted((state / "telemetry" / "journal").glob("*.ndjson"))


def wait_until(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.002)


def in_child(work, *args):
    """Run `work` in a forked child; return its exit status: 0 when it came to its end without an exception."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            work(*args)
            status = 0
        except BaseException:  # noqa: BLE001 (an assertion of the child is printed, and fails the parent's)
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def ended_well(*pids):
    """Wait for forked children; say whether each came to its end."""
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    return not any(codes)


class holding:  # noqa: N801 (reads as a sentence)
    """Another process holds a lock."""

    def __init__(self, path):
        code = "import sys; from rye_telemetry.files import FileLock; lock = FileLock(sys.argv[1]); print(lock.acquire(wait_s=5), flush=True); sys.stdin.read()"
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", code, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))},
        )

    def __enter__(self):
        assert self.process.stdout.readline() == "True\n"
        return self.process

    def __exit__(self, *_):
        self.process.communicate()


def as_nobody(work):
    """Do it in a child that is not root."""

    def child():
        if not os.getuid():
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        work()

    return ended_well(in_child(child))


def open_the_way_to(path):
    """Let any user go to a directory below the tests' own."""
    for parent in path.parents:
        if parent == Path(tempfile.gettempdir()):
            return
        parent.chmod(0o755)


@contextlib.contextmanager
def mounted(place, size="256k"):
    """A filesystem of its own that is soon full."""
    place.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}"]
    if os.getuid() or subprocess.run(["mount", *options, "tmpfs", place], check=False).returncode:
        pytest.skip("only root can mount a small filesystem")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def by_every_yaml_reader(text):
    """Yield (name, document) as each YAML reader takes the text: 1.1 and 1.2, written in Python and in C."""
    import yaml
    from ruamel.yaml import YAML

    yield "PyYAML", yaml.load(text, yaml.SafeLoader)
    yield "libyaml", yaml.load(text, yaml.CSafeLoader)
    for version in ((1, 1), (1, 2)):
        for kind in ("safe", "rt"):
            reader = YAML(typ=kind, pure=True)
            reader.version = version
            yield f"ruamel {kind} {version}", reader.load(text)
