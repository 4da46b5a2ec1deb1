"""The level of service times over time, over the rate, and from trial to trial."""

import math

import numpy as np
import pytest

from mlbench.estimation.speed import Forecast, Levels, Speed
from mlbench.queueing.line import Floats

ERROR = 0.005


def _levels(true: Floats, qps: Floats | None = None, error: float = ERROR, seed: int = 1) -> Levels:
    """Trials of 10 s, with parts of a second whose levels (trials, parts) are measured."""
    trials, parts = true.shape
    noise = np.random.default_rng(seed).normal(0.0, error, true.size)
    return Levels(
        level=true.ravel() + noise,
        error=np.full(true.size, error),
        at_s=10.0 * np.repeat(np.arange(trials), parts) + np.tile(np.arange(parts), trials) + 0.5,
        log_qps=np.log(np.repeat(np.full(trials, 250.0) if qps is None else qps, parts)),
        trial=np.repeat(np.arange(trials), parts),
    )


def _forecast(
    true: Floats, qps: Floats | None = None, at_qps: float = 250.0, seed: int = 1
) -> Forecast:
    return Speed(_levels(true, qps, seed=seed)).forecast(at_qps)


def test_a_steady_device_is_forecast_to_little_more_than_its_sampling_error() -> None:
    """Of ten steady trials the mean is known, and little is added for what might have changed."""
    sampling = ERROR / math.sqrt(100)
    for seed in range(5):
        found = _forecast(np.zeros((10, 10)), seed=seed)
        assert abs(found.mean) < 4 * sampling
        assert sampling**2 < found.variance < (4 * sampling) ** 2


def test_a_step_is_followed() -> None:
    """A device that became slower within a trial is forecast as it is in the end."""
    true = np.zeros((8, 10))
    true[3, 5:], true[4:] = 0.15, 0.15
    speed = Speed(_levels(true))
    found = speed.forecast(250.0)
    assert found.mean == pytest.approx(0.15, abs=0.02)
    assert found.mean - 2 * math.sqrt(found.variance) > true.mean()
    assert speed.smoothed().reshape(8, 10)[3, [2, 8]] == pytest.approx([0.0, 0.15], abs=0.015)


@pytest.mark.parametrize("before", [2, 5])
def test_a_step_between_trials_leaves_both_levels_possible(before: int) -> None:
    """It may be a step or trials that scatter: the level in the end lies within two deviations."""
    true = np.repeat([0.0, 0.15], [before, 3])[:, None] + np.zeros((before + 3, 10))
    found = _forecast(true)
    assert abs(found.mean - 0.15) < 2 * math.sqrt(found.variance)


@pytest.mark.parametrize("seed", range(3))
def test_trials_that_scatter_make_the_next_one_as_uncertain(seed: int) -> None:
    """Levels that differ by 10 % from trial to trial give a forecast with about that deviation."""
    own = 0.1 * np.random.default_rng(seed).standard_normal(10)
    found = _forecast(own[:, None] + np.zeros((10, 10)))
    assert math.sqrt(found.variance) == pytest.approx(0.1, rel=0.5)
    assert found.mean == pytest.approx(own.mean(), abs=0.06)


def test_few_trials_leave_the_next_one_less_certain_than_many() -> None:
    """Three trials that scatter by 10 % say less of the next one than their spread."""
    own = np.array([-0.1, 0.0, 0.1])
    few, many = _forecast(own[:, None] + np.zeros((3, 10))), np.tile(own, 4)
    assert few.variance > 1.2 * _forecast(many[:, None] + np.zeros((12, 10))).variance


def test_a_level_that_depends_on_the_rate_is_forecast_by_rate() -> None:
    """A device that takes 30 % longer at twice the rate is known at each rate that was tried."""
    qps = np.array([100.0, 200.0, 140.0, 190.0, 105.0, 150.0, 195.0, 145.0])
    true = math.log(1.3) * np.log2(qps / 100)
    speed = Speed(_levels(true[:, None] + np.zeros((8, 10)), qps))
    for at_qps in (102.0, 145.0, 195.0):
        found = speed.forecast(at_qps)
        assert found.mean == pytest.approx(math.log(1.3) * math.log2(at_qps / 100), abs=0.02)
        assert math.sqrt(found.variance) < 0.03
    assert speed.forecast(600.0).variance > 4 * found.variance  # where nothing was tried


def test_a_random_walk_is_forecast_from_where_it_is() -> None:
    """A level that wanders by 1 % a second is where it was last, and as uncertain as 5 s allow."""
    deviations, stated = [], []
    for seed in range(6):
        walk = 0.01 * np.random.default_rng(seed).standard_normal(100).cumsum()
        found = _forecast(walk.reshape(10, 10), seed=seed)
        deviations.append(found.mean - walk[-1])
        stated.append(math.sqrt(found.variance))
    assert np.sqrt(np.mean(np.square(deviations))) < 0.012
    assert np.median(stated) == pytest.approx(0.01 * math.sqrt(5.5), rel=0.3)


def test_measured_levels_are_smoothed() -> None:
    """The level that is expected in each part of a trial is nearer to the truth than measured."""
    levels = _levels(np.zeros((4, 10)), error=0.02)
    smoothed = Speed(levels).smoothed()
    assert smoothed.std() < 0.3 * levels.level.std()


def test_draws_have_the_mean_and_the_variance_of_the_mixture() -> None:
    """Of two normal distributions with means 0 and 1, and weights 3 to 1."""
    mixture = Forecast(np.array([0.0, 1.0]), np.array([0.01, 0.04]), np.array([0.75, 0.25]))
    drawn = mixture.draw(np.random.default_rng(1), 20_000)
    assert (mixture.mean, mixture.variance) == pytest.approx((0.25, 0.0175 + 0.1875))
    assert drawn.mean() == pytest.approx(mixture.mean, abs=0.02)
    assert drawn.var() == pytest.approx(mixture.variance, rel=0.05)


def test_one_part_of_one_trial_gives_a_forecast() -> None:
    """A single level is a forecast with an error that is no less than its own."""
    found = _forecast(np.full((1, 1), 0.2))
    assert found.mean == pytest.approx(0.2, abs=4 * ERROR)
    assert found.variance > ERROR**2
