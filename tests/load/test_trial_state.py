import numpy as np
import pytest

from mlbench.contracts import wire
from mlbench.load.arrivals import make_schedule
from mlbench.load.dispatch import ExpectedFirst, RoundRobin
from mlbench.load.trial_state import TrialState
from mlbench.records import NO_LIMITS, Limits

MS = 1_000_000
START_NS = 10**12


def _state(queries=10, workers=2, samples=4, qps=1_000.0):
    schedule = make_schedule("linear", qps, queries, seed=1)
    dispatcher = RoundRobin(workers)
    return TrialState(schedule, START_NS, dispatcher, workers=workers, sample_count=samples)


def _send(state, at_ms):
    """Send all that is due; return worker -> ids."""
    held = {}
    for worker, requests, ids in state.take_due(START_NS + round(at_ms * MS)):
        state.sent(ids, START_NS + round(at_ms * MS))
        held.setdefault(worker, []).extend(requests["id"].tolist())
    return held


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


def test_nothing_is_sent_before_it_is_due():
    """A query is bound to a worker at its due time and not before."""
    state = _state()
    assert state.next_due_ns == START_NS
    assert [len(ids) for ids in _send(state, 0).values()] == [1]
    assert _send(state, 0.999) == {}
    assert state.next_due_ns == START_NS + MS
    assert sum(len(ids) for ids in _send(state, 3.5).values()) == 3


def test_requests_carry_id_sample_and_due_time():
    """Query i serves sample i modulo the samples, and knows when it was due."""
    state = _state(queries=6, workers=1, samples=4)
    ((_, requests, _),) = state.take_due(START_NS + 100 * MS)
    assert requests["id"].tolist() == [0, 1, 2, 3, 4, 5]
    assert requests["sample"].tolist() == [0, 1, 2, 3, 0, 1]
    assert requests["due_ns"].tolist() == [START_NS + i * MS for i in range(6)]


def test_a_trial_ends_when_everything_came_back():
    """The trial is finished with the last answer, and every query has its times."""
    state = _state()
    held = _send(state, 20)
    assert not state.finished
    for worker, ids in held.items():
        _answer(state, worker, ids, at_ms=30)
    assert state.finished
    assert _fates(state) == (10, 0, 0)
    completions = state.completions()
    assert (completions.done_ns == START_NS + 30 * MS).all()
    assert completions.frames == 2
    assert not completions.cut_short


def test_failed_answers_are_failures():
    """An answer with an error counts as failed and never as completed."""
    state = _state()
    held = _send(state, 20)
    _answer(state, 0, held[0], at_ms=30, status=wire.FAILED)
    _answer(state, 1, held[1], at_ms=30)
    assert state.finished
    assert _fates(state) == (5, 5, 0)


def test_what_a_dead_worker_held_is_lost():
    """A crash loses exactly the queries that the worker had not answered."""
    state = _state()
    held = _send(state, 20)
    _answer(state, 0, held[0][:2], at_ms=21)
    state.worker_lost(0, "worker 0 was ended by SIGKILL")
    assert not state.finished
    _answer(state, 1, held[1], at_ms=30)
    assert state.finished
    assert _fates(state) == (7, 0, 3)
    assert state.completions().faults == ("worker 0 was ended by SIGKILL",)


def test_after_a_crash_the_others_get_what_is_due():
    """Queries that come due after a crash go to the workers that are left."""
    state = _state()
    _send(state, 3.5)
    state.worker_lost(0, "gone")
    assert set(_send(state, 20)) == {1}


def test_a_worker_lost_twice_loses_its_queries_once():
    """A second report of the same crash changes nothing."""
    state = _state()
    _send(state, 20)
    state.worker_lost(0, "gone")
    state.worker_lost(0, "gone again")
    assert state.outstanding == 5
    assert _fates(state)[2] == 10


@pytest.mark.parametrize("dispatcher", [RoundRobin(1), ExpectedFirst([1.0 * MS])])
def test_a_trial_ends_when_no_worker_is_left(dispatcher):
    """With its last worker dead a trial ends, cut short, with what it held lost."""
    schedule = make_schedule("linear", 1_000.0, 10, seed=1)
    state = TrialState(schedule, START_NS, dispatcher, workers=1, sample_count=1)
    _send(state, 3.5)
    state.worker_lost(0, "gone")
    assert _send(state, 20) == {}
    assert state.finished
    assert state.completions().cut_short
    assert _fates(state) == (0, 0, 4)


def test_a_late_answer_of_a_lost_worker_is_refused():
    """What a worker was given up for lost is not counted again when its answer comes."""
    state = _state()
    held = _send(state, 20)
    state.worker_lost(0, "fell silent")
    _answer(state, 0, held[0], at_ms=30)
    _answer(state, 1, held[1], at_ms=30)
    assert state.finished
    assert _fates(state) == (5, 0, 5)


@pytest.mark.parametrize(
    ("ids", "why"),
    [
        ([3], "another worker's"),
        ([9], "one not sent yet"),
        ([4_000_000_000], "one that is not in the trial"),
        ([0, 0], "one twice in a frame"),
        ([], "none"),
    ],
)
def test_foreign_answers_are_a_fault_and_left_out(ids, why):
    """Answers to queries that the worker does not hold change nothing but the faults."""
    state = _state()
    _send(state, 3.5)
    _answer(state, 0, ids, at_ms=5)
    assert state.answered == 0, why
    assert len(state.faults) == 1
    assert _fates(state) == (0, 0, 4)


def test_a_duplicate_answer_is_refused():
    """The second answer to a query is a fault, and the first one stays."""
    state = _state()
    held = _send(state, 20)
    _answer(state, 0, held[0], at_ms=30)
    _answer(state, 0, held[0][:1], at_ms=40, status=wire.FAILED)
    assert len(state.faults) == 1
    assert _fates(state) == (5, 0, 5)
    assert state.completions().done_ns[held[0][0]] == START_NS + 30 * MS


def test_a_drain_sends_nothing_more_and_waits_for_what_is_out():
    """After an early end the trial is finished when what was sent has come back."""
    state = _state()
    held = _send(state, 3.5)
    state.end_early()
    assert state.next_due_ns is None
    assert _send(state, 20) == {}
    assert not state.finished
    for worker, ids in held.items():
        _answer(state, worker, ids, at_ms=30)
    assert state.finished
    completions = state.completions()
    assert completions.cut_short
    assert _fates(state) == (4, 0, 0)
    assert np.array_equal(completions.schedule.due_ns, np.arange(4) * MS)
    assert completions.schedule.seed == 1


def test_giving_up_loses_what_is_out():
    """When nothing comes any more, all that is out is lost and the trial is over."""
    state = _state()
    held = _send(state, 20)
    _answer(state, 0, held[0], at_ms=30)
    state.give_up("no answer for 10 s")
    assert state.finished
    assert _fates(state) == (5, 0, 5)


def test_a_trial_that_sent_nothing_still_has_a_query():
    """A trial that ended before its first query reports it as lost."""
    state = _state()
    state.end_early("interrupted")
    assert state.finished
    assert _fates(state) == (0, 0, 1)


def test_overload_is_an_oldest_query_later_than_the_limit():
    """The limit is on how late the oldest unanswered query is, and only with more to send."""
    state = _state(queries=100, workers=1)
    limits = Limits(max_backlog_s=0.020)
    held = _send(state, 15)[0]
    assert not state.overloaded(limits, START_NS + 19 * MS)
    assert state.overloaded(limits, START_NS + 21 * MS)
    assert not state.overloaded(NO_LIMITS, START_NS + 21 * MS)
    _answer(state, 0, held[:10], at_ms=21)
    assert not state.overloaded(limits, START_NS + 21 * MS)


def test_no_overload_when_everything_is_sent():
    """A trial that has nothing left to send has nothing left to cut."""
    state = _state()
    _send(state, 20)
    assert not state.overloaded(Limits(max_backlog_s=0.001), START_NS + 10**10)


def test_busy_time_counts_a_batch_once():
    """Four queries of one batch of 1 ms keep the worker busy for 1 ms."""
    state = _state(queries=4, workers=1)
    held = _send(state, 20)[0]
    _answer(state, 0, held, at_ms=30, batch=4)
    assert state.busy_ns == [pytest.approx(MS)]
    assert state.service_ns == [pytest.approx(MS / 4)]
    assert state.served == [4]
