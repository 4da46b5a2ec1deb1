"""The search for the highest rates that meet latency limits. Knows no clock and no pool.

    plan -> Search.next() -> TrialRequest -> (someone runs it) -> Search.record(...) -> Trial
                  ^                                                      |
                  +-------------- estimates of all answers <-------------+

First a short saturation trial, for the service times. Then, answer by answer, the queue model
predicts the highest rate, a real trial is run just below it, and the estimate is made again from
what it showed, until a trial met the limit there and the interval is narrow, or the budget ends.
"""

from collections.abc import Mapping

import numpy as np

from mlbench.arrivals.linear import Linear
from mlbench.estimation.diagnosis import diagnose
from mlbench.estimation.estimate import Question
from mlbench.estimation.estimator import estimate
from mlbench.estimation.learning import learn
from mlbench.estimation.observation import Observation, most_typical, observe
from mlbench.outcomes import Answer, LatencyLimit, Trial, TrialRequest
from mlbench.records import Completions
from mlbench.search.answers import Allowance, make_answer
from mlbench.search.goal import Goal
from mlbench.search.order import in_order, rising
from mlbench.search.plan import SearchPlan
from mlbench.trial.host import gpu_states
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule, query_count
from mlbench.trial.summary import send_lag_spread_s, summarise
from mlbench.trial.verdict import judge

_BELOW = (0.01, 0.025, 0.04, 0.07, 0.12, 0.2)  # how far below the estimate, try after try
_LEAST = 0.2  # of the longest trial; less measured time is not worth a trial
_UNSURE = 0.1  # the furthest below that an uncertain estimate alone puts a trial
_SAFE = 2  # steps further below for a last trial, which must meet the limit
_REPEATS = 2  # trials near the estimate, at least
_MAX_TRIES = 40
_DOUBTFUL = 3  # trials of a limit that even an idle device may not meet
_MAX_INVALID = 3  # in a row
_CANDIDATES = 16
_TOO_LONG = 20_000  # queries; so long a trial is typical anyway


class Search:
    """Asks for one trial after the other until every answer is known or the budget is spent."""

    def __init__(self, plan: SearchPlan) -> None:
        self.plan = plan
        self.measured_s = 0.0
        self._observations: list[Observation] = []
        self._seeds = 0
        self._goals = [
            Goal(kind, LatencyLimit(plan.percentile, max_latency_s))
            for kind in plan.kinds
            for max_latency_s in plan.max_latencies_s
        ]

    @property
    def trials(self) -> list[Trial]:
        """All finished trials, in order."""
        return [seen.trial for seen in self._observations]

    @property
    def _tried(self) -> list[Trial]:
        return [seen.trial for seen in self._observations if not seen.saturated]

    def next(self) -> TrialRequest | None:
        """Return the trial wanted next; None when the search is over."""
        if not self._observations:
            return self._saturation_trial()
        while self._left_s > self._least_s:
            goals = [goal for goal in self._goals if not goal.closed] or self._reopened()
            if not goals:
                return None
            goal = min(goals, key=self._urgency)
            self._refresh(goal)
            if not self._is_reached(goal):
                return self._request(goal)
            goal.closed = True
        return None

    def _reopened(self) -> list[Goal]:
        """Look at all answers again, thoroughly: is one not known well enough after all?"""
        for goal in self._goals:
            self._refresh(goal, thorough=True)
            goal.closed = self._is_reached(goal)
        return [goal for goal in self._goals if not goal.closed]

    def record(self, request: TrialRequest, completions: Completions) -> Trial:
        """Take in a finished trial; returns it with its verdict for every target."""
        lag_ns = send_lag_ns(completions, self.plan.queue)
        limits = (LatencyLimit(self.plan.percentile, at) for at in self.plan.max_latencies_s)
        trial = Trial(
            request=request,
            summary=summarise(completions, self.plan.percentile),
            judgements={
                limit.max_latency_s: judge(completions, limit, self.plan.queue, lag_ns)
                for limit in limits
            },
            offered_qps=completions.schedule.offered_qps,
            send_lag_s=send_lag_spread_s(completions, lag_ns),
            host=completions.host,
            findings=gpu_states(completions.host),
        )
        self._observations.append(observe(trial, completions, lag_ns))
        self.measured_s += completions.duration_s
        if request.purpose == "search":
            for goal in self._goals:
                if goal.owns(trial):
                    goal.count(trial)
        return trial

    def answers(self) -> Mapping[str, Mapping[float, Answer]]:
        """Return what is known by now, for each arrival kind's name and target."""
        found: dict[str, dict[float, Answer]] = {}
        findings = diagnose(self._usable(), self.plan.queue)
        allowance = Allowance(self.plan.max_trial_s, spent=self._left_s <= self._least_s)
        for kind in self.plan.kinds:
            goals = sorted(
                (goal for goal in self._goals if goal.kind == kind),
                key=lambda goal: goal.max_latency_s,
            )
            for goal in goals:
                self._refresh(goal, thorough=True)
            known = in_order([goal.estimate for goal in goals])
            answers = [
                make_answer(g, k, self._observations, findings, allowance)
                for g, k in zip(goals, known, strict=True)
            ]
            by_target = {answer.max_latency_s: answer for answer in rising(answers)}
            found[kind.name] = {
                max_latency_s: by_target[max_latency_s]
                for max_latency_s in self.plan.max_latencies_s
            }
        return found

    def _saturation_trial(self) -> TrialRequest:
        """Offer several times the guess, so that queries always wait and batches are full."""
        guess = self.plan.first_guess_qps
        seconds = min(1.0, self.plan.max_trial_s, 0.1 * self.plan.budget_s)
        fewest = int(np.clip(0.1 * self.plan.budget_s * guess, 20, 120))
        queries = int(np.clip(guess * seconds, fewest, 20_000))
        return TrialRequest(
            kind=Linear(),
            target_qps=4 * guess,
            queries=queries,
            seed=self._fresh_seed(),
            max_latency_s=max(self.plan.max_latencies_s),
            max_backlog_s=2 * seconds,
            purpose="saturation",
        )

    @property
    def _left_s(self) -> float:
        return self.plan.budget_s - self.measured_s

    @property
    def _least_s(self) -> float:
        return _LEAST * min(self.plan.max_trial_s, self.plan.budget_s)

    def _least_qps(self, goal: Goal) -> float:
        """The slowest rate at which the longest trial tells the percentile."""
        slowest_qps = goal.fewest_queries / self.plan.max_trial_s
        return min(slowest_qps, 0.5 * self.plan.first_guess_qps)

    def _request(self, goal: Goal) -> TrialRequest:
        """Ask for a long trial, but leave a share of the budget to each answer without a rate."""
        waiting = sum(not other.closed and not other.has_rate(self._tried) for other in self._goals)
        share_s = self._left_s / (waiting + 1) if waiting > 1 else self._left_s
        trial_s = min(self.plan.max_trial_s, share_s)
        last = share_s - trial_s < self._least_s and not goal.has_rate(self._tried)
        qps = self._rate(goal, trial_s, last=last)
        queries = query_count(qps, trial_s)
        if goal.fewest_queries / qps <= min(self.plan.max_trial_s, self._left_s):
            queries = max(queries, goal.fewest_queries)
        backlog_s = max(5 * goal.max_latency_s, 0.1 * self.plan.max_trial_s)
        return TrialRequest(
            kind=goal.kind,
            target_qps=qps,
            queries=queries,
            seed=self._typical_seed(goal, queries),
            max_latency_s=goal.max_latency_s,
            max_backlog_s=backlog_s,
        )

    def _rate(self, goal: Goal, trial_s: float, *, last: bool) -> float:
        """Return where to try next: just below the estimate, or safely so if it must meet."""
        known, guess_qps = goal.estimate, self.plan.first_guess_qps
        least_qps = self._least_qps(goal)
        if known is None:
            return 0.5 * guess_qps
        if not known.qps:
            # It seems unmet: see an almost idle device, or what is possible.
            return max(0.5 * known.high, 0.05 * guess_qps, least_qps)
        below = 0.0
        if known.modelled:
            # The less is known, the further below a trial must lie to meet the limit for certain.
            unsure = min((2.0 if last else 0.75) * known.half_width, _UNSURE)
            step = goal.misses + (_SAFE if last else 0)
            below = max(_BELOW[min(step, len(_BELOW) - 1)], unsure)
            # The device will be slower by the end of the trial.
            below += min(max(known.drift.per_s, 0.0) * trial_s, _UNSURE)
        return max(known.qps * (1 - below), least_qps)

    def _fresh_seed(self) -> int:
        self._seeds += 1
        sequence = np.random.SeedSequence(self.plan.seed, spawn_key=(self._seeds,))
        return int(sequence.generate_state(1, np.uint32)[0])

    def _typical_seed(self, goal: Goal, queries: int) -> int:
        fresh = [self._fresh_seed() for _ in range(_CANDIDATES)]
        known = goal.estimate
        if not goal.kind.random or known is None or not known.qps or queries > _TOO_LONG:
            return fresh[0]
        service = learn([seen.log for seen in self._usable()], self.plan.queue, known.qps)
        dues = [make_schedule(goal.kind, known.qps, queries, seed).due_ns for seed in fresh]
        return fresh[most_typical(dues, service, self.plan.queue, goal.limit, self.plan.seed)]

    def _usable(self) -> list[Observation]:
        """Trials to learn from: the saturation trial, and all that were valid."""
        some = [seen for seen in self._observations if len(seen.log.seconds)]
        return some[:1] + [seen for seen in some[1:] if seen.valid]

    def _refresh(self, goal: Goal, *, thorough: bool = False) -> None:
        """Bring a goal's estimate up to the trials seen so far."""
        usable, seen = self._usable(), len(self._observations)
        if not usable or (goal.seen == seen and (goal.thorough or not thorough)):
            return
        goal.seen, goal.thorough = seen, thorough
        known_qps = goal.estimate.qps if goal.estimate else None
        seed = self.plan.seed % 2**31
        question = Question(self.plan.queue, goal.kind, goal.limit, seed, thorough)
        goal.estimate = estimate(usable, question, known_qps, 0.7 * self.plan.first_guess_qps)

    def _is_reached(self, goal: Goal) -> bool:
        known = goal.estimate
        if goal.tries >= _MAX_TRIES or goal.invalid >= _MAX_INVALID:
            return True
        if known is None:
            return False
        if not known.qps:
            return goal.tries >= _DOUBTFUL or (goal.misses > 0 and not known.high)
        if goal.misses >= 2 * len(_BELOW) or (goal.misses and known.high < self._least_qps(goal)):
            return True
        # One trial alone cannot show that the device changes from trial to trial.
        tried = (seen for seen in self._usable() if not seen.saturated)
        repeated = sum(map(goal.is_near, tried)) >= _REPEATS
        return goal.is_close(self._tried) and repeated and known.half_width <= self.plan.precision

    def _urgency(self, goal: Goal) -> tuple[int, float]:
        """Goals without a rate come first, then those met too low, then the least certain."""
        if goal.is_close(self._tried) and goal.estimate:
            return 2, -goal.estimate.half_width
        return int(goal.has_rate(self._tried)), goal.tries
