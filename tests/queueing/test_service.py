import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

from mlbench.queueing.line import Floats, MeanTimes, Queue
from mlbench.queueing.service import ServiceTimes, block_indices
from mlbench.stats.percentiles import percentile


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
    assert set(times.unloaded_s()) == {0.002, 0.004}
    assert percentile(times.unloaded_s(), 50) == 0.002
    assert percentile(times.unloaded_s(), 99) == 0.004
    assert times.saturated_qps(Queue(2)) == pytest.approx(750)


def test_lone_queries_are_as_slow_as_after_the_longest_idle_time() -> None:
    """A device that is slower the longer it idles serves a lone query the slowest way."""
    cold = MeanTimes(np.array([0.0, 0.002]), np.array([0.001]), np.array([1.2, 1.5]))
    times = replace(ServiceTimes.constant(0.002), mean_times=cold)
    assert times.unloaded_s() == pytest.approx(0.003)
    assert times.saturated_qps(Queue()) == pytest.approx(500)


def _lognormal(seed: int, cv: float, m: int) -> Floats:
    sigma = math.sqrt(math.log1p(cv**2))
    return 0.002 * np.random.default_rng(seed).lognormal(-(sigma**2) / 2, sigma, m)


@pytest.mark.parametrize("cv", [0.1, 1.0])
def test_times_that_look_lognormal_have_its_quantiles(cv: float) -> None:
    """From 2,000 lognormal times far quantiles are nearer to the truth than those measured."""
    sigma, far = math.sqrt(math.log1p(cv**2)), 0.9995
    true = -(sigma**2) / 2 + sigma * ndtri(far)
    drawn, measured = [], []
    for seed in range(20):
        times = ServiceTimes.sampled(_lognormal(seed, cv, 2000))
        mean = np.log(times.mean_times.by_size_s[1] / 0.002)
        drawn.append(np.log(np.quantile(times.quantiles, far)) + mean - true)
        measured.append(np.log(np.quantile(times.ratio, far)) + mean - true)
    assert np.mean(np.square(drawn)) < 0.4 * np.mean(np.square(measured))
    assert abs(np.mean(drawn)) < 0.1 * sigma


OTHERS = {
    "two modes": lambda rng: np.where(rng.random(5000) < 0.9, 1.0, 6.0),
    "noisy modes": lambda rng: (
        np.where(rng.random(5000) < 0.5, 1.5, 1.0) * rng.lognormal(0, 0.1, 5000)
    ),
    "rare stalls": lambda rng: (
        np.where(rng.random(5000) < 0.003, 16.0, 1.0) * rng.lognormal(0, 0.1, 5000)
    ),
    "exponential": lambda rng: rng.exponential(1.0, 5000),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_times_stay_as_measured(kind: str) -> None:
    """Times that are not lognormal keep their quantiles, to 3 % even of a mode or a stall."""
    times = ServiceTimes.sampled(0.002 * OTHERS[kind](np.random.default_rng(3)))
    at = [0.05, 0.5, 0.85, 0.95, 0.99, 0.999]
    assert np.quantile(times.quantiles, at) == pytest.approx(np.quantile(times.ratio, at), rel=0.03)


@pytest.mark.parametrize("kind", [*OTHERS, "lognormal", "constant", "one"])
def test_the_quantiles_keep_the_mean(kind: str) -> None:
    """However the distribution is smoothed, the mean service time is the measured one."""
    seconds = {
        "lognormal": _lognormal(1, 1.0, 3000),
        "constant": np.full(100, 0.002),
        "one": np.array([0.002]),
    }.get(kind)
    if seconds is None:
        seconds = 0.002 * OTHERS[kind](np.random.default_rng(4))
    times = ServiceTimes.sampled(seconds)
    assert len(times.quantiles) == 32_768
    assert (np.diff(times.quantiles) >= 0).all()
    assert times.quantiles.mean() == pytest.approx(1.0, rel=2e-3)


def test_draws_follow_the_weights() -> None:
    """A trial whose weight is 0 is drawn from only where a block runs on into it."""
    for block in (1, 4):
        times = ServiceTimes(
            MeanTimes(np.array([0.0, 1.0])),
            np.repeat([1.0, 3.0], 100),
            np.repeat([0.01, 0.0], 100),
            np.repeat([0, 1], 100),
            block,
        )
        drawn = times.draw(np.random.default_rng(1), 4, 1000)
        assert drawn.shape == (4, 1000)
        assert 1 - (drawn == 1.0).mean() <= 0.02 * (block > 1)
