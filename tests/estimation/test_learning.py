import numpy as np
import pytest

from mlbench.estimation.learning import learn
from mlbench.pool.virtual import Batch, SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.trial.schedule import make_schedule
from mlbench.trial.service_log import ServiceLog, service_log


def _log(seconds: np.ndarray, size: np.ndarray | None = None, qps: float = 250.0) -> ServiceLog:
    """A trial of batches that follow each other without a pause."""
    m = len(seconds)
    sizes = np.ones(m, dtype=np.int64) if size is None else size
    return ServiceLog(
        qps, 0.0, seconds, sizes, np.zeros(m, dtype=bool), seconds.cumsum(), 0 * sizes
    )


def _lognormal(seed: int, cv: float = 1.0, m: int = 5000) -> np.ndarray:
    sigma = np.sqrt(np.log1p(cv**2))
    return 0.002 * np.random.default_rng(seed).lognormal(-(sigma**2) / 2, sigma, m)


def test_times_that_look_lognormal_are_smoothed() -> None:
    """The table is then that of the fitted lognormal, whose tail goes beyond what was seen."""
    times = learn([_log(_lognormal(1))], Queue(), 250)
    assert times.lognormal
    table = times.quantiles()
    assert np.log(table).std() == pytest.approx(np.log(times.ratio).std(), rel=1e-3)
    assert np.log(table).mean() == pytest.approx(np.log(times.ratio).mean(), abs=1e-3)
    assert table.mean() * times.mean_times.by_size_s[1] == pytest.approx(0.002, rel=0.05)


@pytest.mark.parametrize("kind", ["exponential", "stalls", "two modes", "few"])
def test_other_times_stay_as_measured(kind: str) -> None:
    """What is not lognormal, or too little to tell, is drawn from what was measured."""
    rng = np.random.default_rng(3)
    seconds = {
        "exponential": rng.exponential(0.002, 5000),
        "stalls": _lognormal(3, 0.1) * np.where(rng.random(5000) < 0.003, 10.0, 1.0),
        "two modes": _lognormal(3, 0.1) * np.where(rng.random(5000) < 0.5, 1.5, 1.0),
        "few": _lognormal(3)[:100],
    }[kind]
    times = learn([_log(seconds)], Queue(), 250)
    assert not times.lognormal
    assert set(times.quantiles()) == set(times.ratio)


def test_smoothing_halves_the_error_of_a_heavy_tail() -> None:
    """A rare quantile is known better from the fit than from the few samples beyond it."""
    fitted, measured = [], []
    for seed in range(30):
        times = learn([_log(_lognormal(seed, m=2000))], Queue(), 250)
        if times.lognormal:
            fitted.append(np.quantile(times.quantiles(), 0.999))
            measured.append(np.quantile(times.ratio, 0.999))
    assert len(fitted) > 20
    assert np.std(np.log(fitted)) < 0.6 * np.std(np.log(measured))


def _batches(levels_s: tuple[float, ...], m: int = 3000) -> ServiceLog:
    rng = np.random.default_rng(4)
    size = rng.integers(1, len(levels_s) + 1, m)
    return _log(np.array(levels_s)[size - 1] * rng.lognormal(-0.005, 0.1, m), size)


def test_means_on_a_line_are_fitted_by_one() -> None:
    """Batches that take so much more for each query get their means from all of them."""
    line = tuple(0.002 + 0.0005 * i for i in range(8))
    times = learn([_batches(line)], Queue(1, 8), 900)
    assert np.ptp(np.diff(times.mean_times.by_size_s[1:])) < 1e-12
    assert times.mean_times.by_size_s[1:] == pytest.approx(line, rel=0.01)
    moved = [times.resample(np.random.default_rng(i)).mean_times.by_size_s[8] for i in range(200)]
    assert np.std(moved) / line[7] == pytest.approx(0.1 / np.sqrt(3000) * 2, rel=0.35)


def test_means_on_no_line_stay_as_measured() -> None:
    """A device that pads its batches to powers of two keeps its steps."""
    steps = (0.002, 0.003, 0.005, 0.005, 0.008, 0.008, 0.008, 0.008)
    times = learn([_batches(steps)], Queue(1, 8), 900)
    assert times.mean_times.by_size_s[1:] == pytest.approx(steps, rel=0.02)


def test_a_drifting_device_is_learnt_as_it_is_at_the_end() -> None:
    """Service times of all trials are carried forward, and no variance between trials is left."""
    pool = VirtualPool(SimulatedService(0.002, cv=0.1, drift_per_s=0.003))
    logs = [
        service_log(pool.run(make_schedule("exponential", 250, 2000, seed))) for seed in range(3)
    ]
    times = learn(logs, Queue(), 250)
    now_s = 0.002 * (1 + 0.003 * pool.now_s)
    assert times.between_sd == 0.0
    assert times.mean_times.by_size_s[1] == pytest.approx(now_s, rel=3 * times.drift.error + 0.003)
    assert times.drift.error < 0.01


@pytest.mark.parametrize(("saturated", "differs"), [(1.3, True), (1.0, False)])
def test_few_trials_near_the_rate_differ_if_all_do(saturated: float, differs: bool) -> None:
    """Two trials 0.9 % apart, 3 standard errors, are chance unless all differ for certain."""
    trials = [(900.0, saturated), (250.0, 1.0), (260.0, 1.009)]
    logs = [
        _log(level * _lognormal(seed, 0.1, 2000), qps=qps)
        for seed, (qps, level) in enumerate(trials)
    ]
    assert (learn(logs, Queue(), 255).between_sd > 0) == differs


@pytest.mark.parametrize("trials", [3, 5])
def test_few_trials_tell_little_of_another_moment(trials: int) -> None:
    """However few trials told how a machine changes, nine of ten next ones are as expected."""
    rng = np.random.default_rng(8)
    expected = []
    for _ in range(300):
        *levels_s, next_s = 0.002 * np.exp(0.03 * rng.standard_normal(trials + 1))
        times = learn([_log(np.full(50, level_s)) for level_s in levels_s], Queue(), 250)
        known_s = times.mean_times.by_size_s[1] * float(times.weight @ times.ratio)
        expected.append(abs(np.log(next_s / known_s)) < 1.96 * times.next_trial_sd)
    assert np.mean(expected) > 0.9


def test_trials_far_off_help_to_tell_how_a_machine_changes() -> None:
    """Two trials near the rate are taken to differ no more than all trials do, which are many."""
    rng = np.random.default_rng(9)
    far = [(100.0, level) for level in np.exp(0.03 * rng.standard_normal(12))]
    logs = [
        _log(np.full(50, 0.002 * level), qps=qps) for qps, level in [*far, (250, 1.0), (260, 1.04)]
    ]
    assert 0.02 < learn(logs, Queue(), 255).next_trial_sd < 0.045
    assert learn(logs[-2:], Queue(), 255).next_trial_sd > 0.055


def test_workers_that_differ_are_learnt_apart() -> None:
    """A worker that takes twice as long is told, and not taken for a device slow after idling."""

    def serve(rng: np.random.Generator, batch: Batch) -> float:
        return (0.002, 0.004)[batch.device] * float(rng.lognormal(-0.005, 0.1))

    pool = VirtualPool(serve, Queue(2))
    logs = [
        service_log(pool.run(make_schedule("exponential", 500, 2000, seed))) for seed in range(2)
    ]
    times = learn(logs, Queue(2), 500)
    assert times.mean_times.by_size_s[1] * times.mean_times.slowdown == pytest.approx(
        [0.002, 0.004], rel=0.02
    )
    assert times.saturated_qps(Queue(2)) == pytest.approx(750, rel=0.02)
    assert times.mean_times.idle_factor == 1.0
    assert times.block == 1


def test_equal_workers_are_taken_as_one_kind() -> None:
    """Workers that differ by chance alone share one mean."""
    pool = VirtualPool(SimulatedService(0.002, cv=0.3), Queue(3))
    log = service_log(pool.run(make_schedule("exponential", 1200, 3000, 1)))
    assert learn([log], Queue(3), 1200).mean_times.alike


def test_neighbours_are_told_from_chance() -> None:
    """Independent times are drawn one by one, times that come in runs in blocks."""
    rng = np.random.default_rng(5)
    level = np.repeat(rng.lognormal(0, 0.3, 250), 20)
    for seed in range(10):
        assert learn([_log(_lognormal(seed, 0.3))], Queue(), 250).block == 1
    runs = learn([_log(0.002 * level * rng.lognormal(0, 0.05, 5000))], Queue(), 250)
    assert runs.block > 20


def test_the_idle_factor_has_an_error() -> None:
    """How much slower a device is after idling is known to some percent, and the mean is kept."""
    pool = VirtualPool(SimulatedService(0.002, cv=0.1, idle_slowdown=0.3))
    log = service_log(pool.run(make_schedule("exponential", 250, 2000, 1)))
    times = learn([log], Queue(), 250)
    assert 0.002 < times.idle_error < 0.01
    slower = times.slower_after_idling().mean_times
    assert slower.idle_factor > times.mean_times.idle_factor
    assert slower.by_size_s[1] < times.mean_times.by_size_s[1]
