import numpy as np
import pytest

from mlbench.estimation.learning import Learnt, learn
from mlbench.pool.virtual import Batch, Service, SimulatedService, VirtualPool
from mlbench.queueing.line import Floats, Queue
from mlbench.trial.schedule import make_schedule
from mlbench.trial.service_log import ServiceLog, service_log


def _log(seconds: Floats, qps: float = 250.0, begin_s: float = 0.0) -> ServiceLog:
    """A trial of batches that follow each other without a pause."""
    m = len(seconds)
    ones, zeros = np.ones(m, np.int64), np.zeros(m)
    return ServiceLog(qps, begin_s, seconds, ones, zeros, seconds.cumsum(), 0 * ones)


def _lognormal(seed: int, cv: float, m: int = 5000) -> Floats:
    sigma = np.sqrt(np.log1p(cv**2))
    return 0.002 * np.random.default_rng(seed).lognormal(-(sigma**2) / 2, sigma, m)


def _logs_of(
    service: Service, queue: Queue, rates: tuple[float, ...], n: int = 2000
) -> list[ServiceLog]:
    pool = VirtualPool(service, queue)
    runs = [pool.run(make_schedule("exponential", qps, n, i)) for i, qps in enumerate(rates)]
    return [service_log(run) for run in runs]


def _mean_s(learnt: Learnt, qps: float) -> float:
    """Return the mean service time of single queries that is forecast for a rate."""
    service, level = learnt.service_at(qps), learnt.speed.forecast(qps)
    means = service.mean_times.by_size_s
    return float(means[1] * (service.weight @ service.ratio) * np.exp(level.mean))


def test_a_steady_device_has_its_mean() -> None:
    """Three trials of 5,000 batches with cv 0.3 tell the mean to half a percent."""
    learnt = learn([_log(_lognormal(n, 0.3), begin_s=11.0 * n) for n in range(3)], Queue())
    assert _mean_s(learnt, 250.0) == pytest.approx(0.002, rel=0.006)
    assert learnt.cv == pytest.approx(0.3, rel=0.05)
    sampled = np.sqrt(learnt.sampling_variance(learnt.service_at(250.0)))
    assert sampled == pytest.approx(0.3 / np.sqrt(15_000), rel=0.1)


def test_a_drifting_device_is_learnt_as_it_is_at_the_end() -> None:
    """Of a device that slows down by 0.3 % a second the last level counts, not the mean one."""
    pool = VirtualPool(SimulatedService(0.002, cv=0.1, drift_per_s=0.003))
    logs = [
        service_log(pool.run(make_schedule("exponential", 250, 2000, seed))) for seed in range(3)
    ]
    learnt = learn(logs, Queue())
    now_s, on_average_s = (0.002 * (1 + 0.003 * at_s) for at_s in (pool.now_s, pool.now_s / 2))
    assert _mean_s(learnt, 250.0) == pytest.approx(now_s, rel=0.015)
    assert _mean_s(learnt, 250.0) > 1.015 * on_average_s


def test_ratios_are_relative_to_the_level_of_their_moment() -> None:
    """A level that moves by 30 % within trials does not count as spread of service times."""
    slow = np.linspace(1.0, 1.3, 5000)
    logs = [_log(slow * _lognormal(n, 0.1), begin_s=15.0 * n) for n in range(2)]
    learnt = learn(logs, Queue())
    assert learnt.ratio.std() / learnt.ratio.mean() == pytest.approx(0.1, rel=0.1)
    level = learnt.level_in(1, np.array([15.5, 25.5]))
    assert np.diff(level)[0] == pytest.approx(np.log(1.3), abs=0.05)


def test_service_times_that_depend_on_the_load_are_known_at_each_rate() -> None:
    """A device of 2 ms at 100 qps and of 3 ms at 250 qps is forecast as either."""

    def serve(rng: np.random.Generator, batch: Batch) -> float:
        return (0.002 if batch.target_qps < 200 else 0.003) * float(rng.lognormal(0, 0.05))

    learnt = learn(_logs_of(serve, Queue(), (100, 250, 105, 240)), Queue())
    for qps, seconds in ((103, 0.002), (245, 0.003)):
        assert _mean_s(learnt, qps) == pytest.approx(seconds, rel=0.02)


def test_the_distribution_is_that_of_trials_near_the_rate() -> None:
    """Where times spread more under load, a rate has the spread of trials at such rates."""
    logs = [_log(_lognormal(1, 0.1), 100.0), _log(_lognormal(2, 0.5), 300.0, begin_s=11.0)]
    learnt = learn(logs, Queue())
    calm, busy = (np.log(learnt.service_at(qps).quantiles).std() for qps in (100.0, 300.0))
    assert busy == pytest.approx(np.sqrt(np.log1p(0.25)), rel=0.1)
    assert calm < 0.5 * busy


@pytest.mark.parametrize("trials", [3, 5])
def test_few_trials_tell_little_of_another_moment(trials: int) -> None:
    """However few trials told how a machine changes, nine of ten next ones are as expected."""
    rng, expected = np.random.default_rng(8), []
    for _ in range(60):
        *levels_s, next_s = 0.002 * np.exp(0.03 * rng.standard_normal(trials + 1))
        logs = [_log(np.full(50, at_s), begin_s=10.0 * n) for n, at_s in enumerate(levels_s)]
        learnt = learn(logs, Queue())
        level = learnt.speed.forecast(250.0)
        away = np.log(next_s / _mean_s(learnt, 250.0))
        expected.append(abs(away) < 1.96 * np.sqrt(level.variance))
    assert np.mean(expected) >= 0.9


def test_workers_that_differ_are_learnt_apart() -> None:
    """A worker that takes twice as long counts by what it adds to the saturated rate."""

    def serve(rng: np.random.Generator, batch: Batch) -> float:
        return (0.002, 0.004)[batch.device] * float(rng.lognormal(-0.005, 0.1))

    learnt = learn(_logs_of(serve, Queue(2), (500, 500)), Queue(2))
    assert learnt.service_at(500.0).saturated_qps(Queue(2)) == pytest.approx(750, rel=0.02)
    assert learnt.block == 1


def test_neighbours_are_told_from_chance() -> None:
    """Independent times are drawn one by one, times that come in runs in blocks."""
    rng = np.random.default_rng(5)
    level = np.repeat(rng.lognormal(0, 0.3, 250), 20)
    for seed in range(10):
        learnt = learn([_log(_lognormal(seed, 0.3))], Queue())
        assert (learnt.tau, learnt.block) == (1.0, 1)
    runs = learn([_log(0.002 * level * rng.lognormal(0, 0.05, 5000))], Queue())
    assert runs.tau > 8
    assert runs.block > 60


def test_a_saturation_trial_of_a_few_batches_is_enough_to_begin() -> None:
    """From 20 batches the mean is known to a few percent, and a forecast says how well."""
    learnt = learn([_log(_lognormal(1, 0.3, 20), 2000.0)], Queue())
    assert _mean_s(learnt, 250.0) == pytest.approx(0.002, rel=0.2)
    assert np.sqrt(learnt.speed.forecast(250.0).variance) > 0.03
