"""What is derived from trials: summaries, verdicts, estimates and answers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlbench.arrivals.kind import ArrivalKind

Verdict = Literal["pass", "fail", "undecided", "invalid"]
Purpose = Literal["saturation", "search"]

PERCENTILES = ("50", "80", "90", "95", "99", "99.9")
"""The percentiles that every summary carries, spelled as in the result file."""

UNMET = -1
"""The rate reported for a target that no trial met."""


@dataclass(frozen=True)
class LatencyLimit:
    """A percentile of the latency, 0 < percentile < 100, and the seconds it must stay within."""

    percentile: float
    max_latency_s: float


@dataclass(frozen=True)
class Judgement:
    """A verdict and its reasons in words, each with its figure."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """One trial in a few numbers; seconds and queries per second.

    `qps` is completed queries over `runtime_s`, the time from the first due time to the last
    completion. A percentile is None when there were too few queries to tell it.
    """

    qps: float
    mean_s: float | None
    runtime_s: float
    count: int
    percentiles: Mapping[str, float | None]


@dataclass(frozen=True)
class TrialRequest:
    """The trial that a search wants next, and the latency limit that it is run for.

    `max_backlog_s` ends it early, as `TrialRunner` says. `purpose`: a saturation trial offers more
    than the device serves, to learn service times; so short a trial meets or misses no limit."""

    kind: ArrivalKind
    target_qps: float
    queries: int
    seed: int
    max_latency_s: float
    max_backlog_s: float = math.inf
    purpose: Purpose = "search"


@dataclass(frozen=True)
class Trial:
    """A finished trial of a search: what was asked, what came out, and its verdict per target."""

    request: TrialRequest
    summary: Summary
    judgements: Mapping[float, Judgement]
    offered_qps: float
    notes: tuple[str, ...] = ()

    @property
    def judgement(self) -> Judgement:
        """The verdict for the target that the trial was run for."""
        return self.judgements[self.request.max_latency_s]


@dataclass(frozen=True)
class Answer:
    """The highest rate for one arrival kind and target, with how well it is known.

    `kind` is the name of the arrivals. `qps` is the target rate of `trial`, a real trial that met
    the limit, or UNMET. `capacity_qps` is the estimate of the true highest rate, `capacity_ci95`
    its 95 % interval. `trials`, `measured_s` and `queries` count what this answer rests on.
    `no_verdict`: no valid trial was run for it, so that UNMET says nothing about the device.
    """

    kind: str
    max_latency_s: float
    qps: float
    trial: Trial | None
    capacity_qps: float | None
    capacity_ci95: tuple[float, float] | None
    trials: int
    measured_s: float
    queries: int
    notes: tuple[str, ...] = field(default=())
    no_verdict: bool = False
