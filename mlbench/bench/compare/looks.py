"""When a comparison that is being measured is looked at, and how sure it must be then. Pure.

Whoever looks after each round and stops as soon as 95 % are reached is wrong far more often than in
5 of 100. So there are four looks, at equal shares of the budget, and each spends a part of the 5 %:
by the share t of the budget that was used, 5 % t^3 are spent (Kim and DeMets, Biometrika 74 (1987),
149). The parts are added up as if the looks had nothing in common (Bonferroni), which is safe for
whatever they have. Most is left for the last look: its interval is a tenth wider than that of a
plan without looks.
"""

import math

LOOKS = 4
_ERROR, _POWER = 0.05, 3.0
_ROUNDING = 1e-9  # of a share of the budget


def confidence_at(look: int, looked: int) -> float:
    """Return the confidence of the interval at a look, for 95 % over all looks together.

    `look`: 1 to LOOKS; `looked`: which look was the last before, 0 where there was none.
    """
    spent, before = look / LOOKS, looked / LOOKS
    return 1 - _ERROR * (math.pow(spent, _POWER) - math.pow(before, _POWER))


def looks_due(spent_share: float) -> int:
    """Return how many looks are due when so large a share of the budget is spent."""
    return min(int(spent_share * LOOKS + _ROUNDING), LOOKS)
