"""The last words of a run on stderr."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from mlbench.contracts.findings import Finding
from mlbench.outcomes import Accuracy, Judgement
from mlbench.report.final_table import Ending, final_table
from mlbench.report.host_notes import HostNotes

BUSY = Finding(
    "host_busy", {"cores": "0-1", "other_cpu_fraction": 0.4, "processes": "stress 98%, pid 7"}
)


def printed(answers, ending, width=80, **options) -> str:
    """Return what stands on a console of so many columns."""
    stream = io.StringIO()
    Console(file=stream, width=width, **options).print(final_table(answers, ending))
    return stream.getvalue()


def test_each_answer_is_a_row(answers):
    """Limit, arrivals, the rate met, the capacity with its interval, and the verdict."""
    text = printed(answers, Ending())
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "arrivals p99 limit rate met capacity 95 % interval verdict" in rows
    assert "linear 10 ms 127 128.3 126.0 to 130.5 met" in rows
    assert "linear 100 ms 9.37 9.400 9.000 to inf met" in rows
    assert "exponential 10 ms - - - not met" in rows


@pytest.mark.parametrize("width", [80, 120])
def test_no_figure_is_broken(answers, width):
    """The rows of the table are whole at usual widths."""
    wide = replace(answers[0], capacity_qps=123_456.0, capacity_ci95=(111_111.0, 133_333.0))
    text = printed([wide], Ending(), width)
    assert "111,111 to 133,333" in text
    assert max(map(len, text.splitlines())) <= width


def test_a_note_is_said_once(answers):
    """What holds for several answers stands there once, with their names."""
    slower = Finding("slowed_down", {"change_per_s": -0.002})
    noted = [replace(answer, findings=(*answer.findings, slower)) for answer in answers]
    text = " ".join(printed(noted, Ending()).split())
    assert text.count("the device slowed down") == 1
    assert "all: the device slowed down" in text
    assert "exponential 10 ms: the service time's 99th percentile" in text


def test_the_facts_and_what_to_do_next(answers):
    """The accuracy, the file, and the command that makes a page of it."""
    ending = Ending(output=Path("my results.json"), accuracy=Accuracy(363, 501))
    text = " ".join(printed(answers, ending, 120).split())
    assert "accuracy 72.46 %, 95 % interval" in text
    assert "363 of 501 right" in text
    assert "next mlbench-coordinator report 'my results.json' -o 'my results.html'" in text


def test_the_host_is_named_once_with_the_busiest_processes(answers, trial):
    """However many trials it spoilt, the worst is told with their number."""
    host = HostNotes()
    spoilt = replace(trial, judgements={0.01: Judgement("undecided", (BUSY,))})
    worse = Finding("host_busy", {**BUSY.figures, "other_cpu_fraction": 0.6})
    worst = replace(trial, judgements={0.01: Judgement("undecided", (worse,))})
    news = [found for each in (trial, spoilt, worst, spoilt) for found in host.count(each)]
    assert news == [BUSY]
    text = " ".join(printed(answers, Ending(host=host), 120).split())
    assert text.count("other programs took") == 1
    assert "in 3 of 4 trials, at worst: other programs took 60% of cores 0-1" in text
    assert "stress 98%, pid 7" in text


def test_two_hosts_spoil_a_trial_once(trial):
    """A trial that both hosts of a cluster spoilt counts once, with what was worse."""
    worse = Finding("host_busy", {**BUSY.figures, "other_cpu_fraction": 0.6})
    host = HostNotes()
    assert host.count(replace(trial, judgements={0.01: Judgement("invalid", (worse, BUSY))})) == [
        worse
    ]
    assert host.worst() == [(1, worse)]


def test_answers_that_the_host_spoilt_share_a_note(answers):
    """What other programs did to each of them stands in one place only."""
    spoilt = Finding("all_trials_invalid", {"because": "host_busy", **BUSY.figures})
    none = [
        replace(each, qps=None, trial=None, no_verdict=True, findings=(spoilt,)) for each in answers
    ]
    text = " ".join(printed(none, Ending(), 120).split())
    assert text.count("no verdict") == 3
    assert "all: every trial was invalid because of what the host did (below)" in text
    assert "other programs took" not in text


def test_names_of_others_cannot_steer_the_terminal(answers):
    """Markup and escapes in a file's name are shown as they are."""
    text = printed(answers, Ending(output=Path("[red]\x1b[2J.json")), 120)
    assert r"[red]\x1b[2J.json" in text
    assert "\x1b" not in text


def test_a_pipe_has_no_colours(answers):
    """Verdicts are green and red on a terminal only."""
    assert "\x1b[32mmet" in printed(answers, Ending(), force_terminal=True)
    assert "\x1b" not in printed(answers, Ending())
