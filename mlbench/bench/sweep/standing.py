"""How a sweep and its configurations stand: values that listeners are told. Pure."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlbench.bench.rates import LogRates, Rate
from mlbench.bench.served import Served
from mlbench.bench.sweep.plan import Configuration
from mlbench.contracts.findings import Finding
from mlbench.outcomes import Accuracy, Answer, Summary, Trial
from mlbench.search.plan import AnswerKey
from mlbench.stats.paired import Ratio

State = Literal["pending", "measuring", "measured", "dropped", "failed"]


@dataclass(frozen=True)
class Standing:
    """How a configuration stands: what listeners are told of it.

    `trials`: each with its round. `rates`: for each answer, ln(capacity) by round.
    `lost`: the answers that it lost in a race.
    """

    configuration: Configuration
    state: State
    reason: str | None
    measured_s: float
    trials: Sequence[tuple[Trial, int]]
    answers: Sequence[Answer]
    rates: Mapping[AnswerKey, LogRates]
    accuracy: tuple[Summary, Accuracy] | None
    findings: Sequence[Finding]
    served: Served | None = None
    lost: Collection[AnswerKey] = ()

    @property
    def name(self) -> str:
        """The name of the configuration."""
        return self.configuration.name

    @property
    def rounds(self) -> int:
        """In how many rounds it was measured."""
        return len({number for _, number in self.trials})

    @property
    def answer_by_key(self) -> dict[AnswerKey, Answer]:
        """Its answers, each by its arrivals and limit."""
        return {(answer.kind, answer.max_latency_s): answer for answer in self.answers}

    def rate(self, key: AnswerKey) -> Rate:
        """Return the capacity for an answer; its `qps` is None or 0 where there is none."""
        answer = self.answer_by_key.get(key)
        if answer is None or answer.capacity_qps is None:
            return Rate(None)
        low, high = answer.capacity_ci95 or (0.0, math.inf)
        return Rate(answer.capacity_qps, low, high, self.rates.get(key, {}))


@dataclass(frozen=True)
class Winner:
    """The best configuration for an answer, and how sure that is.

    `ratio`: of the winner over the runner-up, None where there is no other. `more_than_noise`:
    whether the winner is ahead of every other, at a confidence of 95 % for all of these comparisons
    together.
    """

    name: str
    runner_up: str | None = None
    ratio: Ratio | None = None
    more_than_noise: bool = False

    @property
    def paired(self) -> bool:
        """Whether the ratio is from common rounds; otherwise it is from two intervals."""
        return self.ratio is not None and self.ratio.rounds > 0


@dataclass(frozen=True)
class Tuning:
    """How many configurations are tried, of how many that the grid has."""

    tried: int
    of: int


@dataclass(frozen=True)
class SweepStanding:
    """How a sweep stands: what listeners are told, and what it returns in the end.

    `round`: the one that is going on, 0 before the first. `turn`: the configuration whose turn it
    is, or was. `tuning` is None where all configurations are measured.
    """

    folder: Path
    id: str
    started: str
    content: Mapping[str, Any]
    budget_s: float
    round: int
    turn: str | None
    configurations: Sequence[Standing]
    winners: Mapping[AnswerKey, Winner]
    tuning: Tuning | None = None

    @property
    def measured_s(self) -> float:
        """How long all trials took together."""
        return sum(one.measured_s for one in self.configurations)

    @property
    def complete(self) -> bool:
        """Whether no configuration failed, and every answer of those measured has a verdict."""
        return not any(
            one.state == "failed" or any(answer.no_verdict for answer in one.answers)
            for one in self.configurations
        )
