"""Did a trial meet its limit? A verdict, with its reasons in words and figures."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.outcomes import Judgement, LatencyLimit, Verdict
from mlbench.queueing.line import Queue
from mlbench.records import Completions
from mlbench.stats.correlation import Floats, correlation_time, effective_size
from mlbench.stats.intervals import exceedance_interval
from mlbench.stats.percentiles import percentile, tells
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.service_log import ServiceLog, in_seconds, service_log

MAX_RATE_ERROR = 0.01
MAX_STEAL = 0.05
MAX_OTHER_CPU = 0.25
MAX_FAULTS_PER_S = 20.0
"""Beyond these a trial says more about its host than about the device."""

_BUSY = 0.995  # of the time; less leaves the device room to catch up
_FEWEST = 10  # batches that can show an overload for certain


def judge(completions: Completions, limit: LatencyLimit, queue: Queue) -> Judgement:
    """Judge one trial against one limit; `queue` is the shape of what was measured.

    pass: the raw percentile from the scheduled time is within the limit, every query was answered
    and the backlog did not grow. undecided: it is not, but by no more than chance explains, or the
    device may be falling behind. invalid: the trial says nothing about the device.
    """
    doubts = _invalidities(completions, limit)
    if doubts:
        return Judgement("invalid", tuple(doubts))
    overload = find_overload(completions, queue)
    verdict, reason = compared = _compare(_latency_s(completions), limit)
    certain = overload is not None and overload.certain
    lateness = None if certain else _lateness(completions, limit, queue, compared)
    if lateness and (completions.cut_short or not overload):
        return Judgement("invalid", (lateness,))
    words = [overload.words] if overload else []
    if completions.cut_short:
        words.append("the trial was cut short because the backlog grew over its limit")
    if certain or completions.cut_short:
        verdict = "fail"
    elif overload and verdict != "fail":
        verdict = "undecided"
    return Judgement(verdict, (*words, reason))


def _latency_s(completions: Completions) -> Floats:
    """Return all latencies; those that a trial's early end kept from being served are endless."""
    return np.append(completions.latency_s, np.full(completions.lost, np.inf))


def _lateness(
    completions: Completions, limit: LatencyLimit, queue: Queue, compared: tuple[Verdict, str]
) -> str | None:
    """Say so when the load generator and not the device decided.

    It did when the latencies less what the generator added give another verdict than they do whole,
    which is `compared`. Queries that got no answer wait behind the last that did: if that one was
    late by more than the limit because of the generator, they may be too.
    """
    p, max_latency_s = limit.percentile, limit.max_latency_s
    lag_s = in_seconds(send_lag_ns(completions, queue)[completions.status == wire.COMPLETED])
    less_lag_s = _latency_s(completions)
    less_lag_s[: len(lag_s)] -= lag_s
    if lag_s[-1] > max_latency_s:
        less_lag_s[len(lag_s) :] = 0.0
    verdict, reason = compared
    without, other = _compare(less_lag_s, limit)
    if (verdict == "pass") == (without == "pass"):
        return None
    return (
        f"the load generator's own lateness decides (its p{p:g} is {_ms(percentile(lag_s, p))}): "
        f"{reason}; without it {other}"
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"


def _compare(latency_s: Floats, limit: LatencyLimit) -> tuple[Verdict, str]:
    p, max_latency_s, n = limit.percentile, limit.max_latency_s, len(latency_s)
    worst_s = percentile(latency_s, p)
    late = latency_s > max_latency_s
    count = int(late.sum())
    side = "within" if worst_s <= max_latency_s else "over"
    worst = _ms(worst_s) if np.isfinite(worst_s) else "(not served by the end)"
    figures = f"p{p:g} {worst} is {side} {_ms(max_latency_s)}: {count:,} of {n:,} were later"
    if side == "within":
        return "pass", figures
    size = effective_size(late.astype(np.float64))
    low, _ = exceedance_interval(count / n * size, size)
    if low > 1 - p / 100:
        return "fail", figures
    allowed = f"{low:.2%} or more is likely, {1 - p / 100:.2%} is allowed"
    return "undecided", f"{figures}, which may be chance ({allowed}, worth {size:,.0f} queries)"


def _invalidities(completions: Completions, limit: LatencyLimit) -> list[str]:
    n, p = len(completions.status), limit.percentile
    doubts = []
    if completions.failed:
        doubts.append(f"{completions.failed:,} of {n:,} queries failed{_mostly(completions)}")
    if completions.lost and not completions.cut_short:
        doubts.append(f"{completions.lost:,} of {n:,} queries got no answer")
    doubts += [f"fault: {fault}" for fault in completions.faults]
    if not tells(completions.completed, p) and not (
        completions.cut_short and completions.completed
    ):
        need = int(np.ceil(100 / (100 - p) - 1e-9))
        doubts.append(
            f"too few queries: {completions.completed:,}, but p{p:g} needs {need:,}; measure longer"
        )
    error = _rate_error(completions)
    if abs(error) > MAX_RATE_ERROR:
        doubts.append(
            f"the load generator sent {abs(error):.1%} {'less' if error < 0 else 'more'} than "
            f"the {completions.schedule.target_qps:,.6g} qps asked for"
        )
    return doubts + _host_doubts(completions)


def _mostly(completions: Completions) -> str:
    """Name the worker on which most queries failed, where there are several."""
    if len(completions.workers) < 2:
        return ""
    by_worker = np.bincount(completions.worker[completions.status == wire.FAILED])
    worst = int(by_worker.argmax())
    device = completions.workers[worst].device
    return f", {by_worker[worst]:,} of them on worker {worst} ({device})"


def _rate_error(completions: Completions) -> float:
    """Return the relative error of the rate at which queries really arrived at the workers.

    A query arrives when it is due, or when the workers are told of it where that is later.
    """
    told = completions.sent_ns > 0
    arrived_ns = np.maximum(completions.sent_ns, completions.due_ns)[told]
    span_s = int(np.ptp(arrived_ns)) * 1e-9 if len(arrived_ns) > 1 else 0.0
    if span_s == 0.0:
        return 0.0
    return float((len(arrived_ns) - 1) / span_s / completions.schedule.offered_qps - 1)


def _host_doubts(completions: Completions) -> list[str]:
    host = completions.host
    doubts = []
    if host.steal_fraction > MAX_STEAL:
        doubts.append(f"the host's CPU was taken away {host.steal_fraction:.0%} of the time")
    if host.other_cpu_fraction > MAX_OTHER_CPU:
        doubts.append(f"other processes used {host.other_cpu_fraction:.0%} of the host's CPU")
    if host.major_faults > MAX_FAULTS_PER_S * max(completions.duration_s, 1.0):
        doubts.append(f"memory was short: {host.major_faults:,} pages were read back from disk")
    if host.throttled:
        doubts.append(f"the CPU quota stopped the processes {host.throttled:,} times (throttling)")
    return [*doubts, *host.notes]


@dataclass(frozen=True)
class Overload:
    """A device that falls behind: in words, and whether chance can be ruled out."""

    words: str
    certain: bool


def find_overload(completions: Completions, queue: Queue) -> Overload | None:
    """Say whether the device fell behind: never idle, batches full, slower than what was offered.

    Looks at the second half of the arrivals. A device that was idle now and then keeps up, however
    long its queue grew by chance; one that never was is overloaded for certain when the rate that
    it served is below the rate offered by more than 3 standard errors.
    """
    due_s = completions.schedule.due_ns * 1e-9
    begin_s, end_s = float(due_s[len(due_s) // 2]), float(due_s[-1])
    log = service_log(completions)
    seconds = np.minimum(log.done_s, end_s) - np.maximum(log.done_s - log.seconds, begin_s)
    busy = np.maximum(seconds, 0.0).sum() / (queue.servers * max(end_s - begin_s, 1e-9))
    late = log.done_s > begin_s
    full = _without_last(log, late)
    if busy < _BUSY or not full.any() or log.size[full].mean() < 0.95 * queue.batch_size:
        return None
    served, error = _served_qps(log, late)
    offered = completions.schedule.offered_qps
    before_s, after_s = _backlog_s(completions)
    if served >= offered or after_s <= before_s:
        return None
    words = (
        f"the device fell behind: it served {served:,.4g} of the {offered:,.4g} qps offered, "
        f"and latency grew from {_ms(before_s)} to {_ms(after_s)}"
    )
    certain = late.sum() >= _FEWEST and offered / served - 1 > 3 * error + 1e-4
    return Overload(words, certain=bool(certain))


def _without_last(log: ServiceLog, late: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave out each worker's last batch, which took what was left."""
    last = np.append(np.diff(log.worker) != 0, True)
    return np.asarray(late & ~last)


def _served_qps(log: ServiceLog, late: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the rate at which busy workers served these batches together, its relative error."""
    rates, errors = [], []
    for worker in np.unique(log.worker[late]):
        own = late & (log.worker == worker)
        taken_s = log.seconds[own]
        rates.append(log.size[own].sum() / taken_s.sum())
        errors.append(taken_s.std() / taken_s.mean())
        errors[-1] *= rates[-1] * np.sqrt(correlation_time(taken_s) / len(taken_s))
    return float(sum(rates)), float(np.hypot.reduce(errors) / sum(rates))


def _backlog_s(completions: Completions) -> tuple[float, float]:
    """Return the mean latency in the middle tenth of the trial and in its last tenth."""
    latency_s = completions.latency_s
    half, tenth = len(latency_s) // 2, max(len(latency_s) // 10, 1)
    return float(latency_s[half : half + tenth].mean()), float(latency_s[-tenth:].mean())
