"""The search for the highest rates that meet latency limits. It knows no clock and no pool.

    plan -> Search.next() -> TrialRequest -> (someone runs it) -> Search.record(...) -> Trial
                  ^                                                      |
                  +-------------- estimates of all answers <-------------+

The first trial is a short saturation trial, for service times. Then each answer is a goal
(`mlbench.search.goal`), which says whether it is reached and which trial it wants. The search runs
the trial of the neediest goal, and keeps the budget.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlbench.arrivals.linear import Linear
from mlbench.contracts.findings import Finding
from mlbench.estimation.curve import corrected, latency_curve
from mlbench.estimation.diagnosis import diagnose
from mlbench.estimation.estimate import Estimate
from mlbench.estimation.observation import Observation, observe
from mlbench.outcomes import Answer, CurvePoint, Standing, Trial, TrialRequest
from mlbench.records import Completions
from mlbench.search.answers import make_answer
from mlbench.search.goal import Goal
from mlbench.search.history import History
from mlbench.search.order import in_order, rising
from mlbench.search.plan import AnswerKey, SearchPlan
from mlbench.trial.host import host_notes
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.summary import (
    queue_spread_s,
    send_lag_spread_s,
    service_spread_s,
    summarise,
)
from mlbench.trial.verdict import judge

_OVERLOAD = 4  # offered over the guessed rate, so that batches are full although it is a guess
_SATURATION_S, _SATURATION_SHARE = 1.0, 0.1  # seconds, and share of the budget, at most
_SATURATION_FEWEST, _SATURATION_ENOUGH, _SATURATION_MOST = 20, 120, 20_000
"""Queries of the saturation trial: at least 20, and 120 where the budget allows. At a coefficient
of variation of 0.3 the mean service time is known to 3 % from 120, and to 0.2 % from 20,000."""
_TRIALS_EACH = 3  # of the needed length, for an answer
_SATURATION_BACKLOG = 2  # its durations, after which it is cut short


class Search:
    """Asks for one trial after the other until every goal is reached or the budget is spent."""

    def __init__(self, plan: SearchPlan) -> None:
        self.plan = plan
        self._history = History(plan.queue)
        self._settled: set[AnswerKey] = set()
        self._goals = [
            Goal(plan, kind, limit, self._history)
            for kind in plan.kinds
            for limit in plan.limits
            if (kind.name, limit.max_latency_s) not in plan.finished
        ]

    @property
    def trials(self) -> list[Trial]:
        """All finished trials, in order."""
        return self._history.trials

    @property
    def observations(self) -> Sequence[Observation]:
        """What estimates need of all finished trials, in order."""
        return self._history.observations

    @property
    def measured_s(self) -> float:
        """How long all trials took together, in seconds."""
        return self._history.measured_s

    def next(self) -> TrialRequest | None:
        """Return the trial wanted next; None when the search is over."""
        if not self._history.observations:
            return self._saturation_trial()
        while not self._is_spent:
            goals = self._open_goals() or self._reopened_goals()
            if not goals:
                return None
            goal = min(goals, key=Goal.urgency)
            goal.update()
            if not goal.closed:
                return goal.request(self._share_s(), self._left_s, self._fresh_seed)
        return None

    def settle(self, keys: Collection[AnswerKey]) -> None:
        """Ask for trials for all answers but these; what is known of them stays."""
        self._settled = set(keys)

    def contest(self, keys: Collection[AnswerKey]) -> None:
        """Ask for trials for these answers although they have their precision."""
        for goal in self._goals:
            goal.contested = goal.key in keys
            goal.closed = goal.closed and not goal.contested

    def spend(self, budget_s: float) -> None:
        """Let all trials together take so many seconds, those that were run among them."""
        self.plan = replace(self.plan, budget_s=budget_s)
        for goal in self._goals:
            goal.plan = self.plan

    def record(self, request: TrialRequest, completions: Completions) -> Trial:
        """Take in a finished trial; return it with its verdict for every limit."""
        lag_ns = send_lag_ns(completions, self.plan.queue)
        trial = self._judged(request, completions, lag_ns)
        self._history.observations.append(observe(trial, completions, lag_ns))
        if request.purpose == "search":
            for goal in self._goals:
                goal.count(trial)
        return trial

    def judged(self, request: TrialRequest, completions: Completions) -> Trial:
        """Return a finished trial with its verdict for every limit, and learn nothing from it."""
        return self._judged(request, completions, send_lag_ns(completions, self.plan.queue))

    def _judged(
        self, request: TrialRequest, completions: Completions, lag_ns: NDArray[np.int64]
    ) -> Trial:
        return Trial(
            request=request,
            summary=summarise(completions, self.plan.percentile),
            judgements={
                limit.max_latency_s: judge(
                    completions,
                    limit,
                    self.plan.queue,
                    lag_ns,
                    may_be_short=request.purpose == "turn",
                )
                for limit in self.plan.limits
            },
            offered_qps=completions.schedule.offered_qps,
            send_lag_s=send_lag_spread_s(completions, lag_ns),
            host=completions.host,
            findings=host_notes(completions.host),
            queue_s=queue_spread_s(completions),
            service_s=service_spread_s(completions),
        )

    def shortage(self) -> Finding | None:
        """Return what the longest trial and the budget must be to answer all, if they are too low.

        It is known from the saturation trial on: how long a trial takes to tell the percentile.
        """
        for goal in self._goals:
            goal.refresh()
        needed_s = [needed for goal in self._goals if (needed := goal.needed_s())]
        longest_s = max(needed_s, default=0.0)
        if longest_s <= self.plan.max_trial_s:
            return None
        too_long = sum(needed > self.plan.max_trial_s for needed in needed_s)
        figures = {
            "unanswered": too_long,
            "answers": len(self._goals),
            "needed_time_s": math.ceil(longest_s),
            "needed_budget_s": math.ceil(_TRIALS_EACH * sum(needed_s)),
        }
        return Finding("trials_too_short_for_some", figures)

    def answers(self, *, thorough: bool = True) -> Mapping[str, Mapping[float, Answer]]:
        """Return what is known by now, for each arrival kind's name and limit in seconds.

        Thorough estimates take seconds; otherwise the latest ones have to do.
        """
        findings = diagnose(self._history.learnt) if self._history.usable else []
        found: dict[str, dict[float, Answer]] = {}
        for kind in self.plan.kinds:
            own = [goal for goal in self._goals if goal.kind == kind]
            goals = sorted(own, key=lambda goal: goal.max_latency_s)
            for goal in goals if thorough else ():
                goal.refresh(thorough=True)
            known = in_order([goal.estimate for goal in goals])
            curves = self._curves(goals, known) if thorough else [()] * len(goals)
            answers = [
                make_answer(goal, estimate, findings, curve=curve, budget_spent=self._is_spent)
                for goal, estimate, curve in zip(goals, known, curves, strict=True)
            ]
            by_limit = {answer.max_latency_s: answer for answer in rising(answers)}
            asked = [at for at in self.plan.max_latencies_s if at in by_limit]
            found[kind.name] = {at: by_limit[at] for at in asked}
        return found

    def log_capacity_by_round(self, rounds: Sequence[int]) -> dict[AnswerKey, dict[int, float]]:
        """Return what each round alone says of ln(capacity), for each answer.

        `rounds`: the round of each of `trials`. An answer that no rate meets has no rounds.
        """
        return {
            (goal.kind.name, goal.max_latency_s): goal.log_capacity_by_round(rounds)
            for goal in self._goals
        }

    def _curves(
        self, goals: Sequence[Goal], known: Sequence[Estimate | None]
    ) -> list[tuple[CurvePoint, ...]]:
        """Return the model's curve for goals with the same arrivals, as estimates correct it."""
        highest_qps = max((one.qps for one in known if one and one.qps), default=None)
        if highest_qps is None:
            return [()] * len(goals)
        curve = latency_curve(self._history.learnt, goals[0].question(), highest_qps)
        return [
            corrected(curve, one, goal.max_latency_s) if one else ()
            for goal, one in zip(goals, known, strict=True)
        ]

    def standings(self) -> list[Standing]:
        """Return what the latest estimates say of each answer; makes none."""
        return [goal.standing() for goal in self._goals]

    @property
    def finished(self) -> set[AnswerKey]:
        """The answers that want no further trial."""
        return {goal.key for goal in self._goals if goal.closed}

    def _open_goals(self) -> list[Goal]:
        return [goal for goal in self._goals if not goal.closed and goal.key not in self._settled]

    def _reopened_goals(self) -> list[Goal]:
        """Look at all goals again with thorough estimates; return those not reached after all."""
        for goal in self._goals:
            if goal.key not in self._settled:
                goal.update(thorough=True)
        return self._open_goals()

    @property
    def _left_s(self) -> float:
        return self.plan.budget_s - self.measured_s

    @property
    def _is_spent(self) -> bool:
        return self._left_s <= self.plan.least_trial_s

    def _share_s(self) -> float:
        """Return the time for a goal's next trials: each goal without a rate keeps a share."""
        waiting = sum(not goal.has_rate() for goal in self._open_goals())
        return self._left_s / (waiting + 1) if waiting > 1 else self._left_s

    def _fresh_seed(self) -> int:
        number = len(self._history.observations) + 1
        sequence = np.random.SeedSequence(self.plan.seed, spawn_key=(number,))
        return int(sequence.generate_state(1, np.uint32)[0])

    def _saturation_trial(self) -> TrialRequest:
        """Return the trial at several times the guessed rate, in which queries always wait."""
        guess_qps, share_s = self.plan.first_guess_qps, _SATURATION_SHARE * self.plan.budget_s
        seconds = min(_SATURATION_S, self.plan.max_trial_s, share_s)
        fewest = int(np.clip(share_s * guess_qps, _SATURATION_FEWEST, _SATURATION_ENOUGH))
        return TrialRequest(
            kind=Linear(),
            target_qps=_OVERLOAD * guess_qps,
            queries=int(np.clip(guess_qps * seconds, fewest, _SATURATION_MOST)),
            seed=self._fresh_seed(),
            max_latency_s=max(self.plan.max_latencies_s),
            max_backlog_s=_SATURATION_BACKLOG * seconds,
            purpose="saturation",
        )
