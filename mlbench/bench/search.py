"""The search on a pool, trial by trial; and on the workers left, where some are lost for good."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from mlbench.bench.events import (
    AnswersNarrowed,
    Listener,
    Noted,
    StageBegan,
    TrialFinished,
    TrialStarted,
)
from mlbench.bench.failover import play
from mlbench.bench.limits import check_queries
from mlbench.bench.pool import Pool, shape_of
from mlbench.bench.settings import RunSettings
from mlbench.contracts.findings import Finding
from mlbench.host.signals import held
from mlbench.outcomes import Answer, Trial, TrialRequest
from mlbench.records import Completions
from mlbench.search.plan import AnswerKey, SearchPlan
from mlbench.search.search import Search
from mlbench.trial.schedule import make_schedule


class RateSearch:
    """Finds the answers of a run; tells of each trial.

    `on` searches on a pool. Called again with another one, it keeps the answers that were finished,
    and starts anew with the others.
    """

    def __init__(self, settings: RunSettings, tell: Listener) -> None:
        self._settings = settings
        self._tell = tell
        self._found: dict[AnswerKey, Answer] = {}
        self._finished: set[AnswerKey] = set()
        self._measured_on: dict[AnswerKey, int] = {}  # how many workers
        self._workers: list[int] = []  # of each pool
        self._best: dict[AnswerKey, float] = {}  # the highest rate that met the limit on this pool

    def on(self, pool: Pool) -> None:
        """Search on this pool for all answers that are not finished.

        What was found stands in `answers` even when this is interrupted or a worker keeps failing.
        """
        self._workers.append(pool.size)
        self._best.clear()
        plan = plan_search(pool, self._settings, self._finished)
        search = Search(plan)
        self._tell(StageBegan("search"))
        try:
            while (request := search.next()) is not None:
                standings = search.standings()
                self._tell(AnswersNarrowed(standings, search.measured_s, plan.budget_s))
                self._play(pool, search, request)
            self._tell(StageBegan("answers"))
            self._keep(search, pool.size, thorough=True)
        except BaseException:
            with held():
                self._keep(search, pool.size, thorough=False)
            raise

    def _keep(self, search: Search, workers: int, *, thorough: bool) -> None:
        """Keep what a search knows; it takes seconds unless the latest estimates will do."""
        for kind, answers in search.answers(thorough=thorough).items():
            for max_latency_s, answer in answers.items():
                self._found[kind, max_latency_s] = answer
                self._measured_on[kind, max_latency_s] = workers
        self._finished |= search.finished

    def answers(self) -> list[Answer]:
        """Return what is known of all answers, in the order asked for."""
        return [
            replace(answer, findings=(*self._notes(key), *answer.findings))
            for key, answer in self._found.items()
        ]

    def _notes(self, key: AnswerKey) -> Iterator[Finding]:
        workers = self._measured_on[key]
        if len(self._workers) > 1:
            yield Finding("workers_left", {"workers": workers, "of": self._workers[0]})
        if self._settings.dispatch == "round-robin" and workers > 1:
            yield Finding("one_line_model")

    def _play(self, pool: Pool, search: Search, request: TrialRequest) -> None:
        """Play one trial; where a fault spoils it the search knows nothing of it."""

        def spoiled(completions: Completions) -> None:
            self._tell(TrialFinished(search.judged(request, completions), taken=False))
            self._tell(TrialStarted(request))

        kind, qps = request.kind, request.target_qps
        check_queries(request.queries, "--time")
        schedule = make_schedule(kind, qps, request.queries, request.seed)
        self._tell(TrialStarted(request))
        completions = play(pool, schedule, request.max_backlog_s, spoiled=spoiled)
        with held():
            trial = search.record(request, completions)
            self._tell(TrialFinished(trial, taken=self._is_best(trial)))
        if request.purpose == "saturation" and (shortage := search.shortage()):
            self._tell(Noted(shortage, warning=True))

    def _is_best(self, trial: Trial) -> bool:
        key = (trial.request.kind.name, trial.request.max_latency_s)
        if trial.request.purpose != "search" or trial.judgement.verdict != "pass":
            return False
        if trial.request.target_qps <= self._best.get(key, 0.0):
            return False
        self._best[key] = trial.request.target_qps
        return True


def plan_search(
    pool: Pool, settings: RunSettings, finished: Collection[AnswerKey] = ()
) -> SearchPlan:
    """Return what the search is to find out, with the pool's shape.

    Answers that are `finished` need no other; each of the others has its share of the budget.
    """
    asked = len(settings.kinds) * len(settings.max_latency)
    return SearchPlan(
        kinds=settings.kinds,
        max_latencies_s=settings.max_latency,
        percentile=settings.percentile,
        max_trial_s=settings.time,
        budget_s=settings.budget * (asked - len(finished)) / asked,
        precision=settings.precision,
        seed=settings.seed,
        queue=shape_of(pool, settings),
        first_guess_qps=pool.saturated_qps,
        finished=frozenset(finished),
    )
