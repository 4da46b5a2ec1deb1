"""What is told while something runs: one small class for each event.

Everything that is shown or saved is a listener, a function of an event: the log lines,
`results.json`, progress. What runs knows none of them.

    settings -> run(...) --events--> ResultFile, LogLines, Progress, or your own
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from mlbench.bench.served import Served
from mlbench.bench.settings import RunSettings, TrialSettings
from mlbench.cluster.events import ClusterEvent
from mlbench.contracts.findings import Finding
from mlbench.data.events import DataEvent
from mlbench.outcomes import Accuracy, Answer, Standing, Summary, Trial, TrialRequest
from mlbench.pool.events import PoolEvent, TrialUnderWay, WorkerRestarted, WorkersAwaited
from mlbench.records import Completions

if TYPE_CHECKING:
    from mlbench.bench.sweep.standing import SweepStanding


@dataclass(frozen=True)
class RunStarted:
    """A run begins: its settings are valid, and nothing was done yet."""

    settings: RunSettings


@dataclass(frozen=True)
class SingleTrialStarted:
    """A trial on its own begins: its settings are valid, and nothing was done yet."""

    settings: TrialSettings


@dataclass(frozen=True)
class SingleTrialFinished:
    """A trial on its own has ended."""

    completions: Completions


Stage = Literal[
    "model", "samples", "timing", "generator", "workers", "accuracy", "search", "answers"
]


@dataclass(frozen=True)
class StageBegan:
    """The next stage begins.

    The model is read, samples are prepared, a query is timed on one thread, the load generator is
    measured, workers are started, accuracy is checked, rates are searched for, and answers made.
    """

    stage: Stage


@dataclass(frozen=True)
class EmbeddedModelChosen:
    """No model was named: the embedded one is served."""


@dataclass(frozen=True)
class Prepared:
    """The request is checked, and what will be served is ready."""

    served: Served


@dataclass(frozen=True)
class Noted:
    """Something was found about the whole run; a `warning` is told to people even when quiet."""

    finding: Finding
    warning: bool = False


@dataclass(frozen=True)
class AccuracyMeasured:
    """The accuracy stage has ended."""

    summary: Summary
    accuracy: Accuracy


@dataclass(frozen=True)
class AnswersNarrowed:
    """What a search knows before its next trial, when `measured_s` of `budget_s` seconds are used.

    `standings` are those of the answers that it still works on, or has finished on this pool.
    """

    standings: Sequence[Standing]
    measured_s: float
    budget_s: float


@dataclass(frozen=True)
class TrialStarted:
    """A trial of a search begins."""

    request: TrialRequest


@dataclass(frozen=True)
class TrialFinished:
    """A trial of a search has ended; `taken` when it is the best of its answer so far."""

    trial: Trial
    taken: bool


@dataclass(frozen=True)
class SearchEnded:
    """The search has ended or was interrupted, with these answers in the order asked for."""

    answers: Sequence[Answer]


@dataclass(frozen=True)
class SweepProgress:
    """A sweep begins, a configuration had its turn, or all is over."""

    sweep: "SweepStanding"


@dataclass(frozen=True)
class RunEnded:
    """A run that was told to have begun is over, however it ended; nothing is told after it."""


Event = (
    RunStarted
    | SingleTrialStarted
    | SingleTrialFinished
    | StageBegan
    | EmbeddedModelChosen
    | Prepared
    | DataEvent
    | WorkersAwaited
    | TrialUnderWay
    | ClusterEvent
    | Noted
    | AccuracyMeasured
    | AnswersNarrowed
    | TrialStarted
    | TrialFinished
    | SearchEnded
    | SweepProgress
    | RunEnded
)
Listener = Callable[[Event], None]


def to_all(listeners: Sequence[Listener]) -> Listener:
    """Return one listener that tells all of these, in order."""

    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


def from_cluster(tell: Listener) -> Callable[[object], None]:
    """Return what hears a cluster and its hosts' pools, and tells a listener."""

    def hear(event: object) -> None:
        told = from_pool(tell) if isinstance(event, WorkerRestarted) else tell
        told(event)  # type: ignore[arg-type]  # hosts tell what pools and their opening tell here

    return hear


def from_pool(tell: Listener) -> Callable[[PoolEvent], None]:
    """Return what hears a pool and tells a listener; a restart is a note on the whole run."""

    def hear(event: PoolEvent) -> None:
        if isinstance(event, WorkerRestarted):
            tell(Noted(Finding("worker_restarted", asdict(event)), warning=True))
        else:
            tell(event)

    return hear
