"""The batching rule, written once: for the worker that applies it and the model that predicts it.

A device that is free takes everything that waits, up to the largest batch. With a timeout it may
wait for more, until the batch is full or the oldest waiting query has waited for the timeout.
"""

from collections.abc import Callable
from typing import Any


def batch_start(
    free: Any,
    oldest: Any,
    filled: Any,
    timeout: Any,
    maximum: Callable[..., Any] = max,
    minimum: Callable[..., Any] = min,
) -> Any:
    """Return when the next batch starts; the unit is the arguments'.

    `free`: when the device became free. `oldest`: arrival of the oldest waiting query. `filled`:
    arrival of the query that makes the batch full, endlessly late when not known to come. Works on
    arrays with `numpy.maximum` and `numpy.minimum`.
    """
    return maximum(maximum(free, oldest), minimum(filled, oldest + timeout))


def batch_start_ns(free_ns: int, oldest_ns: int, filled_ns: int | None, timeout_ns: int) -> int:
    """Return when the next batch starts, in nanoseconds of one clock.

    As `batch_start`, with `filled_ns` None when the filling query is not known to come.
    """
    filled = oldest_ns + timeout_ns if filled_ns is None else filled_ns
    return int(batch_start(free_ns, oldest_ns, filled, timeout_ns))
