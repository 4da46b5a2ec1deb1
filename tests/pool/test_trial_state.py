import math

import numpy as np
import pytest

from mlbench.contracts import wire
from mlbench.contracts.claims import Claim
from mlbench.contracts.findings import Finding
from mlbench.pool.columns import CLAIMED, PENDING
from mlbench.pool.trial_state import TransitionError, TrialState
from mlbench.trial.schedule import make_schedule

MS = 1_000_000
START_NS = 10**12
HORIZON_NS = 5 * MS


def _state(queries=10, workers=2, qps=1_000.0, *, shared=False, least_ahead=0):
    schedule = make_schedule("linear", qps, queries, seed=1)
    samples = np.arange(queries, dtype=np.uint32) % np.uint32(4)
    return TrialState(
        schedule,
        samples,
        START_NS,
        workers=workers,
        shared=shared,
        batch_size=16,
        least_ahead=least_ahead,
    )


def _push(state, at_ms, horizon_ns=HORIZON_NS):
    """Push all that is due within the horizon; return line -> ids."""
    pushes = state.take_ahead(START_NS + round(at_ms * MS), horizon_ns)
    return {line: requests["id"].tolist() for line, requests in pushes}


def _answer(state, worker, ids, at_ms, status=wire.COMPLETED, service_ms=0):
    """Let a worker answer these queries, served as one batch; return what is wrong with it."""
    answers = np.zeros(len(ids), wire.COMPLETION)
    answers["id"], answers["status"], answers["batch"] = ids, status, len(ids)
    answers["start_ns"] = START_NS + round((at_ms - service_ms) * MS)
    answers["done_ns"] = START_NS + round(at_ms * MS)
    return state.received(worker, answers, START_NS + round(at_ms * MS))


def _claim(state, *claims, at_ms=0):
    state.claimed([Claim(*claim) for claim in claims], START_NS + round(at_ms * MS))


def _fates(state):
    c = state.completions()
    assert c.completed + c.failed + c.lost == len(c.schedule.due_ns) == len(c.status)
    return c.completed, c.failed, c.lost


def test_what_is_due_within_the_horizon_is_pushed_once():
    """Workers get each query ahead of its due time, by the horizon, and only once."""
    state = _state()
    assert _push(state, 0) == {0: [0, 2, 4], 1: [1, 3, 5]}
    assert _push(state, 0.5) == {}
    assert _push(state, 2.5) == {0: [6], 1: [7]}
    assert not state.all_pushed
    assert _push(state, 9) == {0: [8], 1: [9]}
    assert state.all_pushed


def test_some_queries_are_known_however_far_off_they_are():
    """Beyond the horizon as many queries are pushed as the workers may take next."""
    assert _push(_state(least_ahead=3), 0, horizon_ns=0) == {0: [0, 2], 1: [1, 3]}


def test_one_line_gets_everything():
    """Workers that share a line are told of all queries, once."""
    state = _state(shared=True)
    assert _push(state, 0) == {0: [0, 1, 2, 3, 4, 5]}
    assert state.frames == 1


def test_a_trial_under_way_is_told_in_figures():
    """What is answered, what waits, how busy each worker is, and the latencies so far."""
    state = _state(shared=True)
    assert state.under_way(START_NS).latency_s.tolist() == []
    _push(state, 0)
    _claim(state, (0, 0, 2), (1, 2, 1))
    _answer(state, 0, [0, 1], 2, service_ms=1)
    seen = state.under_way(START_NS + 4 * MS)
    assert (seen.queries, seen.answered, seen.waiting) == (10, 2, 2)
    assert (seen.elapsed_s, seen.length_s) == pytest.approx((0.004, 0.009))
    assert seen.busy == pytest.approx((0.25, 0.0))
    assert seen.latency_s == pytest.approx([0.002, 0.001])


def test_queries_that_are_dealt_out_wait_until_they_are_answered():
    """Who has a query says nothing there: it had it before it was due."""
    state = _state()
    _push(state, 0)
    _answer(state, 0, [0], 2)
    assert state.under_way(START_NS + 4 * MS).waiting == 4


def test_requests_carry_id_sample_and_due_time():
    """A request tells its sample and when it is due after the start of the trial."""
    state = _state(queries=6, workers=1)
    ((_, requests),) = state.take_ahead(START_NS, 100 * MS)
    assert requests["id"].tolist() == [0, 1, 2, 3, 4, 5]
    assert requests["sample"].tolist() == [0, 1, 2, 3, 0, 1]
    assert requests["due_ns"].tolist() == [i * MS for i in range(6)]


def test_a_trial_ends_when_everything_came_back():
    """The trial is finished with the last answer, and every query has its times."""
    state = _state()
    for worker, ids in _push(state, 20).items():
        assert not state.finished
        _answer(state, worker, ids, at_ms=30)
    assert state.finished
    assert _fates(state) == (10, 0, 0)
    completions = state.completions()
    assert (completions.done_ns == START_NS + 30 * MS).all()
    assert completions.frames == 2
    assert completions.dealt
    assert not completions.cut_short


def test_failed_answers_are_failures():
    """An answer with an error counts as failed and never as completed."""
    state = _state()
    held = _push(state, 20)
    _answer(state, 0, held[0], at_ms=30, status=wire.FAILED)
    _answer(state, 1, held[1], at_ms=30)
    assert state.finished
    assert _fates(state) == (5, 5, 0)


def test_what_a_dead_worker_held_is_lost():
    """A crash loses exactly the queries that the worker held, and it is told how many."""
    state = _state()
    held = _push(state, 20)
    _answer(state, 0, held[0][:2], at_ms=21)
    state.faults.append(Finding("worker_lost"))
    state.end_early(START_NS + 25 * MS)
    assert state.lose(0) == 3
    assert not state.finished
    _answer(state, 1, held[1], at_ms=30)
    assert state.finished
    assert _fates(state) == (7, 0, 3)
    assert state.completions().faults == (Finding("worker_lost"),)


def test_in_one_line_a_dead_worker_loses_what_it_claimed():
    """The trial ends when the others have answered what they had claimed by then."""
    state = _state(shared=True)
    _push(state, 20)
    _claim(state, (0, 0, 2), (1, 2, 3))
    state.end_early(START_NS + 3 * MS)
    assert state.lose(0) == 2
    assert not state.finished
    assert _answer(state, 1, [2, 3, 4], at_ms=30) is None
    state.worker_closed(1)
    assert state.finished
    assert _fates(state) == (2, 0, 2)


def test_an_answer_without_a_claim_is_a_fault():
    """A worker that answers what it has not claimed is not believed."""
    state = _state(shared=True)
    _push(state, 20)
    _claim(state, (1, 0, 1))
    assert _answer(state, 0, [0], at_ms=5) == "answered queries that it did not hold"
    assert state.answered == 0


def test_a_late_answer_of_a_lost_worker_is_refused():
    """What a worker was given up for lost is not counted again when its answer comes."""
    state = _state()
    held = _push(state, 20)
    state.end_early(START_NS + 20 * MS)
    state.lose(0)
    assert _answer(state, 0, held[0], at_ms=30) == "answered queries that it did not hold"
    _answer(state, 1, held[1], at_ms=30)
    assert state.finished
    assert _fates(state) == (5, 0, 5)


@pytest.mark.parametrize(
    ("ids", "why"),
    [
        ([3], "did not hold"),  # another worker's
        ([9], "nobody was asked"),  # one not pushed yet
        ([4_000_000_000], "nobody was asked"),  # one that is not in the trial
        ([0, 0], "out of their order"),
        ([2, 0], "out of their order"),
    ],
)
def test_foreign_answers_are_told_and_left_out(ids, why):
    """Answers to queries that the worker does not hold change nothing."""
    state = _state()
    _push(state, 0)
    assert why in _answer(state, 0, ids, at_ms=5)
    assert state.answered == 0
    assert _fates(state) == (0, 0, 10)


def test_a_duplicate_answer_is_refused():
    """The second answer to a query is told, and the first one stays."""
    state = _state()
    held = _push(state, 20)
    _answer(state, 0, held[0], at_ms=30)
    assert _answer(state, 0, held[0][:1], at_ms=40, status=wire.FAILED) is not None
    assert _fates(state) == (5, 0, 5)
    assert state.completions().done_ns[held[0][0]] == START_NS + 30 * MS


@pytest.mark.parametrize("status", [wire.LOST, PENDING, CLAIMED, 77])
def test_an_answer_completes_or_fails_and_does_nothing_else(status):
    """An answer with a status that no answer has is left out, and its query stays open."""
    state = _state()
    held = _push(state, 20)
    assert "status" in _answer(state, 0, held[0][:1], at_ms=30, status=status)
    assert state.answered == 0
    _answer(state, 0, held[0], at_ms=30)
    assert _fates(state) == (5, 0, 5)


@pytest.mark.parametrize(
    "claims",
    [
        [(1, 1, 2)],
        [(1, 0, 2)],
        [(1, 4, 1)],
        [(1, 2, 2), (0, 3, 1)],
    ],
)
def test_a_query_is_claimed_once_and_in_its_turn(claims):
    """Claims that overlap or leave a gap would be an error of ours, and raise."""
    state = _state(shared=True)
    _push(state, 20)
    _claim(state, (0, 0, 2))
    with pytest.raises(TransitionError):
        _claim(state, *claims)


def test_nothing_is_claimed_after_the_account_was_taken():
    """What was written off as lost stays lost."""
    state = _state(shared=True)
    _push(state, 20)
    assert _fates(state) == (0, 0, 10)
    with pytest.raises(TransitionError, match="not all pending"):
        _claim(state, (0, 0, 2))


def test_an_early_end_calls_back_what_is_not_due():
    """After an early end only what was due by then counts, whether it was served or not."""
    state = _state(workers=1)
    _push(state, 0)
    _answer(state, 0, [0, 1], at_ms=2)
    state.end_early(START_NS + 3 * MS)
    assert not state.finished
    _answer(state, 0, [2], at_ms=4)
    state.worker_closed(0)
    assert state.finished
    completions = state.completions()
    assert completions.cut_short
    assert _fates(state) == (3, 0, 1)
    assert np.array_equal(completions.schedule.due_ns, np.arange(4) * MS)
    assert completions.schedule.seed == 1


def test_after_an_early_end_later_queries_are_left_out_without_a_word():
    """An answer to a query that was claimed just before the end, but due after it, is no fault."""
    state = _state(workers=1)
    _push(state, 0)
    state.end_early(START_NS + 3 * MS)
    assert _answer(state, 0, [0, 4], at_ms=5) is None
    assert _fates(state) == (1, 0, 3)


def test_a_trial_that_lost_all_workers_is_over():
    """When nobody is left, all that is out is lost."""
    state = _state()
    held = _push(state, 20)
    _answer(state, 0, held[0], at_ms=30)
    state.end_early(START_NS + 30 * MS)
    assert [state.lose(worker) for worker in (0, 1)] == [0, 5]
    assert state.finished
    assert _fates(state) == (5, 0, 5)


def test_a_trial_that_served_nothing_still_has_a_query():
    """A trial that ended before its first query reports it as lost."""
    state = _state()
    state.end_early(START_NS - 1)
    assert not state.finished
    for worker in (0, 1):
        state.worker_closed(worker)
    assert state.finished
    assert _fates(state) == (0, 0, 1)


def test_overload_is_an_oldest_query_later_than_the_limit():
    """The limit is on how long the oldest unanswered query waits, while more are to come."""
    state = _state(queries=100, workers=1)
    max_backlog_s = 0.020
    _push(state, 0, horizon_ns=200 * MS)
    assert not state.overloaded(max_backlog_s, START_NS + 19 * MS)
    assert state.overloaded(max_backlog_s, START_NS + 21 * MS)
    assert not state.overloaded(math.inf, START_NS + 21 * MS)
    _answer(state, 0, range(10), at_ms=21)
    assert not state.overloaded(max_backlog_s, START_NS + 21 * MS)
    assert not state.overloaded(max_backlog_s, START_NS + 200 * MS)


def test_a_query_waits_from_when_its_workers_knew_of_it():
    """What was pushed late, after a pause of the coordinator, is no overload of the device."""
    state = _state(queries=100, workers=1)
    _push(state, 50)
    assert state.waiting_ns(START_NS + 51 * MS) == MS
    assert not state.overloaded(0.020, START_NS + 51 * MS)


def _silent_ms(state, at_ms):
    return [state.silent_ns(worker, START_NS + at_ms * MS) / MS for worker in (0, 1)]


def test_a_worker_that_nobody_asks_anything_is_not_silent():
    """Silence is counted from the last answer, or from when the oldest query held was due."""
    state = _state(queries=4, qps=1.0)
    _push(state, 0, horizon_ns=10_000 * MS)
    _answer(state, 0, [0], at_ms=1)
    assert _silent_ms(state, 999) == [0, 0]
    assert _silent_ms(state, 1_500) == [0, 500]
    assert _silent_ms(state, 2_300) == [300, 1_300]


def test_one_silent_worker_is_seen_although_the_others_answer():
    """Who holds a query is told by the claims; further claims without an answer are no sign."""
    state = _state(queries=100, shared=True)
    _push(state, 0, horizon_ns=200 * MS)
    _claim(state, (0, 0, 1), (1, 1, 1), at_ms=1)
    for at_ms in range(2, 50):
        _answer(state, 1, [at_ms - 1], at_ms=at_ms)
        _claim(state, (1, at_ms, 1), at_ms=at_ms)
    _claim(state, (0, 50, 1), at_ms=50)
    assert _silent_ms(state, 50) == [49, 1]


def test_a_free_worker_that_takes_nothing_is_silent():
    """Nobody has claimed what waits: then all who hold nothing should have."""
    state = _state(queries=100, shared=True)
    _push(state, 0, horizon_ns=200 * MS)
    _claim(state, (0, 0, 1), at_ms=0)
    assert _silent_ms(state, 20) == [20, 19]


def test_silence_is_not_counted_while_nobody_listened():
    """After a pause of the coordinator workers are given time again."""
    state = _state(queries=100)
    _push(state, 0, horizon_ns=200 * MS)
    state.excuse_silence(START_NS + 20 * MS)
    assert _silent_ms(state, 25) == [5, 5]


def test_after_an_early_end_a_worker_has_to_say_that_it_is_done():
    """Until then its silence is counted from the end."""
    state = _state(queries=100)
    _push(state, 0)
    state.end_early(START_NS + 20 * MS)
    state.worker_closed(1)
    assert _silent_ms(state, 25) == [5, 0]


def test_busy_time_counts_a_batch_once():
    """Four queries of one batch of 1 ms keep the worker busy for 1 ms."""
    state = _state(queries=4, workers=1)
    held = _push(state, 20)[0]
    assert _answer(state, 0, held, at_ms=30, service_ms=1) is None
    (tally,) = state.tallies
    assert tally.busy_ns == pytest.approx(MS)
    assert tally.service_ns == pytest.approx(MS / 4)
    assert (tally.slowest_ns, tally.served) == (MS, 4)
