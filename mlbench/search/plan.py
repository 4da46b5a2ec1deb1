"""What a search is asked for."""

import math
from dataclasses import dataclass

from mlbench.arrivals.kind import ArrivalKind
from mlbench.outcomes import LatencyLimit
from mlbench.queueing.line import Queue

AnswerKey = tuple[str, float]
"""The name of the arrivals and the latency limit in seconds that an answer is for."""

_LEAST_TRIAL = 0.2  # of the longest; its percentile would rest on a fifth of the late queries


@dataclass(frozen=True)
class SearchPlan:
    """All that a search needs to know before its first trial.

    Each pair of one of `kinds` and one of `max_latencies_s`, in seconds, gets an answer, but for
    those that are `finished`.
    `max_trial_s` limits the duration of one trial, `budget_s` that of all trials together. A trial
    takes `usual_trial_s` at most, unless the percentile needs more. With `short_turns` it does not
    once a trial has met the limit: what is found out then is by how much capacities differ.
    `precision`: the half-width of a 95 % interval, relative to its capacity, at which the search
    ends. `queue`: the shape of the pool. `first_guess_qps`: about the rate that saturates it.
    An estimate that places trials is made again when there are `growth` times as many trials. An
    answer is given up after `most_invalid` invalid trials in a row: what spoils three trials one
    after the other will spoil the next one.

    Raises ValueError without a kind, for times, rates or a precision of 0 or less, and for a
    percentile that is not between 0 and 100.
    """

    kinds: tuple[ArrivalKind, ...]
    max_latencies_s: tuple[float, ...]
    percentile: float
    max_trial_s: float
    budget_s: float
    precision: float
    seed: int
    queue: Queue
    first_guess_qps: float
    finished: frozenset[AnswerKey] = frozenset()
    usual_trial_s: float = math.inf
    growth: float = 1.0
    most_invalid: int = 3
    short_turns: bool = False

    def __post_init__(self) -> None:
        positive = (self.max_trial_s, self.budget_s, self.precision, self.first_guess_qps)
        if min(*positive, self.usual_trial_s, *self.max_latencies_s) <= 0 or not self.kinds:
            raise ValueError("a plan needs arrival kinds and positive times, rates and precision")
        if not 0 < self.percentile < 100:
            raise ValueError(f"a percentile lies between 0 and 100, not at {self.percentile}")

    @property
    def limits(self) -> list[LatencyLimit]:
        """The latency limits, in the order asked for."""
        return [LatencyLimit(self.percentile, at) for at in self.max_latencies_s]

    @property
    def least_trial_s(self) -> float:
        """The shortest time that is worth a trial, in seconds."""
        return _LEAST_TRIAL * min(self.max_trial_s, self.usual_trial_s, self.budget_s)
