"""What asking about commits costs: a range of many, and the repair of a long rebase."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from bench import Row
from processes import Command, check_command, time_command

from hooks import inside

if TYPE_CHECKING:
    from bench import Bench
    from environments import Home

SHOW_LIMIT_S = 2.0
RUNS_A_COMMIT = 10
REBASED = 500


def measure_commits(bench: Bench) -> None:
    """Time `commits show` of a long range, and `commits repair` after a rebase of 500; count the git processes of it."""
    commits = bench.sizes.large_history // 100
    home = bench.new_home("range", enabled=True)
    place = make_history(bench, home, commits)
    bench.work("link", home, RUNS_A_COMMIT)
    for form in ((), ("--json",)):
        show = inside(bench.rye(home, "commits", "show", f"main~{commits - 1}..main", *form), place)
        bench.rows.append(show_row(show, commits, "JSON" if form else "table"))
    bench.rows.append(repair_row(bench))


def show_row(show: Command, commits: int, form: str) -> Row:
    check_command(show)  # the first one projects
    seconds = min(time_command(show) for _ in range(3)) / 1000
    return Row(
        f"`commits show` over {commits:,} commits and {commits * RUNS_A_COMMIT:,} links, {form}",
        f"≤ {SHOW_LIMIT_S:g} s",
        f"{seconds:.2f} s",
        "—",
        seconds <= SHOW_LIMIT_S,
    )


def repair_row(bench: Bench) -> Row:
    home = bench.new_home("rebase", enabled=True)
    place = make_history(bench, home, REBASED + 2)
    bench.work("link", home, 1)
    for arguments in (
        ("checkout", "-q", "-b", "base", f"main~{REBASED}"),
        ("commit", "-q", "--allow-empty", "-m", "base"),
    ):
        git(bench, home, place, *arguments)
    began = time.monotonic()
    git(bench, home, place, "rebase", "-q", "base", "main")
    rebased_s = time.monotonic() - began
    calls = place.path / "calls"
    counting = counting_git(place, calls)
    repair = inside(bench.rye(home, "commits", "repair", "--dry-run"), place)
    repair = replace(repair, env={**repair.env, "PATH": f"{counting}{os.pathsep}{repair.env['PATH']}"})
    seconds = min(time_command(repair) for _ in range(3)) / 1000
    processes = len(calls.read_text().splitlines()) // 3
    return Row(
        f"`commits repair` after a rebase of {REBASED} commits",
        "constant number of git processes",
        f"{seconds:.2f} s, {processes} git processes; the rebase itself {rebased_s:.1f} s",
        "—",
        None,
    )


def counting_git(place: Home, calls: object) -> str:
    """Return a folder with a `git` that notes each call."""
    folder = place.path.parent / f"{place.path.name}-bin"
    folder.mkdir()
    real = subprocess.run(["sh", "-c", "command -v git"], capture_output=True, text=True, check=True).stdout.strip()
    (folder / "git").write_text(f'#!/bin/sh\necho x >> {calls}\nexec {real} "$@"\n')
    (folder / "git").chmod(stat.S_IRWXU)
    return str(folder)


def git(bench: Bench, home: Home, place: Home, *arguments: str) -> None:
    check_command(Command(("git", *arguments), home.environment(bench.wheel), place.path))


def make_history(bench: Bench, home: Home, commits: int) -> Home:
    """Make a repository `repository` in the home, with a branch `main` of so many commits of a file each."""
    place = type(home)(home.path / "repository")
    place.path.mkdir()
    git(bench, home, place, "init", "-q", "-b", "main")
    stream = "".join(
        f"commit refs/heads/main\ncommitter A <a@example.org> {1_700_000_000 + number} +0000\ndata 5\nadd {number % 10}"
        f"M 100644 inline d{number % 100}/f{number}\ndata 6\n{number:05d}\n"
        for number in range(commits)
    )
    env = home.environment(bench.wheel)
    subprocess.run(["git", "fast-import", "--quiet"], input=stream, text=True, env=env, cwd=place.path, check=True)
    git(bench, home, place, "reset", "-q", "--hard", "main")
    return place
