import ast
from dataclasses import replace
from pathlib import Path

import pytest
from forms_of_2019 import read_log
from hypothesis import given
from hypothesis import strategies as st

from mlbench.arrivals.exponential import Exponential
from mlbench.arrivals.linear import Linear
from mlbench.bench.events import SearchEnded, TrialFinished
from mlbench.outcomes import (
    PERCENTILES,
    Accuracy,
    Answer,
    Judgement,
    Summary,
    Trial,
    TrialRequest,
)
from mlbench.report import loglines
from mlbench.report.documents import final_results
from mlbench.report.notation import plain, rate_number, rate_text

TILES = "tiles=50:0.0085,80:0.0093,90:0.0095,95:0.0096,99:0.0095,99.9:0.0105"


def test_accuracy_lines(summary: Summary) -> None:
    """The accuracy stage prints its figures, then the counts under the historical spelling."""
    assert loglines.accuracy_lines(summary, Accuracy(363, 501)) == [
        f"check_accuracy qps=99.81, mean=0.008619, time=5.02, {TILES}",
        "check_accuracy accuacy=72.46, good_items=363, total_items=501",
    ]


def test_trial_line(trial: Trial) -> None:
    """A trial's line starts with arrivals, target and whole rate; too few have their longest."""
    assert loglines.trial_line(trial) == (
        f"linear/0.01/100 qps=99.81, mean=0.008619, time=5.02, {TILES}"
    )
    assert loglines.taken_line() == "^taken"


def test_trial_without_completions(trial: Trial) -> None:
    """A trial in which nothing completed prints zeros, which scripts can read."""
    empty = Summary(0.0, None, 0.0, 0, dict.fromkeys(trial.summary.percentiles))
    line = loglines.trial_line(replace(trial, summary=empty))
    assert line == (
        "linear/0.01/100 qps=0.00, mean=0.000000, time=0.00, "
        "tiles=50:0.0000,80:0.0000,90:0.0000,95:0.0000,99:0.0000,99.9:0.0000"
    )


def test_met_answer(answers: list[Answer]) -> None:
    """A met target prints its trial's figures, and the latency in full precision."""
    assert loglines.answer_lines(answers[0]) == [
        f"0.01 qps=99.81, mean=0.008619, time=5.02, {TILES}",
        "===RESULT: linear target_latency=0.01 measured_latency=0.009488344192504883 qps=127",
    ]


def test_measured_latency_is_that_of_the_bounded_percentile(answers: list[Answer]) -> None:
    """With another percentile bounded, the result line shows the latency there."""
    assert "measured_latency=0.0095 " in loglines.answer_lines(answers[0], 90.0)[1]


@pytest.mark.parametrize(
    ("measured_s", "text"), [(None, "0.01051"), (0.00005, "0.00005"), (1.0, "1.0")]
)
def test_measured_latency_is_a_number(
    summary: Summary, answers: list[Answer], measured_s: float | None, text: str
) -> None:
    """It has a point and no exponent, and of too few queries it is the longest."""
    told = replace(summary, percentiles={**summary.percentiles, "99": measured_s})
    trial = replace(answers[0].trial, summary=told)
    line = loglines.answer_lines(replace(answers[0], trial=trial))[1]
    assert f"measured_latency={text} " in line


def test_unmet_answer(answers: list[Answer]) -> None:
    """A target that no rate meets prints FAIL and has no chosen trial."""
    assert loglines.answer_lines(answers[2]) == [
        "===RESULT: exponential target_latency=0.01 qps=FAIL"
    ]


def test_final_line_is_a_python_dict(answers: list[Answer]) -> None:
    """The last line reads back as a dict of rounded-down rates, -1 where a target is unmet."""
    line = loglines.final_line(answers)
    assert line == (
        "===FINAL_RESULT: {'linear': {'0.01': 127, '0.1': 9.37}, 'exponential': {'0.01': -1}}"
    )
    assert ast.literal_eval(line.removeprefix("===FINAL_RESULT: "))["exponential"]["0.01"] == -1


TIME = st.floats(0, 1e6)
TARGET = st.floats(1e-6, 100)
RATE = st.floats(1e-4, 1e7)
SUMMARY = st.builds(
    Summary, st.floats(0, 1e7), st.none() | TIME, TIME, st.integers(0),
    st.fixed_dictionaries(dict.fromkeys(PERCENTILES, st.none() | TIME)), st.none() | TIME,
)  # fmt: skip


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[Trial], list[Answer]]:
    """Draw trials of any figures, and answers of which some rest on them."""
    trials, answers = [], []
    for target in draw(st.lists(TARGET, min_size=1, max_size=3, unique=True)):
        kind = draw(st.sampled_from([Linear(), Exponential()]))
        request = TrialRequest(kind, draw(RATE), 1, 1, target)
        trials.append(Trial(request, draw(SUMMARY), {target: Judgement("pass")}, 1.0))
        met = trials[-1] if draw(st.booleans()) else None
        qps = request.target_qps if met else None
        answers.append(Answer(kind.name, target, qps, met, None, None, 1, 1.0, 1))
    return trials, answers


@given(runs())
def test_whatever_is_measured_a_script_of_2019_reads(run: tuple[list[Trial], list[Answer]]) -> None:
    """Rates and times of any size, known or not, are numbers that a strict script takes."""
    trials, answers = run
    lines: list[str] = []
    tell = loglines.LogLines(lines.append)
    for trial in trials:
        tell(TrialFinished(trial, taken=True))
    tell(SearchEnded(answers))
    log = read_log(lines)
    assert len(log.trials) == len(trials)
    assert log.final == final_results(answers)


def test_the_documented_lines_are_of_that_form() -> None:
    """The example of docs/results.md is what a strict script of 2019 reads."""
    page = Path(__file__).parents[2].joinpath("docs", "results.md").read_text()
    log = read_log(page.split("```")[1].strip().splitlines())
    assert (log.has_accuracy, log.trials) == (True, ["linear/0.01/100"])
    assert log.final == {"linear": {"0.01": 127}, "exponential": {"0.01": -1}}


@pytest.mark.parametrize(
    ("qps", "number", "text"),
    [(127.99, 127, "127"), (10.0, 10, "10"), (9.999, 9.99, "9.99"), (9.37, 9.37, "9.37"),
     (9.5, 9.5, "9.50"), (None, -1, "-1"), (1_000_000.0, 1_000_000, "1000000")],
)  # fmt: skip
def test_rates_are_rounded_down(qps: float, number: float, text: str) -> None:
    """Rates are cut to whole numbers, and to two decimals below ten, without binary surprises."""
    assert (rate_number(qps), rate_text(qps)) == (number, text)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.01, "0.01"), (0.2, "0.2"), (1.0, "1"), (0.00005, "0.00005")],
)
def test_latencies_are_spelled_plainly(number: float, text: str) -> None:
    """A latency is spelled with no trailing zeros and no exponent."""
    assert plain(number) == text
