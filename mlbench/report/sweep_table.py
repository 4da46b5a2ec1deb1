"""A sweep in lines: its table, its winners, and how it goes on."""

from collections.abc import Callable, Iterator

from mlbench.bench.events import Event, SweepProgress
from mlbench.bench.sweep.draw import random_part, top_share
from mlbench.bench.sweep.standing import Standing, SweepStanding
from mlbench.contracts.text import printable
from mlbench.outcomes import Answer
from mlbench.report.notation import rate_text
from mlbench.report.sweep_json import winner_sentence


class SweepLines:
    """Says how a sweep goes on: the total first, then a line for each turn."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._has_begun = False
        self._states: dict[str, tuple[str, float]] = {}

    def __call__(self, event: Event) -> None:
        """Say what an event tells."""
        if not isinstance(event, SweepProgress):
            return
        if not self._has_begun:
            self._has_begun = True
            self._say(total(event.sweep))
        for standing in event.sweep.configurations:
            now = (standing.state, standing.measured_s)
            before = self._states.get(standing.name, ("pending", 0.0))
            if now != before:
                self._states[standing.name] = now
                self._say(_turn(event.sweep, standing))


def total(sweep: SweepStanding) -> str:
    """Return how long the whole sweep may take, and what of it is done already."""
    count = len(sweep.configurations)
    what = f"{count} configuration{'s' * (count != 1)}"
    if (tuning := sweep.tuning) is not None:
        what = f"{tuning.tried} of {tuning.of} configurations"
    text = f"{what}: up to {sweep.budget_s:,.0f} s of trials in all"
    if sweep.measured_s:
        text += f", {sweep.measured_s:,.0f} s of which are measured already"
    return text


def _turn(sweep: SweepStanding, standing: Standing) -> str:
    text = f"round {sweep.round}: {standing.name} {standing.state}"
    if standing.reason:
        return printable(f"{text}: {standing.reason}")
    found = [f"{one.kind} {one.max_latency_s:g} s {_capacity(one)}" for one in standing.answers]
    done = sum(one.state not in ("pending", "measuring") for one in sweep.configurations)
    left = f"{sweep.measured_s:,.0f} of {sweep.budget_s:,.0f} s"
    return "; ".join((text, *found, f"{done} of {len(sweep.configurations)} done, {left}"))


def _capacity(answer: Answer) -> str:
    if answer.capacity_qps is None or answer.capacity_ci95 is None:
        return "no estimate"
    low, high = answer.capacity_ci95
    return f"{answer.capacity_qps:.1f} ({low:.1f} to {high:.1f}) qps"


def sweep_table(sweep: SweepStanding) -> list[str]:
    """Return the lines of the table: each answer with its configurations, the best first."""
    keys = dict.fromkeys(key for one in sweep.configurations for key in one.answer_by_key)
    lines = []
    for kind, limit_s in keys:
        lines.append(f"{kind}, {limit_s:g} s")
        rows = sorted(sweep.configurations, key=lambda one: -_rate(one, (kind, limit_s)))
        width = max(len(one.name) for one in rows)
        for one in rows:
            answer = one.answer_by_key.get((kind, limit_s))
            if answer is not None:
                mark = "" if one.state == "measured" else f"  {one.state}"
                rate = rate_text(answer.qps)
                lines.append(f"  {one.name:<{width}}  {rate:>7}  {_capacity(answer)}{mark}")
        if winner := sweep.winners.get((kind, limit_s)):
            lines.append(f"  best: {winner_sentence(winner)}")
    return [printable(line) for line in (*lines, *_tried(sweep), *_unmeasured(sweep))]


def _tried(sweep: SweepStanding) -> Iterator[str]:
    """Say how much of the grid was tried, and how good the best of what was drawn at random is."""
    if (tuning := sweep.tuning) is not None:
        yield (
            f"tried {tuning.tried} of the {tuning.of} configurations of the grid; of the "
            f"{random_part(tuning.tried)} that were drawn at random, one is among the best "
            f"{top_share(tuning.tried):.0%} of the grid 19 times in 20"
        )


def _rate(standing: Standing, key: tuple[str, float]) -> float:
    answer = standing.answer_by_key.get(key)
    return answer.capacity_qps or 0.0 if answer else 0.0


def _unmeasured(sweep: SweepStanding) -> Iterator[str]:
    for one in sweep.configurations:
        if one.state == "failed":
            yield f"failed: {one.name}: {one.reason}"
