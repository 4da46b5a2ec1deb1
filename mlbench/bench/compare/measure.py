"""Measuring two settings in turns, until it is decided which is faster."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlbench.bench.compare.change import Change, compare_rates
from mlbench.bench.compare.looks import LOOKS, confidence_at, looks_due
from mlbench.bench.events import Listener
from mlbench.bench.rates import Rate
from mlbench.bench.settings import RunSettings, make_settings
from mlbench.bench.sweep.entry import Entry
from mlbench.bench.sweep.plan import RESULTS, Configuration, Pace, SweepPlan
from mlbench.bench.sweep.sweep import measure
from mlbench.contracts.errors import RequestError, RunError
from mlbench.search.plan import AnswerKey

NAMES = ("A", "B")
PACE = Pace(rounds=150, growth=1.5, short_turns=True)
"""Turns of a second with the usual budget. A machine's speed jumps within seconds: two neighbouring
turns of one second are more alike than two of three, and there are three times as many. Starting a
trial and estimates take a tenth of the time."""


def measure_in_turns(
    sides: Sequence[Mapping[str, Any]],
    folder: Path,
    margin: float,
    environment: Mapping[str, str],
    listeners: Sequence[Listener] = (),
) -> Mapping[AnswerKey, Change]:
    """Measure A and B in turns into a folder; return each answer as it was looked at last.

    `sides`: what was given of the options of `run` for each. Each has its own budget, of which no
    more is used than it takes to decide every answer. Raises RequestError for options that are
    wrong, and RunError when one of the two cannot be measured.
    """
    configurations = [
        _configuration(name, given, folder.absolute(), environment)
        for name, given in zip(NAMES, sides, strict=True)
    ]
    _check([one.settings for one in configurations])
    plan = SweepPlan(
        tuple(configurations),
        content={},
        seed=configurations[0].settings.seed,
        pace=PACE,
    )
    looker = Looker(margin)
    standing = measure(plan, folder, listeners, judge=looker)
    for one in standing.configurations:
        if one.state == "failed":
            raise RunError(f"{one.name}: {one.reason}")
    return looker.changes


def _configuration(
    name: str, given: Mapping[str, Any], folder: Path, environment: Mapping[str, str]
) -> Configuration:
    options = {key: str(one) if isinstance(one, Path) else one for key, one in given.items()}
    own = {"output": folder / name / RESULTS, "skip_accuracy": True}
    try:
        settings = make_settings(RunSettings, {**given, **own}, environment)
    except RequestError as error:
        raise RequestError(f"{name}: {error}") from None
    return Configuration(name, options, options, settings)


def _check(settings: Sequence[RunSettings]) -> None:
    a, b = settings
    if a.percentile != b.percentile:
        raise RequestError("A and B need the same --percentile")
    if not set(a.arrivals) & set(b.arrivals) or not set(a.max_latency) & set(b.max_latency):
        raise RequestError("A and B need --arrivals and --max-latency in common")


class Looker:
    """Looks at two configurations after rounds, and says when every answer is decided.

    `changes`: the answers looked at so far, as they stood when they were decided, or last.
    """

    def __init__(self, margin: float) -> None:
        self._margin = margin
        self._looked = 0
        self.changes: dict[AnswerKey, Change] = {}

    def __call__(self, entries: Sequence[Entry]) -> bool:
        """Look, if that is due; return whether nothing more is to be measured."""
        a, b = entries
        if "failed" in (a.state, b.state):
            return True
        due = looks_due(_spent_share(entries))
        if not (a.is_live and b.is_live):  # there are no more common rounds
            due = LOOKS
        if due > self._looked:
            self._look(a, b, confidence_at(due, self._looked))
            self._looked = due
        open_keys = self._open(a, b)
        for entry in entries:
            _go_on(entry, open_keys)
        return self._looked == LOOKS or not open_keys

    def _open(self, a: Entry, b: Entry) -> list[AnswerKey]:
        common = [key for key in a.keys if key in b.keys]
        return [key for key in common if not self._is_decided(key, a, b)]

    def _is_decided(self, key: AnswerKey, a: Entry, b: Entry) -> bool:
        if a.is_hopeless(key) or b.is_hopeless(key):  # nothing is left to measure in turns
            return True
        return key in self.changes and self.changes[key].is_decided(self._margin)

    def _look(self, a: Entry, b: Entry, confidence: float) -> None:
        for key in self._open(a, b):
            ours, theirs = (Rate(1.0, rounds=one.rates().get(key, {})) for one in (a, b))
            self.changes[key] = compare_rates(
                key, ours, theirs, self._margin, same_sweep=True, confidence=confidence
            )


def _spent_share(entries: Sequence[Entry]) -> float:
    budget_s = sum(entry.configuration.settings.budget for entry in entries)
    return sum(entry.measured_s for entry in entries) / budget_s


def _go_on(entry: Entry, open_keys: Collection[AnswerKey]) -> None:
    if entry.search is None or not entry.is_live:
        return
    entry.search.contest(open_keys)
    entry.search.settle(set(entry.keys) - set(open_keys))
