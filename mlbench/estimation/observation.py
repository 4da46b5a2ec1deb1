"""What estimates need of a trial."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.outcomes import Trial
from mlbench.queueing.line import Floats
from mlbench.records import Completions
from mlbench.trial.service_log import ServiceLog, in_seconds, service_log


@dataclass(frozen=True)
class Observation:
    """One trial: its verdicts, its service times, and its completed queries.

    `due_s`, `latency_s`: float64 (n,), when each query was due, and its latency less the send lag,
    which is no property of the device. `measured_s`: the duration of the trial. All are in seconds.
    `on_host`: the host of each query, uint16 (n,), None where there is one.
    A saturation trial serves for its service times only: it is too short for a percentile.
    """

    trial: Trial
    log: ServiceLog
    due_s: Floats
    latency_s: Floats
    measured_s: float
    on_host: NDArray[np.uint16] | None = None

    @property
    def saturated(self) -> bool:
        """Whether this was a saturation trial."""
        return self.trial.request.purpose == "saturation"

    @property
    def qps(self) -> float:
        """The target rate."""
        return self.trial.request.target_qps

    @property
    def valid(self) -> bool:
        """Whether the trial has a verdict other than invalid for some limit."""
        return any(judged.verdict != "invalid" for judged in self.trial.judgements.values())

    def first(self, count: int) -> "Observation":
        """Return the same with the first `count` queries only."""
        return replace(
            self,
            due_s=self.due_s[:count],
            latency_s=self.latency_s[:count],
            on_host=None if self.on_host is None else self.on_host[:count],
        )


def observe(trial: Trial, completions: Completions, lag_ns: NDArray[np.int64]) -> Observation:
    """Return what estimates need of a trial; `lag_ns`: int64 (n,), from `mlbench.trial.replay`."""
    ok = completions.status == wire.COMPLETED
    return Observation(
        trial=trial,
        log=service_log(completions),
        due_s=in_seconds(completions.schedule.due_ns[ok]),
        latency_s=completions.latency_s - in_seconds(lag_ns[ok]),
        measured_s=completions.duration_s,
        on_host=None if completions.on_host is None else completions.on_host[ok],
    )
