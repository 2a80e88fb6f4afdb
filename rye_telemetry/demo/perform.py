"""The demo from the first step to the last."""

from __future__ import annotations

import shlex
import textwrap
import time
from typing import TYPE_CHECKING

from rye_telemetry.demo.stage import Stage, make_project, prepare_root, remove, temporary_root
from rye_telemetry.demo.steps import AMENDED, COMMITTER, MARKS, SCRIPT, SHOWN_ITEM, STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rye_telemetry.demo.steps import Step

    Write = Callable[[str], None]

AT_HOME = "rye-telemetry configure --enabled true && rye-telemetry run-with tool ls -- ls"
NAME_WIDTH = 38
WIDTH = 78


def perform(env: Mapping[str, str], *, keep: str | None, write: Write) -> None:
    """Play the demo, in a temporary directory or in `keep`; DemoFailed when a step does not end as it must.

    `write` gets the text; `status` prints for itself, on the same standard output.
    """
    root = prepare_root(keep) if keep is not None else temporary_root()
    try:
        stage = Stage(root, env)
        open_stage(stage, write, keep=keep)
        opt_in(stage, write)
        run_items(stage, write)
        show_totals(stage, write)
        commit_and_rewrite(stage, write)
        bake_and_strip(stage, write)
        close_stage(stage, write, keep=keep)
    finally:
        if keep is None:
            remove(root)


def open_stage(stage: Stage, write: Write, *, keep: str | None) -> None:
    fate = "kept" if keep else "removed at the end"
    write(f"A home and a project of their own, {fate}:\n  {stage.root}\n")
    make_project(stage)


def opt_in(stage: Stage, write: Write) -> None:
    show(stage, write, "configure", "--enabled", "true")


def run_items(stage: Stage, write: Write) -> None:
    """Run every item as often as the steps say, with one mark a run."""
    write("\n")
    began = time.monotonic()
    answers = [_run_step(stage, write, step) for step in STEPS]
    count = sum(len(step.runs) for step in STEPS)
    write(f"  {count} runs in {time.monotonic() - began:.1f} s   (. success   F failure   T timeout)\n")
    answer = textwrap.fill(answers[0], WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    write(f"\nWhat {STEPS[0].item_id} printed of the project it stands in:\n{answer}\n")


def _run_step(stage: Stage, write: Write, step: Step) -> str:
    """Return what the first run printed."""
    write(f"  run-with {step.item_type} {step.item_id} ".ljust(NAME_WIDTH))
    answers = []
    for run in step.runs:
        answers.append(stage.rye("run-with", step.item_type, step.item_id, *run.options, exit_code=run.exit_code))
        write(MARKS.get(run.exit_code, "F"))
    write("\n")
    return answers[0]


def show_totals(stage: Stage, write: Write) -> None:
    show(stage, write, "status")
    show(stage, write, "status", SHOWN_ITEM)


def commit_and_rewrite(stage: Stage, write: Write) -> None:
    """Make a commit inside a run, rewrite it, and show that the link holds."""
    show(stage, write, "hooks", "install")
    write(f'\n$ rye-telemetry run-with {" ".join(COMMITTER)} \\\n  "{SCRIPT}"\n')
    stage.rye("run-with", *COMMITTER, SCRIPT)
    show(stage, write, "commits", "show", "HEAD")
    write(f"\n$ git commit --amend -m '{AMENDED}'\n")
    stage.git("commit", "--quiet", "--amend", "--message", AMENDED)
    show(stage, write, "commits", "show", "HEAD")


def bake_and_strip(stage: Stage, write: Write) -> None:
    """Put an item's numbers into its file, show that nothing else changed, and take them out again."""
    path = stage.path_of(SHOWN_ITEM)
    show(stage, write, "bake", path)
    write(f"\n$ git diff\n{stage.git('diff', '--no-color', '--no-ext-diff', '--', path)}")
    show(stage, write, "bake", "--strip", path)
    stage.git("diff", "--exit-code", "--no-ext-diff")
    write("\n$ git diff --exit-code && echo as before\nas before\n")


def close_stage(stage: Stage, write: Write, *, keep: str | None) -> None:
    if keep:
        look = f"RYE_STATE_DIR={shlex.quote(str(stage.state_dir))} rye-telemetry status"
        write(f"\nIt is all in {stage.root}; to look at it again:\n  {look}\n")
    write(f"\nTo do the same at home:\n{AT_HOME}\n")


def show(stage: Stage, write: Write, *words: str) -> None:
    write(f"\n$ rye-telemetry {' '.join(words)}\n")
    stage.show(*words)
