import math

import pytest

from mlbench.outcomes import PERCENTILES
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.stats.percentiles import percentile
from mlbench.trial.schedule import make_schedule
from mlbench.trial.summary import summarise


def test_summary_counts_from_the_scheduled_time() -> None:
    """A constant device at half its rate has all percentiles at its service time."""
    pool = VirtualPool(SimulatedService(0.002))
    summary = summarise(pool.run(make_schedule("linear", 250, 1000, 1)))
    assert summary.count == 1000
    assert summary.percentiles["99"] == pytest.approx(0.002)
    assert summary.qps == pytest.approx(250, rel=0.005)
    assert math.isclose(summary.mean_s or 0, 0.002, rel_tol=1e-6)


def test_summary_of_few_queries_has_no_high_percentile() -> None:
    """A percentile that too few queries can't tell is None; its nearest rank is the longest."""
    pool = VirtualPool(SimulatedService(0.002))
    summary = summarise(pool.run(make_schedule("linear", 250, 50, 1)))
    assert summary.percentiles["99"] is None
    assert summary.nearest_s("99") == summary.max_s == pytest.approx(0.002)
    assert summary.nearest_s("90") == summary.percentiles["90"]
    assert summary.percentiles["90"] is not None


def test_the_bounded_percentile_is_in_the_summary() -> None:
    """Whatever percentile is bounded, the summary tells it beside the usual ones."""
    pool = VirtualPool(SimulatedService(0.002))
    completions = pool.run(make_schedule("exponential", 250, 1000, 1))
    assert summarise(completions, 97.5).percentiles["97.5"] == percentile(
        completions.latency_s, 97.5
    )
    assert list(summarise(completions).percentiles) == list(PERCENTILES)
