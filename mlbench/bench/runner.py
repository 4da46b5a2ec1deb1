"""The stages of a run: accuracy, then the search, trial by trial.

Everything said on the way goes through `Listener`; nothing here prints or exits.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from mlbench.arrivals.linear import Linear
from mlbench.bench.job import Job, Samples
from mlbench.bench.settings import RunSettings, Settings
from mlbench.contracts.backend import stamps_its_own_times
from mlbench.contracts.errors import RunError
from mlbench.contracts.registry import find_backend
from mlbench.host.system import HostMonitor
from mlbench.outcomes import Answer, Summary, Trial
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.local import LocalLauncher
from mlbench.queueing.line import Queue
from mlbench.records import Completions, HostAccount
from mlbench.report.accuracy import Accuracy
from mlbench.search.plan import SearchPlan
from mlbench.search.search import Search
from mlbench.trial.schedule import make_schedule
from mlbench.trial.summary import summarise

_NEEDED = 0.99  # of the published accuracy
_UNLIKE = (
    "the queue model has one line for all workers, but --dispatch is round-robin: the capacity is "
    "too high"
)


class Listener(Protocol):
    """Hears of everything that is finished, in order."""

    def accuracy(self, summary: Summary, accuracy: Accuracy) -> None:
        """The accuracy stage has ended."""

    def trial(self, trial: Trial, *, taken: bool) -> None:
        """A trial has ended; `taken` when it is the best of its answer so far."""

    def answers(self, answers: Sequence[Answer]) -> None:
        """The search has ended, or was interrupted."""


def open_pool(job: Job, settings: Settings) -> WorkerPool:
    """Start the workers of a job and warm them up; the caller closes the pool."""
    gpus = {spec.device.index for spec in job.specs if spec.device.index is not None}

    def watch_host(pids: Sequence[int]) -> Callable[[], HostAccount]:
        monitor = HostMonitor(pids, gpus)
        monitor.start()
        return monitor.stop

    # A device with a clockwork of its own is not slowed down by whatever else the host does.
    unmoved = stamps_its_own_times(find_backend(settings.backend))
    return WorkerPool(
        job.specs,
        LocalLauncher(),
        round_robin=settings.dispatch == "round-robin",
        host_account=None if unmoved else watch_host,
    )


def check_accuracy(
    pool: WorkerPool, samples: Samples, saturated_qps: float, target: float | None
) -> tuple[Summary, Accuracy]:
    """Serve every sample once at about the highest rate, and compare answers with labels.

    Raises RunError when a query had no answer, or the model's output is not a class.
    """
    assert samples.labels is not None  # noqa: S101 - the caller skips the stage otherwise
    schedule = make_schedule(Linear(), saturated_qps, samples.count, seed=0)
    completions = pool.run(schedule, samples=np.arange(samples.count, dtype=np.uint32))
    _check_complete(completions)
    right = int(np.count_nonzero(completions.prediction == samples.labels))
    needed = None if target is None else 100 * _NEEDED * target
    accuracy = Accuracy(right, samples.count, needed, samples.whole_set, samples.skipped)
    return summarise(completions), accuracy


def _check_complete(completions: Completions) -> None:
    missing = len(completions.status) - completions.completed
    if missing:
        raise RunError(
            f"accuracy: {completions.failed} queries failed and {completions.lost} got no answer"
            + "".join(f"; {fault}" for fault in completions.faults)
        )
    if completions.prediction is None or bool((completions.prediction < 0).all()):
        raise RunError(
            "accuracy: the model's output is not a class for each image; name the right one with "
            "--outputs, or use --skip-accuracy"
        )


def search_rates(pool: WorkerPool, settings: RunSettings, listener: Listener) -> list[Answer]:
    """Run the whole search; tells the listener of each trial, and of the answers at the end.

    The answers are told even when the search is interrupted or a worker dies. Raises RunError when
    a worker died.
    """
    search = Search(plan_search(pool, settings))
    best: dict[tuple[str, float], float] = {}
    try:
        while (request := search.next()) is not None:
            schedule = make_schedule(
                request.kind, request.target_qps, request.queries, request.seed
            )
            trial = search.record(request, pool.run(schedule, request.max_backlog_s))
            listener.trial(trial, taken=_is_best(trial, best))
            if pool.dead:
                raise RunError("; ".join(pool.dead.values()))
    finally:
        answers = [a for by_target in search.answers().values() for a in by_target.values()]
        if settings.dispatch == "round-robin" and pool.size > 1:
            answers = [replace(answer, notes=(_UNLIKE, *answer.notes)) for answer in answers]
        listener.answers(answers)
    return answers


def plan_search(pool: WorkerPool, settings: RunSettings) -> SearchPlan:
    """Return what the search is to find out, with the pool's shape."""
    return SearchPlan(
        kinds=settings.kinds,
        max_latencies_s=settings.max_latency,
        percentile=settings.percentile,
        max_trial_s=settings.time,
        budget_s=settings.budget,
        precision=settings.precision,
        seed=settings.seed,
        queue=shape_of(pool, settings),
        first_guess_qps=pool.saturated_qps,
    )


def shape_of(pool: WorkerPool, settings: Settings) -> Queue:
    """Return the queue that requests meet at this pool."""
    return Queue(pool.size, settings.batch_size, settings.batch_timeout_s)


def _is_best(trial: Trial, best: dict[tuple[str, float], float]) -> bool:
    key = (trial.request.kind.name, trial.request.max_latency_s)
    if trial.request.purpose != "search" or trial.judgement.verdict != "pass":
        return False
    if trial.request.target_qps <= best.get(key, 0.0):
        return False
    best[key] = trial.request.target_qps
    return True
