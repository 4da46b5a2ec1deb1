"""What is said of a device, from trials in virtual time."""

from dataclasses import replace

import numpy as np
import pytest

from mlbench.arrivals.exponential import Exponential
from mlbench.estimation.diagnosis import diagnose
from mlbench.estimation.observation import Observation, observe
from mlbench.outcomes import LatencyLimit, Trial, TrialRequest
from mlbench.pool.virtual import Batch, Service, SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule
from mlbench.trial.summary import summarise
from mlbench.trial.verdict import judge


def _trials(service: Service, queue: Queue, *rates: float) -> list[Observation]:
    pool, seen = VirtualPool(service, queue), []
    for qps in rates:
        completions = pool.run(make_schedule("exponential", qps, 4000, 1))
        lag_ns = send_lag_ns(completions, queue)
        judged = judge(completions, LatencyLimit(99.0, 0.05), queue, lag_ns)
        request = TrialRequest(Exponential(), qps, 4000, 1, 0.05)
        trial = Trial(request, summarise(completions), {0.05: judged}, qps)
        seen.append(observe(trial, completions, lag_ns))
    return seen


@pytest.mark.parametrize(
    ("service", "code"),
    [
        (SimulatedService(0.002, cv=0.1, stall_p=0.003, stall_s=0.030), "stalls"),
        (SimulatedService(0.002, cv=0.1, drift_per_s=0.005), "slowed_down"),
    ],
)
def test_what_ails_a_device_is_named(service: Service, code: str) -> None:
    """Stalls and drift are each a finding."""
    found = diagnose(_trials(service, Queue(), 250, 250), Queue())
    assert code in [finding.code for finding in found]


def test_large_batches_are_no_stalls_and_no_runs() -> None:
    """Batches of 1 to 32 that take 1 ms an item differ by their size alone: nothing is said."""
    queue = Queue(1, 32)
    service = SimulatedService(0.001, cv=0.05, per_item_s=0.001)
    assert diagnose(_trials(service, queue, 300, 700, 930), queue) == []


def test_a_drift_shows_on_unlike_workers() -> None:
    """That one worker takes twice as long as the other does not hide that both slow down."""

    drifting, own_s = SimulatedService(0.002, cv=0.1, drift_per_s=0.005), (0.002, 0.004)

    def serve(rng: np.random.Generator, batch: Batch) -> float:
        return replace(drifting, service_s=own_s[batch.device])(rng, batch)

    queue = Queue(2)
    found = diagnose(_trials(serve, queue, 500, 500), queue)
    assert "slowed_down" in [finding.code for finding in found]
