"""What the harness costs the device: our pool in turns with others that use the same session.

Each study yields findings with 95 % intervals and logs every block that was played.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from engine_bench.duel import Duel, Finding, Log, Pair, Plan
from engine_bench.ideal import Floats, line_latency_s
from engine_bench.pairs import Estimate, crossing_qps, mean_ratio, pooled_p99_ratio, resampled
from engine_bench.systems import BareLine, Block, OurPool, Shape
from mlbench.outcomes import LatencyLimit
from mlbench.queueing import Queue, ServiceTimes, predict_capacity
from mlbench.stats.percentiles import percentile

_LOADS = (0.75, 0.87)  # of the saturated rate: queries wait now and then, and mostly
_BOUNDS_S = (0.050, 0.010)
_LIGHT = 0.6  # of the saturated rate, at which the guess of a capacity begins
_AROUND = (0.85, 0.92, 1.0, 1.07)  # of that guess: the capacity lies between
_ROW = 10  # service times in a row that belong together: slow moments last some queries
_OURS, _BARE = "mlbench", "bare"


def turns(plan: Plan, log: Log) -> Iterator[Finding]:
    """Service times and tails of our pool and of bare processes that know the schedule."""
    each = max(1, round(plan.pairs / len(plan.shapes) / len(_LOADS)))
    for shape in plan.shapes:
        with OurPool(shape) as ours, BareLine(shape) as bare:
            duel = Duel("turns", shape, ours, bare, log)
            saturated_qps = duel.saturated_qps(plan.seconds)
            yield f"{shape.name}: saturated qps", _BARE, Estimate(saturated_qps)
            pairs: dict[float, list[Pair]] = {load: [] for load in _LOADS}
            for number in range(each):
                for load in _LOADS:
                    pairs[load].append(duel.pair(load * saturated_qps, plan.seconds, number))
        for load in _LOADS:
            yield from _compared(f"{shape.name} at {load:.0%} load", shape.workers, pairs[load])


def _compared(metric: str, workers: int, pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Compare the pairs at one rate."""
    ours, bare = zip(*pairs, strict=True)
    means = [np.array([block.service_s.mean() for block in side]) for side in (ours, bare)]
    yield f"{metric}: mean service time", "mlbench / bare", mean_ratio(*means)
    queued = [[queued_s(block, workers) for block in side] for side in (ours, bare)]
    metric_queued = f"{metric}: p99 of both services in the ideal queue"
    yield metric_queued, "mlbench / bare", pooled_p99_ratio(*queued)
    measured = [[block.latency_s for block in side] for side in (ours, bare)]
    for system, latencies in zip((_OURS, _BARE), measured, strict=True):
        p99_ms = percentile(np.concatenate(latencies), 99) * 1e3
        yield f"{metric}: p99 measured (ms)", system, Estimate(p99_ms)
    yield f"{metric}: p99 measured, pooled", "mlbench / bare", pooled_p99_ratio(*measured)
    ratios = np.array([one.p99_s / other.p99_s for one, other in pairs])
    median = resampled(lambda chosen: float(np.median(ratios[chosen])), len(ratios))
    yield f"{metric}: p99 measured, median of pairs", "mlbench / bare", median


def queued_s(block: Block, workers: int) -> Floats:
    """Return latencies of a block's arrivals and services, in the order measured, in one line."""
    return line_latency_s(block.arrive_s, block.service_s[:, None], workers)


def capacity(plan: Plan, log: Log) -> Iterator[Finding]:
    """Our capacity under a limit beside that of the ideal queue with bare service times.

    Both are where the p99 of blocks near that rate crosses the limit. The ideal queue serves the
    same arrivals with the service times of the bare block in that pair. Half as many pairs as in
    `turns`, since all rates tell the same line.
    """
    rounds = max(1, round(plan.pairs / 2 / len(plan.shapes) / len(_BOUNDS_S) / len(_AROUND)))
    for shape in plan.shapes:
        with OurPool(shape) as ours, BareLine(shape) as bare:
            duel = Duel("capacity", shape, ours, bare, log)
            saturated_qps = duel.saturated_qps(plan.seconds)

            def services_s(qps: float, duel: Duel = duel) -> Floats:
                return duel.pair(qps, plan.seconds, 0)[1].service_s

            for max_latency_s in _BOUNDS_S:
                guess_qps = guessed_qps(services_s, saturated_qps, shape, max_latency_s)
                metric = f"{shape.name}: Poisson qps with p99 <= {max_latency_s * 1e3:.0f} ms"
                if guess_qps == 0:
                    yield metric, "ideal queue of bare services", Estimate(0.0)
                    continue
                pairs = [
                    duel.pair(guess_qps * around, plan.seconds, number)
                    for number in range(rounds)
                    for around in _AROUND
                ]
                rates = np.tile(np.array(_AROUND) * guess_qps, rounds)
                yield from _crossings(metric, shape, max_latency_s, rates, pairs)


def _crossings(
    metric: str, shape: Shape, max_latency_s: float, rates: Floats, pairs: Sequence[Pair]
) -> Iterator[Finding]:
    ours_s = np.array([ours.p99_s for ours, _ in pairs])
    ideal_s = np.array([percentile(queued_s(bare, shape.workers), 99) for _, bare in pairs])

    def crossing(p99_s: Floats) -> Callable[[np.ndarray], float]:
        return lambda chosen: crossing_qps(rates[chosen], p99_s[chosen], max_latency_s)

    ours, ideal = crossing(ours_s), crossing(ideal_s)
    yield metric, _OURS, resampled(ours, len(pairs))
    yield metric, "ideal queue of bare services", resampled(ideal, len(pairs))
    ratio = resampled(lambda chosen: ours(chosen) / ideal(chosen), len(pairs))
    yield f"{metric}: ratio", "mlbench / ideal queue", ratio


def guessed_qps(
    services_s: Callable[[float], Floats], saturated_qps: float, shape: Shape, max_latency_s: float
) -> float:
    """Return the queue model's capacity, from service times at a light load and then at it; or 0.

    `services_s` plays a block at a rate and returns its service times (n,).
    """
    light_s = services_s(_LIGHT * saturated_qps)
    first_qps = modelled_qps(light_s, shape, max_latency_s)
    if first_qps == 0:
        return 0.0
    return modelled_qps(np.concatenate([light_s, services_s(first_qps)]), shape, max_latency_s)


def modelled_qps(service_s: Floats, shape: Shape, max_latency_s: float) -> float:
    """Return the queue model's capacity for service times (n,) in the order measured."""
    service = ServiceTimes.sampled(service_s, block=_ROW)
    limit = LatencyLimit(99.0, max_latency_s)
    found = predict_capacity(Queue(shape.workers), service, "exponential", limit)
    return found.qps if found else 0.0
