import numpy as np
import pytest
from scipy import stats

from mlbench.arrivals.trace import Trace
from mlbench.trial.schedule import make_schedule, query_count

TRACE = Trace(np.array([0.0, 0.5, 1.5, 2.0]))
KINDS = ["linear", "exponential", "gamma", TRACE]


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_gives_the_same_arrivals(kind):
    """A schedule is made by its kind, rate, count and seed, and by nothing else."""
    one, other = (make_schedule(kind, 250.0, 500, seed=7) for _ in range(2))
    assert np.array_equal(one.due_ns, other.due_ns)
    assert one.seed == 7


@pytest.mark.parametrize("kind", KINDS[1:])
def test_another_seed_gives_other_arrivals(kind):
    """Two seeds draw two different schedules."""
    one, other = (make_schedule(kind, 250.0, 500, seed=s) for s in (1, 3))
    assert not np.array_equal(one.due_ns, other.due_ns)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("qps", [0.7, 250.0, 333.3, 1e6])
def test_offered_rate_is_the_requested_one(kind, qps):
    """Counted from the due times, the offered rate is the requested one but for rounding to ns."""
    schedule = make_schedule(kind, qps, 2_500, seed=3)
    span_s = (schedule.due_ns[-1] - schedule.due_ns[0]) * 1e-9
    assert (len(schedule.due_ns) - 1) / span_s == pytest.approx(qps, rel=1e-6)
    assert schedule.offered_qps == pytest.approx(qps, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_arrivals_are_sorted_and_start_at_zero(kind):
    """Due times are int64 nanoseconds in rising order from the trial's start."""
    due_ns = make_schedule(kind, 1e5, 10_000, seed=11).due_ns
    assert due_ns.dtype == np.int64
    assert due_ns[0] == 0
    assert (np.diff(due_ns) >= 0).all()


def test_linear_spacing_is_exact():
    """Linear arrivals are 1/qps apart, without an error that accumulates."""
    due_ns = make_schedule("linear", 300.0, 3_001, seed=0).due_ns
    expected = np.arange(3_001) * 1e9 / 300.0
    assert np.abs(due_ns - expected).max() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_exponential_gaps_are_exponential(seed):
    """The gaps of exponential arrivals pass a Kolmogorov-Smirnov test."""
    gaps_s = np.diff(make_schedule("exponential", 250.0, 2_500, seed).due_ns) * 1e-9
    assert stats.kstest(gaps_s, stats.expon(scale=1 / 250.0).cdf).pvalue > 0.01


def test_exponential_gaps_do_not_depend_on_each_other():
    """A gap tells nothing about the next one: their correlation is within chance."""
    gaps_s = np.diff(make_schedule("exponential", 250.0, 20_000, seed=5).due_ns) * 1e-9
    correlation = np.corrcoef(gaps_s[:-1], gaps_s[1:])[0, 1]
    assert abs(correlation) < 3 / np.sqrt(len(gaps_s))


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_query_is_due_at_once(kind):
    """A schedule of one query is due at the start, and offers the target rate."""
    schedule = make_schedule(kind, 5.0, 1, seed=0)
    assert schedule.due_ns.tolist() == [0]
    assert schedule.offered_qps == 5.0


@pytest.mark.parametrize(
    ("qps", "duration_s", "queries"), [(250.0, 10.0, 2_500), (99.9, 1.0, 100), (0.1, 1.0, 1)]
)
def test_a_trial_has_rate_times_duration_queries(qps, duration_s, queries):
    """The number of queries is the rate times the duration, rounded, and at least one."""
    assert query_count(qps, duration_s) == queries


@pytest.mark.parametrize(("qps", "queries"), [(0.0, 5), (-1.0, 5), (float("nan"), 5), (10.0, 0)])
def test_a_rate_or_count_that_is_not_positive_is_refused(qps, queries):
    """There is no schedule without queries or without a rate."""
    with pytest.raises(ValueError, match="positive"):
        make_schedule("linear", qps, queries, seed=0)
