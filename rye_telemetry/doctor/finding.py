"""One answer of `doctor`, and how all of them look."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rye_telemetry.config import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OK, WARNING, PROBLEM = "ok", "warning", "problem"
FOUND_WIDTH = 52  # with the two columns before it, 80 on a terminal
MAX_NAMED = 3


@dataclass(frozen=True)
class Finding:
    """What one check found. `state` is ok, warning (it works, but) or problem; `cure` is None where it is ok."""

    check: str
    state: str
    found: str
    cure: str | None = None


def fine(check: str, found: str) -> Finding:
    return Finding(check, OK, one_line(found))


def warning(check: str, found: str, cure: str) -> Finding:
    return Finding(check, WARNING, one_line(found), one_line(cure))


def problem(check: str, found: str, cure: str) -> Finding:
    return Finding(check, PROBLEM, one_line(found), one_line(cure))


def is_healthy(findings: Iterable[Finding]) -> bool:
    """Say whether there is no problem; warnings may be there."""
    return all(finding.state != PROBLEM for finding in findings)


def json_answer(findings: Sequence[Finding]) -> dict[str, object]:
    """Return `{"ok": bool, "checks": [{"check", "state", "found", "cure"}]}`."""
    return {"ok": is_healthy(findings), "checks": [asdict(finding) for finding in findings]}


def as_table(findings: Sequence[Finding]) -> str:
    """Return a table for 80 columns, and below it each cure on a line of its own, to be copied whole."""
    from tabulate import tabulate

    rows = [(finding.check, finding.state, finding.found) for finding in findings]
    widths = [None, None, FOUND_WIDTH]
    table = tabulate(rows, ("check", "state", "found"), "plain", maxcolwidths=widths, disable_numparse=True)
    cures = [f"{finding.state}: {finding.check}\n  {finding.cure}" for finding in findings if finding.cure]
    return "\n\n".join([table, *cures, _verdict(findings)])


def _verdict(findings: Sequence[Finding]) -> str:
    problems = sum(finding.state == PROBLEM for finding in findings)
    warnings = sum(finding.state == WARNING for finding in findings)
    more = f", {plural(warnings, 'warning')}" if warnings else ""
    return f"{plural(problems, 'problem') if problems else 'No problem'} found{more}."


def plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def named(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def size_text(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size_bytes} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
