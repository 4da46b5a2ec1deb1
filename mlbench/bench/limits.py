"""What is too much for this machine, told before it is begun."""

from mlbench.contracts.errors import RequestError
from mlbench.host.memory import check_fits

_QUERY_BYTES = 160
"""Of memory for a query at the end of a trial: 100 in the coordinator and 23 in each worker's view
of the line were measured, at 2 and 4 million queries; the rest is room to sort them."""

_MOST_QUERIES = 2**31  # their numbers have 32 bits, and sample numbers are counted on from one

_WORKER_BYTES = 30 << 20  # of memory for a worker without a model: an interpreter and NumPy


def check_queries(queries: int, lower: str) -> None:
    """Raise RequestError for a trial of more queries than fit; `lower` says which options to."""
    check_fits(queries * _QUERY_BYTES, f"{queries:,} queries in one trial", f"lower {lower}")
    if queries > _MOST_QUERIES:
        raise RequestError(f"{queries:,} queries in one trial are too many: lower {lower}")


def check_workers(workers: int) -> None:
    """Raise RequestError for more workers than fit."""
    check_fits(workers * _WORKER_BYTES, f"{workers:,} workers", "lower --workers-per-device")
