"""Measure rye-telemetry against its budgets and its peers; print one Markdown table of ratios.

    python benchmarks/run.py [--quick] [--only NAME] [--output docs/performance.md]

Runs from a checkout on Linux or macOS; makes its environments below benchmarks/.venv and needs PyPI for that.
Exit code 1: something could not be measured, or a record was lost. A missed budget is a `no` in the table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bake import measure_bake
from bench import FULL, QUICK, Bench, Row, say
from commits import measure_commits
from environments import NotInstalled
from machine import describe_machine
from overhead import measure_peers, measure_run_with
from processes import CommandFailed
from reading import measure_reading, measure_rebuild
from recording import measure_record, measure_run_with_histories, measure_writers
from report import document, ratio_table

from hooks import measure_hooks

if TYPE_CHECKING:
    from collections.abc import Sequence

# The large history is shared; what adds to it comes after what needs it as it was made.
MEASURES = {
    "run-with": measure_run_with,
    "hooks": measure_hooks,
    "commits": measure_commits,
    "bake": measure_bake,
    "peers": measure_peers,
    "reading": measure_reading,
    "rebuild": measure_rebuild,
    "history": measure_run_with_histories,
    "record": measure_record,
    "writers": measure_writers,
}


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    with tempfile.TemporaryDirectory(prefix="rye-benchmark-", ignore_cleanup_errors=True) as root:
        bench = Bench(QUICK if options.quick else FULL, Path(root))
        machine = describe_machine(Path(root))
        for name in options.only or MEASURES:
            measure(bench, name)
    print(f"{ratio_table(bench.rows)}\n\n{machine}.")
    for fault in bench.faults:
        say(fault)
    if options.output:
        options.output.write_text(document(bench, machine=machine, quick=options.quick), encoding="utf-8")
    return 1 if bench.faults else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure rye-telemetry against its budgets and its peers.")
    parser.add_argument("--quick", action="store_true", help="50,000 runs instead of 1,000,000, and few rounds")
    parser.add_argument("--only", action="append", choices=MEASURES, metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--output", type=Path, help="also write the page that keeps this run, docs/performance.md")
    options = parser.parse_args(arguments)
    if options.only and options.output:
        parser.error("--output keeps a whole run: leave out --only")
    if options.output:
        options.output = options.output.resolve()  # timing a command changes the working directory
    return options


def measure(bench: Bench, name: str) -> None:
    """Take one measure; what keeps it from being taken goes into the table, and the others go on."""
    say(name)
    try:
        MEASURES[name](bench)
    except (NotInstalled, CommandFailed) as e:
        bench.rows.append(Row(name, "—", f"not measured: {e}", "—", False))
        bench.faults.append(f"{name} could not be measured: {e}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
