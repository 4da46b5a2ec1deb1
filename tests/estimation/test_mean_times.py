"""Mean service times by the size of a batch, by its worker, and by how long that was idle."""

import numpy as np
import pytest

from mlbench.estimation.mean_times import Batches, measured_means, shrunk
from mlbench.pool.virtual import Batch, Service, SimulatedService, VirtualPool
from mlbench.queueing.line import Floats, MeanTimes, Queue
from mlbench.trial.schedule import make_schedule
from mlbench.trial.service_log import ServiceLog, service_log


def _learnt(service: Service, queue: Queue, *rates: float, queries: int = 2000) -> MeanTimes:
    pool = VirtualPool(service, queue)
    runs = [pool.run(make_schedule("exponential", qps, queries, n)) for n, qps in enumerate(rates)]
    return measured_means(Batches.of([service_log(run) for run in runs]), queue)


def _factor_after(means: MeanTimes, *idle_s: float) -> Floats:
    n = len(idle_s)
    zero, one = np.zeros(n, np.int64), np.ones(n, np.int64)
    return Batches(np.ones(n), one, np.array(idle_s), zero, zero).idle_factor(means)


def test_a_device_slower_after_5_ms_of_idling_only_is_learnt_as_such() -> None:
    """Its factor is 1.6 beyond 5 ms, and about 1 below."""

    def serve(rng: np.random.Generator, batch: Batch) -> float:
        return 0.002 * float(rng.lognormal(-0.005, 0.1)) * (1.6 if batch.idle_s > 0.005 else 1.0)

    means = _learnt(serve, Queue(), 250, 260, queries=4000)
    assert _factor_after(means, 0.008, 0.02, 1.0) == pytest.approx(1.6, rel=0.02)
    assert _factor_after(means, 0.0005, 0.002, 0.003) == pytest.approx(1.0, abs=0.02)
    assert _factor_after(means, 0.0) == 1.0
    assert means.by_size_s[1] == pytest.approx(0.002, rel=0.01)


@pytest.mark.parametrize(("slowdown", "factor"), [(0.3, 1.3), (0.0, 1.0)])
def test_a_device_slower_after_any_idling_has_its_factor(slowdown: float, factor: float) -> None:
    """However long it idled the factor is 1.3, and a steady device has none."""
    means = _learnt(SimulatedService(0.002, cv=0.1, idle_slowdown=slowdown), Queue(), 300, 300)
    assert _factor_after(means, 0.0001, 0.001, 0.01, 1.0) == pytest.approx(factor, rel=0.025)


@pytest.mark.parametrize("workers", [2, 3])
def test_equal_workers_stay_equal(workers: int) -> None:
    """Workers that differ by chance alone are learnt within 1 % of each other."""
    means = _learnt(SimulatedService(0.002, cv=0.3), Queue(workers), 380.0 * workers, queries=4000)
    assert means.slowdown == pytest.approx(1.0, rel=0.01)
    assert means.by_size_s[1] == pytest.approx(0.002, rel=0.02)


def test_unlike_workers_are_learnt_apart() -> None:
    """Workers of 2 and 4 ms have their means, and are not taken for slow after idling."""

    def serve(rng: np.random.Generator, batch: Batch) -> float:
        return (0.002, 0.004)[batch.device] * float(rng.lognormal(-0.005, 0.1))

    means = _learnt(serve, Queue(2), 500, 500)
    assert means.by_size_s[1] * means.slowdown == pytest.approx([0.002, 0.004], rel=0.01)
    assert means.idle_factors == pytest.approx(1.0, abs=0.01)


def _log(seconds: Floats, size: np.ndarray, *, trial: int = 0) -> ServiceLog:
    """A trial of batches that follow each other without a pause."""
    m = len(seconds)
    return ServiceLog(250.0, 10.0 * trial, seconds, size, np.zeros(m), seconds.cumsum(), 0 * size)


def _batches(by_size_s: tuple[float, ...], cv: float = 0.1, seed: int = 4) -> ServiceLog:
    rng = np.random.default_rng(seed)
    size = rng.integers(1, len(by_size_s) + 1, 3000)
    return _log(np.array(by_size_s)[size - 1] * rng.lognormal(-(cv**2) / 2, cv, 3000), size)


LINE = tuple(0.002 + 0.0005 * i for i in range(8))
STEPS = (0.002, 0.003, 0.005, 0.005, 0.008, 0.008, 0.008, 0.008)


@pytest.mark.parametrize("by_size_s", [LINE, STEPS])
def test_means_follow_the_batch_size(by_size_s: tuple[float, ...]) -> None:
    """On a line over the size, or off it as when a device pads to powers of two: within 1.5 %."""
    means = measured_means(Batches.of([_batches(by_size_s)]), Queue(1, 8))
    assert means.by_size_s[1:] == pytest.approx(by_size_s, rel=0.015)


def test_means_on_a_line_are_known_better_than_each_by_its_own() -> None:
    """What a line explains is learnt from all sizes: the error is less than half of each one's."""
    logs = [_batches(LINE, 0.3, seed) for seed in range(20)]
    learnt = [measured_means(Batches.of([log]), Queue(1, 8)).by_size_s[1:] for log in logs]
    alone = [[log.seconds[log.size == k].mean() for k in range(1, 9)] for log in logs]
    errors = [float(np.mean((np.array(m) / LINE - 1) ** 2)) for m in (learnt, alone)]
    assert errors[0] < 0.5 * errors[1]


def test_sizes_that_were_not_seen_lie_on_the_line() -> None:
    """Batches of 6, which no trial had, take what the sizes around them tell."""
    log = _batches(LINE)
    other = log.size != 6
    batches = Batches.of([_log(log.seconds[other], log.size[other])])
    assert measured_means(batches, Queue(1, 8)).by_size_s[6] == pytest.approx(LINE[5], rel=0.02)


def test_sizes_beyond_the_few_that_were_seen_take_their_share_more() -> None:
    """Where only batches of 1 and 2 were seen, one of 4 takes twice as long as one of 2."""
    rng = np.random.default_rng(1)
    size = rng.integers(1, 3, 2000)
    batches = Batches.of([_log(np.array([0.002, 0.003])[size - 1], size)])
    means = measured_means(batches, Queue(1, 4)).by_size_s[1:]
    assert means == pytest.approx([0.002, 0.003, 0.0045, 0.006], rel=1e-3)


def test_effects_are_those_within_trials() -> None:
    """That large batches came in a slow trial does not make large batches slow."""
    rng, logs = np.random.default_rng(2), []
    for trial, (level, share) in enumerate([(1.0, 0.35), (1.5, 0.65)]):
        size = 1 + (rng.random(3000) < share)
        seconds = level * np.array([0.002, 0.003])[size - 1] * rng.lognormal(-0.005, 0.1, 3000)
        logs.append(_log(seconds, size, trial=trial))
    means = measured_means(Batches.of(logs), Queue(1, 2)).by_size_s
    assert means[2] / means[1] == pytest.approx(1.5, rel=0.015)


def test_shrinking_takes_chance_and_leaves_what_is_clear() -> None:
    """Values that differ by their errors become alike, those that differ by far more stay."""
    noisy, clear = np.array([0.1, -0.1, 0.05]), np.array([1.0, -1.0, 0.5])
    errors = np.full(3, 0.1)
    assert shrunk(noisy, errors) == pytest.approx(noisy.mean(), abs=0.01)
    assert shrunk(clear, errors) == pytest.approx(clear, abs=0.03)
    assert shrunk(np.array([0.1, 0.1]), errors[:2], 0.0) == pytest.approx(0.0, abs=0.01)
