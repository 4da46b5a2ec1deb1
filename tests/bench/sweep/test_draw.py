"""Drawing configurations from a grid."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlbench.bench.sweep.draw import Draws, part, random_part, top_share
from mlbench.bench.sweep.entry import Entry
from mlbench.bench.sweep.plan import make_plan
from mlbench.outcomes import Answer

optuna = pytest.importorskip("optuna", reason="Optuna is not installed: pip install optuna")

GRID = {
    "batch_size": [1, 2, 4, 8, 16, 32],
    "threads": [1, 2, 3, 4],
    "data_format": ["NCHW", "NHWC"],
}


@pytest.fixture
def grid():
    """A grid of 44 configurations, four of its combinations left out."""
    content = {
        "base": {"backend": "simulated", "max_latency": [0.05], "arrivals": ["exponential"]},
        "grid": GRID,
        "exclude": [{"batch_size": 32, "data_format": "NHWC"}],
    }
    return make_plan(content, Path("/folder"), {}).configurations


def _standing(configuration, qps):
    answer = Answer("exponential", 0.05, qps, None, qps, (qps, qps), 1, 1.0, 100)
    return replace(Entry(configuration).standing(), answers=[answer])


def _rate(configuration):
    choices = configuration.choices
    return 100.0 * choices["batch_size"] + 10 * choices["threads"]


def test_each_is_drawn_once_and_all_are_of_the_grid(grid):
    """Drawn in parts until none is left, every configuration of the grid comes exactly once."""
    draws, seen = Draws(grid, len(grid) - 1, seed=1), []
    while len(seen) < len(grid):
        seen += [_standing(one, _rate(one)) for one in draws.next(11, seen)]
    assert sorted(one.name for one in seen) == sorted(one.name for one in grid)


def test_a_seed_draws_the_same_again(grid):
    """What is drawn follows from the seed and from what was seen."""
    first, again, other = (
        [one.name for one in Draws(grid, 10, seed).next(5, [])] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_what_is_drawn_later_learns_from_what_was_seen(grid):
    """After half of the grid, where large batches serve most, further ones have large batches."""
    half = [one for place, one in enumerate(grid) if place % 2]
    seen = [_standing(one, _rate(one)) for one in half]
    drawn = [draws.next(3, seen) for draws in (Draws(grid, 24, seed) for seed in range(5))]
    sizes = [one.choices["batch_size"] for some in drawn for one in some]
    assert sum(size >= 8 for size in sizes) > len(sizes) * 0.6


def test_it_is_drawn_in_parts():
    """Half at random, then two quarters; and a single one that is left is drawn, too."""
    assert [part(0, 12), part(6, 12), part(9, 12)] == [6, 3, 3]
    assert [part(0, 2), part(1, 2)] == [1, 1]
    assert part(11, 12) == 1


def test_how_good_random_draws_are():
    """Of 59 at random one is among the best 5 % 19 times in 20, as Wilks found."""
    assert random_part(118) == 59
    assert top_share(118) == pytest.approx(0.05, abs=0.001)
