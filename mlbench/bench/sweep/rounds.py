"""In which order configurations have their turns, round by round. Pure."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def shuffled(items: Sequence[Item], seed: int, number: int) -> list[Item]:
    """Return the order of a round, by the sweep's seed and the round's number.

    Each round has another one, so that nobody always follows the same neighbour.
    """
    order = np.random.default_rng([seed, number]).permutation(len(items))
    return [items[place] for place in order]


def next_round(rounds: Sequence[Sequence[int]]) -> int:
    """Return the number of the round that begins; `rounds`: that of each trial, by configuration.

    After an interruption a new one begins: what was measured before it and after it does not share
    the machine's minute, and must not be compared as if it did.
    """
    return 1 + max((number for own in rounds for number in own), default=0)
