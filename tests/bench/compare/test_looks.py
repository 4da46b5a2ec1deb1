"""When a comparison is looked at, and how sure it must be then."""

import numpy as np
import pytest

from mlbench.bench.compare.looks import LOOKS, confidence_at, looks_due


def test_the_errors_of_all_looks_add_up_to_a_twentieth() -> None:
    """Whichever looks are made, what they spend is 5 % in the end."""
    for looks in ([1, 2, 3, 4], [4], [2, 4], [1, 4]):
        pairs = zip(looks, [0, *looks[:-1]], strict=True)
        spent = sum(1 - confidence_at(look, looked) for look, looked in pairs)
        assert spent == pytest.approx(0.05)


def test_early_looks_must_be_the_surest() -> None:
    """An early verdict, from little, takes a higher confidence than a late one."""
    confidences = [confidence_at(look, look - 1) for look in range(1, LOOKS + 1)]
    assert confidences == sorted(confidences, reverse=True)


@pytest.mark.parametrize(
    ("share", "looks"), [(0.0, 0), (0.2, 0), (0.25, 1), (0.6, 2), (0.999, 3), (1.0, 4), (1.2, 4)]
)
def test_looks_come_at_equal_shares_of_the_budget(share: float, looks: int) -> None:
    """A quarter of the budget is a look."""
    assert looks_due(share) == looks


def test_equal_sides_are_rarely_called_unlike() -> None:
    """Of 2,000 comparisons of equal sides with normal noise, looked at 4 times, 5 % or less err."""
    from mlbench.stats.paired import paired_ratio

    rng, wrong = np.random.default_rng(1), 0
    for _ in range(2000):
        noise = dict(enumerate(rng.normal(0, 0.02, 24).tolist()))
        for look in range(1, LOOKS + 1):
            seen = {number: noise[number] for number in range(6 * look)}
            found = paired_ratio(dict.fromkeys(seen, 0.0), seen, confidence_at(look, look - 1))
            if not found.low <= 1 <= found.high:
                wrong += 1
                break
    assert wrong <= 110
