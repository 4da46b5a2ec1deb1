"""A scene as lines of styled text. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mlbench.outcomes import Trial
from mlbench.pool.events import TrialUnderWay, WorkersAwaited
from mlbench.report.live.answers_table import answers_table
from mlbench.report.live.glyphs import Glyphs, bar
from mlbench.report.live.ink import Line, Piece
from mlbench.report.live.scene import Playing, Scene
from mlbench.report.notation import duration_text, limit_text, plain, rate_text
from mlbench.report.sentences import sentence
from mlbench.stats.percentiles import percentile, suffices

STAGES = {
    "model": "reading the model",
    "samples": "preparing samples",
    "timing": "timing a query on one thread",
    "generator": "measuring what the load generator adds",
    "workers": "starting workers",
    "accuracy": "checking accuracy",
    "search": "searching for the highest rates",
    "answers": "working out the answers",
}
"""What people read for each stage."""

_TITLE = 9  # columns of the words at the left
_MOST_WORKERS = 8  # that are shown each; of more the average and the ends
_WIDE = 100  # columns from which bars are longer
_NOTHING: Piece = ("-", "dim")
_AROUND = 3  # lines that are left to the terminal's other text


@dataclass(frozen=True)
class Canvas:
    """How much room there is, in columns and lines, and which characters it knows."""

    width: int
    height: int
    glyphs: Glyphs

    @property
    def bar_width(self) -> int:
        """Columns of a bar."""
        return 40 if self.width >= _WIDE else 24


def draw(scene: Scene, canvas: Canvas) -> list[Line]:
    """Return the lines that show a scene, as long as they are and none too many."""
    lines: list[Line] = [((canvas.glyphs.empty * (canvas.width - 1), "dim"),)]
    lines += [_titled(title, *pieces) for title, *pieces in _rows(scene, canvas)]
    room = canvas.height - _AROUND - len(lines)
    lines += answers_table(scene, canvas.width, room, canvas.glyphs)
    return lines[: max(canvas.height - _AROUND, 1)]


def _titled(title: str, *pieces: Piece) -> Line:
    return (f" {title:<{_TITLE}}", "dim"), *pieces


def _rows(scene: Scene, canvas: Canvas) -> Iterator[tuple[str, *tuple[Piece, ...]]]:
    yield "now", (_now(scene), "bold")
    if scene.images and not scene.playing:
        done, total = scene.images.done, scene.images.total
        bar_ = bar(done / max(total, 1), canvas.bar_width, canvas.glyphs)
        yield "images", *bar_, (f"  {done:,} of {total:,}", "")
    playing, seen = scene.playing, scene.under_way
    if seen is not None:
        yield "time", *_time(seen, canvas)
        yield "latency", *_latency(seen, playing, scene.percentile)
        yield "queries", (f"{seen.answered:,} of {seen.queries:,} answered, ", ""), _waiting(seen)
        yield "workers", (_load(seen.busy), "")
    elif playing is not None:  # the lines below keep their places
        yield from ((title, _NOTHING) for title in ("time", "latency", "queries", "workers"))
    if scene.budget_s:
        trials = scene.latest.get(scene.narrowed) if scene.narrowed else None
        yield "before", *(_before(trials) if trials else (_NOTHING,))
        yield "because", (_why(trials[-1]), "dim") if trials else _NOTHING
        yield "budget", *_budget(scene, canvas)


def _now(scene: Scene) -> str:
    if scene.awaited:
        return _awaited(scene.awaited)
    playing = scene.playing
    if playing is None or scene.stage == "answers" or (not scene.trials and not scene.under_way):
        return STAGES.get(scene.stage or "", "getting ready")
    if scene.is_choosing:
        return "choosing the next rate"
    if playing.is_saturation:
        return "learning how fast the device is, in a trial beyond what it can serve"
    number = f"trial {scene.trials}: " if scene.trials else ""
    text = f"{number}{rate_text(playing.qps)} qps, {playing.kind} arrivals"
    if playing.max_latency_s is not None:
        text += f", p{plain(scene.percentile)} within {limit_text(playing.max_latency_s)}"
    return text


def _awaited(event: WorkersAwaited) -> str:
    step = "loading the model" if event.step == "load" else "warming up"
    if event.waited_s < 1:
        return step
    names = [name.partition(" (")[0] for name in event.workers]
    who = ", ".join(names) if len(names) <= 2 else f"{len(names)} workers"
    return f"{step}, waiting for {who} ({event.waited_s:.0f} s)"


def _time(seen: TrialUnderWay, canvas: Canvas) -> tuple[Piece, ...]:
    elapsed_s = min(seen.elapsed_s, seen.length_s)
    share = elapsed_s / seen.length_s if seen.length_s else 1.0
    times = f"  {elapsed_s:.1f} of {seen.length_s:.1f} s"
    return *bar(share, canvas.bar_width, canvas.glyphs), (times, "")


def _latency(seen: TrialUnderWay, playing: Playing | None, p: float) -> tuple[Piece, ...]:
    if not len(seen.latency_s):
        return (("no answer yet", "dim"),)
    median_s, high_s = percentile(seen.latency_s, 50), percentile(seen.latency_s, p)
    median = (f"p50 {duration_text(median_s)}  ", "")
    limit_s = playing.max_latency_s if playing and not playing.is_saturation else None
    text = f"p{plain(p)} {duration_text(high_s)}"
    if limit_s is None:
        return median, (text, "")
    style = "pass" if high_s <= limit_s else "fail"
    early = "" if suffices(len(seen.latency_s), p) else " so far"
    side = "within" if high_s <= limit_s else "over"
    return median, (text, style), (f"{early}, {side} {limit_text(limit_s)}", "")


def _waiting(seen: TrialUnderWay) -> Piece:
    return f"{seen.waiting:,} waiting", "undecided" if seen.waiting > len(seen.busy) else ""


def _load(busy: Sequence[float]) -> str:
    if len(busy) <= _MOST_WORKERS:
        return f"busy {', '.join(map(_percent, busy))}"
    ends = f"{_percent(min(busy))} to {_percent(max(busy))}"
    return f"{len(busy)}, busy {_percent(float(np.mean(busy)))} on average, {ends}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _before(trials: Sequence[Trial]) -> Iterator[Piece]:
    """Tell the rates and verdicts of an answer's latest trials."""
    for place, trial in enumerate(trials):
        verdict = trial.judgement.verdict
        yield f"{', ' if place else ''}{rate_text(trial.request.target_qps)} ", ""
        yield verdict, verdict


def _why(trial: Trial) -> str:
    return sentence(trial.judgement.reasons[0]) if trial.judgement.reasons else _NOTHING[0]


def _budget(scene: Scene, canvas: Canvas) -> tuple[Piece, ...]:
    used_s = scene.measured_s
    if scene.under_way and not scene.is_choosing:
        used_s += scene.under_way.elapsed_s
    used_s = min(used_s, scene.budget_s)
    left_s = round(scene.budget_s - used_s)
    left = f"{left_s // 60}:{left_s % 60:02} min" if left_s >= 60 else f"{left_s} s"
    text = f"  {used_s:.0f} of {scene.budget_s:.0f} s, at most {left} left"
    return *bar(used_s / scene.budget_s, canvas.bar_width, canvas.glyphs), (text, "")
