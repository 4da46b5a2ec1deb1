"""What charts are made of, before they are drawn."""

import page_documents as documents
import pytest

from mlbench.report.html.charts.drawing import round_times, time_tick
from mlbench.report.html.charts.rates import model_curve
from mlbench.report.html.facts import run_facts


@pytest.mark.parametrize(
    ("low_s", "high_s", "ticks"),
    [
        (0.008, 0.06, ["10 ms", "20 ms", "50 ms"]),
        (4e-6, 0.3, ["10 us", "100 us", "1 ms", "10 ms", "100 ms"]),
        (0.5, 20.0, ["500 ms", "1 s", "2 s", "5 s", "10 s", "20 s"]),
    ],
)
def test_times_have_round_ticks(low_s: float, high_s: float, ticks: list[str]) -> None:
    """1, 2 and 5 of each decade, or only 1 where more would not fit, with short units."""
    assert [time_tick(at_s) for at_s in round_times(low_s, high_s)] == ticks


def test_ticks_stay_few_however_wide_the_range() -> None:
    """Over 27 decades there are nine or fewer."""
    assert 2 < len(round_times(1e-12, 1e15)) <= 9


def test_a_rate_takes_the_curve_of_the_nearest_capacity() -> None:
    """The curves of two limits are joined where their capacities are equally near."""
    document = documents.run_document()
    wide = document["results"]["linear"]["0.1"]  # 126 qps, beside 105 for 50 ms
    wide["curve"] = [{**point, "latency_s": 9.0} for point in wide["curve"]]
    answers = [one for one in run_facts("r", document).answers if one.kind == "linear"]
    curve = model_curve(answers)
    assert [point.qps for point in curve] == sorted(point.qps for point in curve)
    border = (105 * 126) ** 0.5
    assert all((point.latency_s == 9.0) == (point.qps >= border) for point in curve)
