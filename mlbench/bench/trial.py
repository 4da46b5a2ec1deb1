"""One trial on its own, at a fixed rate."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlbench.bench.events import Listener, SingleTrialFinished, SingleTrialStarted, to_all
from mlbench.bench.failover import on_workers, play, tell_faults
from mlbench.bench.job import prepare
from mlbench.bench.limits import check_queries
from mlbench.bench.pool import Pool, shape_of
from mlbench.bench.settings import TrialSettings, make_settings
from mlbench.cluster.lost import HostLostError
from mlbench.outcomes import Judgement, LatencyLimit
from mlbench.pool.restarts import WorkerKeepsFailingError
from mlbench.queueing.line import Queue
from mlbench.records import Completions
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule, query_count
from mlbench.trial.verdict import judge


@dataclass(frozen=True)
class SingleTrial:
    """What one trial showed.

    `lag_ns`: what the load generator added to each query, int64 (n,). `judgement` is None where no
    latency limit was given. `lost_workers`: how workers failed that were lost for good.
    """

    settings: TrialSettings
    completions: Completions
    lag_ns: NDArray[np.int64]
    judgement: Judgement | None
    lost_workers: tuple[str, ...] = ()


def run_trial(listeners: Sequence[Listener] = (), **options: Any) -> SingleTrial:
    """Run one trial and return all that happened to its queries.

    `options` are those of `mlbench-coordinator trial`, with underscores; `qps` is needed. Nothing
    is printed or saved unless a listener does it. Raises RequestError for what cannot be done,
    before anything is measured, and RunError when workers do not come up.
    """
    settings = make_settings(TrialSettings, options, os.environ)
    tell = to_all(listeners)
    tell(SingleTrialStarted(settings))
    queries = query_count(settings.qps, settings.duration)
    check_queries(queries, "--qps or --duration")
    job = prepare(settings, tell)
    schedule = make_schedule(settings.kind, settings.qps, queries, settings.seed)
    spoiled: list[tuple[Completions, Queue]] = []

    def work(pool: Pool) -> tuple[Completions, Queue]:
        queue = shape_of(pool, settings)

        def keep(completions: Completions) -> None:
            tell_faults(tell, completions)
            spoiled.append((completions, queue))

        return play(pool, schedule, spoiled=keep), queue

    try:
        (completions, queue), lost_workers = on_workers(job, settings, tell, work)
    except (WorkerKeepsFailingError, HostLostError) as failure:
        if not spoiled:
            raise
        (completions, queue), lost_workers = spoiled[-1], (str(failure),)
    tell(SingleTrialFinished(completions))
    lag_ns, judgement = send_lag_ns(completions, queue), None
    if settings.max_latency is not None:
        limit = LatencyLimit(settings.percentile, settings.max_latency)
        judgement = judge(completions, limit, queue, lag_ns)
    return SingleTrial(settings, completions, lag_ns, judgement, lost_workers)
