"""One configuration of a sweep while it is measured. Pure: it knows no pool and no file."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from mlbench.bench.rates import LogRates
from mlbench.bench.served import Served
from mlbench.bench.settings import RunSettings
from mlbench.bench.sweep.plan import USUAL_PACE, Configuration, Pace
from mlbench.bench.sweep.standing import Standing, State
from mlbench.bench.sweep.trial_file import SavedTrial
from mlbench.contracts.findings import Finding
from mlbench.outcomes import Accuracy, Answer, Summary, Trial, TrialRequest
from mlbench.queueing.line import Queue
from mlbench.records import Completions
from mlbench.search.plan import AnswerKey, SearchPlan
from mlbench.search.search import Search

_SHORT = 0.5  # of a usual trial: after one that was cut so short, another one belongs to the turn


class Entry:
    """A configuration in a sweep: its search, the round of each trial, and how it stands.

    `lost`: the answers for which another is better for certain, and which; it has no more trials
    for them, and is dropped when it has lost all.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.state: State = "pending"
        self.reason: str | None = None
        self.search: Search | None = None
        self.rounds: list[int] = []
        self.accuracy: tuple[Summary, Accuracy] | None = None
        self.findings: list[Finding] = []
        self.served: Served | None = None
        self.lost: dict[AnswerKey, str] = {}
        self._answers: tuple[int, bool, list[Answer]] = (0, True, [])
        self._rates: tuple[int, Mapping[AnswerKey, LogRates]] = (0, {})

    @property
    def name(self) -> str:
        """The name of the configuration."""
        return self.configuration.name

    @property
    def keys(self) -> list[AnswerKey]:
        """The answers that are asked for."""
        settings = self.configuration.settings
        return [(kind, limit_s) for kind in settings.arrivals for limit_s in settings.max_latency]

    @property
    def is_live(self) -> bool:
        """Whether it wants a turn in the next round."""
        return self.state in ("pending", "measuring")

    @property
    def measured_s(self) -> float:
        """How long its trials took together."""
        return self.search.measured_s if self.search else 0.0

    def begin(self, plan: SearchPlan, saved: Sequence[SavedTrial] = ()) -> Search:
        """Start the search, with the trials of an earlier process taken in; return it."""
        self.search = Search(plan)
        if self.is_live:
            self.state = "measuring"
        for trial in saved:
            self.search.record(trial.request, trial.completions)
            self.rounds.append(trial.round)
        self.search.settle(self.lost.keys())
        return self.search

    def turn(self) -> Iterator[TrialRequest]:
        """Yield the trials of a turn; each has to be recorded before the next one is asked for.

        It ends early when the configuration wants no more, and is then measured, or has failed.
        """
        assert self.search is not None  # noqa: S101 - begun
        before_s = self.measured_s
        while self.is_live:
            request = self.search.next()
            if request is None:
                self.finish()
                return
            yield request
            turn_s = self.measured_s - before_s
            if request.purpose != "saturation" and turn_s >= _SHORT * _usual_s(self.search.plan):
                return

    def finish_if_done(self) -> None:
        """Be measured if no more trials are wanted; takes as long as the next turn's first step."""
        if self.is_live and self.search is not None and self.search.next() is None:
            self.finish()

    def finish(self) -> None:
        """Be measured, unless it ended otherwise before."""
        if not self.is_live:
            return
        self.state = "measured"
        self.answers(thorough=True)
        self.rates()

    def record(self, number: int, request: TrialRequest, completions: Completions) -> Trial:
        """Take in a trial that was run in this round; the search must have begun."""
        assert self.search is not None  # noqa: S101 - it asked for the trial
        trial = self.search.record(request, completions)
        self.rounds.append(number)
        return trial

    def fail(self, reason: str) -> None:
        """Note why nothing more can be measured."""
        self.state, self.reason = "failed", reason

    def lose(self, key: AnswerKey, winner: str) -> None:
        """Give up an answer to another configuration that is better for certain."""
        self.lost[key] = winner
        if self.search is not None:
            self.search.settle(self.lost.keys())
        if self.lost.keys() >= set(self.keys):
            names = ", ".join(dict.fromkeys(self.lost.values()))
            self.state, self.reason = "dropped", f"loses for certain to {names}"

    def go_on(self, contested: Collection[AnswerKey], budget_s: float) -> None:
        """Measure in all so long, and the answers that are contested beyond their precision."""
        assert self.search is not None  # noqa: S101 - only who has begun can go on
        self.search.contest(contested)
        self.search.spend(budget_s)

    def is_hopeless(self, key: AnswerKey) -> bool:
        """Whether the search for an answer has ended without a rate."""
        closed = self.search is not None and key in self.search.finished
        return closed and not self.rates().get(key)

    def answers(self, *, thorough: bool = False) -> list[Answer]:
        """Return what is known of all answers; thorough estimates take seconds."""
        seen, was_thorough, known = self._answers
        if seen == len(self.rounds) and (was_thorough or not thorough):
            return known
        assert self.search is not None  # noqa: S101 - there are trials
        by_kind = self.search.answers(thorough=thorough)
        known = [answer for answers in by_kind.values() for answer in answers.values()]
        if self.configuration.settings.dispatch == "round-robin":
            note = Finding("one_line_model")
            known = [replace(one, findings=(note, *one.findings)) for one in known]
        self._answers = (len(self.rounds), thorough, known)
        return known

    def rates(self) -> Mapping[AnswerKey, LogRates]:
        """Return ln(capacity) by round for each answer; takes a tenth of a second for each."""
        seen, known = self._rates
        if seen != len(self.rounds) and self.search is not None:
            known = self.search.log_capacity_by_round(self.rounds)
            self._rates = (len(self.rounds), known)
        return known

    def standing(self) -> Standing:
        """Return how it stands, by the estimates and rates that were made last."""
        trials = self.search.trials if self.search else []
        return Standing(
            self.configuration,
            self.state,
            self.reason,
            self.measured_s,
            list(zip(trials, self.rounds, strict=True)),
            self.answers(),
            self._rates[1],
            self.accuracy,
            tuple(self.findings),
            self.served,
            lost=tuple(self.lost),
        )


def search_plan(
    settings: RunSettings, queue: Queue, first_guess_qps: float, pace: Pace = USUAL_PACE
) -> SearchPlan:
    """Return what a configuration's search is to find out, in trials that leave many rounds."""
    return SearchPlan(
        kinds=settings.kinds,
        max_latencies_s=settings.max_latency,
        percentile=settings.percentile,
        max_trial_s=settings.time,
        budget_s=settings.budget,
        precision=settings.precision,
        seed=settings.seed,
        queue=queue,
        first_guess_qps=first_guess_qps,
        usual_trial_s=settings.budget / pace.rounds,
        growth=pace.growth,
        most_invalid=pace.rounds,  # between turns the machine may become quiet
        short_turns=pace.short_turns,
    )


def _usual_s(plan: SearchPlan) -> float:
    return min(plan.usual_trial_s, plan.max_trial_s)
