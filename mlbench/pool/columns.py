"""The columns of one trial while it is played: a row for each query, a tally for each worker."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.records import Completions, Schedule

NOBODY = 65535
"""In the column of workers: nobody has claimed the query."""

PENDING, CLAIMED = 3, 4
"""The states of an open query: lost when the trial is over. The final ones are those of the wire.

Open ones are the highest, so that one comparison finds both. They are plain numbers because NumPy
takes ten times as long to compare a column with an IntEnum.
"""


class Columns:
    """What is known of each query; the columns are those of `Completions`, of shape (n,)."""

    def __init__(self, samples: NDArray[np.uint32]) -> None:
        queries = len(samples)
        self.sample = samples
        self.pushed_ns = np.zeros(queries, np.int64)
        self.start_ns = np.zeros(queries, np.int64)
        self.done_ns = np.zeros(queries, np.int64)
        self.returned_ns = np.zeros(queries, np.int64)
        self.worker = np.full(queries, NOBODY, np.uint16)
        self.batch = np.zeros(queries, np.uint16)
        self.status = np.full(queries, PENDING, np.uint8)
        self.prediction = np.full(queries, -1, np.int32)

    def is_held(self, worker: int, rows: slice | NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which of these queries the worker has claimed and not answered."""
        held: NDArray[np.bool_] = (self.worker[rows] == worker) & (self.status[rows] == CLAIMED)
        return held

    def record(self, ids: NDArray[np.intp], answers: NDArray[np.void], now_ns: int) -> None:
        """Write COMPLETION records into the rows of their ids."""
        self.start_ns[ids] = answers["start_ns"]
        self.done_ns[ids] = answers["done_ns"]
        self.returned_ns[ids] = now_ns
        self.batch[ids] = answers["batch"]
        self.status[ids] = answers["status"]
        self.prediction[ids] = answers["prediction"]

    def latency_s(self, rows: slice, due_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return seconds from due to done of those queries that are completed, in order of id.

        `due_ns`: when each of these queries was due, on the monotonic clock.
        """
        ok = self.status[rows] == wire.COMPLETED
        seconds: NDArray[np.float64] = (self.done_ns[rows] - due_ns)[ok] * 1e-9
        return seconds

    def completions(self, schedule: Schedule, start_ns: int, **fields: object) -> Completions:
        """Return the rows of a schedule's queries, of which those still open are lost."""
        played = slice(0, len(schedule.due_ns))
        self.status[self.status >= PENDING] = wire.LOST
        return Completions(
            schedule=schedule,
            start_of_trial_ns=start_ns,
            sample=self.sample[played],
            sent_ns=self.pushed_ns[played],
            start_ns=self.start_ns[played],
            done_ns=self.done_ns[played],
            returned_ns=self.returned_ns[played],
            worker=self.worker[played],
            batch=self.batch[played],
            status=self.status[played],
            prediction=self.prediction[played],
            **fields,  # type: ignore[arg-type]  # the caller names fields of Completions
        )


@dataclass
class Tally:
    """One worker's part of a trial.

    `heard_ns`: when it last answered, or began to hold something. `holding`: queries that it has
    claimed and not answered. `free_ns`: when its last batch ended. `slowest_ns`: the time of its
    slowest batch. `busy_ns`: the time of all of them. `served`: queries that it answered.
    """

    heard_ns: int
    holding: int = 0
    free_ns: int = 0
    slowest_ns: int = 0
    busy_ns: float = 0.0
    served: int = 0

    @property
    def service_ns(self) -> float:
        """The mean service time for a query; 0 where there was none."""
        return self.busy_ns / max(self.served, 1)

    def count(self, answers: NDArray[np.void], now_ns: int) -> None:
        """Take in COMPLETION records, one or more, in the order they were served."""
        took_ns = answers["done_ns"] - answers["start_ns"]
        self.heard_ns = now_ns
        self.holding -= len(answers)
        self.free_ns = int(answers["done_ns"][-1])
        self.slowest_ns = max(self.slowest_ns, int(took_ns.max()))
        self.busy_ns += float((took_ns / answers["batch"]).sum())
        self.served += len(answers)
