"""What is said of a device, from trials in virtual time."""

from dataclasses import replace

import numpy as np
import pytest

from mlbench.estimation.diagnosis import diagnose
from mlbench.estimation.learning import learn
from mlbench.pool.virtual import Batch, Service, SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.trial.schedule import make_schedule
from mlbench.trial.service_log import service_log


def _findings(service: Service, queue: Queue, *rates: float) -> list[str]:
    pool = VirtualPool(service, queue)
    runs = [pool.run(make_schedule("exponential", qps, 4000, 1)) for qps in rates]
    return [found.code for found in diagnose(learn([service_log(run) for run in runs], queue))]


@pytest.mark.parametrize(
    ("service", "code"),
    [
        (SimulatedService(0.002, cv=0.1, stall_p=0.003, stall_s=0.030), "stalls"),
        (SimulatedService(0.002, cv=0.1, drift_per_s=0.005), "slowed_down"),
        (SimulatedService(0.002, cv=0.1, drift_per_s=-0.005), "sped_up"),
    ],
)
def test_what_ails_a_device_is_named(service: Service, code: str) -> None:
    """Stalls and drift, to either side, are each the one finding."""
    assert _findings(service, Queue(), 250, 250) == [code]


def test_a_steady_device_has_no_findings() -> None:
    """Where nothing is the matter nothing is said."""
    assert _findings(SimulatedService(0.002, cv=0.3), Queue(), 250, 260) == []


def test_service_times_that_come_in_runs_are_named() -> None:
    """A device that is slow for a tenth of a second now and then serves in runs."""
    calm = SimulatedService(0.002, cv=0.1)

    def serve(rng: np.random.Generator, batch: Batch) -> float:
        return calm(rng, batch) * (1.5 if int(batch.start_s / 0.1) % 3 == 0 else 1.0)

    assert "runs" in _findings(serve, Queue(), 250, 250)


def test_a_few_batches_are_not_worth_a_finding() -> None:
    """Of less than 200 batches nothing is said."""
    pool = VirtualPool(SimulatedService(0.002, stall_p=0.01, stall_s=0.030))
    log = service_log(pool.run(make_schedule("exponential", 250, 150, 1)))
    assert diagnose(learn([log], Queue())) == []


def test_large_batches_are_no_stalls_and_no_runs() -> None:
    """Batches of 1 to 32 that take 1 ms an item differ by their size alone: nothing is said."""
    queue = Queue(1, 32)
    service = SimulatedService(0.001, cv=0.05, per_item_s=0.001)
    assert _findings(service, queue, 300, 700, 930) == []


def test_a_drift_shows_on_unlike_workers() -> None:
    """That one worker takes twice as long as the other does not hide that both slow down."""

    drifting, own_s = SimulatedService(0.002, cv=0.1, drift_per_s=0.005), (0.002, 0.004)

    def serve(rng: np.random.Generator, batch: Batch) -> float:
        return replace(drifting, service_s=own_s[batch.device])(rng, batch)

    queue = Queue(2)
    assert "slowed_down" in _findings(serve, queue, 500, 500)
