import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mlbench.arrivals.kind import ArrivalKind
from mlbench.arrivals.registry import arrival_kind
from mlbench.contracts import wire
from mlbench.outcomes import Answer, LatencyLimit
from mlbench.pool.virtual import Batch, Service, SimulatedService, VirtualPool
from mlbench.queueing import Queue, ServiceTimes, predict_capacity
from mlbench.records import Completions, CoreShare, HostAccount
from mlbench.report.sentences import sentence, sentences
from mlbench.search.plan import SearchPlan
from mlbench.search.search import Search
from mlbench.stats.percentiles import percentile
from mlbench.trial.schedule import make_schedule

Change = Callable[[Completions], Completions]


def _plan(
    kinds: tuple[ArrivalKind | str, ...] = ("exponential",),
    max_latencies_s: tuple[float, ...] = (0.010,),
    budget_s: float = 60.0,
    seed: int = 1,
    queue: Queue | None = None,
    guess_qps: float = 450.0,
) -> SearchPlan:
    made = tuple(arrival_kind(kind) for kind in kinds)
    return SearchPlan(
        made, max_latencies_s, 99.0, 10.0, budget_s, 0.02, seed, queue or Queue(), guess_qps
    )


def _run(plan: SearchPlan, service: Service, change: Change = lambda c: c) -> Search:
    search, pool = Search(plan), VirtualPool(service, plan.queue, seed=plan.seed)
    while (request := search.next()) is not None:
        schedule = make_schedule(request.kind, request.target_qps, request.queries, request.seed)
        search.record(request, change(pool.run(schedule, request.max_backlog_s)))
    return search


def _answer(plan: SearchPlan, service: Service, change: Change = lambda c: c) -> Answer:
    return _run(plan, service, change).answers()[plan.kinds[0].name][plan.max_latencies_s[0]]


def _capacity(answer: Answer) -> tuple[float, float, float]:
    assert answer.capacity_qps is not None
    assert answer.capacity_ci95 is not None
    return (*answer.capacity_ci95, answer.capacity_qps)


@pytest.mark.parametrize("seed", range(3))
def test_a_constant_device_gets_its_exact_answer(seed: int) -> None:
    """2 ms, p99 <= 10 ms: 280.39 qps by M/D/1, in at most 40 s, with a trial that met it."""
    answer = _answer(_plan(seed=seed), SimulatedService(0.002))
    low, high, capacity = _capacity(answer)
    assert capacity == pytest.approx(280.39, rel=0.015)
    assert low < capacity < high
    assert 0.88 * 280.39 < answer.qps < 280.39
    assert answer.trial is not None
    assert answer.trial.judgement.verdict == "pass"
    assert answer.trial.request.target_qps == answer.qps
    assert answer.measured_s <= 40


def test_two_workers_get_their_answer() -> None:
    """Two constant servers of 2 ms hold 756 qps (M/D/2, from a long simulation)."""
    _, _, capacity = _capacity(_answer(_plan(queue=Queue(2)), SimulatedService(0.002)))
    assert capacity == pytest.approx(756.0, rel=0.015)


def test_workers_of_different_speed_get_their_answer() -> None:
    """Two servers of 2 and 4 ms hold 583.2 qps at 15 ms (from 30 million queries on a heap)."""

    def serve(rng: np.random.Generator, batch: Batch) -> float:
        return (0.002, 0.004)[batch.device] * float(rng.lognormal(-0.005, 0.1))

    answer = _answer(_plan(max_latencies_s=(0.015,), queue=Queue(2), guess_qps=700.0), serve)
    assert answer.capacity_qps == pytest.approx(583.2, rel=0.015)
    assert 0.9 * 583.2 < answer.qps < 583.2
    assert any("the slowest worker takes" in note for note in sentences(answer.findings))


def test_linear_arrivals_reach_the_service_rate() -> None:
    """A constant 2 ms device holds 500 equally spaced qps, and a trial shows nearly that."""
    answer = _answer(_plan(("linear",)), SimulatedService(0.002))
    assert _capacity(answer)[2] == pytest.approx(500, rel=0.001)
    assert 485 <= answer.qps <= 500


def test_eight_answers_share_their_trials() -> None:
    """All kinds and targets are answered within one budget, rising with the limit."""
    plan = _plan(("linear", "exponential"), (0.01, 0.05, 0.1, 0.2), 150.0)
    search = _run(plan, SimulatedService(0.003, cv=0.1), lambda c: c)
    assert search.measured_s <= 150
    for kind, answers in search.answers().items():
        capacities = [_capacity(answer)[2] for answer in answers.values()]
        assert capacities == sorted(capacities), kind
        assert all(
            answer.qps > 0.85 * c for answer, c in zip(answers.values(), capacities, strict=True)
        )
        rates = [answer.qps for answer in answers.values()]
        assert rates == sorted(rates), kind
    assert len(search.trials) < 20


def test_a_search_asks_the_same_for_the_same_seed() -> None:
    """The seed decides everything; repeats have seeds of their own."""
    first, again = (_run(_plan(seed=5), SimulatedService(0.002, cv=0.3)) for _ in range(2))
    assert [t.request for t in first.trials] == [t.request for t in again.trials]
    seeds = [t.request.seed for t in first.trials]
    assert len(set(seeds)) == len(seeds)


def test_a_target_below_the_service_time_is_unmet_with_the_reason() -> None:
    """A 12 ms device can't answer in 10 ms: -1, after a trial that shows it."""
    answer = _answer(_plan(guess_qps=80.0), SimulatedService(0.012))
    assert answer.qps is None
    assert answer.trial is None
    assert sentence(answer.findings[0]).startswith(
        "the service time's 99th percentile, 12 ms, is already over"
    )
    assert _capacity(answer) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("seed", range(10, 14))
def test_a_limit_just_below_the_service_percentile_is_not_met_by_chance(seed: int) -> None:
    """2 % below the p99 of a lone query, 3.79 ms, the capacity is 0, whichever trial passes."""
    plan = _plan(("linear",), (0.98 * 3.79e-3,), budget_s=40.0, seed=seed)
    low, _, qps = _capacity(_answer(plan, SimulatedService(0.002, cv=0.3)))
    assert (low, qps) == (0.0, 0.0)


def test_a_limit_just_above_the_service_percentile_may_be_unmet() -> None:
    """2 % above the p99 of a lone query, few queries can't exclude that no rate meets it."""
    plan = _plan(("linear",), (1.02 * 3.79e-3,), budget_s=5.0)
    low, high, _ = _capacity(_answer(plan, SimulatedService(0.002, cv=0.3)))
    assert (low, high > 250) == (0.0, True)


def test_a_rate_far_below_what_is_possible_does_not_count_as_one() -> None:
    """A hard narrow limit does not spend the budget of a wide one that its slow trials met too."""
    service = SimulatedService(0.006, cv=0.1, per_item_s=0.0003)
    queue = Queue(4, 16, 0.002)
    plan = _plan(max_latencies_s=(0.010, 0.050), queue=queue, guess_qps=6100.0, budget_s=30.0)
    answer = _run(plan, service).answers()["exponential"][0.050]
    assert answer.qps > 0.9 * _capacity(answer)[2]


def test_a_saturation_trial_is_no_answer() -> None:
    """It is too short to miss a limit of a second, and is not taken for a rate that met it."""
    service, queue = SimulatedService(0.001, per_item_s=0.001), Queue(1, 128)
    plan = _plan(("linear",), (1.0,), queue=queue, guess_qps=1000.0)
    answer = _answer(plan, service)
    assert 900 < answer.qps <= 1000
    assert answer.capacity_qps == pytest.approx(1000, rel=0.02)


def test_a_device_too_slow_for_the_trials_is_told_apart() -> None:
    """25 ms under 50 ms holds 5.4 qps, of which trials of 10 s can't tell the p99: that is said."""
    answer = _answer(_plan(max_latencies_s=(0.050,), guess_qps=40.0), SimulatedService(0.025))
    assert answer.qps is None
    assert answer.capacity_qps == pytest.approx(5.4, rel=0.02)
    assert sentence(answer.findings[0]).endswith("takes a trial of 28 s; raise --time")
    assert answer.measured_s < 30


@pytest.mark.parametrize(("service_s", "needed"), [(0.025, True), (0.002, False)])
def test_a_shortage_of_time_is_told_after_the_saturation_trial(
    service_s: float, *, needed: bool
) -> None:
    """Of a device that is too slow for the trials it is said how long these would have to be."""
    plan = _plan(max_latencies_s=(0.050,), guess_qps=1 / service_s)
    search, pool = Search(plan), VirtualPool(SimulatedService(service_s))
    request = search.next()
    assert request is not None
    schedule = make_schedule(request.kind, request.target_qps, request.queries, request.seed)
    search.record(request, pool.run(schedule, request.max_backlog_s))
    shortage = search.shortage()
    assert (shortage is not None) == needed
    if shortage is not None:
        assert shortage.figures["needed_time_s"] == pytest.approx(28, abs=1)
        assert (shortage.figures["unanswered"], shortage.figures["answers"]) == (1, 1)


def test_invalid_trials_end_the_search_and_are_named() -> None:
    """When every trial has a failed query the search gives up, and says why."""

    def fail_one(completions: Completions) -> Completions:
        status = completions.status.copy()
        status[0] = wire.FAILED
        return replace(completions, status=status)

    search = _run(_plan(), SimulatedService(0.002), fail_one)
    answer = search.answers()["exponential"][0.010]
    assert answer.qps is None
    assert "every trial was invalid: 1 of" in sentence(answer.findings[0])
    assert len(search.trials) <= 5


def test_one_invalid_trial_is_repeated() -> None:
    """An invalid trial is repeated with a fresh seed and does not change the answer."""
    spoilt: list[int] = []

    def spoil_second(completions: Completions) -> Completions:
        spoilt.append(1)
        if len(spoilt) != 2:
            return completions
        return replace(completions, host=HostAccount(CoreShare((0,), steal_fraction=0.5)))

    search = _run(_plan(), SimulatedService(0.002), spoil_second)
    assert [trial.judgement.verdict for trial in search.trials][1] == "invalid"
    answer = search.answers()["exponential"][0.010]
    assert answer.capacity_qps == pytest.approx(280.39, rel=0.015)
    assert answer.qps > 250


def test_idle_slowdown_is_modelled_and_noted() -> None:
    """A device that is slower after idling gets its own answer (266 qps, by simulation)."""
    answer = _answer(_plan(), SimulatedService(0.002, cv=0.1, idle_slowdown=0.3))
    assert answer.capacity_qps == pytest.approx(266.5, rel=0.02)
    assert any("idle before" in note for note in sentences(answer.findings))


def _cliff(rng: np.random.Generator, batch: Batch) -> float:
    slow = 3.0 if batch.target_qps > 200 else 1.0
    return slow * SimulatedService(0.002, cv=0.1)(rng, batch)


@pytest.mark.parametrize("seed", [0])
def test_a_cliff_leaves_no_rate_above_it(seed: int) -> None:
    """A device that collapses over 200 qps gets no answer above that, and a note."""
    answer = _answer(_plan(seed=seed, budget_s=150.0), _cliff)
    assert 80 < answer.qps <= 200
    assert any("the machine changes" in note for note in sentences(answer.findings))


@pytest.mark.parametrize("seed", range(2))
def test_stalls_give_no_false_pass(seed: int) -> None:
    """With 0.3 % stalls, 379.2 qps, no rate is reported that is above that beyond the interval."""
    service = SimulatedService(0.002, stall_p=0.003, stall_s=0.030)
    answer = _answer(_plan(max_latencies_s=(0.050,), seed=seed), service)
    low, high, capacity = _capacity(answer)
    assert low < 379.2 < high
    assert low < capacity < high
    assert answer.qps < 379.2
    assert any("stalls" in note for note in sentences(answer.findings))


def test_drift_is_noted_and_widens_the_interval() -> None:
    """A device that slows down while it is measured is said to, and is less certain."""
    steady = _answer(_plan(budget_s=60.0), SimulatedService(0.002, cv=0.1))
    adrift = _answer(_plan(budget_s=60.0), SimulatedService(0.002, cv=0.1, drift_per_s=0.002))
    assert any("slowed down" in note for note in sentences(adrift.findings))
    wide, narrow = (_capacity(a)[1] - _capacity(a)[0] for a in (adrift, steady))
    assert wide > narrow


@pytest.mark.parametrize("seed", range(3))
def test_a_drifting_device_gets_the_rate_that_it_holds_in_the_end(seed: int) -> None:
    """The interval is for the device as the search leaves it, and the estimate close to that."""
    plan, pool = (
        _plan(budget_s=40.0, seed=seed),
        VirtualPool(SimulatedService(0.002, cv=0.1, drift_per_s=0.002), seed=seed),
    )
    search = Search(plan)
    while (request := search.next()) is not None:
        schedule = make_schedule(request.kind, request.target_qps, request.queries, request.seed)
        search.record(request, pool.run(schedule, request.max_backlog_s))
    answer = search.answers()["exponential"][0.010]
    service = 0.002 * (1 + 0.002 * pool.now_s)
    truth = _true_qps(service, 0.1)
    low, high, capacity = _capacity(answer)
    assert low < truth < high
    assert capacity == pytest.approx(truth, rel=0.06)
    assert answer.qps <= 1.01 * truth


def _true_qps(service_s: float, cv: float) -> float:
    """Return the capacity within 10 ms of a device with such lognormal times."""
    sigma = math.sqrt(math.log1p(cv**2))
    ratio = np.random.default_rng(1).lognormal(-(sigma**2) / 2, sigma, 100_000)
    times = ServiceTimes.sampled(service_s * ratio)
    found = predict_capacity(Queue(), times, "exponential", LatencyLimit(99, 0.010))
    assert found is not None
    return found.qps


@pytest.mark.parametrize("seed", range(4))
def test_what_is_reported_can_be_met_again(seed: int) -> None:
    """With cv 0.1, of 278.1 qps, a rate below that is reported, which 7 of 10 fresh trials meet."""
    answer = _answer(_plan(budget_s=36.0, seed=seed), SimulatedService(0.002, cv=0.1))
    assert 0.85 * 278.1 < answer.qps < 278.1
    assert answer.meets_again is not None
    assert 0.7 <= answer.meets_again <= 1.0
    assert answer.trial is not None
    pool, queries = VirtualPool(SimulatedService(0.002, cv=0.1)), answer.trial.request.queries
    met = [
        percentile(pool.run(make_schedule("exponential", answer.qps, queries, n)).latency_s, 99)
        <= 0.010
        for n in range(20)
    ]
    assert np.mean(met) >= 0.7


def test_the_seeds_of_trials_are_all_different() -> None:
    """No schedule is played twice, so that no trial depends on another's luck."""
    search = _run(_plan(seed=3), SimulatedService(0.002, cv=0.3))
    seeds = [trial.request.seed for trial in search.trials]
    assert len(set(seeds)) == len(seeds) >= 3


def test_no_answer_rests_on_one_trial() -> None:
    """However precise the first trial is, a second one shows whether the device is the same."""
    search = _run(_plan(), SimulatedService(0.002))
    assert len(search.trials) >= 3
    assert any(trial.judgement.verdict == "pass" for trial in search.trials[1:])


def test_a_last_trial_meets_the_limit() -> None:
    """A search whose budget is nearly spent tries a rate that is safe, and so has one to report."""
    answers = [
        _answer(
            _plan(max_latencies_s=(0.020,), budget_s=32.0, seed=seed), SimulatedService(0.002, cv=1)
        )
        for seed in range(4)
    ]
    assert all(answer.qps is not None for answer in answers)


def test_impossible_plans_are_refused() -> None:
    """A plan without a positive budget can't be made."""
    with pytest.raises(ValueError, match="positive"):
        _plan(budget_s=0.0)
