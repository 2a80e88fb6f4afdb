"""The answer as Markdown: one table of ratios, one of medians, and how they were had."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench import Bench, Row
    from processes import Samples

HOW = Path(__file__).resolve().with_name("how-measured.md")


def ratio_table(rows: Sequence[Row]) -> str:
    words = {True: "yes", False: "**no**", None: ""}
    return markdown_table(
        ("what", "budget", "seen", "ratio", "ok?"),
        ((row.what, row.budget, row.seen, row.ratio, words[row.ok]) for row in rows),
    )


def timing_table(timings: Iterable[tuple[Samples, Samples]]) -> str:
    cells = (
        (
            samples.name,
            str(len(samples.times_ms)),
            f"{samples.median_ms:.2f}",
            f"{samples.min_ms:.2f}",
            f"{base.median_ms:.2f}",
            f"{base.min_ms:.2f}",
        )
        for samples, base in timings
    )
    head = ("whole process", "rounds", "median ms", "min ms", "yardstick median ms", "yardstick min ms")
    return markdown_table(head, cells)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def document(bench: Bench, *, machine: str, quick: bool) -> str:
    """Return the page that keeps one run of the benchmark."""
    parts = ["# Performance", machine + ".", ratio_table(bench.rows)]
    if quick:
        parts.insert(1, "From a `--quick` run: short, and the large history is 50,000 runs; do not judge by it.")
    parts += [f"- {fault}" for fault in bench.faults]
    parts += [
        "## Times",
        timing_table(bench.timings),
        *bench.notes,
        "## How it was measured",
        HOW.read_text(encoding="utf-8").strip(),
    ]
    return "\n\n".join(parts) + "\n"
