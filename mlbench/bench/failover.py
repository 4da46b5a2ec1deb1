"""What is done about faults: a trial is repeated, and a run may go on without a worker.

play           a trial that a fault spoiled is played again, on workers that are up again
on_workers     work is done on a pool; where a worker keeps failing, on another one without it
"""

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mlbench.bench.events import Listener, Noted
from mlbench.bench.job import Job
from mlbench.bench.pool import Pool, open_pool
from mlbench.bench.settings import Settings
from mlbench.contracts.findings import Figures, Finding
from mlbench.pool.restarts import WorkerKeepsFailingError
from mlbench.records import Completions, Schedule

MOST_REPEATS = 3
"""Of a trial, for faults that no restart mends, such as a host that stands still again and again.
Those that one mends have a bound of their own, in the pool."""

Result = TypeVar("Result")


def play(
    pool: Pool,
    schedule: Schedule,
    max_backlog_s: float = math.inf,
    samples: NDArray[np.uint32] | None = None,
    *,
    spoiled: Callable[[Completions], None] = lambda _: None,
) -> Completions:
    """Play a schedule as `Pool.run` does, and again while a fault spoils it.

    `spoiled` hears of each play that is repeated. After MOST_REPEATS for other faults than failed
    workers the last one is returned with its faults. Raises WorkerKeepsFailingError.
    """
    repeats = 0
    while True:
        completions = pool.run(schedule, max_backlog_s, samples)
        if not completions.faults or repeats == MOST_REPEATS:
            return completions
        repeats += not pool.has_failed
        spoiled(completions)


def tell_faults(tell: Listener, completions: Completions) -> None:
    """Warn of what spoiled a play that nobody else tells of."""
    for fault in completions.faults:
        tell(Noted(fault, warning=True))


def on_workers(
    job: Job, settings: Settings, tell: Listener, work: Callable[[Pool], Result]
) -> tuple[Result, tuple[str, ...]]:
    """Do some work on a pool of the job's workers; return its result, and who was lost on the way.

    Where a worker keeps failing and `--on-failure` is `continue`, the work is done again with the
    others. Raises WorkerKeepsFailingError otherwise, and when nobody is left.
    """
    lost: list[str] = []
    while True:
        try:
            with open_pool(job, settings, tell) as pool:
                return work(pool), tuple(lost)
        except WorkerKeepsFailingError as failure:
            if settings.on_failure == "stop" or len(job.specs) == 1:
                raise
            lost.append(str(failure))
            job = job.without(failure.worker)
            figures: Figures = {"reason": str(failure), "workers": len(job.specs)}
            tell(Noted(Finding("worker_left_out", figures), warning=True))
