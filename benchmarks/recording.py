"""What keeping a record costs: alone, beside seven others, and at any length of history."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench import TIMES, Row, baseline, finish_worker, ratio_row, say
from machine import cores
from processes import Samples, check_command, interleave

if TYPE_CHECKING:
    from bench import Bench
    from environments import Home

RECORD_LIMIT_US = 50
# Flat means no trend; one and the same measure repeated on a busy machine differs by as much as this.
FLAT = 1.3
ON_LIMIT = 2.5
WRITERS = 8
RATE_LIMIT = 50_000
SMALL_HISTORY = 10_000
RECORD_ROUNDS = 5
US_PER_S = 1_000_000


def histories(bench: Bench) -> tuple[int, int, int]:
    return 0, SMALL_HISTORY, bench.sizes.large_history


def measure_record(bench: Bench) -> None:
    """Time `record_execution` in one process at each history: everything between first call and last return."""
    sizes = histories(bench)
    times: dict[int, list[float]] = {runs: [] for runs in sizes}
    for _ in range(RECORD_ROUNDS):
        for runs in sizes:
            # What grows by a round is made anew, unless a round is little beside it.
            home = bench.history(runs) if runs == bench.sizes.large_history else bench.new_history(runs)
            times[runs].append(_record_us(bench, home))
    fastest_us = min(statistics.median(found) for found in times.values())
    for runs in sizes:
        us = statistics.median(times[runs])
        ok = us <= RECORD_LIMIT_US and us <= fastest_us * FLAT
        budget = f"≤ {RECORD_LIMIT_US} µs, ≤ {FLAT} {TIMES} the fastest of these"
        what = f"`record_execution`, {runs:,} runs of history"
        bench.rows.append(Row(what, budget, f"{us:.1f} µs", f"{us / fastest_us:.2f} {TIMES}", ok))


def _record_us(bench: Bench, home: Home) -> float:
    took = bench.work("record", home, bench.sizes.records)
    seconds: float = took["ended"] - took["began"]
    return seconds / bench.sizes.records * US_PER_S


def measure_writers(bench: Bench) -> None:
    """Have eight processes record at once, then ask the store for every item: the sum must be what was recorded."""
    written = WRITERS * bench.sizes.writer_records
    rates, closed_rates, lost = [], [], 0
    for _ in range(bench.sizes.writer_rounds):
        home = bench.new_home("writers", enabled=True)
        say(f"{WRITERS} processes record {written:,} runs together")
        seconds, until_closed_s = _write_together(bench, home)
        rates.append(written / seconds)
        closed_rates.append(written / until_closed_s)
        lost += written - bench.work("count", home, written)["runs"]
    if lost:
        bench.faults.append(f"{WRITERS} processes recorded {written:,} runs each round, the store knows {lost:,} fewer")
    rate = statistics.median(rates)
    budget = f"≥ {RATE_LIMIT:,} records/s on 2 cores, none lost"
    seen = f"{rate:,.0f} records/s on {cores()} cores, {lost} lost"
    ratio = f"{rate / RATE_LIMIT:.2f} {TIMES} the budget"
    bench.rows.append(Row(f"{WRITERS} processes recording", budget, seen, ratio, rate >= RATE_LIMIT and not lost))
    bench.notes.append(
        f"Until the last of the {WRITERS} recording processes had closed its store, and so projected,"
        f" {statistics.median(closed_rates):,.0f} runs/s."
    )


def _write_together(bench: Bench, home: Home) -> tuple[float, float]:
    """Return seconds from the first call in any process to the last return in any, and to the last close."""
    workers = [bench.start_worker("record", home, bench.sizes.writer_records) for _ in range(WRITERS)]
    for worker in workers:
        assert worker.stdout is not None  # it was asked for
        worker.stdout.readline()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    times = [finish_worker(worker) for worker in workers]
    began = min(took["began"] for took in times)
    return max(took["ended"] for took in times) - began, max(took["closed"] for took in times) - began


def measure_run_with_histories(bench: Bench) -> None:
    """Time the whole `run-with tool x -- true`, telemetry on, at each history."""
    commands = {}
    for runs in histories(bench):
        home = bench.history(runs) if runs else bench.new_home("no-history", enabled=True)
        commands[f"{runs:,}"] = bench.rye(home, "run-with", "tool", "item-0001", "--", "true")
        commands.setdefault("pass", baseline(bench.wheel, home))
    for command in commands.values():
        check_command(command)
    times = interleave(commands, rounds=max(bench.sizes.rounds // 2, 5))
    base = times.pop("pass")
    for runs_text, samples in times.items():
        named = Samples(f"`run-with … -- true`, on, {runs_text} runs of history", samples.times_ms)
        bench.rows.append(ratio_row(named.name, named, base, limit=ON_LIMIT, of="`python -c pass`"))
        bench.timings.append((named, base))
