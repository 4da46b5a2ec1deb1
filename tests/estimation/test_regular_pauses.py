"""Regular pauses are found in service times, and others are not taken for them."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mlbench.estimation.learning import learn
from mlbench.estimation.pauses import regular_pauses, without_pauses
from mlbench.outcomes import LatencyLimit
from mlbench.pool.virtual import Batch, Service, VirtualPool
from mlbench.queueing import ServiceTimes, predict_capacity
from mlbench.queueing.line import Queue, line_latencies
from mlbench.trial.schedule import make_schedule
from mlbench.trial.service_log import ServiceLog, service_log

_SERVICE_S, _PAUSE_S = 0.002, 0.020


def _pausing(length_s: Callable[[int], float] = lambda _: _PAUSE_S) -> Service:
    """A device of 2 ms that stops at the beginning of each second."""

    def serve(_: np.random.Generator, batch: Batch) -> float:
        now_s, left_s = batch.start_s, _SERVICE_S
        while True:
            second = math.floor(now_s)
            now_s = max(now_s, second + length_s(second))
            if now_s + left_s <= second + 1:
                return now_s + left_s - batch.start_s
            left_s -= max(second + 1 - now_s, 0.0)
            now_s = second + 1.0

    return serve


def _logs(service: Service, qps: float = 300.0, queries: int = 6000) -> list[ServiceLog]:
    pool = VirtualPool(service)
    return [
        service_log(pool.run(make_schedule("exponential", qps, queries, seed))) for seed in (1, 2)
    ]


def _stalling(rng: np.random.Generator, _: Batch) -> float:
    return _SERVICE_S + (_PAUSE_S if rng.random() < 1 / 300 else 0.0)


def test_pauses_of_a_device_are_found() -> None:
    """Of 20 ms each second the length and the distance are told to a tenth."""
    found = regular_pauses(_logs(_pausing()))
    assert found is not None
    assert found.gap_s == pytest.approx(1.0, rel=0.02)
    assert found.length_s == pytest.approx(_PAUSE_S, rel=0.1)


def test_pauses_that_strike_nobody_are_known_to_have_been() -> None:
    """At 60 qps two of five pauses strike no query, and the distance is told all the same."""
    found = regular_pauses(_logs(_pausing(), qps=60.0))
    assert found is not None
    assert found.gap_s == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize(
    "service",
    [
        pytest.param(lambda rng, _: _SERVICE_S * rng.standard_exponential(), id="exponential"),
        pytest.param(_stalling, id="stalls by chance"),
        pytest.param(_pausing(lambda second: 0.01 + 0.05 * (second % 3)), id="unlike pauses"),
        pytest.param(lambda _rng, _batch: _SERVICE_S, id="constant"),
    ],
)
def test_what_is_not_regular_is_no_pause(service: Service) -> None:
    """Service times that are long by chance, or by unlike amounts, are left as they are."""
    assert regular_pauses(_logs(service)) is None


def test_service_times_are_learnt_without_the_pauses() -> None:
    """What the pauses added is taken out of the service times, and of their mean."""
    logs = _logs(_pausing())
    assert np.quantile(without_pauses(logs[0]).seconds, 0.999) < 3 * _SERVICE_S
    means = learn(logs, Queue()).mean_times
    assert means.by_size_s[1] == pytest.approx(_SERVICE_S, rel=0.02)
    assert means.pause_s == pytest.approx(_PAUSE_S, rel=0.1)


def test_a_line_with_pauses_plays_as_a_device_that_stops() -> None:
    """The simulated queue gives the latencies of a virtual pool whose device pauses."""
    schedule = make_schedule("exponential", 400.0, 4000, seed=3)
    pool = VirtualPool(_pausing())
    expected_s = pool.run(schedule).latency_s
    times = ServiceTimes.constant(_SERVICE_S)
    means = replace(times.mean_times, pause_gap_s=1.0, pause_s=_PAUSE_S)
    arrive_s = schedule.due_ns[None] * 1e-9
    got_s = line_latencies(Queue(), means, arrive_s, np.ones_like(arrive_s))[0]
    assert got_s == pytest.approx(expected_s, abs=2e-8)


def test_regular_pauses_leave_a_higher_capacity_than_pauses_by_chance() -> None:
    """With 20 ms each second 386.6 qps hold 30 ms, as 8 million queries of such a device tell."""
    times = ServiceTimes.constant(_SERVICE_S)
    means = replace(times.mean_times, pause_gap_s=1.0, pause_s=_PAUSE_S)
    paused = replace(times, mean_times=means)
    found = predict_capacity(Queue(), paused, "exponential", LatencyLimit(99.0, 0.030))
    assert found is not None
    assert found.qps == pytest.approx(386.6, rel=0.005)


def test_an_idle_device_that_pauses_is_late_as_often_as_it_pauses() -> None:
    """Over 15 ms take those that arrive in the first 7 of 20 ms, or in the 2 ms before: 0.9 %."""
    times = ServiceTimes.constant(_SERVICE_S)
    means = replace(times.mean_times, pause_gap_s=1.0, pause_s=_PAUSE_S)
    unloaded_s = replace(times, mean_times=means).unloaded_s()
    assert (unloaded_s > 0.015).mean() == pytest.approx(0.009, rel=0.05)
