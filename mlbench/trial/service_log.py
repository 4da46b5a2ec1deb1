"""How long the device took for each batch of a trial, read off its completions."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.queueing.line import Floats
from mlbench.records import Completions


@dataclass(frozen=True)
class ServiceLog:
    """The batches of one trial in the order they were served, worker by worker.

    `seconds`, `size`, `idle_s`, `done_s`, `worker`: (m,), how long each batch took its device, of
    how many queries, for how long the device had nothing to do before, the end, from the trial's
    start, and whose it was. `qps` is the rate that was offered; `begin_s` the trial's start on a
    clock that all trials share.
    """

    qps: float
    begin_s: float
    seconds: Floats
    size: NDArray[np.int64]
    idle_s: Floats
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
            for name in ("seconds", "size", "idle_s", "done_s", "worker")
        }
        return replace(self, **own)


def in_seconds(ns: NDArray[np.int64]) -> Floats:
    """Return nanoseconds as seconds, float64 of the same shape."""
    return np.asarray(ns * 1e-9, dtype=np.float64)


_LONGEST_IDLE_NS = (
    10**12
)  # a device before its first batch: a quarter of an hour is as good as ever


def service_log(completions: Completions) -> ServiceLog:
    """Read off how long each batch took its device, from its start to its end.

    A batch found its device idle when its first query was due after the batch before had ended.
    """
    ok = np.flatnonzero(completions.status == wire.COMPLETED)
    order = ok[np.lexsort((ok, completions.start_ns[ok], completions.worker[ok]))]
    worker, start_ns = completions.worker[order], completions.start_ns[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (np.diff(worker) != 0) | (np.diff(start_ns) != 0)
    first = np.flatnonzero(fresh)
    done_ns = completions.done_ns[order[first]]
    due_ns = completions.due_ns[order[first]]
    free_ns = np.append(due_ns[:1] - _LONGEST_IDLE_NS, done_ns[:-1])
    others = np.diff(worker[first], prepend=worker[first][:1]) != 0
    free_ns[others] = due_ns[others] - _LONGEST_IDLE_NS
    return ServiceLog(
        qps=completions.schedule.target_qps,
        begin_s=completions.start_of_trial_ns * 1e-9,
        seconds=in_seconds(done_ns - start_ns[first]),
        size=np.diff(first, append=len(order)).astype(np.int64),
        idle_s=in_seconds(np.maximum(due_ns - free_ns, 0)),
        done_s=in_seconds(done_ns - completions.start_of_trial_ns),
        worker=worker[first].astype(np.int64),
    )
