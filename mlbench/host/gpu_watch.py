"""GPUs throughout a trial, put together from many looks at them."""

from collections.abc import Sequence
from dataclasses import asdict, replace

from mlbench.host.nvml import read_gpu
from mlbench.records import GpuAccount, GpuState


class GpuWatch:
    """What the looks at these GPUs (CUDA indices) saw together."""

    def __init__(self, indices: Sequence[int]) -> None:
        self._indices = indices
        self._accounts: dict[int, GpuAccount] = {}

    def look(self) -> None:
        """Read the GPUs' state now, of those that tell."""
        for index in self._indices:
            if state := read_gpu(index):
                self._accounts[index] = with_look(self._accounts.get(index), state)

    @property
    def accounts(self) -> tuple[GpuAccount, ...]:
        """What was seen of each GPU that told anything."""
        return tuple(self._accounts.values())


def with_look(earlier: GpuAccount | None, now: GpuState) -> GpuAccount:
    """Return what was seen of a GPU with one more look at it."""
    seen = GpuAccount(
        **asdict(now),
        lowest_clock_mhz=now.clock_mhz,
        highest_temperature_c=now.temperature_c,
        looks=1,
        throttled_looks=int(bool(now.throttled_by)),
    )
    if earlier is None:
        return seen
    return replace(
        seen,
        throttled_by=tuple(dict.fromkeys((*earlier.throttled_by, *now.throttled_by))),
        lowest_clock_mhz=min(earlier.lowest_clock_mhz, now.clock_mhz),
        highest_temperature_c=max(earlier.highest_temperature_c, now.temperature_c),
        looks=earlier.looks + 1,
        throttled_looks=earlier.throttled_looks + seen.throttled_looks,
    )
