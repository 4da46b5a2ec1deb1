"""Which pools of a sweep stay warm where they share a GPU."""

from types import SimpleNamespace

import pytest

from mlbench.bench.settings import RunSettings
from mlbench.bench.sweep import pools
from mlbench.bench.sweep.gpu_room import GpuRoom
from mlbench.bench.sweep.pools import Pools
from mlbench.host.devices import Device

GIB = 1 << 30


class Gpu:
    """A GPU of 80 GiB, and the pools that were opened on it and are not closed."""

    def __init__(self, each_gib: int, *, is_told: bool = True) -> None:
        self.each_gib, self.is_told = each_gib, is_told
        self.pools: list[SimpleNamespace] = []

    def free_bytes(self, gpu: int) -> int | None:
        """Return the bytes that no pool has."""
        assert gpu == 0
        return (80 - self.each_gib * len(self.pools)) * GIB if self.is_told else None

    def open(self, *_: object) -> SimpleNamespace:
        """Open a pool, which takes as much as each of them."""
        pool = SimpleNamespace(pids=())
        pool.close = lambda: self.pools.remove(pool)
        self.pools.append(pool)
        return pool


def _opened(gpu: Gpu, monkeypatch: pytest.MonkeyPatch, turns: str) -> int:
    """Let configurations have turns; return how often a pool had to be started."""
    job = SimpleNamespace(specs=[SimpleNamespace(device=Device("cuda", index=0))])
    opened = []
    monkeypatch.setattr(pools, "prepare", lambda *_: job)
    monkeypatch.setattr(pools, "open_pool", lambda *_: opened.append(1) or gpu.open())
    settings = RunSettings(max_latency=(0.1,))
    with Pools(GpuRoom(gpu.free_bytes)) as warm:
        for name in turns:
            warm.of(name, settings, lambda _: None)
    assert not gpu.pools
    return len(opened)


@pytest.mark.parametrize(
    ("each_gib", "is_told", "starts"), [(10, True, 2), (30, True, 6), (10, False, 6)]
)
def test_pools_share_a_gpu_where_its_memory_allows(
    monkeypatch: pytest.MonkeyPatch, each_gib: int, is_told: bool, starts: int
) -> None:
    """Two of 10 of 80 GiB stay warm; two of 30 do not, nor any where nothing tells the memory."""
    gpu = Gpu(each_gib, is_told=is_told)
    assert _opened(gpu, monkeypatch, "ABABAB") == starts


def test_the_pool_that_was_idle_for_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pools of 20 GiB three are warm at a time: D ends A, so that C needs no new start."""
    assert _opened(Gpu(20), monkeypatch, "ABCDC") == 4
