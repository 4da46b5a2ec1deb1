"""What is done about faults, with pools that are none."""

from contextlib import AbstractContextManager
from types import SimpleNamespace

import numpy as np
import pytest

from mlbench.bench import failover
from mlbench.bench.events import Noted
from mlbench.bench.job import Job
from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.findings import Finding
from mlbench.pool.restarts import WorkerKeepsFailingError

FAULT = Finding("coordinator_paused", {"paused_s": 5.0})


class Pool(AbstractContextManager["Pool"]):
    """Plays trials of which the first ones are spoiled, with or without a failed worker."""

    def __init__(self, spoiled: int = 0, size: int = 1, *, has_failed: bool = False) -> None:
        self._spoiled = spoiled
        self.size = size
        self.has_failed = has_failed
        self.plays: list[tuple[object, ...]] = []

    def run(self, *arguments: object) -> SimpleNamespace:
        """Note what is to be played."""
        self.plays.append(arguments)
        faults = (FAULT,) if len(self.plays) <= self._spoiled else ()
        return SimpleNamespace(faults=faults, play=len(self.plays))

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""


def test_a_spoiled_trial_is_played_again_as_it_was() -> None:
    """The same schedule, limit and samples, until no fault is left; each spoiled play is told."""
    pool, told = Pool(spoiled=2), []
    samples = np.zeros(3, np.uint32)
    completions = failover.play(pool, "a schedule", 0.5, samples, spoiled=told.append)
    assert completions.play == 3
    assert [one.play for one in told] == [1, 2]
    assert set(map(id, pool.plays[0])) == set(map(id, pool.plays[2]))


def test_a_trial_is_not_repeated_for_ever() -> None:
    """Where no play is without a fault the last one counts."""
    pool, told = Pool(spoiled=99), []
    completions = failover.play(pool, "a schedule", spoiled=told.append)
    assert completions.faults == (FAULT,)
    assert len(told) == failover.MOST_REPEATS


def test_failed_workers_are_the_pools_to_count() -> None:
    """A trial is repeated as long as the pool starts its workers again."""
    pool = Pool(spoiled=3 * failover.MOST_REPEATS, has_failed=True)
    assert failover.play(pool, "a schedule").faults == ()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The devices of the pools that were opened."""
    devices: list[list[str]] = []

    def open_pool(job: Job, *_: object) -> Pool:
        assert [spec.index for spec in job.specs] == list(range(len(job.specs)))
        devices.append([spec.backend for spec in job.specs])
        return Pool(size=len(job.specs))

    monkeypatch.setattr(failover, "open_pool", open_pool)
    return devices


JOB = Job(tuple(WorkerSpec(i, "", name) for i, name in enumerate("abc")), samples=None, model=None)


def _work_that_loses(*workers: int):
    """Return work for which on each further pool this worker keeps failing."""
    left = list(workers)

    def work(pool: Pool) -> int:
        if left:
            worker = left.pop(0)
            raise WorkerKeepsFailingError(worker, f"worker {worker} keeps failing")
        return pool.size

    return work


def _settings(on_failure: str) -> SimpleNamespace:
    return SimpleNamespace(on_failure=on_failure)


def test_a_run_goes_on_without_the_worker_that_keeps_failing(opened: list[list[str]]) -> None:
    """Where that was asked for, the others are started anew, and it is told who is missing."""
    told: list[Noted] = []
    result = failover.on_workers(JOB, _settings("continue"), told.append, _work_that_loses(1, 0))
    assert result == (1, ("worker 1 keeps failing", "worker 0 keeps failing"))
    assert opened == [["a", "b", "c"], ["a", "c"], ["c"]]
    assert [noted.finding.figures["workers"] for noted in told] == [2, 1]
    assert all(noted.warning for noted in told)


@pytest.mark.parametrize(("on_failure", "lost"), [("stop", [1]), ("continue", [0, 0, 0])])
def test_a_run_ends_when_it_may_not_or_cannot_go_on(
    opened: list[list[str]], on_failure: str, lost: list[int]
) -> None:
    """By default the first worker that keeps failing ends it, otherwise the last."""
    with pytest.raises(WorkerKeepsFailingError):
        failover.on_workers(JOB, _settings(on_failure), lambda _: None, _work_that_loses(*lost))
    assert len(opened) == len(lost)
