"""How many threads a worker gets where nobody says."""

import pytest

from mlbench.bench.layout import most_threads, threads_for, time_on_one_thread
from mlbench.contracts.backend import WorkerSpec


@pytest.mark.parametrize(
    ("query_ms", "limits_ms", "cores", "threads"),
    [
        (5.5, (10, 50), 2, 1),
        (5.5, (10, 50), 64, 1),
        (7.0, (10, 50), 64, 2),
        (47, (10, 50, 100), 2, 2),
        (47, (10, 50, 100), 64, 8),
        (47, (100, 200), 2, 1),
        (47, (), 64, 1),
        (470, (10, 50), 4, 4),
    ],
)
def test_threads_follow_the_narrowest_limit(query_ms, limits_ms, cores, threads) -> None:
    """The fewest threads that leave a query time to wait; all cores where nothing else will do."""
    max_latencies_s = tuple(ms * 1e-3 for ms in limits_ms)
    assert threads_for(query_ms * 1e-3, max_latencies_s, cores) == threads


@pytest.mark.parametrize(
    ("quota_cores", "sharers", "threads"),
    [(2.0, 1, 2), (2.0, 2, 1), (1.5, 1, 2), (7.5, 3, 2), (0.5, 4, 1), (None, 4, None)],
)
def test_a_quota_limits_threads(quota_cores, sharers, threads) -> None:
    """Together they have no more than the cores that it allows, each at least one."""
    assert most_threads(quota_cores, sharers) == threads


def test_the_time_of_a_full_batch_is_measured() -> None:
    """A simulated device's time for a full batch comes back as it is."""
    options = {"service_ms": "4", "per_item_ms": "1"}
    spec = WorkerSpec(0, "", "simulated", options=options, batch_size=3)
    assert time_on_one_thread(spec) == pytest.approx(0.006)
