"""What is shown and saved listens to events; one more exporter is one more listener."""

import csv
from dataclasses import dataclass
from pathlib import Path

import pytest

import mlbench
from mlbench.bench.events import (
    Event,
    RunEnded,
    RunStarted,
    SearchEnded,
    TrialFinished,
    TrialStarted,
)
from mlbench.contracts.errors import RequestError
from mlbench.report.loglines import LogLines
from mlbench.report.results import ResultFile

SMALL = {
    "backend": "simulated",
    "backend_options": {"service_ms": "2"},
    "arrivals": ["exponential"],
    "max_latency": [0.010],
    "budget": 2.0,
    "time": 0.5,
    "seed": 3,
}


@dataclass
class CsvFile:
    """An exporter of one's own: the rate and the verdict of each trial."""

    path: Path

    def __call__(self, event: Event) -> None:
        """Add a line for each trial."""
        if isinstance(event, TrialFinished):
            with self.path.open("a") as file:
                judged = event.trial.judgement
                csv.writer(file).writerow([event.trial.request.target_qps, judged.verdict])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[Event]]:
    """A small run with its files' folder, its log lines, and all events."""
    folder, lines, events = tmp_path_factory.mktemp("run"), [], []
    listeners = [
        ResultFile(),
        CsvFile(folder / "trials.csv"),
        LogLines(lines.append),
        events.append,
    ]
    mlbench.run(listeners, output=folder / "results.json", **SMALL)
    return folder, lines, events


def test_an_exporter_is_one_file_and_one_line(small: tuple[Path, list[str], list[Event]]) -> None:
    """A listener of one's own writes a line for each trial that the result file has."""
    folder, _, _ = small
    rows = list(csv.reader((folder / "trials.csv").open()))
    trials = mlbench.load(folder / "results.json").trials
    assert [(float(qps), verdict) for qps, verdict in rows] == [
        (trial["target_qps"], trial["verdict"]) for trial in trials
    ]


def test_events_come_in_order(small: tuple[Path, list[str], list[Event]]) -> None:
    """A run starts, each trial starts and finishes, the answers come last, and the run is over."""
    _, _, events = small
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-2], SearchEnded)
    assert isinstance(events[-1], RunEnded)
    trials = [event for event in events if isinstance(event, TrialStarted | TrialFinished)]
    starts, ends = trials[::2], trials[1::2]
    assert len(starts) == len(ends) > 1
    for start, end in zip(starts, ends, strict=True):
        assert isinstance(start, TrialStarted)
        assert isinstance(end, TrialFinished)
        assert end.trial.request == start.request


def test_log_lines_and_the_file_agree(small: tuple[Path, list[str], list[Event]]) -> None:
    """The last line holds the rate that stands in the file."""
    folder, lines, _ = small
    assert {path.name for path in folder.iterdir()} == {"results.json", "trials.csv"}
    final = mlbench.load(folder / "results.json").document["final_results"]
    assert lines[-1] == f"===FINAL_RESULT: {final}"


def test_every_trial_has_its_lag_in_the_file(small: tuple[Path, list[str], list[Event]]) -> None:
    """What the load generator added stands with each trial, as numbers in order."""
    folder, _, _ = small
    for trial in mlbench.load(folder / "results.json").trials:
        assert 0 <= trial["send_lag_p50_s"] <= trial["send_lag_max_s"]


def test_without_listeners_nothing_is_printed_or_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The interface returns answers, and leaves no file and no line."""
    monkeypatch.chdir(tmp_path)
    found = mlbench.run(**SMALL)
    assert found.accuracy is None
    assert [answer.kind for answer in found.answers] == ["exponential"]
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().out == ""


def test_a_trial_is_a_call() -> None:
    """`run_trial` returns all queries, and a verdict where a limit is given."""
    device = {"backend": "simulated", "backend_options": {"service_ms": "2"}}
    done = mlbench.run_trial(qps=200.0, duration=0.5, **device)
    assert (done.completions.completed, done.judgement) == (100, None)
    judged = mlbench.run_trial(qps=200.0, duration=0.5, max_latency=5.0, **device).judgement
    assert judged is not None
    assert judged.verdict == "pass"


def test_a_wrong_option_is_refused_in_words() -> None:
    """What the command line refuses, the interface refuses with the same words."""
    with pytest.raises(RequestError, match="--arrivals bursts: no such arrivals"):
        mlbench.run(arrivals=["bursts"])
