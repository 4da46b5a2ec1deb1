"""What people see while something runs, from events that nobody had to wait for."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from screen import Screen

from mlbench.arrivals.linear import Linear
from mlbench.bench.events import (
    AnswersNarrowed,
    Event,
    RunStarted,
    SingleTrialStarted,
    StageBegan,
    TrialFinished,
    TrialStarted,
)
from mlbench.bench.settings import RunSettings, TrialSettings
from mlbench.data.events import ImagesPrepared
from mlbench.outcomes import Judgement, Standing, Trial, TrialRequest
from mlbench.pool.events import TrialUnderWay, WorkersAwaited
from mlbench.report.live.region import Region
from mlbench.report.live.view import LiveView

REQUEST = TrialRequest(Linear(), 231.4, 2310, 7, 0.05)
SATURATION = replace(REQUEST, purpose="saturation")


class Bytes(io.StringIO):
    """What was sent to a terminal, which tells its encoding."""

    encoding = "utf-8"


class Stage:
    """A live view on a screen, with a clock that moves a second with each event."""

    def __init__(
        self, width: int = 80, height: int = 30, encoding: str = "utf-8", **console: object
    ) -> None:
        self.bytes = Bytes()
        self.bytes.encoding = encoding
        self._width = width
        options = {"force_terminal": True, "color_system": "truecolor", **console}
        shown = Console(file=self.bytes, width=width, height=height, **options)
        self.now_s = 0.0
        region = Region(self.bytes, lambda: width, lambda: True)
        self.view = LiveView(shown, region, lambda: self.now_s)

    def play(self, *events: Event) -> str:
        """Let events happen; return what stands on the screen."""
        for event in events:
            self.now_s += 1
            self.view(event)
        screen = Screen(self._width)
        screen.write(self.bytes.getvalue())
        return screen.text


def under_way(**changes: object) -> TrialUnderWay:
    """Return a trial that is half over, on two workers."""
    latency_s = np.full(971, 0.0082)
    latency_s[-20:] = 0.0314
    seen = TrialUnderWay(4.2, 10.0, 2310, 971, 3, (0.71, 0.694), latency_s)
    return replace(seen, **changes)


def standing(limit_s: float, capacity: float | None, half: float, **changes: object) -> Standing:
    """Return an answer's standing with an interval of half a width on either side."""
    if capacity is None:
        return Standing("linear", limit_s, None, None, None, closed=False)
    ends = (capacity - half, capacity + half)
    return replace(Standing("linear", limit_s, 0.9 * capacity, capacity, ends, False), **changes)


SEARCH = (
    RunStarted(RunSettings(backend="null", max_latency=(0.01, 0.05), precision=0.02)),
    StageBegan("search"),
    AnswersNarrowed([standing(0.01, None, 0), standing(0.05, None, 0)], 0.0, 150.0),
    TrialStarted(SATURATION),
)


def searching(trial: Trial) -> tuple[Event, ...]:
    """Return the events of a search whose third trial is under way."""
    first = replace(trial, request=SATURATION, judgements={0.05: Judgement("undecided")})
    second = replace(trial, request=REQUEST, judgements={0.05: trial.judgements[0.2]})
    known = [standing(0.01, 0.0, 0.0), standing(0.05, 240.0, 19.2)]
    return (
        *SEARCH,
        TrialFinished(first, taken=False),
        TrialStarted(REQUEST),
        TrialFinished(second, taken=False),
        AnswersNarrowed(known, 53.0, 150.0),
        TrialStarted(REQUEST),
        under_way(),
    )


def test_a_search_is_seen_at_a_glance(trial):
    """What is tried, how it goes against the limit, what is known, and how much is left."""
    text = Stage().play(*searching(trial))
    assert "trial 3: 231 qps, linear arrivals, p99 within 50 ms" in text
    assert "4.2 of 10.0 s" in text
    assert "p50 8.20 ms  p99 31.4 ms, within 50 ms" in text
    assert "971 of 2,310 answered, 3 waiting" in text
    assert "busy 71 %, 69 %" in text
    assert "231 fail" in text
    assert "p99 300 ms is over 200 ms" in text
    assert "57 of 150 s, at most 1:33 min left" in text
    (row,) = [line for line in text.splitlines() if "▸" in line]
    assert " ".join(row.split()) == "▸ linear 50 ms 216 240.0 220.8 to 259.2 8.0 %"


@pytest.mark.parametrize("width", [80, 120, 40])
@pytest.mark.parametrize("height", [50, 24, 8])
def test_nothing_wraps_and_nothing_scrolls(trial, width, height):
    """Each line fits into the terminal, and all of them together do."""
    stage = Stage(width, height)
    many = [standing(0.001 * n, 1e6, 1e5, kind="exponential") for n in range(1, 40)]
    text = stage.play(*searching(trial), AnswersNarrowed(many, 60.0, 150.0), under_way())
    lines = text.rstrip("\n").splitlines()
    assert max(map(len, lines)) < width
    assert len(lines) < height


def test_an_interval_is_drawn_where_there_is_room(trial):
    """On a wide terminal its ends stand about the capacity."""
    text = Stage(width=120).play(*searching(trial))
    assert "├───●───┤" in text
    assert "●" not in Stage(width=80).play(*searching(trial))


def test_the_region_keeps_its_shape_between_trials(trial):
    """While the next rate is chosen no line moves."""
    *events, last = searching(trial)
    stage = Stage()
    before = stage.play(*events, last)
    after = stage.play(
        TrialFinished(
            replace(trial, request=REQUEST, judgements={0.05: Judgement("pass")}), taken=True
        )
    )
    assert "choosing the next rate" in after
    assert [line[:10] for line in after.splitlines()] == [line[:10] for line in before.splitlines()]


def test_starting_says_what_is_waited_for():
    """Loading and warming up are named, and who takes long."""
    stage = Stage()
    assert "reading the model" in stage.play(StageBegan("model"))
    assert "120 of 500" in stage.play(StageBegan("samples"), ImagesPrepared(120, 500))
    workers = ("worker 2 (cpu, pid 4711)",)
    event = WorkersAwaited("load", workers, 0.0, 300.0)
    text = stage.play(StageBegan("workers"), event)
    assert "loading the model\n" in text
    assert "loading the model, waiting for worker 2 (12 s)" in stage.play(
        replace(event, waited_s=12.2)
    )
    assert "warming up" in stage.play(replace(event, step="warm up"))
    three = replace(event, workers=workers * 3, waited_s=9.0)
    assert "waiting for 3 workers (9 s)" in stage.play(three)


def test_a_trial_alone_is_seen_too():
    """Its rate, its time and its latency against its limit, where it has one."""
    settings = TrialSettings(backend="null", qps=100.0, max_latency=0.02)
    text = Stage().play(SingleTrialStarted(settings), StageBegan("workers"), under_way())
    assert "100 qps" in text
    assert "p99 31.4 ms, over 20 ms" in text
    assert "budget" not in text
    unlimited = TrialSettings(backend="null", qps=100.0)
    text = Stage().play(SingleTrialStarted(unlimited), under_way())
    assert "p99 31.4 ms\n" in text


def test_a_trial_that_has_no_answer_yet_says_so():
    """Neither a percentile of nothing nor a division by nothing."""
    settings = TrialSettings(backend="null", qps=1.0)
    early = under_way(length_s=0.0, answered=0, latency_s=np.empty(0))
    assert "no answer yet" in Stage().play(SingleTrialStarted(settings), early)


def test_many_workers_are_told_together():
    """Sixty-four workers take one line."""
    text = Stage().play(StageBegan("accuracy"), under_way(busy=(0.5, *[0.8] * 63)))
    assert "64, busy 80 % on average, 50 % to 80 %" in text
    assert "checking accuracy" in text


@pytest.mark.parametrize("off", [{"no_color": True}, {"color_system": None}])
def test_colours_can_be_done_without(trial, off):
    """With NO_COLOR, or on a terminal without colours, no style is sent."""
    stage = Stage(**off)
    stage.play(*searching(trial))
    assert "\x1b[" in stage.bytes.getvalue()
    assert "m" not in {part[-1:] for part in _escapes(stage.bytes.getvalue())}


def test_a_terminal_may_know_ascii_only(trial):
    """Bars and marks have another form where the usual one could not be shown."""
    stage = Stage(width=120, encoding="ascii")
    stage.play(*searching(trial)).encode("ascii")
    assert "[---o---]" in stage.play()


def test_verdicts_have_colours(trial):
    """A latency over its limit is red, within it green."""
    stage = Stage()
    stage.play(*searching(trial))
    assert "\x1b[32mp99 31.4 ms\x1b[0m" in stage.bytes.getvalue()
    assert "\x1b[31mfail\x1b[0m" in stage.bytes.getvalue()


def test_the_cursor_is_never_hidden(trial):
    """A process that is killed could not bring it back."""
    stage = Stage()
    stage.play(*searching(trial))
    assert "?25" not in stage.bytes.getvalue()


def test_ticks_are_not_drawn_more_often_than_people_see(trial):
    """What changes all the time is drawn five times a second at most."""
    stage = Stage()
    stage.play(*searching(trial))
    sent = len(stage.bytes.getvalue())
    for answered in range(972, 990):
        stage.now_s += 0.01
        stage.view(under_way(answered=answered))
    assert len(stage.bytes.getvalue()) == sent


def _escapes(text: str) -> list[str]:
    return re.findall(r"\x1b\[[0-9;?]*[A-Za-z]", text)
