"""Scenarios of rewritten history: what they share, and how they are held against the table in docs/git.md."""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from repositories import git, install_hooks, run_in, said, store, write_git_config

from rye_telemetry.gitlink.repair import repair
from rye_telemetry.gitlink.repository import open_repository
from rye_telemetry.gitlink.show import show_commit
from rye_telemetry.model import EVIDENCE
from rye_telemetry.paths import rye_state_dir

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = Path(__file__).parents[1] / "docs" / "git.md"
UNTOUCHED = "commit"  # the row that says what a commit is linked by that nothing happened to
NO_LINK, CANDIDATES, NOT_POSSIBLE = "no link", "candidates", "—"
WORDS = {*EVIDENCE, NO_LINK, CANDIDATES}
_CLAUSE = re.compile(r"(?:(?P<role>[^:`]+): )?(?:`(?P<word>[a-z-]+)`|(?P<plain>no link))")


Roles = dict[str, str]


class Row(NamedTuple):
    """One row: {role: word} with our hooks, and without them; None where that cannot be."""

    operation: str
    hooks: Roles | None
    plain: Roles | None


def read_rows(page: str) -> dict[str, Row]:
    """Return the rows of the table of operations; AssertionError for a cell that says something else than it may."""
    _, _, section = page.partition("\n## What survives what\n")
    section = section.partition("\n## ")[0]
    rows: dict[str, Row] = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 5 and re.fullmatch(r"`[a-z0-9-]+`", cells[0]):
            name = cells[0].strip("`")
            assert name not in rows, f"two rows are called {name}"
            rows[name] = Row(cells[1], _roles(cells[2]), _roles(cells[3]))
    return rows


def _roles(cell: str) -> Roles | None:
    if cell == NOT_POSSIBLE:
        return None
    roles: Roles = {}
    for clause in cell.split("; "):
        found = _CLAUSE.fullmatch(clause)
        assert found, f"docs/git.md: {clause!r} is no evidence"
        word = found["word"] or found["plain"]
        assert word in WORDS, f"docs/git.md: {word!r} is no evidence"
        assert (found["role"] or "") not in roles, f"docs/git.md: {cell!r} says twice what {found['role']} is"
        roles[found["role"] or ""] = word
    return roles


ROWS = read_rows(PAGE.read_text())
TESTED: dict[str, str] = {}


def row(name):
    """Make a test of the scenario for each column of the row that says something."""

    def mark(test):
        assert name not in TESTED, f"two tests of {name}"
        TESTED[name] = test.__name__
        told = ROWS.get(name, Row("", None, None))  # a row that is missing has a test of its own
        ways = [(way, cell) for way, cell in (("hooks", told.hooks), ("plain", told.plain)) if cell is not None]
        params = [pytest.param((way == "hooks", cell), id=f"{name}-{way}") for way, cell in ways]
        return pytest.mark.parametrize("work", params, indirect=True)(test)

    return mark


@pytest.fixture
def work(request, enabled, tmp_path_factory):
    """Work at a place that is the same for all tests, one after the other: what is remembered of it names it."""
    write_git_config(enabled)
    hooks, words = request.param
    ground = tmp_path_factory.getbasetemp()
    place = ground / "place"
    place.mkdir()
    yield Work(place / "r", hooks=hooks_of_ours(ground) if hooks else None, words=words)
    shutil.rmtree(place)


def remembered(make):
    """Let the function make its history and runs once; each later test begins with a copy of them."""

    @functools.wraps(make)
    def begin(work, *tools):
        place, state = work.path.parent, Path(rye_state_dir(os.environ))
        kept = place.with_name("-".join([make.__name__, "hooks" if work.hooks else "plain", *tools]))
        if kept.exists():
            shutil.copytree(kept / "place", place, symlinks=True, dirs_exist_ok=True)
            shutil.copytree(kept / "state", state)
            work.now += 1000
        else:
            make(work, *tools)
            shutil.copytree(place, kept / "place", symlinks=True)
            shutil.copytree(state, kept / "state", ignore=shutil.ignore_patterns("index.sqlite*"))
        return work

    return begin


@remembered
def stack(work, *tools):
    """Commits one, two, three, each made in the run of its tool."""
    return work.begin().stack(*tools)


@remembered
def topic(work, *tools):
    """The same on a branch that main has left; under both is a commit made in a run of `z`."""
    return work.begin().commit("zero", "z").move_main().stack(*tools)


@functools.cache
def hooks_of_ours(parent: Path) -> Path:
    """Return a hooks folder as an installation leaves it; to install in each repository anew would take its time."""
    place = parent / "installed"
    git(".", "init", "-q", "--template=", place)
    install_hooks(place)
    return place / ".git" / "hooks"


class Work:
    """A repository with one commit made by hand, `base`; time goes on by a second with every command."""

    def __init__(self, path: Path, *, hooks: Path | None, words: Roles) -> None:
        self.path = path
        self.hooks = hooks
        self.words = words
        self.now = 1_800_000_000
        self.tools: dict[str, str] = {}  # {run id: tool} of runs that the store asked does not know

    def begin(self, *init: str) -> Work:
        """Make the repository and its first commit."""
        git(".", "init", "-q", "--template=", *init, self.path)
        self.equip()
        return self.commit("base")

    def equip(self) -> Work:
        """Put our hooks in, where the scenario has them."""
        if self.hooks:
            common = self.say("rev-parse", "--git-common-dir")
            shutil.copytree(self.hooks, self.path / common / "hooks", dirs_exist_ok=True)
        return self

    def at(self, path: Path) -> Work:
        """Return the same scenario at another place: a clone, a linked worktree, a submodule."""
        other = Work(path, hooks=self.hooks, words=self.words)
        other.now = self.now + 10_000
        return other

    def clone(self, name: str, *options: str) -> Work:
        place = self.path.with_name(name)
        git(".", "clone", "-q", "--template=", *options, f"file://{self.path}", place)
        return self.at(place).equip()

    # -- commands

    def clock(self) -> dict[str, str]:
        self.now += 1
        return {"GIT_AUTHOR_DATE": f"{self.now} +0000", "GIT_COMMITTER_DATE": f"{self.now} +0000"}

    def git(self, *args, **more) -> Work:
        git(self.path, *args, **{**self.clock(), **more})
        return self

    def say(self, *args) -> str:
        return said(self.path, *args)

    def run(self, tool: str, script: str, **more) -> Work:
        """Run a script as a run of this tool."""
        run_in(self.path, script, item=tool, **{**self.clock(), **more})
        return self

    def write(self, name: str, text: str | bytes) -> Work:
        (self.path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return self

    def commit(self, subject: str, by: str | None = None, *, options: str = "", **files: str | bytes) -> Work:
        """Commit files, by hand or in a run; a file of the subject's name where none is given."""
        for name, text in (files or {subject: f"{subject}\n"}).items():
            self.write(name, text)
        script = f"git add -A && git commit -q {options} -m {shlex.quote(subject)}"
        if by:
            return self.run(by, script)
        return self.git("add", "-A").git("commit", "-q", *options.split(), "-m", subject)

    def stack(self, *tools: str) -> Work:
        """Commit one, two, three, each by the run of its tool, each in a file of its own."""
        for subject, tool in zip(("one", "two", "three"), tools, strict=False):
            self.commit(subject, tool)
        return self

    def move_main(self) -> Work:
        """Let a topic branch begin here, and main go on by a commit made by hand."""
        return self.git("branch", "topic").commit("side").git("checkout", "-q", "topic")

    def named(self, subject: str) -> str:
        """Return the one commit here with this subject."""
        [commit] = [
            line.split(" ", 1)[0]
            for line in self.say("log", "--all", "--format=%H %s").splitlines()
            if line.split(" ", 1)[1] == subject
        ]
        return commit

    def rebase(self, onto: str, *todo: str, **more) -> Work:
        """Rebase interactively by steps such as `squash two`, where the second word is a subject."""
        steps = []
        for step in todo:
            verb, _, rest = step.partition(" ")
            steps.append(step if verb in ("exec", "break") else f"{verb} {self.named(rest)}")
        plan = self.path / ".git" / "plan"
        plan.write_text("\n".join(steps) + "\n")
        return self.git("rebase", "-q", "-i", onto, GIT_SEQUENCE_EDITOR=f"cp {shlex.quote(str(plan))}", **more)

    def forget_moves(self) -> Work:
        return self.git("reflog", "expire", "--expire=now", "--all")

    def forget(self) -> Work:
        """Leave of the objects only what some ref reaches."""
        return self.forget_moves().git("gc", "-q", "--prune=now")

    # -- what is linked

    def expect(self, *changed: tuple[str, ...], kept: tuple[tuple[str, str], ...] = ()) -> None:
        """Hold every link of every commit here against the table; `changed` are (revision, tool, [role])."""
        links = [(rev, tool, *(role or ("",))) for rev, tool, *role in changed]
        assert {role for _, _, role in links} == set(self.words), "the row's roles are not those of the test"
        wanted = [(rev, tool, self.words[role]) for rev, tool, role in links]
        self.expect_links(*(link for link in wanted if link[2] != NO_LINK), *self.untouched(*kept))

    def untouched(self, *links: tuple[str, str]) -> set[tuple[str, str, str]]:
        """Return the links of commits that nothing happened to."""
        told = ROWS[UNTOUCHED]
        words = told.hooks if self.hooks else told.plain
        assert words is not None
        return {(rev, tool, words[""]) for rev, tool in links}

    def expect_links(self, *links: tuple[str, str, str]) -> None:
        """Compare with what `commits show` says of each commit, and with what is stored after `commits repair`."""
        commits = self.history()
        where = open_repository(str(self.path), os.environ)
        with store() as opened:
            shown = [self.shown(show_commit(opened, where, commit)) for commit in commits]
            for tip in self.tips():
                repair(opened, where, tip, dry_run=False)
            stored = opened.links(commits)
        wanted = self.resolved(links)
        self.compare("commits show", set().union(*shown), wanted)
        sure = {(commit, self.tool(link), link["evidence"]) for commit in stored for link in stored[commit]}
        # A trailer is read from its commit, so what was stored by weaker evidence stays as it is.
        trailed = {link[:2] for link in wanted if link[2] == "trailer"}
        sure = {(commit, tool, "trailer" if (commit, tool) in trailed else word) for commit, tool, word in sure}
        self.compare("after commits repair", sure, {link for link in wanted if link[2] != CANDIDATES})

    def tips(self) -> list[str]:
        heads = self.say("for-each-ref", "--format=%(objectname)", "refs/heads", "refs/remotes").split()
        return list(dict.fromkeys([*heads, self.say("rev-parse", "HEAD")]))

    def history(self) -> list[str]:
        return self.say("rev-list", "--exclude=refs/notes/*", "--all", "HEAD").split()

    def resolved(self, links: Sequence[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
        names = self.say("rev-parse", *(f"{rev}^{{commit}}" for rev, _, _ in links), "--").split("\n")[:-1]
        return {(name, tool, word) for name, (_, tool, word) in zip(names, links, strict=True)}

    def shown(self, told: dict[str, Any]) -> set[tuple[str, str, str]]:
        sure = {(told["commit"], self.tool(link), link["evidence"]) for link in told["runs"]}
        return sure | {(told["commit"], self.tool(link), CANDIDATES) for link in told["candidates"]}

    def tool(self, link: dict[str, str]) -> str:
        return link["item_id"] or self.tools[link["run_id"]]

    def compare(self, what: str, found: set[tuple[str, str, str]], wanted: set[tuple[str, str, str]]) -> None:
        told = [self.told(link, "missing" if link in wanted else "WRONG") for link in sorted(found ^ wanted)]
        if told:
            pytest.fail("\n".join([what, *told]), pytrace=False)

    def told(self, link: tuple[str, str, str], verdict: str) -> str:
        commit, tool, word = link
        return f"{verdict}: {self.say('log', '-1', '--no-notes', '--format=%h %s', commit)}, run {tool}, {word}"
