"""One answer of a search: its progress, and what it wants next."""

import math
from collections.abc import Callable, Sequence

from mlbench.arrivals.kind import ArrivalKind
from mlbench.estimation.estimate import Estimate, Question
from mlbench.estimation.estimator import estimate
from mlbench.estimation.learning import NEAR
from mlbench.estimation.observation import Observation
from mlbench.estimation.rounds import ByRound
from mlbench.outcomes import LatencyLimit, Standing, Trial, TrialRequest, Verdict
from mlbench.search.history import History
from mlbench.search.plan import AnswerKey, SearchPlan
from mlbench.trial.schedule import query_count

TELLING_SHARE = 0.5
"""Of the estimate: a rate met below that says little about the answer."""

_BELOW = 1.0
"""Standard deviations of chance in a trial that it lies below the estimate: it meets the limit 84
times in 100 where the estimate is right."""
_PER_MISS, _FOR_ERROR, _LAST = 0.3, 0.3, 1.5
"""What lies further below: by 0.3 of that after each miss in a row, and by 0.3 of the estimate's
own standard deviation, so that a trial near an uncertain estimate tells where it belongs. A last
trial, which must meet the limit, lies 1.5 times as far below as one that is believed."""
_NEAREST, _MOST_ERROR, _FURTHEST, _FURTHEST_LAST = 0.01, 0.25, 0.7, 1.0
"""Of ln(rate): how near a trial may be where nothing is uncertain, since a queue at its saturated
rate forgets no disturbance; and how far an uncertain estimate alone leads."""
_CLOSE, _ALMOST = 1.5, 0.02
"""Margins of a believed trial below the estimate that are close enough, and twice the nearest."""
_STALE = 1.25  # times the trials of an estimate, from which it tells too little of rounds
_TURN_QUERIES = 30  # of a turn at least, so that it is worth a comparison with the queue model
_REPEATS = 2  # trials near the estimate; one alone cannot show that the device changes between them
_MAX_MISSES = 12  # in a row
_MAX_TRIES = 40  # ends a search whose trials are all cut short, and so take little of the budget
_MAX_UNMET_TRIES = 3  # trials for a limit that no rate seems to meet
_CONTESTED = 4  # times as many tries, and invalid ones in a row, where trials are short turns
_LATE_QUERIES = 1.5  # expected in a trial that tells the percentile; one is the least
_FIRST_SHARE, _GUESS_SHARE, _IDLE_SHARE = 0.5, 0.7, 0.05
"""Of the rate guessed to saturate the device: to try without an estimate, where the first estimate
looks, and to see the device almost idle."""
_BACKLOG_LIMITS, _BACKLOG_SHARE = 5, 0.1
"""Limits, and share of the longest trial, that the oldest query may wait before a trial is cut
short: a queue so long will not meet the limit any more."""


class Goal:
    """The capacity for one arrival kind and one limit, and the trials run to find it.

    `estimate` is None until `refresh` finds a trial to learn from. A `closed` goal wants no trial.
    One that is `contested` is not closed by its precision.
    """

    def __init__(
        self, plan: SearchPlan, kind: ArrivalKind, limit: LatencyLimit, history: History
    ) -> None:
        self.plan, self.kind, self.limit, self.history = plan, kind, limit, history
        self.estimate: Estimate | None = None
        self.closed = False
        self.contested = False
        self.misses = 0  # in a row
        self._tries = 0
        self._invalid = 0  # in a row
        self._estimated_from: int | None = None  # the number of trials seen then
        self._thorough = False
        self._by_round = ByRound(plan.queue, kind, limit)

    @property
    def key(self) -> AnswerKey:
        """Which answer this is."""
        return self.kind.name, self.max_latency_s

    @property
    def max_latency_s(self) -> float:
        """The limit in seconds."""
        return self.limit.max_latency_s

    @property
    def fewest_queries(self) -> int:
        """The fewest queries of a trial that tell the percentile, with some to spare."""
        return math.ceil(100 * _LATE_QUERIES / (100 - self.limit.percentile))

    def owns(self, trial: Trial) -> bool:
        """Return whether the trial was run for this answer."""
        request = trial.request
        return (request.kind, request.max_latency_s) == (self.kind, self.max_latency_s)

    def is_near(self, seen: Observation) -> bool:
        """Return whether a trial, of any kind, loaded the device about as the capacity does."""
        known = self.estimate
        return bool(known and known.qps and abs(math.log(seen.qps / known.qps)) < NEAR)

    def count(self, trial: Trial) -> None:
        """Take note of the verdict of a trial, if it was run for this answer."""
        if not self.owns(trial):
            return
        self._tries += 1
        verdict = trial.judgement.verdict
        if verdict == "invalid":
            self._invalid += 1
            return
        self._invalid = 0
        self.misses = 0 if verdict == "pass" else self.misses + 1

    def rates(self, *verdicts: Verdict) -> list[Trial]:
        """Return the trials with these arrivals and one of these verdicts, the slowest first."""
        some = [
            trial
            for trial in self.history.tried
            if trial.request.kind == self.kind
            and trial.judgements[self.max_latency_s].verdict in verdicts
        ]
        return sorted(some, key=lambda trial: trial.request.target_qps)

    def fastest(self, up_to_qps: float) -> Trial | None:
        """Return the trial that met the limit at the highest rate up to a given one."""
        passed = self.rates("pass")
        return next((t for t in reversed(passed) if t.request.target_qps <= up_to_qps), None)

    def supported(self, known: Estimate | None) -> Trial | None:
        """Return the trial that met the limit at the highest rate which an estimate supports."""
        passed = [
            trial
            for trial in self.rates("pass")
            if known is None
            or trial.request.target_qps <= known.supported_qps(trial.request.queries)
        ]
        return passed[-1] if passed else None

    def has_rate(self) -> bool:
        """Return whether a trial met the limit at a rate that says something about the answer."""
        best, known = self.supported(self.estimate), self.estimate
        if best is None or known is None or known.qps is None:
            return False
        return best.request.target_qps > TELLING_SHARE * known.qps

    def standing(self) -> Standing:
        """Return what the latest estimate says, without making another."""
        best, known = self.supported(self.estimate), self.estimate
        return Standing(
            self.kind.name,
            self.max_latency_s,
            best.request.target_qps if best else None,
            (known.qps or 0.0) if known else None,
            (known.low, known.high) if known else None,
            self.closed,
        )

    def is_close(self) -> bool:
        """Return whether a trial met the limit close below the estimate."""
        best, known = self.supported(self.estimate), self.estimate
        if best is None or known is None or known.qps is None:
            return False
        below = math.log(known.qps / best.request.target_qps)
        return below <= _CLOSE * known.margin(best.request.queries) + _ALMOST

    def urgency(self) -> tuple[int, float]:
        """Return what orders goals by need, the neediest first.

        Those without a rate come first, then those with a rate too low, by the trials they had;
        then the others, the least certain first.
        """
        if self.is_close() and self.estimate:
            return 2, -self.estimate.half_width
        return int(self.has_rate()), self._tries

    def update(self, *, thorough: bool = False) -> None:
        """Make the estimate again if there were trials since, and close or reopen the goal."""
        self.refresh(thorough=thorough)
        self.closed = self._is_reached()

    def refresh(self, *, thorough: bool = False, always: bool = False) -> None:
        """Make the estimate again if there were trials since, or it was not thorough enough.

        `always`: also where there were fewer trials since than the plan's growth.
        """
        usable, seen = self.history.usable, len(self.history.observations)
        if not usable or self._is_current(seen, 1.0 if always else self.plan.growth, thorough):
            return
        self._estimated_from, self._thorough = seen, thorough
        known_qps = self.estimate.qps if self.estimate else None
        guess_qps = _GUESS_SHARE * self.plan.first_guess_qps
        question, learnt = self.question(thorough=thorough), self.history.learnt
        self.estimate = estimate(usable, learnt, question, known_qps, guess_qps)

    def _is_current(self, seen: int, growth: float, thorough: bool) -> bool:
        made_from = self._estimated_from
        if made_from is None or (thorough and not self._thorough):
            return False
        return seen == made_from or (not thorough and seen < growth * made_from)

    def log_capacity_by_round(self, rounds: Sequence[int]) -> dict[int, float]:
        """Return what each round alone says of ln(capacity); `rounds` has that of every trial."""
        made_from = self._estimated_from or 0
        if len(self.history.observations) > _STALE * made_from:
            self.refresh(always=True)
        if self.estimate is None:
            return {}
        usable = [rounds[place] for place in self.history.usable_places]
        return self._by_round(usable, self.history.learnt, self.estimate)

    def question(self, *, thorough: bool = True) -> Question:
        """Return what is to be estimated."""
        seed = self.plan.seed % 2**31
        return Question(self.plan.queue, self.kind, self.limit, seed, thorough)

    def request(self, share_s: float, left_s: float, fresh_seed: Callable[[], int]) -> TrialRequest:
        """Return the trial that this goal wants next.

        `share_s`: the measuring time for this goal, in seconds; `left_s`: that for all goals, which
        the trial may use when the percentile takes it. `fresh_seed` returns an unused seed.
        """
        plan = self.plan
        trial_s = min(plan.max_trial_s, plan.usual_trial_s, share_s)
        last = share_s - trial_s < plan.least_trial_s and not self.has_rate()
        is_turn = plan.short_turns and bool(self.rates("pass"))
        qps = self._rate(trial_s, last=last, is_turn=is_turn)
        queries = query_count(qps, trial_s)
        fewest = min(_TURN_QUERIES, self.fewest_queries) if is_turn else self.fewest_queries
        if fewest / qps <= min(plan.max_trial_s, left_s):
            queries = max(queries, fewest)
        backlog_s = max(_BACKLOG_LIMITS * self.max_latency_s, _BACKLOG_SHARE * plan.max_trial_s)
        return TrialRequest(
            kind=self.kind,
            target_qps=qps,
            queries=queries,
            seed=fresh_seed(),
            max_latency_s=self.max_latency_s,
            max_backlog_s=backlog_s,
            purpose="turn" if is_turn else "search",
        )

    def _is_reached(self) -> bool:
        known = self.estimate
        patience = _CONTESTED if self.contested else 1
        most_invalid = patience * self.plan.most_invalid
        if self._tries >= patience * _MAX_TRIES or self._invalid >= most_invalid:
            return True
        if known is None:
            return False
        if known.qps is None:
            hopeless = not known.high and bool(self.rates("fail"))
            return hopeless or self._tries >= _MAX_UNMET_TRIES
        too_slow = known.high < self._least_qps and bool(self.rates("fail", "undecided"))
        if self.misses >= _MAX_MISSES or too_slow:
            return True
        if self.contested:
            return False
        near = [s for s in self.history.usable if not s.saturated and self.is_near(s)]
        repeated = len(near) >= _REPEATS
        return self.is_close() and repeated and known.half_width <= self.plan.precision

    @property
    def _least_qps(self) -> float:
        """The lowest rate at which the longest trial tells the percentile."""
        return self.fewest_queries / self.plan.max_trial_s

    def needed_s(self) -> float | None:
        """Return how long a trial must be to tell the percentile; None while that is not known."""
        known = self.estimate
        return self.fewest_queries / known.qps if known and known.qps else None

    def _rate(self, trial_s: float, *, last: bool, is_turn: bool) -> float:
        """Return where to try next: just below the estimate, or further for a last trial."""
        known, guess_qps = self.estimate, self.plan.first_guess_qps
        if known is None:
            return _FIRST_SHARE * guess_qps
        if known.qps is None:  # try the middle of what is possible, or an almost idle device
            return max(0.5 * known.high, _IDLE_SHARE * guess_qps, self._least_qps)
        if is_turn:  # it need not meet the limit, and says the most where the answer is
            return known.qps * math.exp(-max(_FOR_ERROR * known.error, _NEAREST))
        below = self._distance(known, round(known.qps * trial_s), last=last)
        return max(known.qps * math.exp(-below), self._least_qps)

    def _distance(self, known: Estimate, queries: int, *, last: bool) -> float:
        """Return by how much ln(rate) of the next trial lies below that of the estimate."""
        error = min(known.error, _MOST_ERROR)
        step = _BELOW + _PER_MISS * self.misses
        if last:
            return min(step * max(_LAST * known.margin(queries), _NEAREST), _FURTHEST_LAST)
        return min(step * max(known.chance(queries) + _FOR_ERROR * error, _NEAREST), _FURTHEST)
