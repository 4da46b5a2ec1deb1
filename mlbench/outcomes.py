"""What is derived from trials: summaries, verdicts, answers and accuracy."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlbench.arrivals.kind import ArrivalKind
from mlbench.contracts.findings import Finding
from mlbench.records import HostAccount

Verdict = Literal["pass", "fail", "undecided", "invalid"]
Purpose = Literal["saturation", "search", "turn"]

PERCENTILES = ("50", "80", "90", "95", "99", "99.9")
"""The percentiles that every summary carries, spelled as in the result file."""

_Z95 = 1.959964  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class LatencyLimit:
    """A percentile of the latency, 0 < percentile < 100, and the seconds it must stay within."""

    percentile: float
    max_latency_s: float


@dataclass(frozen=True)
class Judgement:
    """A verdict and its reasons."""

    verdict: Verdict
    reasons: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Summary:
    """One trial in a few numbers; seconds and queries per second.

    `qps` is completed queries over `runtime_s`, the time from the first due time to the last
    completion. A percentile is None when there were too few queries to tell it; `max_s` is the
    longest latency. `mean_s` and `max_s` are None when no query was completed.
    """

    qps: float
    mean_s: float | None
    runtime_s: float
    count: int
    percentiles: Mapping[str, float | None]
    max_s: float | None = None

    def nearest_s(self, p: str) -> float | None:
        """Return the latency of nearest rank at percentile `p`, however few queries there were.

        Where they are too few to tell it, that is the longest; None when there were none.
        """
        told_s = self.percentiles.get(p)
        return self.max_s if told_s is None else told_s


@dataclass(frozen=True)
class TrialRequest:
    """The trial that a search wants next, and the latency limit that it is run for.

    `max_backlog_s` ends it early, as `TrialRunner` says. `purpose`: a saturation trial offers more
    than the device serves, to learn service times; so short a trial meets or misses no limit. Nor
    does a turn of a comparison, which is short so that both sides meet the machine at one speed.
    """

    kind: ArrivalKind
    target_qps: float
    queries: int
    seed: int
    max_latency_s: float
    max_backlog_s: float = math.inf
    purpose: Purpose = "search"


@dataclass(frozen=True)
class Trial:
    """A finished trial of a search: what was asked, what came out, and its verdict for each limit.

    `judgements` has the limits in seconds. `send_lag_s`: the percentiles "50" and "99" and "max" of
    what the load generator added, in seconds. `queue_s`, `service_s`: the mean, the percentiles and
    "max" of the seconds from due to start and from start to done. `host` is None where nobody
    watched it.
    """

    request: TrialRequest
    summary: Summary
    judgements: Mapping[float, Judgement]
    offered_qps: float
    send_lag_s: Mapping[str, float | None] = field(default_factory=dict)
    host: HostAccount | None = None
    findings: tuple[Finding, ...] = ()
    queue_s: Mapping[str, float | None] = field(default_factory=dict)
    service_s: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def judgement(self) -> Judgement:
        """The verdict for the limit that the trial was run for."""
        return self.judgements[self.request.max_latency_s]


@dataclass(frozen=True)
class CurvePoint:
    """The limited percentile of the latency that the model expects at a rate, in seconds.

    It lies between `low_s` and `high_s` with 95 %.
    """

    qps: float
    latency_s: float
    low_s: float
    high_s: float


@dataclass(frozen=True)
class Answer:
    """The highest rate for one arrival kind and target, with how well it is known.

    `kind` is the name of the arrivals. `qps` is the target rate of `trial`, a real trial that met
    the limit; both are None when none did. `capacity_qps` is the estimated capacity, 0 where no
    rate meets the limit, and `capacity_ci95` its 95 % interval; both are None when nothing is
    known. `trials`, `measured_s` and `queries` count what this answer rests on. `no_verdict`: no
    valid trial was run for it, so that a `qps` of None says nothing about the device. `curve`: the
    model's latency by rate, ascending; empty where it is not known.
    """

    kind: str
    max_latency_s: float
    qps: float | None
    trial: Trial | None
    capacity_qps: float | None
    capacity_ci95: tuple[float, float] | None
    trials: int
    measured_s: float
    queries: int
    findings: tuple[Finding, ...] = ()
    no_verdict: bool = False
    meets_again: float | None = None
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True)
class Standing:
    """What a search knows of one answer on its way; rates in queries per second.

    `met_qps`: the highest rate of a trial that met the limit and that the estimate supports.
    `capacity_qps` is 0 where no rate seems to meet the limit. Both are None while unknown.
    `closed`: the answer wants no further trial.
    """

    kind: str
    max_latency_s: float
    met_qps: float | None
    capacity_qps: float | None
    capacity_ci95: tuple[float, float] | None
    closed: bool


@dataclass(frozen=True)
class Accuracy:
    """`good_items` of `total_items` answers were right.

    `target` is the accuracy asked for, in percent, or None. `whole_set` says that the items are all
    of the data set, which alone can decide a target. `skipped_images` could not be read and are not
    among the items.
    """

    good_items: int
    total_items: int
    target: float | None = None
    whole_set: bool = False
    skipped_images: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.good_items <= self.total_items or self.total_items == 0:
            raise ValueError(f"{self.good_items} of {self.total_items} items cannot be right")

    @property
    def percent(self) -> float:
        """Right answers, in percent."""
        return 100 * self.good_items / self.total_items

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % interval of `percent`, in percent (Wilson 1927): it stays within 0 to 100."""
        n, share = self.total_items, self.good_items / self.total_items
        shrink = 1 + _Z95**2 / n
        middle = (share + _Z95**2 / (2 * n)) / shrink
        half = _Z95 * math.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n * n)) / shrink
        return 100 * max(middle - half, 0.0), 100 * min(middle + half, 1.0)

    @property
    def target_met(self) -> bool | None:
        """Whether the target is met; None without a target, or when a part cannot decide it."""
        if self.target is None or not self.whole_set:
            return None
        return self.percent >= self.target
