import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlbench.contracts import wire
from mlbench.outcomes import Judgement, LatencyLimit
from mlbench.pool.virtual import Batch, SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.records import BusyProcess, Completions, CoreShare, GpuAccount, HostAccount
from mlbench.report.sentences import sentence
from mlbench.trial.host import busy_cores
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule
from mlbench.trial.verdict import judge

TEN_MS = LatencyLimit(99, 0.010)


def _trial(
    qps: float,
    kind: str = "exponential",
    queries: int = 5000,
    cv: float = 0.0,
    max_backlog_s: float = math.inf,
) -> Completions:
    pool = VirtualPool(SimulatedService(0.002, cv=cv), seed=1)
    return pool.run(make_schedule(kind, qps, queries, 1), max_backlog_s)


def _judge(
    completions: Completions,
    limit: LatencyLimit,
    queue: Queue | None = None,
    *,
    may_be_short: bool = False,
) -> Judgement:
    queue = queue or Queue()
    lag_ns = send_lag_ns(completions, queue)
    return judge(completions, limit, queue, lag_ns, may_be_short=may_be_short)


def _reason(judged: Judgement, number: int = 0) -> str:
    return sentence(judged.reasons[number])


def test_a_fast_trial_passes_with_its_figures() -> None:
    """A trial within its limit passes, and says how many queries were late."""
    judged = _judge(_trial(200), TEN_MS)
    assert judged.verdict == "pass"
    assert "of 5,000 were later" in _reason(judged)


def test_a_slow_trial_fails() -> None:
    """A trial far over its limit fails."""
    judged = _judge(_trial(400), TEN_MS)
    assert judged.verdict == "fail"
    assert "is over 10 ms" in _reason(judged)


def test_a_near_miss_is_undecided() -> None:
    """A trial that chance may have put over the limit is neither met nor failed."""
    completions = _trial(270, queries=2000)
    just_missed = LatencyLimit(99, float(np.quantile(completions.latency_s, 0.988)))
    judged = _judge(completions, just_missed)
    assert judged.verdict == "undecided"
    assert "chance" in _reason(judged)


@pytest.mark.parametrize("kind", ["linear", "exponential"])
@pytest.mark.parametrize("cv", [0.0, 0.3])
def test_overload_never_passes(kind: str, cv: float) -> None:
    """1 % more than the device serves is no pass under a limit of a minute."""
    assert _judge(_trial(508, kind, 20_000, cv), LatencyLimit(99, 60.0)).verdict != "pass"


def test_certain_overload_fails_in_words() -> None:
    """A constant device that is offered 1 % too much fails, however long the limit."""
    judged = _judge(_trial(505, "linear"), LatencyLimit(99, 60.0))
    assert judged.verdict == "fail"
    assert "fell behind" in _reason(judged)


@pytest.mark.parametrize("seed", range(10))
def test_a_busy_device_is_not_overloaded(seed: int) -> None:
    """A long queue at 97 % load is a random walk, no overload."""
    pool = VirtualPool(SimulatedService(0.002, cv=0.3), seed=seed)
    completions = pool.run(make_schedule("exponential", 485, 10_000, seed))
    assert _judge(completions, LatencyLimit(99, 60.0)).verdict == "pass"


def test_linear_arrivals_just_below_the_service_rate_pass() -> None:
    """A constant device holds 99.9 % of its rate."""
    assert _judge(_trial(499.5, "linear"), TEN_MS).verdict == "pass"


def test_a_trial_cut_short_fails() -> None:
    """A trial that was ended because its backlog grew has failed."""
    completions = _trial(2000, "linear", max_backlog_s=0.5)
    assert completions.cut_short
    assert _judge(completions, LatencyLimit(99, 60.0)).verdict == "fail"


def test_full_batches_that_keep_up_pass() -> None:
    """A batching device that is always busy, but with room in its batches, keeps up."""
    queue = Queue(1, 8)
    pool = VirtualPool(SimulatedService(0.002, per_item_s=0.0005), queue)
    completions = pool.run(make_schedule("exponential", 1100, 10_000, 1))
    assert _judge(completions, LatencyLimit(99, 0.05), queue).verdict == "pass"


def test_few_large_batches_that_fall_behind_do_not_pass() -> None:
    """A second at four times the rate, 9 batches of 128, is no pass under a limit of a minute."""
    queue = Queue(1, 128)
    pool = VirtualPool(SimulatedService(0.001, per_item_s=0.001), queue)
    completions = pool.run(make_schedule("linear", 4000, 1000, 1))
    assert _judge(completions, LatencyLimit(99, 60.0), queue).verdict == "undecided"


def test_waiting_for_the_timeout_is_no_overload() -> None:
    """Batches that are never full, as the timeout ends first, leave the device time."""
    queue = Queue(1, 8, 0.0055)
    pool = VirtualPool(SimulatedService(0.003), queue)
    completions = pool.run(make_schedule("linear", 1000, 10_000, 1))
    assert _judge(completions, LatencyLimit(99, 0.05), queue).verdict == "pass"


def test_overload_of_unlike_workers_is_certain() -> None:
    """Workers of 2 and 4 ms that are offered a third too much fail, however long the limit."""

    def serve(_: np.random.Generator, batch: Batch) -> float:
        return (0.002, 0.004)[batch.device]

    completions = VirtualPool(serve, Queue(2)).run(make_schedule("linear", 1000, 10_000, 1))
    assert _judge(completions, LatencyLimit(99, 60.0), Queue(2)).verdict == "fail"


def _start_late(completions: Completions, ids: slice, at_ns: int) -> Completions:
    """Return the trial of a 2 ms device whose worker did not start these queries before `at_ns`."""
    due_ns, done_ns = completions.due_ns.copy(), completions.done_ns.copy()
    due_ns[ids] = np.maximum(due_ns[ids], at_ns)
    for i in range(ids.start, len(done_ns)):
        done_ns[i] = max(due_ns[i], done_ns[i - 1]) + 2_000_000
    return replace(completions, start_ns=done_ns - 2_000_000, done_ns=done_ns)


def test_a_pause_of_the_generator_that_cuts_a_trial_short_is_invalid() -> None:
    """The backlog behind a query that the generator started late is not the device's."""
    completions = _trial(100, queries=1000)
    paused = _start_late(completions, slice(850, 1000), int(completions.due_ns[-1]))
    fates = completions.status.copy()
    fates[900:] = wire.LOST
    judged = _judge(replace(paused, status=fates, cut_short=True), TEN_MS)
    assert judged.verdict == "invalid"
    assert "the load generator's own lateness decides" in _reason(judged)


def test_what_a_cut_short_trial_left_is_late() -> None:
    """Queries that were due and that nobody had begun count as later than any limit."""
    completions = _trial(200)
    fates = completions.status.copy()
    fates[4000:] = wire.LOST
    judged = _judge(replace(completions, status=fates, cut_short=True), TEN_MS)
    assert judged.verdict == "fail"
    late = 1000 + int((completions.latency_s[:4000] > 0.010).sum())
    figures = f"p99 (not served by the end) is over 10 ms: {late:,} of 5,000 were later"
    assert _reason(judged, -1).startswith(figures)


@pytest.mark.parametrize(("status", "word"), [(wire.FAILED, "failed"), (wire.LOST, "no answer")])
def test_failed_and_lost_queries_are_invalid(status: int, word: str) -> None:
    """A trial with a query that was not answered is invalid, with the count."""
    completions = _trial(200)
    fates = completions.status.copy()
    fates[7] = status
    judged = _judge(replace(completions, status=fates), TEN_MS)
    assert judged.verdict == "invalid"
    assert f"1 of 5,000 queries {'got ' if status == wire.LOST else ''}{word}" in _reason(judged)


def test_the_worker_on_which_queries_fail_is_named() -> None:
    """A device that fails at once gets most of the queries, so it is told which one it is."""
    completions = VirtualPool(SimulatedService(0.002), Queue(2)).run(
        make_schedule("exponential", 500, 1000, 1)
    )
    fates = completions.status.copy()
    fates[completions.worker == 1] = wire.FAILED
    judged = _judge(replace(completions, status=fates), TEN_MS, Queue(2))
    count = int((fates == wire.FAILED).sum())
    assert _reason(judged).endswith(f"failed, {count} of them on worker 1 (virtual)")


def test_too_few_queries_are_invalid() -> None:
    """A percentile that the queries can't tell is invalid, with the number needed."""
    judged = _judge(_trial(200, queries=60), TEN_MS)
    assert judged.verdict == "invalid"
    assert "too few queries: 60, but p99 needs 100" in _reason(judged)


def test_a_turn_that_is_short_by_intention_is_undecided() -> None:
    """So few queries neither meet nor miss the limit; what else is wrong still spoils the trial."""
    turn = _trial(200, queries=60)
    judged = _judge(turn, TEN_MS, may_be_short=True)
    assert (judged.verdict, judged.reasons[0].code) == ("undecided", "short_turn")
    failed = replace(turn, status=np.full_like(turn.status, wire.FAILED))
    assert _judge(failed, TEN_MS, may_be_short=True).verdict == "invalid"


def test_a_missed_rate_is_invalid() -> None:
    """Telling the workers of queries ever later, 2 % more slowly than asked for, is invalid."""
    completions = _trial(200)
    begin_ns = completions.start_of_trial_ns
    late_ns = ((completions.due_ns - begin_ns) * 1.02).astype(np.int64) + begin_ns
    shift_ns = late_ns - completions.due_ns
    slow = replace(completions, sent_ns=late_ns, done_ns=completions.done_ns + shift_ns)
    judged = _judge(slow, LatencyLimit(99, 60.0))
    assert judged.verdict == "invalid"
    assert "asked for" in _reason(judged)


def test_lateness_of_the_generator_is_invalid_when_it_decides() -> None:
    """When latency meets the limit without what the generator adds only, the trial is invalid."""
    completions = _trial(50)
    lag_ns = 9_000_000
    late = replace(
        completions,
        start_ns=completions.start_ns + lag_ns,
        done_ns=completions.done_ns + lag_ns,
    )
    judged = _judge(late, TEN_MS)
    assert judged.verdict == "invalid"
    assert "the load generator's own lateness decides" in _reason(judged)
    assert _judge(late, LatencyLimit(99, 0.1)).verdict == "pass"


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"all_cores": CoreShare((0, 1), steal_fraction=0.2)}, "took 20% of cores 0-1 away"),
        ({"device_cores": (CoreShare((3,), 0.0, 0.2),)}, "took 20% of core 3 away"),
        ({"all_cores": CoreShare((0, 1, 4), 0.5)}, "other programs took 50% of cores 0-1,4"),
        ({"device_cores": (CoreShare((3,), 0.4),)}, "other programs took 40% of core 3"),
        ({"major_faults": 100_000}, "100,000 pages"),
        (
            {"quota_throttles": 3, "quota_throttled_s": 0.25},
            "3 times, for 250 ms of core time (throttling)",
        ),
        ({"heat_throttles": 2}, "slowed down by heat 2 times"),
        (
            {"gpus": (GpuAccount(1, 60, 1980, 2**30, ("power brake",), 600, 91, 50, 3),)},
            "GPU 1 was throttled at 3 of 50 looks: power brake (down to 600 MHz, up to 91 C)",
        ),
    ],
)
def test_a_disturbed_host_is_invalid(host: dict[str, Any], words: str) -> None:
    """A host that was busy with something else makes a trial invalid, with the figure."""
    judged = _judge(replace(_trial(200), host=HostAccount(**host)), TEN_MS)
    assert judged.verdict == "invalid"
    assert words in _reason(judged)


@pytest.mark.parametrize(
    ("share", "is_busy"),
    [
        (CoreShare((0,), 0.25), False),
        (CoreShare((0,), 0.27), True),
        (CoreShare(tuple(range(4)), 0.05), False),
        (CoreShare(tuple(range(4)), 0.5 / 4), True),
        (CoreShare(tuple(range(64)), 0.3 / 64), False),
        (CoreShare(tuple(range(64)), 1.0 / 64), True),
    ],
)
def test_one_program_on_a_devices_cores_is_too_much(share: CoreShare, is_busy: bool) -> None:
    """What counts is the time of one core, however many there are; daemons are allowed for."""
    quiet = CoreShare(tuple(range(128)), 0.02)
    host = HostAccount(quiet, (share, CoreShare((90,), 0.1)))
    assert busy_cores(host) == (share if is_busy else None)


def test_the_programs_that_took_the_time_are_named() -> None:
    """The cores of which others took most are told, with the busiest programs."""
    host = HostAccount(
        CoreShare(tuple(range(8)), 0.3),
        (CoreShare((2,), 0.9), CoreShare((3,), 0.4)),
        (BusyProcess(41, "chrome", 0.88), BusyProcess(7, "my job", 0.2)),
    )
    judged = _judge(replace(_trial(200), host=host), TEN_MS)
    assert _reason(judged) == (
        "other programs took 90% of core 2 (right after it: chrome 88%, pid 41; my job 20%, pid 7)"
    )


def test_a_burst_after_lateness_is_not_the_devices_fault() -> None:
    """A limit missed while queries queue behind one that was started late is invalid, no fail."""
    completions = _trial(250, "linear", queries=1000)
    late = _start_late(completions, slice(400, 460), int(completions.due_ns[460]))
    judged = _judge(late, TEN_MS)
    assert judged.verdict == "invalid"
    assert "the load generator's own lateness decides" in _reason(judged)
