"""Study the rule of races alone: what each round says is drawn, in place of trials and estimates.

    python tools/study_race_rule.py --seeds 200 --scatter 0.03 --share 0.5

The grids are those of `study_race.py`, with their saturated rates for true capacities. A round says
ln(capacity) of each configuration with a normal error, alike for all or as unlike as `--unlike`
tells, on a machine whose speed walks. All turns cost the same; a race may take `--share` of the
twelve rounds of all. A second for two grids.
"""

import argparse
import math

import numpy as np
from study.grids import make_grid

from mlbench.bench.sweep.race import Contest, contest

_ROUNDS = 12  # in which a sweep spends its budget
_WALK = 0.1  # of ln(speed), from round to round
_PRECISION = 0.02

Rates = dict[str, dict[int, float]]


def race(seed: int, scatter: float, unlike: float, share: float) -> tuple[float, float, bool]:
    """Return the winner's true rate over the best, the share of turns, whether the best was out."""
    truth = {cell.name: cell.system.saturated_qps for cell in make_grid(seed)}
    rng = np.random.default_rng([seed, 3])
    errors = {name: scatter * math.exp(unlike * rng.standard_normal()) for name in truth}
    rates: Rates = {name: {} for name in truth}
    left, turns, number, found = list(truth), 0, 0, Contest()
    while not found.is_over and turns + len(left) <= share * _ROUNDS * len(truth):
        number += 1
        walk = _WALK * rng.standard_normal()
        for name in left:
            error = errors[name] * rng.standard_normal()
            rates[name][number] = math.log(truth[name]) + walk + error
        turns += len(left)
        found = contest({name: rates[name] for name in left}, len(truth), _PRECISION, frozenset())
        left = [name for name in left if name not in found.out]
    best = max(truth, key=lambda name: truth[name])
    winner = found.leader or left[0]
    return truth[winner] / truth[best], turns / _ROUNDS / len(truth), best not in left


def main() -> None:
    """Run the races and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--scatter", type=float, default=0.03)
    parser.add_argument("--unlike", type=float, default=0.0)
    parser.add_argument("--share", type=float, default=0.5)
    asked = parser.parse_args()
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    found = [race(seed, asked.scatter, asked.unlike, asked.share) for seed in seeds]
    within = sum(of_best >= 0.98 for of_best, *_ in found)
    print(
        f"scatter {asked.scatter:.0%}, unlike {asked.unlike:g}: within 2 % of the best in {within} "
        f"of {len(found)}, the worst {min(of_best for of_best, *_ in found):.1%}; "
        f"{np.mean([share for _, share, _ in found]):.0%} of the turns of all equally, at most "
        f"{max(share for _, share, _ in found):.0%}; the best was dropped in "
        f"{sum(is_out for *_, is_out in found)}"
    )


if __name__ == "__main__":
    main()
