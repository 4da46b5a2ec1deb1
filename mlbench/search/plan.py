"""What a search is asked for."""

from dataclasses import dataclass

from mlbench.arrivals.kind import ArrivalKind
from mlbench.queueing.line import Queue


@dataclass(frozen=True)
class SearchPlan:
    """All that a search needs to know before its first trial.

    `kinds` and `max_latencies_s`: each pair of an arrival kind and a latency limit in seconds is
    one answer. `max_trial_s` limits one trial, `budget_s` the measured seconds of all of them.
    `precision`: relative half-width of the 95 % interval that ends the search. `queue`: the shape
    of the pool. `first_guess_qps`: about the rate that saturates it.
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

    def __post_init__(self) -> None:
        positive = (self.max_trial_s, self.budget_s, self.precision, self.first_guess_qps)
        if min(*positive, *self.max_latencies_s) <= 0 or not self.kinds:
            raise ValueError("a plan needs arrival kinds and positive times, rates and precision")
        if not 0 < self.percentile < 100:
            raise ValueError(f"a percentile lies between 0 and 100, not at {self.percentile}")
