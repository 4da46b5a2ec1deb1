from dataclasses import replace

import numpy as np
import pytest

from mlbench.queueing.line import MeanTimes, Queue
from mlbench.queueing.service import ServiceTimes, block_indices


def test_blocks_run_on_and_wrap_around() -> None:
    """A block bootstrap takes runs of consecutive samples, modulo the series."""
    indices = block_indices(10, 5, np.random.default_rng(3))
    assert len(indices) == 10
    assert (np.diff(indices[:5]) % 10 == 1).all()


def test_resampling_keeps_blocks_within_trials() -> None:
    """A bootstrap draws from each trial as many as it has."""
    times = ServiceTimes(
        ServiceTimes.constant(1.0).mean_times,
        np.repeat([1.0, 2.0], 50),
        np.full(100, 0.01),
        np.repeat([0, 1], 50),
        block=5,
    )
    drawn = times.resample(np.random.default_rng(2)).ratio
    assert set(drawn[:50]) == {1.0}
    assert set(drawn[50:]) == {2.0}


def test_lone_queries_meet_every_server_in_turn() -> None:
    """Of two servers that idle, the slow one serves every other query, and saturates as it can."""
    unlike = MeanTimes(np.array([0.0, 0.002]), slowdown=np.array([1.0, 2.0]))
    times = replace(ServiceTimes.constant(0.002), mean_times=unlike)
    assert times.unloaded_s().tolist() == [0.002, 0.004]
    assert times.unloaded_percentile_s(50) == 0.002
    assert times.unloaded_percentile_s(99) == 0.004
    assert times.saturated_qps(Queue(2)) == pytest.approx(750)


def test_the_error_of_the_unloaded_percentile() -> None:
    """It is about the spread of that percentile over many samples of such times."""
    sigma, m = 0.3, 4000
    tails, claimed = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        times = ServiceTimes.sampled(rng.lognormal(0, sigma, m))
        tails.append(np.log(np.percentile(times.unloaded_s(), 99)))
        claimed.append(times.unloaded_error(99, rng))
    assert np.mean(claimed) == pytest.approx(np.std(tails), rel=0.35)
