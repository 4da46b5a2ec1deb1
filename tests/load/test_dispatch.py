import numpy as np
import pytest

from mlbench.load.dispatch import ExpectedFirst, RoundRobin

MS = 1_000_000


def _assign(dispatcher, count, at_ms):
    return dict(dispatcher.assign(count, round(at_ms * MS)))


def test_the_worker_about_to_be_done_gets_the_next_query():
    """Of two workers with one query each, the one that began earlier gets the next."""
    dispatcher = ExpectedFirst([10.0 * MS, 10.0 * MS])
    first = _assign(dispatcher, 1, 0)
    second = _assign(dispatcher, 1, 4)
    assert set(first) | set(second) == {0, 1}
    assert _assign(dispatcher, 1, 9) == first


def test_outstanding_work_counts_by_its_time_and_not_by_its_number():
    """Three queries of a fast worker are less work than one of a slow one."""
    dispatcher = ExpectedFirst([1.0 * MS, 100.0 * MS])
    dispatcher.assign(3, 0)
    assert _assign(dispatcher, 1, 0) == {0: 1}


def test_an_idle_slow_worker_is_left_idle_when_a_busy_fast_one_is_done_sooner():
    """A query goes where it is expected to be completed first, not where it would start first."""
    dispatcher = ExpectedFirst([1.0 * MS, 10.0 * MS])
    for _ in range(5):
        assert _assign(dispatcher, 1, 0) == {0: 1}


@pytest.mark.parametrize("speeds_ms", [(1.0, 3.0), (2.0, 2.0), (1.0, 2.0, 5.0), (0.5, 50.0)])
def test_many_at_once_are_divided_in_proportion_to_speed(speeds_ms):
    """Each worker's share of a thousand queries is its share of the speed, within one query."""
    shares = _assign(ExpectedFirst([s * MS for s in speeds_ms]), 1_000, 0)
    speed = 1 / np.array(speeds_ms)
    for worker, share in enumerate(1_000 * speed / speed.sum()):
        assert abs(shares.get(worker, 0) - share) <= len(speeds_ms)
    assert sum(shares.values()) == 1_000


def test_shares_are_those_of_one_query_at_a_time():
    """Dividing many queries at once ends no later than sending each where it is done first."""
    rng = np.random.default_rng(5)
    for _ in range(50):
        workers = int(rng.integers(2, 6))
        service_ns = (rng.uniform(0.2, 5.0, workers) * MS).tolist()
        at_once, singly = ExpectedFirst(service_ns), ExpectedFirst(service_ns)
        count, ends_ns = int(rng.integers(1, 200)), []
        shares, one_by_one = _assign(at_once, count, 0), dict.fromkeys(range(workers), 0)
        for _ in range(count):
            ((worker, _),) = singly.assign(1, 0)
            one_by_one[worker] += 1
        for taken in (shares, one_by_one):
            ends_ns.append(max(n * service_ns[w] for w, n in taken.items()))
        assert sum(shares.values()) == count
        assert ends_ns[0] == pytest.approx(ends_ns[1], rel=1e-9)


def test_every_query_is_given_to_someone_whatever_the_state():
    """The shares add up to the queries that are due, for any backlog and any speeds."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        workers = int(rng.integers(1, 6))
        dispatcher = ExpectedFirst((rng.lognormal(12, 3, workers)).tolist())
        for _ in range(5):
            count, now_ns = int(rng.integers(1, 10_000)), int(rng.integers(0, 10**9))
            shares = dispatcher.assign(count, now_ns)
            assert sum(n for _, n in shares) == count
            assert all(n > 0 for _, n in shares)


def test_service_times_are_learned_from_what_comes_back():
    """A worker that turns out four times slower than guessed soon gets a fifth of the queries."""
    dispatcher = ExpectedFirst([1.0 * MS, 1.0 * MS])
    now_ns = 0
    for _ in range(60):
        for worker, count in dispatcher.assign(50, now_ns):
            service_ns = (1.0, 4.0)[worker] * MS
            dispatcher.completed(worker, count, round(now_ns + count * service_ns), service_ns)
        now_ns += 1_000 * MS
    assert _assign(dispatcher, 100, now_ns / MS) == {0: 80, 1: 20}


def test_a_worker_behind_its_expected_time_gets_less():
    """An answer that came late moves the time at which its worker is expected to be free."""
    dispatcher = ExpectedFirst([10.0 * MS, 10.0 * MS])
    dispatcher.assign(2, 0)
    dispatcher.assign(2, 0)
    dispatcher.completed(1, 1, 44 * MS, 10.0 * MS)
    dispatcher.completed(0, 1, 50 * MS, 10.0 * MS)
    assert _assign(dispatcher, 1, 50) == {1: 1}


def test_an_overdue_worker_is_not_taken_for_an_idle_one():
    """While one worker stalls over a query, what comes goes to the idle one."""
    dispatcher = ExpectedFirst([2.0 * MS, 2.0 * MS])
    assert _assign(dispatcher, 1, 0) == {0: 1}
    for at_ms in (10, 20, 30):
        assert _assign(dispatcher, 1, at_ms) == {1: 1}
        dispatcher.completed(1, 1, (at_ms + 2) * MS, 2.0 * MS)


def test_an_idle_worker_is_preferred_to_a_quicker_one_that_is_overdue():
    """A worker that is overdue should take as long again as its times vary: 1 ms, not nothing."""
    dispatcher = ExpectedFirst([5.9 * MS, 6.1 * MS])
    for at_ms, service_ms in ((0, 4.9), (10, 6.9)):
        assert _assign(dispatcher, 1, at_ms) == {0: 1}
        dispatcher.completed(0, 1, round((at_ms + service_ms) * MS), service_ms * MS)
    assert _assign(dispatcher, 1, 20) == {0: 1}
    assert _assign(dispatcher, 1, 27) == {1: 1}


def test_a_first_guess_far_off_hardly_makes_queries_wait():
    """Guessed at a tenth of their time, as after full batches, queries soon find idle workers."""
    dispatcher, ends_ms, waiting = ExpectedFirst([0.6 * MS] * 4), [[] for _ in range(4)], 0
    for at_ms in range(0, 200, 2):
        for worker, ends in enumerate(ends_ms):
            while ends and ends[0] <= at_ms:
                dispatcher.completed(worker, 1, ends.pop(0) * MS, 6.0 * MS)
        ((worker, _),) = dispatcher.assign(1, at_ms * MS)
        waiting += bool(ends_ms[worker])
        ends_ms[worker].append(max([at_ms, *ends_ms[worker]]) + 6)
    assert waiting <= 3


def test_what_waits_behind_an_overdue_query_still_takes_its_time():
    """A stalled worker with one more query waiting is expected free a service time from now."""
    dispatcher = ExpectedFirst([4.0 * MS, 4.0 * MS, 6.0 * MS])
    for at_ms, worker in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)):
        assert _assign(dispatcher, 1, at_ms) == {worker: 1}
    dispatcher.completed(2, 1, 6 * MS, 6.0 * MS)
    assert _assign(dispatcher, 1, 20) == {2: 1}


@pytest.mark.parametrize("make", [lambda: ExpectedFirst([1.0 * MS] * 3), lambda: RoundRobin(3)])
def test_a_lost_worker_gets_nothing_more(make):
    """What is due is divided among the workers that are left."""
    dispatcher = make()
    dispatcher.lost(1)
    dispatcher.lost(1)
    assert _assign(dispatcher, 10, 0) == {0: 5, 2: 5}


@pytest.mark.parametrize("make", [lambda: ExpectedFirst([1.0 * MS] * 2), lambda: RoundRobin(2)])
@pytest.mark.parametrize("count", [1, 5])
def test_no_worker_left(make, count):
    """When no worker is left nothing is assigned."""
    dispatcher = make()
    dispatcher.lost(0)
    dispatcher.lost(1)
    assert dispatcher.assign(count, 0) == []


def test_round_robin_takes_turns():
    """Workers get one query after the other, whatever they have to do."""
    dispatcher = RoundRobin(3)
    turns = [next(iter(_assign(dispatcher, 1, at))) for at in range(7)]
    assert turns == [0, 1, 2, 0, 1, 2, 0]


def test_round_robin_goes_on_where_it_ended():
    """After five queries to three workers it is the third one's turn."""
    dispatcher = RoundRobin(3)
    assert _assign(dispatcher, 5, 0) == {0: 2, 1: 2, 2: 1}
    assert _assign(dispatcher, 2, 0) == {2: 1, 0: 1}


def test_only_an_idle_worker_is_told_ahead():
    """The next worker is named while it is idle, and nobody while the next one has work."""
    dispatcher = ExpectedFirst([2.0 * MS, 3.0 * MS])
    assert dispatcher.idle_next(0) == 0
    (first,) = _assign(dispatcher, 1, 0)
    assert dispatcher.idle_next(0) != first
    _assign(dispatcher, 1, 0)
    assert dispatcher.idle_next(0) is None
    dispatcher.completed(first, 1, 2 * MS, 2.0 * MS)
    assert dispatcher.idle_next(3 * MS) == first


def test_round_robin_tells_ahead_whose_turn_is_next():
    """Round robin names the worker whose turn it is, as long as that one is idle."""
    dispatcher = RoundRobin(2)
    assert dispatcher.idle_next(0) == 0
    _assign(dispatcher, 2, 0)
    assert dispatcher.idle_next(0) is None
    dispatcher.completed(0, 1, MS, 1.0 * MS)
    assert dispatcher.idle_next(MS) == 0
