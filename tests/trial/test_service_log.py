from dataclasses import replace

import numpy as np
import pytest

from mlbench.estimation.learning import learn
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.trial.schedule import make_schedule
from mlbench.trial.service_log import ServiceLog, service_log


def _logs_of(
    service: SimulatedService, queue: Queue, rates: tuple[float, ...], n: int = 2000
) -> list[ServiceLog]:
    pool = VirtualPool(service, queue)
    runs = [pool.run(make_schedule("exponential", qps, n, i)) for i, qps in enumerate(rates)]
    return [service_log(run) for run in runs]


def test_service_times_are_read_off_a_trial() -> None:
    """Every batch of a constant device took the same time, whether it waited or not."""
    (log,) = _logs_of(SimulatedService(0.002), Queue(), (400,))
    assert log.seconds == pytest.approx(0.002, abs=1e-8)
    assert 0.1 < (log.idle_s > 0).mean() < 0.4


def test_the_idle_time_is_from_the_end_before_to_the_due_time() -> None:
    """Of each batch on its own worker, 0 where that was busy; before the first one it is long."""
    (log,) = _logs_of(SimulatedService(0.002), Queue(2), (400,), 500)
    for worker in (0, 1):
        own = log.worker == worker
        idle_s, begin_s = log.idle_s[own], (log.done_s - log.seconds)[own]
        gap_s = begin_s[1:] - log.done_s[own][:-1]
        assert idle_s[0] >= 900.0
        assert idle_s[1:] == pytest.approx(gap_s, abs=1e-8)
        assert (idle_s[1:] > 0.001).any()
        assert (idle_s == 0).any()


def test_a_wait_for_a_full_batch_is_not_idleness() -> None:
    """A device that waits for its batch's timeout was idle until the first query was due only."""
    (log,) = _logs_of(SimulatedService(0.002), Queue(1, 4, 0.005), (200,), 500)
    begin_s = log.done_s - log.seconds
    waited_s = begin_s[1:] - log.done_s[:-1] - log.idle_s[1:]
    assert waited_s.max() == pytest.approx(0.005, abs=1e-6)
    assert waited_s.min() >= -1e-9


def test_batches_are_told_apart_by_their_start() -> None:
    """Queries of one batch count once, with the size of the batch."""
    queue = Queue(2, 4, 0.001)
    (log,) = _logs_of(SimulatedService(0.002, per_item_s=0.0005), queue, (1500,))
    assert log.size.sum() == 2000
    assert log.seconds == pytest.approx(0.002 + 0.0005 * (log.size - 1), abs=1e-7)


def test_means_follow_the_batch_size() -> None:
    """The mean service time is learnt for each batch size."""
    queue = Queue(1, 4)
    logs = _logs_of(SimulatedService(0.002, per_item_s=0.0005), queue, (600, 1000))
    times = learn(logs, queue).service_at(800)
    assert times.mean_times.by_size_s[1:] == pytest.approx([0.002, 0.0025, 0.003, 0.0035], rel=1e-3)
    assert times.saturated_qps(queue) == pytest.approx(4 / 0.0035, rel=1e-3)


def test_draws_have_the_measured_distribution() -> None:
    """Drawn ratios have the mean and spread of those measured."""
    (log,) = _logs_of(SimulatedService(0.002, cv=0.3), Queue(), (250,))
    times = learn([log], Queue()).service_at(250)
    drawn = times.draw(np.random.default_rng(1), 500, 100)
    assert drawn.mean() == pytest.approx(times.ratio.mean(), rel=0.01)
    assert drawn.std() == pytest.approx(times.ratio.std(), rel=0.03)


def test_the_first_batches_are_those_of_every_worker() -> None:
    """A log that is cut keeps the beginning of each worker's batches, in their order."""
    (log,) = _logs_of(SimulatedService(0.002, cv=0.3), Queue(2), (800,))
    some = log.first(500)
    assert np.bincount(some.worker).tolist() == [250, 250]
    for worker in (0, 1):
        whole = log.seconds[log.worker == worker]
        assert (some.seconds[some.worker == worker] == whole[:250]).all()
    assert log.first(5000) is log


def test_a_trial_without_answers_has_an_empty_log() -> None:
    """Where nothing was answered there is no batch, and nothing fails."""
    pool = VirtualPool(SimulatedService(0.002))
    done = pool.run(make_schedule("linear", 100.0, 20, seed=1))
    log = service_log(replace(done, status=np.zeros(20, np.uint8)))
    assert len(log.seconds) == len(log.idle_s) == 0
