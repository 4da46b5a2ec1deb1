"""Warming up: caches, allocators and clocks settle before anything is measured."""

from typing import NamedTuple

import numpy as np

from mlbench.contracts.backend import Backend, WorkerSpec, is_self_timed
from mlbench.contracts.errors import one_line
from mlbench.contracts.predictions import check_classes
from mlbench.host.clock import now_ns
from workers.feeds import Feeds
from workers.tell import tell

_FEWEST_CALLS = 5
_OTHERS = (
    4  # times as long as the classes; what of the other sizes has had no turn by then has none
)
_FAILURES_IN_A_ROW = 3  # a model that fails now and then is measured; trials count its failures


class WarmUp(NamedTuple):
    """How long calls took, in nanoseconds.

    `service_ns`: for a query, in the median. `slowest_ns`: the slowest batch, when all was settled.
    `first_ns`: the slowest of all calls, as those are that a runtime prepares itself in.
    """

    service_ns: float
    slowest_ns: float
    first_ns: float


class WarmUpError(Exception):
    """The model cannot be warmed up; `is_final` when not even its first call worked."""

    def __init__(self, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.is_final = is_final


class WarmUpCalls:
    """Makes calls of a backend, and bears with those that fail now and then."""

    def __init__(self, backend: Backend, feeds: Feeds, spec: WorkerSpec) -> None:
        self._backend = backend
        self._feeds = feeds
        self._spec = spec
        self._calls = 0
        self._failed = 0
        self._failed_in_a_row = 0
        self._last_failure = ""
        self.first_ns = 0

    def time_ns(self, size: int) -> int:
        """Serve a batch of this size and return how long it took. Raises WarmUpError."""
        samples = np.arange(size, dtype=np.uint32) % np.uint32(self._spec.sample_count)
        start_ns = now_ns()
        try:
            answer = self._backend.predict(self._feeds.batch(samples))
            if answer is not None:
                check_classes(answer, size)
        except Exception as error:
            self._note_failure(error)
        else:
            self._failed_in_a_row = 0
        self._calls += 1
        took_ns = now_ns() - start_ns
        self.first_ns = max(self.first_ns, took_ns)
        return took_ns

    def _note_failure(self, error: Exception) -> None:
        self._failed += 1
        self._failed_in_a_row += 1
        self._last_failure = one_line(error)
        if self._calls == 0:
            why = f"the model fails at its first query: {self._last_failure}"
            raise WarmUpError(why, is_final=True) from error
        if self._failed_in_a_row == _FAILURES_IN_A_ROW:
            why = f"the model fails in warm-up, at call {self._calls + 1}: {self._last_failure}"
            raise WarmUpError(why, is_final=False) from error

    def tell_failures(self) -> None:
        """Tell how many calls failed, if any."""
        if self._failed:
            calls = f"{self._failed:,} of {self._calls:,} calls of the warm-up failed"
            tell(f"{calls}, the last one with {self._last_failure}")


def warm_up(backend: Backend, feeds: Feeds, spec: WorkerSpec, seconds: float) -> WarmUp:
    """Serve batches of every size class for about `seconds`. Raises WarmUpError.

    The classes are 1, 2, 4, ... up to the largest. After them each other size is served once, since
    runtimes prepare for each new shape: PyTorch took 70 ms for that on a GPU that then took 7.
    Times are those of the later calls at the largest size.
    """
    feeds.touch(spec.sample_count)
    if is_self_timed(backend):
        batch_ns = backend.mean_service_ns(spec.batch_size)
        return WarmUp(batch_ns / spec.batch_size, batch_ns, batch_ns)
    calls, sizes = WarmUpCalls(backend, feeds, spec), _sizes(spec.batch_size)
    times_ns: list[int] = []
    for size in sizes:
        times_ns, end_ns = [], now_ns() + round(seconds / len(sizes) * 1e9)
        while len(times_ns) < _FEWEST_CALLS or now_ns() < end_ns:
            times_ns.append(calls.time_ns(size))
    end_ns = now_ns() + round(_OTHERS * seconds * 1e9)
    for size in set(range(1, spec.batch_size)).difference(sizes):
        if now_ns() < end_ns:
            calls.time_ns(size)
    calls.tell_failures()
    later_ns = times_ns[len(times_ns) // 2 :]
    service_ns = float(np.median(later_ns)) / spec.batch_size
    return WarmUp(service_ns, max(later_ns), calls.first_ns)


def _sizes(largest: int) -> list[int]:
    powers = [2**power for power in range(largest.bit_length()) if 2**power < largest]
    return [*powers, largest]
