"""What baking costs a commit: many staged items through the hook, with something to say and with nothing."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from bench import Row, baseline
from commits import git
from processes import CommandFailed, time_command

from hooks import inside

if TYPE_CHECKING:
    from bench import Bench
    from environments import Home
    from processes import Command

ITEMS = 1000
CHANGED_LIMIT_S = 1.5
UNCHANGED_LIMIT_S = 0.6
ROUNDS = 5
_LINES = 40
_MARKDOWN = (
    "---\nname: item-{n}\ndescription: What it is for\ntags: [a, b]\n---\n\n" + "A sentence of the body.\n" * _LINES
)
_PYTHON = '"""Item {n}."""\n\n' + "".join(
    f"\n\ndef step_{k}(text):\n    return [word for word in text.split() if word]\n" for k in range(_LINES // 4)
)
_SHELL = "#!/bin/sh\n# item {n}\n" + 'echo "a line"\n' * _LINES
_YAML = "version: '{n}'\ncommand: echo\nargs:\n  - a\n  - b\ndescription: What it is for\n"
KINDS = (("directives", "md", _MARKDOWN), ("tools", "py", _PYTHON), ("tools", "sh", _SHELL), ("tools", "yaml", _YAML))


def measure_bake(bench: Bench) -> None:
    """Time `bake --staged --hook`, the plain hook's command, over staged items that were never baked, and again."""
    home = bench.new_home("bake", enabled=True)
    place = type(home)(home.path / "project")
    paths = write_items(place)
    bench.work("items", home, ITEMS)
    git(bench, home, place, "init", "-q")
    hook = inside(bench.rye(home, "bake", "--staged", "--hook"), place)
    first, again = [], []
    for _ in range(ROUNDS):
        git(bench, home, place, "add", "-A")
        first.append(timed(hook, code=1))
        again.append(timed(hook, code=0))
        if staged_blocks(bench, home, place) != ITEMS:
            raise CommandFailed(f"not every one of {ITEMS} staged items has its block")
        for path, text in paths:
            path.write_text(text)
    pass_ms = min(time_command(baseline(bench.wheel, home)) for _ in range(ROUNDS))
    for what, times, limit in (
        (f"hook over {ITEMS:,} staged items, all baked", first, CHANGED_LIMIT_S),
        (f"hook over {ITEMS:,} staged items, nothing to change", again, UNCHANGED_LIMIT_S),
    ):
        seconds = min(times)
        times_pass = f"{seconds * 1000 / pass_ms:.0f} × `python -c pass`"  # noqa: RUF001 (as everywhere in the table)
        bench.rows.append(Row(what, f"≤ {limit:g} s", f"{seconds:.2f} s", times_pass, seconds <= limit))


def write_items(place: Home) -> list[tuple[object, str]]:
    written = []
    for number in range(ITEMS):
        folder, suffix, text = KINDS[number % len(KINDS)]
        path = place.path / ".ai" / folder / f"item-{number:04d}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{n}", str(number)))
        written.append((path, text.replace("{n}", str(number))))
    return written


def timed(command: Command, *, code: int) -> float:
    """Return the seconds of a command that must end with this code."""
    import time

    began = time.perf_counter()
    done = subprocess.run(command.argv, env=dict(command.env), cwd=command.directory, capture_output=True, check=False)
    if done.returncode != code:
        raise CommandFailed(f"{' '.join(command.argv[1:])}: exit {done.returncode}: {done.stderr.decode()[-300:]}")
    return time.perf_counter() - began


def staged_blocks(bench: Bench, home: Home, place: Home) -> int:
    env = home.environment(bench.wheel)
    found = subprocess.run(
        ["git", "grep", "--cached", "-l", "total_runs: "], env=env, cwd=place.path, capture_output=True, check=False
    )
    return len(found.stdout.splitlines())
