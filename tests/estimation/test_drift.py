import numpy as np
import pytest

from mlbench.estimation.drift import find_drift
from mlbench.queueing.line import Floats
from mlbench.queueing.service import NO_DRIFT

Trials = tuple[list[Floats], list[Floats]]


def _trials(
    begins_s: tuple[float, ...], per_s: float = 0.0, per_s_within: float = 0.0, seed: int = 1
) -> Trials:
    """Trials of 8 s, 2,000 batches each, of a device that drifts; or only within each trial."""
    rng = np.random.default_rng(seed)
    ratios, times = [], []
    for begin_s in begins_s:
        inside = np.sort(rng.uniform(0, 8, 2000))
        slowdown = np.exp(per_s * (begin_s + inside) + per_s_within * inside)
        ratios.append(slowdown * rng.lognormal(0, 0.1, 2000))
        times.append(begin_s + inside)
    return ratios, times


@pytest.mark.parametrize("per_s", [0.002, -0.003])
def test_a_steady_drift_is_found_with_its_error(per_s: float) -> None:
    """Three trials of 8 s tell a drift of 0.2 % a second to a tenth of it."""
    drift = find_drift(*_trials((0.0, 9.0, 18.0), per_s))
    assert abs(drift.per_s - per_s) < 4 * drift.error_per_s < abs(per_s)
    assert drift.end_s == pytest.approx(26.0, abs=0.1)
    assert drift.age_s == pytest.approx(13.0, abs=0.3)


def test_a_drift_that_is_hardly_seen_is_no_chance() -> None:
    """Two trials that show 0.2 % a second at between 3 and 4 standard errors show a drift."""
    drift = find_drift(*_trials((0.0, 9.0), 0.002, seed=9))
    assert 3 * drift.error_per_s < drift.per_s < 4 * drift.error_per_s


def test_service_times_are_carried_forward() -> None:
    """What a device took 10 s before the end, it takes 2 % longer now."""
    drift = find_drift(*_trials((0.0, 9.0, 18.0), 0.002))
    assert drift.slowdown(drift.end_s - 10.0) == pytest.approx(0.98, abs=0.003)
    assert drift.slowdown(drift.end_s) == 1.0


@pytest.mark.parametrize("seed", range(20))
def test_a_steady_device_does_not_drift(seed: int) -> None:
    """Chance alone is not taken for a drift."""
    assert find_drift(*_trials((0.0, 9.0, 18.0), seed=seed)) == NO_DRIFT


def test_what_each_trial_begins_anew_is_no_drift() -> None:
    """A device that slows down in each trial and is quick again in the next does not drift."""
    assert find_drift(*_trials((0.0, 9.0, 18.0), per_s_within=0.004)) == NO_DRIFT


def test_trials_that_differ_but_are_steady_are_no_drift() -> None:
    """Means that differ from trial to trial, as under different loads, are no drift."""
    ratios, times = _trials((0.0, 9.0, 18.0))
    ratios = [ratio * level for ratio, level in zip(ratios, (1.0, 1.1, 1.2), strict=True)]
    assert find_drift(ratios, times) == NO_DRIFT


def test_too_short_trials_tell_nothing() -> None:
    """Without a trial of 200 batches there is no drift to be seen."""
    ratios, times = _trials((0.0,), 0.01)
    assert find_drift([ratios[0][:150]], [times[0][:150]]) == NO_DRIFT
