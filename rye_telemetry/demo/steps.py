"""Which items the demo runs, how often, and how each run must end."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from json import dumps

SUCCESS, FAILURE, TIMEOUT = 0, 1, 124
MARKS = {SUCCESS: ".", TIMEOUT: "T"}


@dataclass(frozen=True)
class Run:
    """One `run-with`: what stands behind type and id, and the exit code that it must have."""

    options: tuple[str, ...] = ()
    exit_code: int = SUCCESS


@dataclass(frozen=True)
class Step:
    """All runs of one item."""

    item_type: str
    item_id: str
    runs: tuple[Run, ...]


def _params(**values: object) -> tuple[str, str]:
    return "--params", dumps(values)


AUDIT = ("--agent", "auditor", "--workflow", "weekly-audit")
RELEASE = ("--agent", "writer", "--workflow", "release", "--tag", "release=1.1")
DOCTEST = ("--", sys.executable, "-B", "-m", "doctest", "words.py")
STEPS = (
    Step("tool", "repository", (Run(AUDIT),) * 4 + (Run((*RELEASE, *_params(revision="HEAD~1"))),) * 2),
    Step("tool", "largest_files", tuple(Run((*AUDIT, *_params(count=count))) for count in (1, 2, 3, 4))),
    Step("tool", "recent_commits", (Run(RELEASE), *(Run((*RELEASE, *_params(count=count))) for count in (1, 2, 3)))),
    Step(
        "tool",
        "flaky_check",
        tuple(Run((*AUDIT, *_params(attempt=n)), SUCCESS if n % 4 else FAILURE) for n in range(1, 9)),
    ),
    Step("tool", "slow_export", (Run((*AUDIT, "--timeout", "0.2"), TIMEOUT),) * 2),
    Step("tool", "doctest", (Run(("--agent", "writer", *DOCTEST)),) * 2),
    Step("directive", "release_notes", (Run(RELEASE, FAILURE), *(Run((*RELEASE, *_params(release="1.1"))),) * 2)),
    Step("knowledge", "naming", (Run(("--agent", "writer")),) * 2),
)
COMMITTER = ("tool", "changes", "--agent", "writer", "--", "sh", "-c")
SCRIPT = "echo words > CHANGES.md; git add . && git commit -qm 'Tell what is new'"
AMENDED = "Tell what is new in 1.1"
SHOWN_ITEM = "flaky_check"
