"""Did a trial meet its limit? A verdict, with its reasons."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.contracts.findings import Figure, Finding
from mlbench.outcomes import Judgement, LatencyLimit, Verdict
from mlbench.queueing.line import Queue
from mlbench.records import Completions
from mlbench.stats.correlation import Floats, correlation_time, effective_size
from mlbench.stats.intervals import binomial_interval
from mlbench.stats.percentiles import percentile, suffices
from mlbench.trial.host import host_doubts
from mlbench.trial.service_log import ServiceLog, in_seconds, service_log

MAX_RATE_ERROR = 0.01

_BUSY = 0.995  # of the time; less leaves the device room to catch up
_FEWEST = 10  # batches that can show an overload for certain


def judge(
    completions: Completions,
    limit: LatencyLimit,
    queue: Queue,
    lag_ns: NDArray[np.int64],
    *,
    may_be_short: bool = False,
) -> Judgement:
    """Judge one trial by one limit; `queue` is the shape of what was measured.

    `lag_ns`: what the load generator added to each query, from `mlbench.trial.replay`, (n,).

    pass: the raw percentile from the scheduled time is within the limit, every query was answered
    and the backlog did not grow. undecided: it is not, but by no more than chance explains, or the
    device may be falling behind. invalid: the trial says nothing about the device. One with too few
    queries for the percentile is invalid, but undecided where it `may_be_short`.
    """
    doubts = _invalidities(completions, limit)
    if doubts:
        if may_be_short and [doubt.code for doubt in doubts] == ["too_few_queries"]:
            return Judgement("undecided", (Finding("short_turn", doubts[0].figures),))
        return Judgement("invalid", tuple(doubts))
    overload = find_overload(completions, queue)
    verdict, reason = compared = _compare(_latency_s(completions), limit)
    certain = overload is not None and overload.certain
    lateness = None if certain else _lateness(completions, limit, lag_ns, compared)
    if lateness and (completions.cut_short or not overload):
        return Judgement("invalid", (lateness,))
    reasons = [overload.finding] if overload else []
    if completions.cut_short:
        reasons.append(Finding("cut_short"))
    if certain or completions.cut_short:
        verdict = "fail"
    elif overload and verdict != "fail":
        verdict = "undecided"
    return Judgement(verdict, (*reasons, reason))


def _latency_s(completions: Completions) -> Floats:
    """Return all latencies; those that a trial's early end kept from being served are endless."""
    return np.append(completions.latency_s, np.full(completions.lost, np.inf))


def _lateness(
    completions: Completions,
    limit: LatencyLimit,
    lag_ns: NDArray[np.int64],
    compared: tuple[Verdict, Finding],
) -> Finding | None:
    """Say so when the load generator and not the device decided.

    It did when the latencies less what the generator added give another verdict than they do whole,
    which is `compared`. Queries that got no answer wait behind the last that did: if that one was
    late by more than the limit because of the generator, they may be too.
    """
    lag_s = in_seconds(lag_ns[completions.status == wire.COMPLETED])
    less_lag_s = _latency_s(completions)
    less_lag_s[: len(lag_s)] -= lag_s
    if lag_s[-1] > limit.max_latency_s:
        less_lag_s[len(lag_s) :] = 0.0
    verdict, reason = compared
    without, other = _compare(less_lag_s, limit)
    if (verdict == "pass") == (without == "pass"):
        return None
    more = {
        "lag_s": percentile(lag_s, limit.percentile),
        "latency_less_lag_s": other.figures["latency_s"],
        "late_less_lag": other.figures["late"],
    }
    return Finding("generator_late", {**reason.figures, **more})


def _compare(latency_s: Floats, limit: LatencyLimit) -> tuple[Verdict, Finding]:
    worst_s = percentile(latency_s, limit.percentile)
    late = latency_s > limit.max_latency_s
    count, n = int(late.sum()), len(late)
    figures = {
        "percentile": limit.percentile,
        "latency_s": worst_s if np.isfinite(worst_s) else None,
        "max_latency_s": limit.max_latency_s,
        "late": count,
        "queries": n,
    }
    if worst_s <= limit.max_latency_s:
        return "pass", Finding("within_limit", figures)
    size, allowed = effective_size(late.astype(np.float64)), 1 - limit.percentile / 100
    low, _ = binomial_interval(count / n * size, size)
    if low > allowed:
        return "fail", Finding("over_limit", figures)
    chance = {
        "likely_fraction": low,
        "allowed_fraction": allowed,
        "independent_queries": float(size),
    }
    return "undecided", Finding("over_limit_by_chance", {**figures, **chance})


def _invalidities(completions: Completions, limit: LatencyLimit) -> list[Finding]:
    if completions.faults:  # they ended the trial, so whatever else is missing follows from them
        return list(completions.faults)
    n, p, completed = len(completions.status), limit.percentile, completions.completed
    doubts = []
    if completions.failed:
        doubts.append(_failures(completions))
    if completions.lost and not completions.cut_short:
        doubts.append(Finding("queries_lost", {"lost": completions.lost, "queries": n}))
    if not suffices(completed, p) and not (completions.cut_short and completed):
        needed = int(np.ceil(100 / (100 - p) - 1e-9))
        figures = {"completed": completed, "percentile": p, "needed": needed}
        doubts.append(Finding("too_few_queries", figures))
    error = _rate_error(completions)
    if abs(error) > MAX_RATE_ERROR:
        target_qps = completions.schedule.target_qps
        figures = {"error_fraction": error, "target_qps": target_qps}
        doubts.append(Finding("generator_off_rate", figures))
    return doubts + host_doubts(completions.host, completions.duration_s)


def _failures(completions: Completions) -> Finding:
    """Tell how many queries failed, and on which of several workers most of them did."""
    figures: dict[str, Figure] = {
        "failed": completions.failed,
        "queries": len(completions.status),
    }
    if len(completions.workers) > 1:
        by_worker = np.bincount(completions.worker[completions.status == wire.FAILED])
        worst = int(by_worker.argmax())
        figures["worker"], figures["on_worker"] = worst, int(by_worker[worst])
        figures["device"] = completions.workers[worst].device
    return Finding("queries_failed", figures)


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


@dataclass(frozen=True)
class Overload:
    """A device that falls behind, and whether chance can be ruled out."""

    finding: Finding
    certain: bool


def find_overload(completions: Completions, queue: Queue) -> Overload | None:
    """Say whether the device, or that of one of several hosts, fell behind; the surest case of it.

    `_find_overload` says what that is.
    """
    if completions.on_host is None:
        return _find_overload(completions, queue)
    found = []
    for name, own in zip(completions.hosts, completions.host_rows(), strict=True):
        if not (completions.status[own] == wire.COMPLETED).any():
            continue
        if overload := _find_overload(completions.only(own), queue.of_host):
            figures = {**overload.finding.figures, "host": name}
            found.append(replace(overload, finding=Finding(overload.finding.code, figures)))
    return max(found, key=lambda overload: overload.certain, default=None)


def _find_overload(completions: Completions, queue: Queue) -> Overload | None:
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
    figures = {
        "served_qps": served,
        "offered_qps": offered,
        "before_s": before_s,
        "after_s": after_s,
    }
    certain = late.sum() >= _FEWEST and offered / served - 1 > 3 * error + 1e-4
    return Overload(Finding("device_behind", figures), certain=bool(certain))


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
