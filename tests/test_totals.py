from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import make_run

from rye_telemetry.lines import instant_text
from rye_telemetry.model import ENDED
from rye_telemetry.totals import Totals, totals_from_json, totals_to_json


def totals_of(*runs):
    totals = Totals("tool", "x")
    for run in runs:
        totals.add_run(run)
    return totals


def with_durations(durations):
    return totals_of(*(make_run(run_id="r", duration_ms=round(duration, 3)) for duration in durations))


def nearest_rank(values, share):
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]


def near(exact):
    return pytest.approx(exact, rel=0, abs=0.02 * exact + 0.0005)  # published with three decimals


rng = random.Random(7)
DISTRIBUTIONS = {
    "uniform": [rng.uniform(1, 1000) for _ in range(2000)],
    "exponential": [rng.expovariate(1 / 250) + 0.01 for _ in range(2000)],
    "lognormal over nine decades": [min(1e12, max(0.01, rng.lognormvariate(5, 4))) for _ in range(2000)],
    "bimodal": [rng.gauss(10, 0.1) for _ in range(1500)] + [rng.gauss(30_000, 5) for _ in range(500)],
    "integers": list(range(1, 101)),
    "days": [rng.uniform(1, 30) * 86_400_000 for _ in range(500)],
    "two": [1.0, 1_000_000.0],
    "constant": [123.456] * 50,
    "powers of the base": [1.04**n for n in range(1, 400)],
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.95, 0.99, 1.0])
def test_a_percentile_is_the_nearest_rank_within_two_percent(name, share):
    durations = [round(duration, 3) for duration in DISTRIBUTIONS[name]]
    exact = nearest_rank(durations, share)
    assert with_durations(durations).percentile_ms(share) == near(exact)


@given(st.lists(st.floats(0.05, 1e12), min_size=1, max_size=60), st.sampled_from([0.5, 0.95]))
def test_a_percentile_is_within_two_percent_of_any_durations(durations, share):
    durations = [round(duration, 3) for duration in durations]
    exact = nearest_rank(durations, share)
    assert with_durations(durations).percentile_ms(share) == near(exact)


@pytest.mark.parametrize("duration", [0, 0.001, 0.004, 1, 42.195, 1e13])
def test_percentiles_of_a_single_duration_are_exact(duration):
    totals = with_durations([duration])
    assert totals.percentile_ms(0.5) == totals.percentile_ms(0.95) == totals.avg_duration_ms == duration


def test_the_average_is_exact():
    durations = [0.1, 0.2, 0.3, 1234.567, 0]
    assert with_durations(durations).avg_duration_ms == round(statistics.fmean(durations), 3) == 247.033


def test_runs_without_a_duration_are_left_out_of_average_and_percentiles():
    totals = totals_of(make_run(duration_ms=10), make_run(duration_ms=None), make_run(duration_ms=20))
    assert (totals.total_runs, totals.avg_duration_ms, totals.percentile_ms(1)) == (3, 15, 20)


def test_nothing_is_known_of_an_item_without_runs():
    totals = Totals("tool", "x")
    assert (totals.total_runs, totals.avg_duration_ms, totals.success_rate, totals.percentile_ms(0.5)) == (
        0,
        None,
        None,
        None,
    )


def test_cancelled_and_abandoned_runs_say_nothing_about_success():
    counts = {"success": 5, "failure": 2, "timeout": 1, "partial": 1, "cancelled": 7, "abandoned": 9}
    totals = totals_of(*(make_run(outcome=outcome) for outcome, count in counts.items() for _ in range(count)))
    assert totals.total_runs == 25
    assert totals.success_rate == 0.556  # 5 of 9
    assert totals_of(make_run(outcome="cancelled"), make_run(outcome="abandoned")).success_rate is None


def test_the_last_run_is_the_latest_end_in_whatever_order_runs_come():
    runs = [
        make_run(ended_at=instant_text(n * 10**9), outcome=outcome, error=f"e{n}")
        for n, outcome in enumerate(["success", "failure", "timeout"])
    ]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        totals = totals_of(*(runs[n] for n in order))
        assert (totals.last_run, totals.last_outcome, totals.last_error) == (instant_text(2 * 10**9), "timeout", "e2")
        assert [outcome for _, outcome in totals.recent] == ["success", "failure", "timeout"]


def test_last_error_is_gone_after_a_success():
    totals = totals_of(
        make_run(ended_at=instant_text(1), outcome="failure", error="no"),
        make_run(ended_at=instant_text(10**9), error="a warning"),
    )
    assert totals.last_error is None


def test_runs_that_end_in_the_same_millisecond_stay_in_the_order_they_came():
    late = [make_run(ended_at=instant_text(10**9), outcome=outcome) for outcome in ("success", "failure")]
    totals = totals_of(*late, make_run(ended_at=instant_text(0), outcome="partial"))
    assert [outcome for _, outcome in totals.recent] == ["partial", "success", "failure"]
    assert totals.last_outcome == "failure"


def test_the_last_ten_outcomes_are_kept():
    runs = [make_run(ended_at=instant_text(n * 10**9), outcome=ENDED[n % 6]) for n in range(25)]
    assert [outcome for _, outcome in totals_of(*runs).recent] == [ENDED[n % 6] for n in range(15, 25)]


def test_paths_are_kept_once_in_the_order_they_came():
    totals = totals_of(*(make_run(path=path) for path in ("/b", "/a", "/b", None)))
    assert totals.paths == ["/b", "/a"]


runs = st.lists(
    st.builds(
        lambda outcome, at, duration, calls, path: make_run(
            run_id="r",
            outcome=outcome,
            ended_at=instant_text(at * 10**9),
            duration_ms=duration,
            http_calls=calls,
            path=path,
        ),
        st.sampled_from(ENDED),
        st.integers(0, 2**31),
        st.none() | st.integers(0, 10**13),
        st.none() | st.integers(0, 2**53 - 1),
        st.none() | st.text(max_size=5),
    ),
    max_size=30,
)


@given(runs)
def test_totals_survive_being_stored(given_runs):
    totals = totals_of(*given_runs)
    stored = totals_from_json("tool", "x", totals_to_json(totals))
    assert totals_to_json(stored) == totals_to_json(totals)
    assert stored.published() == totals.published()


@given(runs, runs)
def test_totals_of_two_parts_add_up_to_the_totals_of_the_whole(first, second):
    whole, part = totals_of(*first, *second), totals_of(*first)
    part.add_totals(totals_of(*second))
    for name in (
        "counts",
        "duration_count",
        "duration_min_ms",
        "duration_max_ms",
        "histogram",
        "http_calls",
        "paths",
        "last_run",
    ):
        assert getattr(part, name) == getattr(whole, name)
    assert part.duration_sum_ms == pytest.approx(whole.duration_sum_ms)
    assert [at for at, _ in part.recent] == [at for at, _ in whole.recent]


def test_counts_stop_at_what_every_reader_of_json_can_hold():
    totals = totals_of(*(make_run(http_calls=2**53 - 1, subprocess_calls=2**53 - 1) for _ in range(3)))
    totals.add_totals(totals_of(make_run(http_calls=5)))
    assert totals.http_calls == totals.subprocess_calls == 2**53 - 1
