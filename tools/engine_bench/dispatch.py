"""Simulated workers against the ideal queue of one line, recomputed on the very same due times."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from engine_bench.ideal import Floats, line_latency_s
from engine_bench.ours import percentile_s, play, simulated_pool
from mlbench.queueing import MeanTimes, Queue, line_latencies
from mlbench.records import Completions
from mlbench.stats.percentiles import percentile

Row = tuple[str, str, float]
_SECONDS = 10.0
_BATCH, _TIMEOUT_S = 8, 0.002
_BATCH_SECONDS = 0.002 + 0.0005 * np.arange(-1, _BATCH)  # by size; entry 0 is not used


@dataclass(frozen=True)
class Case:
    """Two workers at a rate, and the latencies that the ideal queue gives the same queries."""

    name: str
    qps: float
    options: dict[str, str]
    ideal_s: Callable[[Completions], Floats]
    batched: bool = False
    round_robin: bool = False


def _by_server(*service_s: float) -> Callable[[Completions], Floats]:
    return lambda done: line_latency_s(done.due_ns * 1e-9, service_s, 2)


def _as_measured(done: Completions) -> Floats:
    service_s = (done.done_ns - done.start_ns) * 1e-9
    return line_latency_s(done.due_ns * 1e-9, service_s[:, None], 2)


def _in_batches(done: Completions) -> Floats:
    arrive_s = done.due_ns[None] * 1e-9
    queue = Queue(2, _BATCH, _TIMEOUT_S)
    return line_latencies(queue, MeanTimes(_BATCH_SECONDS), arrive_s, np.ones_like(arrive_s))[0]


_CASES = (
    Case("2 ms each", 700.0, {"service_ms": "2"}, _by_server(0.002, 0.002), round_robin=True),
    Case("2 and 4 ms", 525.0, {"service_ms": "2,4"}, _by_server(0.002, 0.004), round_robin=True),
    Case("2 ms, cv 1", 600.0, {"service_ms": "2", "cv": "1"}, _as_measured),
    Case(
        f"batches of {_BATCH}, timeout 2 ms",
        2000.0,  # 0.7 of what full batches serve
        {"service_ms": "2", "per_item_ms": "0.5"},
        _in_batches,
        batched=True,
    ),
)


def dispatch(repeat: int) -> Iterator[Row]:
    """Two simulated workers; round robin beside the one line where services are constant."""
    for case in _CASES:
        yield from _compare(case, repeat, round_robin=False)
        if case.round_robin:
            yield from _compare(case, repeat, round_robin=True)


def _compare(case: Case, repeat: int, *, round_robin: bool) -> Iterator[Row]:
    batches = {"batch_size": _BATCH, "batch_timeout_ns": round(_TIMEOUT_S * 1e9)}
    fields = batches if case.batched else {}
    with simulated_pool(case.options, 2, round_robin=round_robin, **fields) as pool:
        completions = play(pool, case.qps, _SECONDS, repeat)
    measured_s = percentile_s(completions, 99)
    recomputed_s = percentile(case.ideal_s(completions), 99)
    metric = f"two workers, {case.name}, {case.qps:,.0f} qps"
    system = "mlbench, round robin" if round_robin else "mlbench, one line"
    yield f"{metric}: p99 (ms)", system, measured_s * 1e3
    if not round_robin:
        yield f"{metric}: p99 (ms)", "ideal queue, same due times", recomputed_s * 1e3
    yield f"{metric}: p99 measured / recomputed", system, measured_s / recomputed_s
