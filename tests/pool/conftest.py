"""Pools of real worker processes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from mlbench.contracts.backend import WorkerSpec
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.local import LocalLauncher

StartPool = Callable[..., WorkerPool]


def simulated(
    workers: int = 1,
    batch_size: int = 1,
    timeout_ns: int = 0,
    backend: str = "simulated",
    **options: Any,
):
    """Return the specs of simulated workers with these options of the backend."""
    words = {key: str(value) for key, value in options.items()}
    return [
        WorkerSpec(
            i,
            "",
            backend,
            options=words,
            batch_size=batch_size,
            batch_timeout_ns=timeout_ns,
            sample_count=10,
        )
        for i in range(workers)
    ]


@pytest.fixture
def start_pool() -> Iterator[StartPool]:
    """Return a function that starts a pool of these specs; it is closed after the test."""
    with ExitStack() as stack:

        def start(specs, launcher=None, **options):
            launcher = launcher or LocalLauncher()
            return stack.enter_context(WorkerPool(specs, launcher, warm_up_s=0.05, **options))

        yield start


@pytest.fixture
def simulated_specs():
    """Return the function that makes specs of simulated workers."""
    return simulated


@pytest.fixture
def faulty_specs(tmp_path):
    """Return the function that makes specs of workers of which one breaks, once."""

    def make(**options: Any):
        return simulated(backend="faulty", once=tmp_path / "broken", **options)

    return make


@pytest.fixture(scope="module")
def shared_pools() -> Iterator[Callable[..., WorkerPool]]:
    """Return a function that gives a pool of simulated workers, the same for the same options."""
    pools: dict[str, WorkerPool] = {}

    def get(**options):
        key = repr(sorted(options.items()))
        if key not in pools:
            pools[key] = WorkerPool(simulated(**options), LocalLauncher(), warm_up_s=0.05)
        return pools[key]

    yield get
    for pool in pools.values():
        pool.close()
