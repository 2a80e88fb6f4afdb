"""What git's hooks cost a commit, and what a repository around it costs a run."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from bench import TIMES, Row, baseline, ratio_row
from overhead import ON_LIMIT, PASS
from processes import Command, CommandFailed, Samples, check_command, interleave, time_command

if TYPE_CHECKING:
    from typing import Self

    from bench import Bench
    from environments import Home

HOOK_LIMIT = 4
FILES = 100


def measure_hooks(bench: Bench) -> None:
    """Time the post-commit hook alone, a commit with and without it, and `run-with -- true` in a repository."""
    home = bench.new_home("hooks", enabled=True)
    plain, hooked = make_repository(bench, home, "plain"), make_repository(bench, home, "hooked")
    check_command(inside(bench.rye(home, "hooks", "install"), hooked))
    begin = inside(bench.rye(home, "run-with", "tool", "x", "--", "true"), plain)
    check_command(begin)
    times = interleave({"pass": baseline(bench.wheel, home), "run-with": begin}, rounds=bench.sizes.rounds)
    with Within(bench, home, hooked) as run:
        hook = run.command(str(hooked.path / ".git" / "hooks" / "post-commit"))
        hooks = interleave({"pass": baseline(bench.wheel, home), "hook": hook}, rounds=bench.sizes.rounds)
        commits = time_commits(bench, run, plain, hooked)
    name_and_judge(bench, hooks, "hook", "`post-commit` hook that links a commit, whole process", limit=HOOK_LIMIT)
    what = f"`run-with tool x -- true` in a repository of {FILES} files, telemetry on"
    name_and_judge(bench, times, "run-with", what, limit=ON_LIMIT)
    bench.rows.append(share_row(*commits))
    bench.timings.append(commits)


def name_and_judge(bench: Bench, times: dict[str, Samples], name: str, what: str, *, limit: float) -> None:
    times[name].name = what
    bench.rows.append(ratio_row(what, times[name], times["pass"], limit=limit, of=PASS))
    bench.timings.append((times[name], times["pass"]))


def share_row(hooked: Samples, plain: Samples) -> Row:
    share = 1 - plain.median_ms / hooked.median_ms
    return Row(
        "the hook's share of a `git commit` that it links",
        "—",
        f"{hooked.median_ms:.1f} ms, without it {plain.median_ms:.1f} ms",
        f"{share:.0%}, or {hooked.median_ms / plain.median_ms:.2f} {TIMES}",
        None,
    )


def time_commits(bench: Bench, run: Within, plain: Home, hooked: Home) -> tuple[Samples, Samples]:
    """Time commits of one changed file, by turns in a repository with our hook and in one without."""
    with_it, without = Samples("`git commit` with the hook"), Samples("`git commit` without it")
    for number in range(bench.sizes.rounds):
        for samples, place in ((with_it, hooked), (without, plain))[:: -1 if number % 2 else 1]:
            (place.path / "f0").write_text(f"round {number}\n")
            commit = replace(run.command("git", "commit", "-q", "-a", "-m", str(number)), directory=place.path)
            samples.times_ms.append(time_command(resolved(commit)))
    check_linked(run.home, bench.sizes.rounds)
    return with_it, without


def check_linked(home: Home, commits: int) -> None:
    """See that the hook did what it was timed for."""
    journal = (home.state_dir / "telemetry" / "journal").glob("*.ndjson")
    linked = sum(path.read_bytes().count(b'"evidence":"hook"') for path in journal)
    if linked < commits:
        raise CommandFailed(f"of {commits} commits the hook linked {linked}")


class Within:
    """A run that goes on while its commits are timed; `command` makes what its own command would start."""

    def __init__(self, bench: Bench, home: Home, place: Home) -> None:
        self.bench = bench
        self.home = home
        self.place = place
        self.env: dict[str, str] = {}

    def __enter__(self) -> Self:
        begin = inside(
            self.bench.rye(self.home, "run-with", "tool", "x", "--", "sh", "-c", "env -0; echo; cat"), self.place
        )
        self.process = subprocess.Popen(
            begin.argv,
            env=dict(begin.env),
            cwd=begin.directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        told = self.process.stdout.readline().split("\0")
        self.env = dict(item.split("=", 1) for item in told if "=" in item)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def command(self, *argv: str) -> Command:
        return Command(argv, self.env, self.place.path)


def make_repository(bench: Bench, home: Home, name: str) -> Home:
    """Make a repository with a commit in it, in a folder of this home."""
    place = type(home)(home.path / name)
    place.path.mkdir()
    for number in range(FILES):
        (place.path / f"f{number}").write_text(f"{number}\n")
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "one")):
        check_command(Command(("git", *arguments), home.environment(bench.wheel), place.path))
    return place


def inside(command: Command, place: Home) -> Command:
    return replace(command, directory=place.path)


def resolved(command: Command) -> Command:
    """Return the command with git's own path: what is timed is started without a search."""
    found = shutil.which(command.argv[0], path=command.env["PATH"]) or command.argv[0]
    return replace(command, argv=(found, *command.argv[1:]))
