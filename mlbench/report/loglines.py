"""The lines of stdout that scripts grep for; their form is fixed."""

from collections.abc import Callable, Iterable

import numpy as np

from mlbench.bench.events import (
    AccuracyMeasured,
    Event,
    RunStarted,
    SearchEnded,
    TrialFinished,
)
from mlbench.outcomes import PERCENTILES, Accuracy, Answer, Summary, Trial
from mlbench.report.documents import final_results
from mlbench.report.notation import plain, rate_text, trial_key


class LogLines:
    """Writes the log lines of a run, one by one, with `write`."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._percentile = 99.0

    def __call__(self, event: Event) -> None:
        """Write the lines that an event gives."""
        for line in self._lines(event):
            self._write(line)

    def _lines(self, event: Event) -> Iterable[str]:
        match event:
            case RunStarted(settings):
                self._percentile = settings.percentile
            case AccuracyMeasured(summary, accuracy):
                yield from accuracy_lines(summary, accuracy)
            case TrialFinished(trial, taken):
                yield trial_line(trial)
                if taken:
                    yield taken_line()
            case SearchEnded(answers):
                for answer in answers:
                    yield from answer_lines(answer, self._percentile)
                yield final_line(answers)


def accuracy_lines(summary: Summary, accuracy: Accuracy) -> list[str]:
    """Return the two lines of the accuracy stage; `accuacy` is how scripts know it."""
    return [
        f"check_accuracy {_figures(summary)}",
        f"check_accuracy accuacy={accuracy.percent:.2f}, "
        f"good_items={accuracy.good_items}, total_items={accuracy.total_items}",
    ]


def trial_line(trial: Trial) -> str:
    """Return the line of a finished trial: linear/0.01/100 qps=99.81, mean=..."""
    return f"{trial_key(trial.request)} {_figures(trial.summary)}"


def taken_line() -> str:
    """Return the line that follows a trial which is the best of its answer so far."""
    return "^taken"


def answer_lines(answer: Answer, percentile: float = 99.0) -> list[str]:
    """Return the figures of the trial that an answer rests on, if any, and its ===RESULT line.

    `measured_latency` is the trial's latency in seconds at `percentile`, in full precision.
    """
    target = f"===RESULT: {answer.kind} target_latency={plain(answer.max_latency_s)}"
    if answer.trial is None or answer.qps is None:
        return [f"{target} qps=FAIL"]
    measured_s = answer.trial.summary.nearest_s(plain(percentile)) or 0.0
    measured = np.format_float_positional(measured_s, trim="0")  # scripts know no exponents
    return [
        f"{plain(answer.max_latency_s)} {_figures(answer.trial.summary)}",
        f"{target} measured_latency={measured} qps={rate_text(answer.qps)}",
    ]


def final_line(answers: Iterable[Answer]) -> str:
    """Return the last line: every answer's rate, as a Python dict; -1 for an unmet target."""
    return f"===FINAL_RESULT: {final_results(answers)}"


def _figures(summary: Summary) -> str:
    """Return the figures of a line; all are numbers, and 0 where no query was completed."""
    tiles = ",".join(f"{p}:{summary.nearest_s(p) or 0.0:.4f}" for p in PERCENTILES)
    return (
        f"qps={summary.qps:.2f}, mean={summary.mean_s or 0.0:.6f}, "
        f"time={summary.runtime_s:.2f}, tiles={tiles}"
    )
