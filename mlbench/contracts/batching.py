"""The batching rule, written once: for the worker that applies it and the model that predicts it.

A device that is free takes everything that waits, up to the largest batch. With a timeout it may
wait for more, until the batch is full or the oldest waiting query has waited for the timeout.
"""


def batch_start_ns(free_ns: int, oldest_ns: int, filled_ns: int | None, timeout_ns: int) -> int:
    """Return when the next batch starts.

    `free_ns`: when the device became free. `oldest_ns`: arrival of the oldest waiting query.
    `filled_ns`: arrival of the query that makes the batch full, None when not known to come.
    All in nanoseconds of one clock.
    """
    ready_ns = max(free_ns, oldest_ns)
    give_up_ns = max(ready_ns, oldest_ns + timeout_ns)
    return give_up_ns if filled_ns is None else min(give_up_ns, max(ready_ns, filled_ns))
