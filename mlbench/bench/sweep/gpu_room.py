"""Whether another pool fits into the memory of GPUs."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from mlbench.host.nvml import free_gpu_bytes

ROOM = 2.0  # times the largest pool, as runtimes take more when larger batches come


class GpuRoom:
    """Knows what pools take of a GPU's memory, from the free bytes before and after their start.

    `free_bytes`: of the GPU that CUDA numbers so; None where nothing tells it.
    """

    def __init__(self, free_bytes: Callable[[int], int | None] = free_gpu_bytes) -> None:
        self._free_bytes = free_bytes
        self._largest = 0

    @contextmanager
    def measuring(self, gpus: Collection[int]) -> Iterator[None]:
        """Learn what a pool takes on each of its GPUs that is started in this block."""
        before = {gpu: self._free_bytes(gpu) for gpu in gpus}
        yield
        for gpu, free in before.items():
            left = self._free_bytes(gpu)
            if free is not None and left is not None:
                self._largest = max(self._largest, free - left)

    def is_in(self, gpu: int) -> bool:
        """Return whether another pool fits; not where nothing tells it, or none was measured."""
        free = self._free_bytes(gpu)
        return free is not None and self._largest > 0 and free >= ROOM * self._largest
