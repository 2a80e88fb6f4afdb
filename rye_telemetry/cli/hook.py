"""`hook`: what our git hooks call. Valid calls never come here: `entry` does them before Typer is imported."""

from __future__ import annotations

from typing import Annotated

import typer


def hook(
    name: Annotated[str, typer.Argument(help="post-commit, post-rewrite or prepare-commit-msg.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="What git gives the hook.", show_default=False)] = None,  # noqa: ARG001 (they are shown)
) -> None:
    """Do what a git hook is for; called by the hooks that `hooks install` puts in place.

    Example: RYE_RUN_ID=... rye-telemetry hook post-commit
    """
    from rye_telemetry.errors import UsageInvalid

    raise UsageInvalid(f"there is no hook {name!r}: use post-commit, post-rewrite or prepare-commit-msg")
