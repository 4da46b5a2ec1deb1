"""What the service times of a search's trials say about the device, in words."""

from collections.abc import Sequence

import numpy as np

from mlbench.search.observation import Observation
from mlbench.search.stats import block_means, correlation_time, pool_estimates

_BLOCKS = 20
_STALL = 5.0  # times the median
_RUNS = 10.0  # batches in a row that go together


def diagnose(observations: Sequence[Observation]) -> list[str]:
    """Return findings that make an estimate less trustworthy, each with its figure."""
    long_enough = [seen for seen in observations if len(seen.log.seconds) >= 10 * _BLOCKS]
    if not long_enough:
        return []
    findings = [_drift(long_enough), _stalls(long_enough), _runs(long_enough)]
    return [finding for finding in findings if finding]


def _drift(observations: Sequence[Observation]) -> str | None:
    """Slope of the service time within trials, by regression on block means."""
    slopes, errors = [], []
    for seen in observations:
        means = block_means(np.log(np.maximum(seen.log.seconds, 1e-9)), _BLOCKS)
        time_s = block_means(seen.log.done_s, _BLOCKS)
        x = time_s - time_s.mean()
        slope = float(x @ means / (x @ x))
        rest = means - means.mean() - slope * x
        slopes.append(slope)
        errors.append(max(float(np.sqrt(rest @ rest / (_BLOCKS - 2) / (x @ x))), 1e-6))
    pooled = pool_estimates(np.array(slopes), np.array(errors))
    if abs(pooled.mean) < 4 * pooled.error or abs(pooled.mean) < 5e-4:
        return None
    word = "slowed down" if pooled.mean > 0 else "sped up"
    return f"the device {word} while it was measured, by {abs(pooled.mean):.2%} a second"


def _stalls(observations: Sequence[Observation]) -> str | None:
    seconds = np.concatenate([seen.log.seconds for seen in observations])
    count = int((seconds > _STALL * np.median(seconds)).sum())
    if not 0 < count < 0.01 * len(seconds):
        return None
    return (
        f"{count:,} of {len(seconds):,} batches took more than {_STALL:g} times the median (stalls)"
    )


def _runs(observations: Sequence[Observation]) -> str | None:
    longest = max(correlation_time(seen.log.seconds) for seen in observations[1:] or observations)
    if longest < _RUNS:
        return None
    return f"slow and fast batches come in runs of about {longest:.0f}"
