"""Which configurations of a large grid are tried: Optuna draws them, by what it has seen so far.

The first half is drawn at random; then come those that look good by the tree-structured Parzen
estimator (Bergstra et al., Advances in Neural Information Processing Systems 24 (2011), 2546), in
two parts, so that the second learns from the first.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlbench.bench.sweep.plan import Configuration
from mlbench.bench.sweep.standing import Standing
from mlbench.contracts.errors import RequestError, install_command

_LATER_PARTS = 2
_ASKS = 20  # for each one that is drawn: what was drawn before, or is no configuration, is refused
_UNMET = 0.01  # of the best rate: what a limit counts that no rate is known to meet


def random_part(most: int) -> int:
    """Return how many of so many configurations are drawn at random."""
    return math.ceil(most / 2)


def part(drawn: int, most: int) -> int:
    """Return how many configurations are drawn next, of `most` in all."""
    if drawn == 0:
        return random_part(most)
    return min(most - drawn, max(math.ceil((most - random_part(most)) / _LATER_PARTS), 1))


def top_share(most: int) -> float:
    """Return a share of the grid, among whose best one is at random 19 times in 20 (Wilks 1941)."""
    return float(1 - 0.05 ** (1 / random_part(most)))


class Draws:
    """Draws configurations of a grid, each once; raises RequestError where Optuna is missing."""

    def __init__(self, grid: Sequence[Configuration], most: int, seed: int) -> None:
        try:
            import optuna
        except ImportError:
            raise RequestError(f"--tune needs Optuna: {install_command('tune')}") from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna, self._seed, self._most = optuna, seed, most
        self._values = _values(grid)
        self._by_place = {self._place(one): one for one in grid}

    def next(self, count: int, seen: Sequence[Standing]) -> list[Configuration]:
        """Draw so many more, knowing how those stand that were drawn before."""
        taken = [self._place(one.configuration) for one in seen]
        study = self._study(seen)
        found: list[Configuration] = []
        for _ in range(_ASKS * count):
            if len(found) == count:
                return found
            trial = study.ask(self._distributions)
            place = tuple(trial.params[name] for name in self._values)
            if place in self._by_place and place not in taken:
                taken.append(place)
                found.append(self._by_place[place])
            else:
                study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        rest = [one for place, one in self._by_place.items() if place not in taken]
        return found + rest[: count - len(found)]

    @property
    def _distributions(self) -> dict[str, Any]:
        """Places in lists of values: where these are numbers, in their order."""
        distributions = self._optuna.distributions
        return {
            name: distributions.IntDistribution(0, len(values) - 1)
            if all(isinstance(value, int | float) for value in values)
            else distributions.CategoricalDistribution(list(range(len(values))))
            for name, values in self._values.items()
        }

    def _study(self, seen: Sequence[Standing]) -> Any:
        sampler = self._optuna.samplers.TPESampler(
            seed=(self._seed + len(seen)) % 2**32,
            n_startup_trials=random_part(self._most),
            multivariate=True,
            constant_liar=True,
        )
        study = self._optuna.create_study(direction="maximize", sampler=sampler)
        best = _best(seen)
        for one in seen:
            place = dict(zip(self._values, self._place(one.configuration), strict=True))
            study.add_trial(
                self._optuna.trial.create_trial(
                    params=place, distributions=self._distributions, value=_score(one, best)
                )
            )
        return study

    def _place(self, configuration: Configuration) -> tuple[int, ...]:
        choices = configuration.choices
        return tuple(values.index(choices.get(name)) for name, values in self._values.items())


def _values(grid: Sequence[Configuration]) -> dict[str, list[Any]]:
    """Return the values that each option has in the grid, sorted where they are numbers."""
    names = dict.fromkeys(name for one in grid for name in one.choices)
    found: dict[str, list[Any]] = {}
    for name in names:
        values: list[Any] = []
        for one in grid:
            if (value := one.choices.get(name)) not in values:
                values.append(value)
        are_numbers = all(isinstance(value, int | float) for value in values)
        found[name] = sorted(values) if are_numbers else sorted(values, key=json.dumps)
    return found


def _best(seen: Sequence[Standing]) -> Mapping[Any, float]:
    best: dict[Any, float] = {}
    for one in seen:
        for key, answer in one.answer_by_key.items():
            best[key] = max(best.get(key, 0.0), answer.capacity_qps or 0.0)
    return best


def _score(standing: Standing, best: Mapping[Any, float]) -> float:
    """Return the mean over all answers of ln(capacity / the best one)."""
    answers = standing.answer_by_key
    shares = [
        max((answers[key].capacity_qps or 0.0) / qps if key in answers else 0.0, _UNMET)
        for key, qps in best.items()
        if qps
    ]
    return math.fsum(map(math.log, shares)) / len(shares) if shares else 0.0
