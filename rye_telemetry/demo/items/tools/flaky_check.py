"""A check that fails one time in four, as checks of things far away do."""

from __future__ import annotations

from typing import Any

__version__ = "0.3.1"
__tool_type__ = "python"
__category__ = "checks"

EVERY = 4


def main(attempt: int) -> dict[str, Any]:
    """Return how the check went; every fourth attempt goes wrong."""
    if attempt % EVERY == 0:
        error = f"attempt {attempt}: the mirror did not answer"
        return {"success": False, "error": error}
    return {"success": True, "attempt": attempt}
