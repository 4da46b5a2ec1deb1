"""One answer in the making: what is known of it, and whether that is enough."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mlbench.arrivals.kind import ArrivalKind
from mlbench.estimation.estimate import Estimate
from mlbench.estimation.learning import NEAR
from mlbench.estimation.observation import Observation
from mlbench.outcomes import LatencyLimit, Trial, Verdict

FRACTION = 0.5
"""Of the estimate: a rate met below that tells little about the answer."""

_LATE = 1.5  # queries that may be late, in a trial that tells the percentile
_CLOSE = 0.041  # a rate met this close below the estimate, relatively, is close enough


@dataclass
class Goal:
    """The highest rate of one arrival kind that meets one limit, with the trials run for it."""

    kind: ArrivalKind
    limit: LatencyLimit
    estimate: Estimate | None = None
    seen: int = 0  # the number of trials that the estimate rests on
    thorough: bool = False  # whether the estimate is good enough for an answer
    tries: int = 0
    misses: int = 0  # in a row
    invalid: int = 0  # in a row
    closed: bool = False

    @property
    def max_latency_s(self) -> float:
        """The limit in seconds."""
        return self.limit.max_latency_s

    @property
    def fewest_queries(self) -> int:
        """The fewest queries of a trial that tell the percentile, with some to spare."""
        return math.ceil(100 * _LATE / (100 - self.limit.percentile))

    def owns(self, trial: Trial) -> bool:
        """Whether the trial was run for this answer."""
        request = trial.request
        return (request.kind, request.max_latency_s) == (self.kind, self.max_latency_s)

    def is_near(self, seen: Observation) -> bool:
        """Whether a trial, of any kind, loaded the device about as the estimated rate does."""
        known = self.estimate
        return bool(known and known.qps and abs(math.log(seen.qps / known.qps)) < NEAR)

    def count(self, trial: Trial) -> None:
        """Take note of how a trial of its own ended."""
        self.tries += 1
        verdict = trial.judgement.verdict
        self.invalid = self.invalid + 1 if verdict == "invalid" else 0
        if verdict != "invalid":
            self.misses = 0 if verdict == "pass" else self.misses + 1

    def rates(self, trials: Iterable[Trial], *verdicts: Verdict) -> list[Trial]:
        """Return the trials with such arrivals and one of these verdicts, the slowest first."""
        some = [
            trial
            for trial in trials
            if trial.request.kind == self.kind
            and trial.judgements[self.max_latency_s].verdict in verdicts
        ]
        return sorted(some, key=lambda trial: trial.request.target_qps)

    def met(self, trials: Iterable[Trial], known: Estimate | None) -> Trial | None:
        """Return the trial at the highest rate that met the limit and that the estimate supports.

        That is a quarter of the interval's width below the estimate: what is above may be luck.
        """
        limit_qps = known.supported_qps if known else math.inf
        return self.fastest(trials, limit_qps)

    def fastest(self, trials: Iterable[Trial], limit_qps: float) -> Trial | None:
        """Return the trial at the highest rate, up to the limit, that met the limit."""
        passed = self.rates(trials, "pass")
        return next((t for t in reversed(passed) if t.request.target_qps <= limit_qps), None)

    def has_rate(self, trials: Iterable[Trial]) -> bool:
        """Whether a trial met the limit at more than a fraction of what is possible."""
        best, known = self.met(trials, self.estimate), self.estimate
        return bool(best and known and known.qps and best.request.target_qps > FRACTION * known.qps)

    def is_close(self, trials: Iterable[Trial]) -> bool:
        """Whether a trial met the limit closely enough below the estimate."""
        best, known = self.met(trials, self.estimate), self.estimate
        if best is None or known is None or known.qps is None:
            return False
        return best.request.target_qps >= (1 - _CLOSE) * known.qps or not known.modelled
