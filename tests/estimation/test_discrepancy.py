"""What is believed of the discrepancy between measured and simulated percentiles."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mlbench.arrivals.exponential import Exponential
from mlbench.estimation.discrepancy import Discrepancy, discrepancy
from mlbench.estimation.learning import learn
from mlbench.estimation.observation import observe
from mlbench.outcomes import LatencyLimit, Trial, TrialRequest
from mlbench.pool.virtual import Service, SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule
from mlbench.trial.summary import summarise

LIMIT = LatencyLimit(99.0, 0.010)


def _believed(found: list[float], error: float) -> Discrepancy:
    return Discrepancy.told_by(range(len(found)), np.array(found), np.full(len(found), error))


@pytest.mark.parametrize("error", [0.02, 0.05, 0.1])
def test_small_noisy_differences_are_taken_for_chance(error: float) -> None:
    """Differences of about their errors leave less than 1 %."""
    believed = _believed([error, -0.5 * error, 1.2 * error, 0.1 * error], error)
    assert abs(believed.mean) < 0.01
    assert believed.sd < 0.02


def test_what_some_trials_say_can_be_left_out() -> None:
    """Without the two trials that differ by 30 %, what is left is what the others say alone."""
    together = _believed([0.01, 0.3, -0.01, 0.3], 0.02)
    alone = _believed([0.01, -0.01], 0.02)
    assert together.means_without([[1, 3], []]) == pytest.approx([alone.mean, together.mean])


@pytest.mark.parametrize("size", [0.15, 0.3, -0.3])
def test_a_large_difference_that_all_trials_show_is_left_nearly_whole(size: float) -> None:
    """Eight trials that differ alike by 15 % or more leave at least 95 % of it."""
    noise = 0.02 * np.tile([1.0, -1.0, 0.5, -0.5], 2)
    assert 0.95 < _believed((size + noise).tolist(), 0.02).mean / size < 1.05


def test_more_trials_narrow_it() -> None:
    """The standard deviation falls with the number of trials that agree."""
    sds = [_believed([0.2, 0.22, 0.18, 0.2] * n, 0.05).sd for n in (1, 4, 16)]
    assert sds[0] > 1.3 * sds[1] > 1.3 * 1.3 * sds[2]


def test_without_trials_it_is_none_to_a_percent_or_so() -> None:
    """Before anything is compared, the queue model is taken to be right to about a percent."""
    believed = _believed([], 0.1)
    assert believed.mean == pytest.approx(0.0, abs=1e-9)
    assert 0.007 < believed.sd < 0.03


def test_draws_have_its_mean_and_deviation() -> None:
    """Drawn discrepancies are distributed as the posterior is."""
    believed = _believed([0.2, 0.25, 0.15], 0.05)
    drawn = believed.draw(np.random.default_rng(1), 20_000)
    assert drawn.mean() == pytest.approx(believed.mean, abs=0.003)
    assert drawn.std() == pytest.approx(believed.sd, rel=0.05)


def _compared(service: Service, trials: int, queries: int, added_s: float = 0.0) -> Discrepancy:
    pool, seen = VirtualPool(service), []
    for number in range(trials):
        qps = 255.0 + number
        done = pool.run(make_schedule("exponential", qps, queries, number))
        lag_ns = send_lag_ns(done, Queue())
        request = TrialRequest(Exponential(), qps, queries, number, LIMIT.max_latency_s)
        one = observe(Trial(request, summarise(done), {}, qps), done, lag_ns)
        seen.append((number, replace(one, latency_s=one.latency_s + added_s)))
    learnt = learn([one.log for _, one in seen], Queue())
    return discrepancy(seen, learnt, Queue(), LIMIT, 258.0, seed=1)


def test_a_device_that_the_model_describes_has_none() -> None:
    """Trials of independent service times agree with their simulations to a percent."""
    found = _compared(SimulatedService(0.002, cv=0.3), 3, 3000)
    assert abs(found.mean) < 0.01
    assert found.sd < 0.02


def test_latency_that_no_service_time_explains_is_found() -> None:
    """3 ms that each query waits besides make a p99 of about 10 ms 30 % longer."""
    found = _compared(SimulatedService(0.002, cv=0.3), 8, 5000, added_s=0.003)
    assert found.mean == pytest.approx(math.log(1.3), abs=0.05)
    assert found.sd < 0.05


def test_trials_too_short_for_a_percentile_are_left_out() -> None:
    """Nothing is compared that has less than 30 queries, and nothing is then believed."""
    found = _compared(SimulatedService(0.002), 8, 25, added_s=0.030)
    assert found.mean == pytest.approx(0.0, abs=1e-9)
