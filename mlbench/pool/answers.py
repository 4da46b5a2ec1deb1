"""Can these answers be true? What a worker says is held against what it was asked. Pure.

A worker serves what it holds in order, one batch after the other. So of an honest one ids rise, a
batch starts when all its queries are due and the batch before has ended, and nothing ends later
than it is heard of. Answers that break a rule would give a wrong number that looks right.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire


@dataclass(frozen=True)
class Asked:
    """What is known when answers of one worker arrive.

    `held`: bool (n,), whether each answer is to a query that the worker holds. `due_ns`: when that
    query is due, int64 (n,). `free_ns`: when the worker's last batch ended. `now_ns`: when the
    answers arrived. All times are of the monotonic clock, one clock for the whole host.
    """

    held: NDArray[np.bool_]
    due_ns: NDArray[np.int64]
    free_ns: int
    now_ns: int
    batch_size: int


def find_wrong(answers: NDArray[np.void], asked: Asked) -> str | None:
    """Return, in words, the first rule that COMPLETION records (n,) break; None for good ones."""
    ids, batch, status = answers["id"], answers["batch"], answers["status"]
    start_ns, done_ns = answers["start_ns"], answers["done_ns"]
    if not asked.held.all():
        return "answered queries that it did not hold"
    if (ids[1:] <= ids[:-1]).any():
        return "answered queries out of their order"
    if not ((status == wire.COMPLETED) | (status == wire.FAILED)).all():
        return "answered with a status that is no answer's"
    if (start_ns < asked.due_ns).any():
        return "started queries before they were due"
    if (done_ns < start_ns).any():
        return "ended queries before they started"
    if int(done_ns.max()) > asked.now_ns:
        return "ended queries later than it told so"
    if (answers["prediction"] < -1).any():
        return "answered with a class below -1"
    if batch.min() < 1 or batch.max() > asked.batch_size:
        return f"answered with a batch that is not of 1 to {asked.batch_size} queries"
    return _find_wrong_batches(answers, asked.free_ns)


def _find_wrong_batches(answers: NDArray[np.void], free_ns: int) -> str | None:
    """Look at whole batches: their queries stand side by side, with the same times."""
    starts_ns, ends_ns, batch = answers["start_ns"], answers["done_ns"], answers["batch"]
    if batch.max() > 1:
        first = np.flatnonzero(np.append(True, starts_ns[1:] != starts_ns[:-1]))
        sizes = np.diff(first, append=len(batch))
        if not np.array_equal(np.repeat(sizes, sizes), batch):
            return "answered with batches of another size than it served"
        if not np.array_equal(np.repeat(ends_ns[first], sizes), ends_ns):
            return "ended queries of one batch at different times"
        starts_ns, ends_ns = starts_ns[first], ends_ns[first]
    if starts_ns[0] < free_ns or (starts_ns[1:] < ends_ns[:-1]).any():
        return "started a batch before the one before had ended"
    return None
