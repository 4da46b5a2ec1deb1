"""What people look at while something runs, as events have told it. It draws nothing."""

from collections import deque
from dataclasses import dataclass, field

from mlbench.bench.events import (
    AnswersNarrowed,
    Event,
    RunStarted,
    SingleTrialFinished,
    SingleTrialStarted,
    Stage,
    StageBegan,
    TrialFinished,
    TrialStarted,
)
from mlbench.data.events import ImagesPrepared
from mlbench.outcomes import Standing, Trial, TrialRequest
from mlbench.pool.events import TrialUnderWay, WorkersAwaited

AnswerKey = tuple[str, float]
"""The name of the arrivals and the latency limit in seconds that an answer is for."""

_LATEST = 6  # trials of one answer that are shown: as many as fit into a line


@dataclass(frozen=True)
class Playing:
    """The trial that is being played; `max_latency_s` is None where nobody gave a limit."""

    kind: str
    qps: float
    max_latency_s: float | None
    is_saturation: bool = False


@dataclass
class Scene:
    """The state of what is looked at.

    `is_choosing`: the trial in `playing` is over, and the next rate is being chosen. `trials`:
    those of a search that have begun. `latest`: of each answer the last trials that were run for
    it. `measured_s` of `budget_s` seconds of measuring were used before the
    trial that is being played; `budget_s` is 0 where there is no budget.
    """

    percentile: float = 99.0
    precision: float = 0.0
    stage: Stage | None = None
    awaited: WorkersAwaited | None = None
    images: ImagesPrepared | None = None
    playing: Playing | None = None
    under_way: TrialUnderWay | None = None
    is_choosing: bool = False
    trials: int = 0
    latest: dict[AnswerKey, deque[Trial]] = field(default_factory=dict)
    standings: dict[AnswerKey, Standing] = field(default_factory=dict)
    measured_s: float = 0.0
    budget_s: float = 0.0

    @property
    def narrowed(self) -> AnswerKey | None:
        """The answer that the trial being played, or the last one, is for; None for none."""
        playing = self.playing
        if playing is None or playing.max_latency_s is None or playing.is_saturation:
            return None
        return playing.kind, playing.max_latency_s

    def hear(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case RunStarted(settings):
                self.percentile, self.precision = settings.percentile, settings.precision
            case SingleTrialStarted(settings):
                self.percentile = settings.percentile
                limit_s = settings.max_latency
                self.playing = Playing(settings.arrivals, settings.qps, limit_s)
            case StageBegan(stage):
                self.stage, self.awaited, self.images, self.under_way = stage, None, None, None
            case WorkersAwaited():
                self.awaited = event
            case ImagesPrepared():
                self.images = event
            case TrialUnderWay():
                self.awaited, self.under_way = None, event
            case AnswersNarrowed():
                self._narrow(event)
            case TrialStarted(request):
                self._begin(request)
            case TrialFinished(trial):
                self._finish(trial)
            case SingleTrialFinished():
                self.under_way = None

    def _narrow(self, event: AnswersNarrowed) -> None:
        for standing in event.standings:
            self.standings[standing.kind, standing.max_latency_s] = standing
        self.measured_s, self.budget_s = event.measured_s, event.budget_s

    def _begin(self, request: TrialRequest) -> None:
        self.trials += 1
        self.is_choosing, self.awaited, self.under_way = False, None, None
        is_saturation = request.purpose == "saturation"
        kind, limit_s = request.kind.name, request.max_latency_s
        self.playing = Playing(kind, request.target_qps, limit_s, is_saturation)

    def _finish(self, trial: Trial) -> None:
        self.measured_s += trial.summary.runtime_s
        self.is_choosing = True
        if trial.request.purpose == "search":
            key = _key(trial.request)
            self.latest.setdefault(key, deque(maxlen=_LATEST)).append(trial)


def _key(request: TrialRequest) -> AnswerKey:
    return request.kind.name, request.max_latency_s
