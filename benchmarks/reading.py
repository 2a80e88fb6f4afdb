"""What asking costs: the commands that show, and the rebuild they rest on."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench import TIMES, Row, ratio_row
from processes import check_command, interleave

if TYPE_CHECKING:
    from bench import Bench

FEW_RUNS = 1000
STATUS_LIMIT = 1.5
REBUILD_LIMIT = 50_000
ASKED = (
    ("`status --json`", ("status", "--json"), STATUS_LIMIT),
    ("`status`", ("status",), STATUS_LIMIT),
    ("`status item-0001 --json`", ("status", "item-0001", "--json"), None),
    ("`runs list --json`", ("runs", "list", "--json"), None),
    ("`runs list`", ("runs", "list"), None),
    ("`runs list --item item-0001`", ("runs", "list", "--item", "item-0001"), None),
    ("`runs list --outcome timeout`, of which there is none", ("runs", "list", "--outcome", "timeout"), None),
)


def measure_reading(bench: Bench) -> None:
    """Time each command at 1,000 runs and at the large history, both over the same 1,000 items."""
    few, many = bench.history(FEW_RUNS), bench.history(bench.sizes.large_history)
    commands = {}
    for what, arguments, _ in ASKED:
        commands[f"{what}, {FEW_RUNS:,} runs"] = bench.rye(few, *arguments)
        commands[f"{what}, {bench.sizes.large_history:,} runs"] = bench.rye(many, *arguments)
    for command in commands.values():
        check_command(command)
    times = interleave(commands, rounds=bench.sizes.peer_rounds)
    for what, _, limit in ASKED:
        base = times[f"{what}, {FEW_RUNS:,} runs"]
        samples = times[f"{what}, {bench.sizes.large_history:,} runs"]
        bench.rows.append(ratio_row(samples.name, samples, base, limit=limit, of=f"at {FEW_RUNS:,} runs"))
        bench.timings.append((samples, base))


def measure_rebuild(bench: Bench) -> None:
    """Make the index and `telemetry.yaml` anew from the journal of the large history."""
    home = bench.history(bench.sizes.large_history)
    found = [bench.work("rebuild", home, 0) for _ in range(bench.sizes.rebuilds)]
    rate = statistics.median(took["runs"] / took["rebuild_s"] for took in found)
    known = int(found[-1]["runs"])
    bench.rows.append(
        Row(
            f"rebuild of {known:,} runs",
            f"≥ {REBUILD_LIMIT:,} runs/s",
            f"{rate:,.0f} runs/s",
            f"{rate / REBUILD_LIMIT:.2f} {TIMES} the budget",
            rate >= REBUILD_LIMIT,
        )
    )
