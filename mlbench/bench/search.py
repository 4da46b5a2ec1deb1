"""The search on a pool, trial by trial."""

from dataclasses import replace

from mlbench.bench.events import Listener, Noted, SearchEnded, TrialFinished, TrialStarted
from mlbench.bench.limits import check_queries
from mlbench.bench.pool import shape_of
from mlbench.bench.settings import RunSettings
from mlbench.contracts.errors import RunError
from mlbench.contracts.findings import Finding
from mlbench.host.signals import held
from mlbench.outcomes import Answer, Trial
from mlbench.pool.coordinator import WorkerPool
from mlbench.search.plan import SearchPlan
from mlbench.search.search import Search
from mlbench.trial.schedule import make_schedule

_ONE_LINE = Finding("one_line_model")


def search_rates(pool: WorkerPool, settings: RunSettings, tell: Listener) -> list[Answer]:
    """Run the whole search; tells of each trial, and of the answers at the end.

    The answers are told even when the search is interrupted or a worker dies, then with the latest
    estimates. Raises RunError when a worker died.
    """
    search = Search(plan_search(pool, settings))
    best: dict[tuple[str, float], float] = {}
    try:
        while (request := search.next()) is not None:
            check_queries(request.queries, "--time")
            schedule = make_schedule(
                request.kind, request.target_qps, request.queries, request.seed
            )
            tell(TrialStarted(request))
            completions = pool.run(schedule, request.max_backlog_s)
            with held():
                trial = search.record(request, completions)
                tell(TrialFinished(trial, taken=_is_best(trial, best)))
            if request.purpose == "saturation" and (shortage := search.shortage()):
                tell(Noted(shortage, warning=True))
            if pool.dead:
                raise RunError("; ".join(pool.dead.values()))
        answers = _answers(search, settings, pool, thorough=True)
    except BaseException:
        with held():
            tell(SearchEnded(_answers(search, settings, pool, thorough=False)))
        raise
    with held():
        tell(SearchEnded(answers))
    return answers


def _answers(
    search: Search, settings: RunSettings, pool: WorkerPool, *, thorough: bool
) -> list[Answer]:
    known = search.answers(thorough=thorough)
    answers = [answer for by_limit in known.values() for answer in by_limit.values()]
    if settings.dispatch == "round-robin" and pool.size > 1:
        answers = [replace(answer, findings=(_ONE_LINE, *answer.findings)) for answer in answers]
    return answers


def plan_search(pool: WorkerPool, settings: RunSettings) -> SearchPlan:
    """Return what the search is to find out, with the pool's shape."""
    return SearchPlan(
        kinds=settings.kinds,
        max_latencies_s=settings.max_latency,
        percentile=settings.percentile,
        max_trial_s=settings.time,
        budget_s=settings.budget,
        precision=settings.precision,
        seed=settings.seed,
        queue=shape_of(pool, settings),
        first_guess_qps=pool.saturated_qps,
    )


def _is_best(trial: Trial, best: dict[tuple[str, float], float]) -> bool:
    key = (trial.request.kind.name, trial.request.max_latency_s)
    if trial.request.purpose != "search" or trial.judgement.verdict != "pass":
        return False
    if trial.request.target_qps <= best.get(key, 0.0):
        return False
    best[key] = trial.request.target_qps
    return True
