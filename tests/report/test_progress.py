from dataclasses import replace

import pytest

from mlbench.bench.events import (
    AccuracyMeasured,
    AnswersNarrowed,
    Noted,
    RunStarted,
    SearchEnded,
    StageBegan,
    TrialFinished,
    TrialStarted,
)
from mlbench.bench.settings import RunSettings
from mlbench.contracts.findings import Finding
from mlbench.data.events import ImagesPrepared
from mlbench.outcomes import Accuracy, Judgement, Standing
from mlbench.pool.events import WorkersAwaited
from mlbench.report.progress import Progress

BUSY = {"cores": "0-1", "other_cpu_fraction": 0.4, "processes": "stress 98%, pid 7"}


@pytest.fixture
def told(capsys):
    """Return a function that lets events happen and returns what a pipe was told."""

    def tell(*events, quiet=False):
        with Progress(quiet=quiet) as progress:
            for event in events:
                progress(event)
        return capsys.readouterr().err

    return tell


def test_what_a_model_says_cannot_write_to_the_terminal(told):
    """Escapes of a terminal in a model's description are spelt out."""
    found = Finding("synthetic_model", {"description": "\x1b[2Jtrained :bomb: [red]"})
    err = told(Noted(found, warning=True), quiet=True)
    assert r"\x1b[2Jtrained :bomb: [red]" in err
    assert "\x1b" not in err


def test_a_pipe_gets_few_plain_lines(told, trial, summary, answers):
    """Stages, a line for each trial and for each answer that is known well enough, and the end."""
    saturation = replace(trial.request, purpose="saturation")
    first = Standing("linear", 0.01, 127.0, 128.3, (126.0, 130.5), closed=True)
    err = told(
        RunStarted(RunSettings(backend="null", max_latency=(0.01,))),
        StageBegan("samples"),
        *(ImagesPrepared(done, 500) for done in range(0, 501, 50)),
        AccuracyMeasured(summary, Accuracy(363, 501)),
        StageBegan("search"),
        TrialStarted(saturation),
        TrialFinished(replace(trial, request=saturation), taken=False),
        TrialStarted(trial.request),
        TrialFinished(trial, taken=True),
        AnswersNarrowed([first], 20.0, 150.0),
        AnswersNarrowed([first], 20.0, 150.0),
        SearchEnded(answers),
    )
    lines, _, table = err.partition("answers, in queries per second")
    assert [line.rstrip() for line in lines.splitlines()] == [
        "preparing 500 images",
        "accuracy 72.46 %, 95 % interval 68.38 to 76.18 %",
        "searching for the highest rates",
        "trial 1: linear at 100 qps, to learn how fast the device is",
        "trial 2: linear at 100 qps, p99 within 10 ms: pass, 9.49 ms",
        "linear, p99 within 10 ms: capacity 128.3 qps, 95 % interval 126.0 to 130.5",
    ]
    assert "126.0 to 130.5" in table
    assert "next" in table
    assert "\x1b" not in err


def test_a_busy_host_is_said_once(told, trial):
    """Not for each trial, and not at all when it was said before anything was measured."""
    busy = Finding("host_busy", BUSY)
    spoilt = TrialFinished(
        replace(trial, judgements={0.01: Judgement("undecided", (busy,))}), taken=False
    )
    err = told(spoilt, spoilt, spoilt)
    assert err.count("other programs took") == 1
    assert err.count("undecided, because of what the host did") == 3
    before = Noted(Finding("host_busy_before", BUSY), warning=True)
    err = told(before, spoilt, spoilt)
    assert err.count("stress 98%, pid 7") == 1


def test_waiting_is_told_every_five_seconds(told):
    """Who is awaited is told when people begin to wonder, and not four times a second."""
    event = WorkersAwaited("load", ("worker 2 (cpu, pid 9)",), 0.0, 300.0)
    err = told(*(replace(event, waited_s=0.25 * tick) for tick in range(49)))
    assert err.splitlines() == [
        "waiting for worker 2 (cpu, pid 9) to load: 5 of 300 s",
        "waiting for worker 2 (cpu, pid 9) to load: 10 of 300 s",
    ]


def test_quiet_leaves_warnings_only(told, trial, answers):
    """Neither lines nor a table."""
    noted = Noted(Finding("worker_left_out", {"reason": "it hangs", "workers": 1}), warning=True)
    err = told(
        StageBegan("search"), TrialFinished(trial, True), SearchEnded(answers), noted, quiet=True
    )
    assert err == "warning: it hangs; the run goes on with the 1 workers left\n"
