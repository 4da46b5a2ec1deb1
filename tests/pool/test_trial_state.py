import math

import numpy as np
import pytest

from mlbench.contracts import wire
from mlbench.contracts.claims import Claim
from mlbench.contracts.findings import Finding
from mlbench.pool.trial_state import CLAIMED, PENDING, TransitionError, TrialState
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
        alive=range(workers),
        shared=shared,
        least_ahead=least_ahead,
    )


def _push(state, at_ms, horizon_ns=HORIZON_NS):
    """Push all that is due within the horizon; return line -> ids."""
    pushes = state.take_ahead(START_NS + round(at_ms * MS), horizon_ns)
    return {line: requests["id"].tolist() for line, requests in pushes}


def _answer(state, worker, ids, at_ms, status=wire.COMPLETED, batch=1):
    answers = np.zeros(len(ids), wire.COMPLETION)
    answers["id"], answers["status"], answers["batch"] = ids, status, batch
    answers["start_ns"] = START_NS + round(at_ms * MS) - MS
    answers["done_ns"] = START_NS + round(at_ms * MS)
    state.received(worker, answers, START_NS + round(at_ms * MS))


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
    """A crash loses exactly the queries that the worker held, and says how many."""
    state = _state()
    held = _push(state, 20)
    _answer(state, 0, held[0][:2], at_ms=21)
    state.worker_lost(0, "worker 0 was ended by SIGKILL")
    assert not state.finished
    _answer(state, 1, held[1], at_ms=30)
    assert state.finished
    assert _fates(state) == (7, 0, 3)
    figures = {"worker": 0, "reason": "worker 0 was ended by SIGKILL", "held": 3}
    assert state.completions().faults == (Finding("worker_lost", figures),)


def test_in_one_line_a_dead_worker_loses_what_it_claimed():
    """What nobody has claimed when a worker dies is served by the others."""
    state = _state(shared=True)
    _push(state, 20)
    state.claimed([Claim(0, 0, 2), Claim(1, 2, 1)])
    state.worker_lost(0, "gone")
    state.claimed([Claim(1, 3, 7)])
    _answer(state, 1, range(2, 10), at_ms=30)
    assert state.finished
    assert _fates(state) == (8, 0, 2)


def test_an_answer_without_a_claim_is_a_fault():
    """A worker that answers what it has not claimed is not believed."""
    state = _state(shared=True)
    _push(state, 20)
    state.claimed([Claim(1, 0, 1)])
    _answer(state, 0, [0], at_ms=5)
    assert state.answered == 0
    assert len(state.faults) == 1


def test_after_a_crash_the_others_are_dealt_everything():
    """Queries that are pushed after a crash go to the workers that are left."""
    state = _state()
    _push(state, 0)
    state.worker_lost(0, "gone")
    assert _push(state, 20) == {1: [6, 7, 8, 9]}


def test_a_trial_without_workers_pushes_nothing():
    """When the last worker has died there is nobody to push to."""
    state = _state(workers=1)
    _push(state, 0)
    state.worker_lost(0, "gone")
    assert _push(state, 20) == {}


def test_a_late_answer_of_a_lost_worker_is_refused():
    """What a worker was given up for lost is not counted again when its answer comes."""
    state = _state()
    held = _push(state, 20)
    state.worker_lost(0, "fell silent")
    _answer(state, 0, held[0], at_ms=30)
    _answer(state, 1, held[1], at_ms=30)
    assert state.finished
    assert _fates(state) == (5, 0, 5)


@pytest.mark.parametrize(
    ("ids", "why"),
    [
        ([3], "another worker's"),
        ([9], "one not pushed yet"),
        ([4_000_000_000], "one that is not in the trial"),
        ([0, 0], "one twice in a frame"),
        ([2, 0], "two out of order"),
    ],
)
def test_foreign_answers_are_a_fault_and_left_out(ids, why):
    """Answers to queries that the worker does not hold change nothing but the faults."""
    state = _state()
    _push(state, 0)
    _answer(state, 0, ids, at_ms=5)
    assert state.answered == 0, why
    assert len(state.faults) == 1
    assert _fates(state) == (0, 0, 10)


def test_a_duplicate_answer_is_refused():
    """The second answer to a query is a fault, and the first one stays."""
    state = _state()
    held = _push(state, 20)
    _answer(state, 0, held[0], at_ms=30)
    _answer(state, 0, held[0][:1], at_ms=40, status=wire.FAILED)
    assert len(state.faults) == 1
    assert _fates(state) == (5, 0, 5)
    assert state.completions().done_ns[held[0][0]] == START_NS + 30 * MS


@pytest.mark.parametrize("status", [wire.LOST, PENDING, CLAIMED, 77])
def test_an_answer_completes_or_fails_and_does_nothing_else(status):
    """An answer with a status that no answer has is a fault, and its query stays open."""
    state = _state()
    held = _push(state, 20)
    _answer(state, 0, held[0][:1], at_ms=30, status=status)
    assert (state.answered, len(state.faults)) == (0, 1)
    _answer(state, 0, held[0], at_ms=30)
    assert _fates(state) == (5, 0, 5)


@pytest.mark.parametrize(
    "claims",
    [
        [Claim(1, 1, 2)],
        [Claim(1, 0, 2)],
        [Claim(1, 4, 1)],
        [Claim(1, 2, 2), Claim(0, 3, 1)],
    ],
)
def test_a_query_is_claimed_once_and_in_its_turn(claims):
    """Claims that overlap or leave a gap would be an error of ours, and raise."""
    state = _state(shared=True)
    _push(state, 20)
    state.claimed([Claim(0, 0, 2)])
    with pytest.raises(TransitionError):
        state.claimed(claims)


def test_nothing_is_claimed_after_the_account_was_taken():
    """What was written off as lost stays lost."""
    state = _state(shared=True)
    _push(state, 20)
    assert _fates(state) == (0, 0, 10)
    with pytest.raises(TransitionError, match="not all pending"):
        state.claimed([Claim(0, 0, 2)])


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
    _answer(state, 0, [0, 4], at_ms=5)
    assert _fates(state) == (1, 0, 3)
    assert state.faults == []


def test_giving_up_loses_what_is_out():
    """When nothing comes any more, all that is out is lost and the trial is over."""
    state = _state()
    held = _push(state, 20)
    _answer(state, 0, held[0], at_ms=30)
    state.give_up(Finding("no_answer", {"silent_s": 10.0, "waiting": 3}))
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


def test_silence_is_counted_from_the_last_answer_or_the_oldest_query():
    """A device that nobody asks anything is not silent."""
    state = _state(qps=1.0, workers=1, least_ahead=1)
    _push(state, 0)
    _answer(state, 0, [0], at_ms=1)
    assert state.silent_ns(START_NS + 999 * MS) == 0
    assert state.silent_ns(START_NS + 1_500 * MS) == 500 * MS
    assert state.count_waiting(START_NS + 1_500 * MS) == 1


def test_busy_time_counts_a_batch_once():
    """Four queries of one batch of 1 ms keep the worker busy for 1 ms."""
    state = _state(queries=4, workers=1)
    held = _push(state, 20)[0]
    _answer(state, 0, held, at_ms=30, batch=4)
    assert state.busy_ns == [pytest.approx(MS)]
    assert state.service_ns == [pytest.approx(MS / 4)]
    assert state.served == [4]
