"""What a race does to its configurations after each round. Pure."""

from collections.abc import Sequence

from mlbench.bench.rates import FEWEST_ROUNDS, LogRates
from mlbench.bench.sweep.entry import Entry
from mlbench.bench.sweep.race import Contest, contest
from mlbench.search.plan import AnswerKey


def look(entries: Sequence[Entry], budget_s: float) -> None:
    """Drop what surely loses, and share the rest of the budget among those left.

    A configuration gives up the answers that it loses, and is dropped when it loses all. It goes on
    with the others until nobody is left to beat and they have their precision. `budget_s`: for all
    configurations together.
    """
    racing = [entry for entry in entries if entry.state != "failed"]
    keys = dict.fromkeys(key for entry in racing for key in entry.keys)
    contests = {key: _contest(key, racing) for key in keys}
    for key, one in contests.items():
        for entry in racing:
            if entry.name in one.out:
                entry.lose(key, one.out[entry.name])
    open_keys = [key for key, one in contests.items() if not one.is_over]
    live = [entry for entry in racing if entry.is_live and entry.search is not None]
    used_s = sum(entry.measured_s for entry in entries if not entry.is_live)
    for entry in live:
        entry.go_on(open_keys, (budget_s - used_s) / len(live))


def _contest(key: AnswerKey, racing: Sequence[Entry]) -> Contest:
    contenders = [entry for entry in racing if key in entry.keys and key not in entry.lost]
    precision = min((entry.configuration.settings.precision for entry in contenders), default=0.0)
    return contest(
        {entry.name: _rates(entry, key) for entry in contenders},
        sum(key in entry.keys for entry in racing),
        precision,
        frozenset(entry.name for entry in contenders if entry.is_hopeless(key)),
    )


def _rates(entry: Entry, key: AnswerKey) -> LogRates:
    """Return its ln(capacity) by round; none before there are enough to be looked at."""
    is_early = entry.is_live and len(set(entry.rounds)) < FEWEST_ROUNDS
    return {} if is_early else entry.rates().get(key, {})
