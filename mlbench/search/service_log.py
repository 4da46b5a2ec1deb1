"""How long the device took for each batch of a trial, read off its completions."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.contracts.batching import batch_start
from mlbench.queueing.line import Floats, Queue
from mlbench.records import Completions


@dataclass(frozen=True)
class ServiceLog:
    """The batches of one trial in the order they were served, worker by worker.

    `seconds`, `size`, `idle`, `done_s`, `worker`: (m,), how long each batch took its device, of how
    many queries, whether it had nothing to do before, the end, from the trial's start, and whose
    it was. `qps` is the rate that was offered; `begin_s` the trial's start on a clock that all
    trials share.
    """

    qps: float
    begin_s: float
    seconds: Floats
    size: NDArray[np.int64]
    idle: NDArray[np.bool_]
    done_s: Floats
    worker: NDArray[np.int64]

    def first(self, count: int) -> "ServiceLog":
        """Return the same with about `count` batches, the first ones of each worker."""
        if len(self.worker) <= count:
            return self
        begin = np.flatnonzero(np.diff(self.worker, prepend=-1))
        place = np.arange(len(self.worker)) - np.repeat(
            begin, np.diff(begin, append=len(self.worker))
        )
        own = {
            name: getattr(self, name)[place < -(-count // len(begin))]
            for name in ("seconds", "size", "idle", "done_s", "worker")
        }
        return replace(self, **own)


def in_seconds(ns: NDArray[np.int64]) -> Floats:
    """Return nanoseconds as seconds, float64 of the same shape."""
    return np.asarray(ns * 1e-9, dtype=np.float64)


def service_log(completions: Completions, queue: Queue) -> ServiceLog:
    """Read off how long each batch took its device, from when it could start to when it ended.

    A batch could start when the rule says so; what passes between that and its real start (the
    worker's own work) takes the device too and counts as service.
    """
    ok = np.flatnonzero(completions.status == wire.COMPLETED)
    order = ok[np.lexsort((ok, completions.start_ns[ok], completions.worker[ok]))]
    worker, start_ns = completions.worker[order], completions.start_ns[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (np.diff(worker) != 0) | (np.diff(start_ns) != 0)
    first = np.flatnonzero(fresh)
    size = np.diff(np.append(first, len(order)))
    sent_s = in_seconds(completions.sent_ns[order] - completions.start_of_trial_ns)
    done_s = in_seconds(completions.done_ns[order[first]] - completions.start_of_trial_ns)
    free_s = np.concatenate([[-np.inf], done_s[:-1]])
    free_s[1:][np.diff(worker[first]) != 0] = -np.inf
    oldest_s = np.minimum.reduceat(sent_s, first) if len(first) else sent_s
    newest_s = np.maximum.reduceat(sent_s, first) if len(first) else sent_s
    filled_s = np.where(size >= queue.batch_size, newest_s, np.inf)
    start_s = batch_start(free_s, oldest_s, filled_s, queue.batch_timeout_s, np.maximum, np.minimum)
    started_s = in_seconds(start_ns[first] - completions.start_of_trial_ns)
    return ServiceLog(
        qps=completions.schedule.target_qps,
        begin_s=completions.start_of_trial_ns * 1e-9,
        seconds=done_s - np.minimum(start_s, started_s),
        size=size.astype(np.int64),
        idle=oldest_s > free_s,
        done_s=done_s,
        worker=worker[first].astype(np.int64),
    )
