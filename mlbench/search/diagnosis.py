"""What the service times of a search's trials say about the device, in words."""

from collections.abc import Sequence

import numpy as np

from mlbench.search.drift import is_certain, slope_within
from mlbench.search.observation import Observation
from mlbench.search.stats import correlation_time

_FEWEST = 200  # batches of a trial
_STALL = 5.0  # times the median
_RUNS = 10.0  # batches in a row that go together


def diagnose(observations: Sequence[Observation]) -> list[str]:
    """Return findings that make an estimate less trustworthy, each with its figure."""
    long_enough = [seen for seen in observations if len(seen.log.seconds) >= _FEWEST]
    if not long_enough:
        return []
    findings = [_drift(long_enough), _stalls(long_enough), _runs(long_enough)]
    return [finding for finding in findings if finding]


def _drift(observations: Sequence[Observation]) -> str | None:
    slope = slope_within(
        [seen.log.seconds for seen in observations], [seen.log.done_s for seen in observations]
    )
    if slope is None or not is_certain(slope):
        return None
    word = "slowed down" if slope.mean > 0 else "sped up"
    return f"the device {word} while it was measured, by {abs(slope.mean):.2%} a second"


def _stalls(observations: Sequence[Observation]) -> str | None:
    seconds = np.concatenate([seen.log.seconds for seen in observations])
    count = int((seconds > _STALL * np.median(seconds)).sum())
    if not 0 < count < 0.01 * len(seconds):
        return None
    return (
        f"{count:,} of {len(seconds):,} batches took more than {_STALL:g} times the median (stalls)"
    )


def _runs(observations: Sequence[Observation]) -> str | None:
    longest = max(
        correlation_time(seen.log.seconds[seen.log.worker == worker])
        for seen in observations[1:] or observations
        for worker in np.unique(seen.log.worker)
    )
    if longest < _RUNS:
        return None
    return f"slow and fast batches come in runs of about {longest:.0f}"
