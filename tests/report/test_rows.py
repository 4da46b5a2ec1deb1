from typing import Any

import pytest

from mlbench.outcomes import Answer, Trial
from mlbench.report.documents import answer_entry, trial_entry
from mlbench.report.rows import answer_row, columns, trial_row

ENERGY = {"energy_j": 3.5, "energy_per_query_j": None}


def test_a_trial_is_a_flat_row_with_units(trial: Trial) -> None:
    """Each figure of a trial is a column whose name ends in its unit."""
    row = trial_row(trial_entry(trial), {"arrivals": "linear", "trial": "linear/0.01/100"})
    assert list(row)[:5] == ["arrivals", "trial", "max_latency_s", "target_qps", "verdict"]
    assert (row["achieved_qps"], row["completed"], row["duration_s"]) == (99.81, 501, 5.02)
    assert (row["latency_mean_s"], row["latency_p50_s"]) == (0.008619, 0.0085)
    assert row["latency_p99_9_s"] is None
    assert (row["send_lag_p99_s"], row["send_lag_max_s"]) == (0.00009, 0.0004)
    assert row["host_other_cpu_fraction"] == 0.3
    assert not any(isinstance(value, dict | list) for value in row.values())
    assert not any("." in name for name in row)


def test_figures_that_come_later_are_columns(trial: Trial) -> None:
    """A key that a trial gets with the next version is in its row, with no list of columns."""
    row = trial_row({**trial_entry(trial), **ENERGY, "round": 2})
    assert {name: row[name] for name in ("energy_j", "energy_per_query_j", "round")} == {
        **ENERGY,
        "round": 2,
    }


def test_an_answer_has_its_interval_in_two_columns(answers: list[Answer]) -> None:
    """The ends of the interval stand behind the capacity; an open or unknown end is None."""
    rows = [answer_row(answer_entry(answer), {"arrivals": answer.kind}) for answer in answers]
    place = list(rows[0]).index("capacity_qps")
    assert list(rows[0])[place : place + 3] == [
        "capacity_qps",
        "capacity_low_qps",
        "capacity_high_qps",
    ]
    ends = [(row["capacity_low_qps"], row["capacity_high_qps"]) for row in rows]
    assert ends == [(126.0, 130.5), (9.0, None), (None, None)]
    assert rows[2]["qps"] == -1
    assert rows[2]["findings"] == "service_over_limit"
    assert rows[2]["notes"].startswith("the service time's 99th percentile")


def test_rows_with_different_keys_make_one_table() -> None:
    """A column that a row lacks is None there; the order is that of appearance."""
    assert columns([{"a": 1, "b": 2}, {"b": 3, "c": 4}]) == {
        "a": [1, None],
        "b": [2, 3],
        "c": [None, 4],
    }


@pytest.mark.parametrize(
    ("entry", "row"),
    [
        ({"a": {"b": {"c": 1}, "d": 2}}, {"a_d": 2}),
        ({"a": [{"b": 1}], "c": []}, {}),
        ({"host": None, "energy": None, "energy_j": None}, {"energy_j": None}),
        ({"a": "x\x1b[2J\ud800"}, {"a": r"x\x1b[2J\ud800"}),
        ({"a\nb": 1, "c": {"\ud800": 2}}, {r"a\nb": 1, r"c_\ud800": 2}),
        ({"findings": [1, {"x": 2}, {"code": "drift"}]}, {"findings": "None drift"}),
        ({"findings": "none", "notes": 7}, {"findings": "none", "notes": 7}),
        ({"options": {"max_latency": [0.05, 0.1]}}, {"options_max_latency": "0.05; 0.1"}),
    ],
)
def test_whatever_a_file_holds_becomes_a_flat_row(
    entry: dict[str, Any], row: dict[str, Any]
) -> None:
    """What is nested deeper is left out, and texts cannot steer a terminal."""
    assert trial_row(entry) == row
