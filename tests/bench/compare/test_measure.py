"""Two settings measured in turns: when that ends, and what is refused before it begins."""

from pathlib import Path
from typing import Any

import pytest

from mlbench.bench.compare.measure import Looker, measure_in_turns
from mlbench.bench.settings import RunSettings
from mlbench.bench.sweep.entry import Entry, search_plan
from mlbench.bench.sweep.plan import Configuration, Pace
from mlbench.contracts.errors import RequestError, RunError
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.trial.schedule import make_schedule

KEY = ("exponential", 0.01)
COMMON = {
    "backend": "simulated",
    "arrivals": ("exponential",),
    "max_latency": (0.010,),
    "budget": 40.0,
    "seed": 3,
}


class _Turns:
    """Plays the turns of two entries in virtual time, and asks a looker after each round."""

    def __init__(self, *services_ms: float, limits_s: tuple[float, ...] = (0.010,)) -> None:
        self.looker = Looker(0.03)
        self.entries, self.pools = [], []
        settings = RunSettings(**{**COMMON, "max_latency": limits_s})
        pace = Pace(rounds=20, growth=2.0)
        for place, service_ms in enumerate(services_ms):
            entry = Entry(Configuration("AB"[place], {}, {}, settings))
            entry.begin(search_plan(settings, Queue(), 0.8e3 / service_ms, pace))
            self.entries.append(entry)
            self.pools.append(VirtualPool(SimulatedService(service_ms / 1e3, cv=0.1), seed=place))

    def run(self, rounds: int = 60) -> int:
        """Return in which round the looker said that it is enough; 0 where it never did."""
        for number in range(1, rounds + 1):
            for entry, pool in zip(self.entries, self.pools, strict=True):
                self._turn(number, entry, pool)
            if self.looker(self.entries):
                return number
        return 0

    def _turn(self, number: int, entry: Entry, pool: VirtualPool) -> None:
        assert entry.search is not None
        while (request := entry.search.next()) is not None:
            schedule = make_schedule(
                request.kind, request.target_qps, request.queries, request.seed
            )
            entry.record(number, request, pool.run(schedule, request.max_backlog_s))
            if request.purpose == "search":
                return
        entry.state = "measured"

    @property
    def measured_s(self) -> float:
        return sum(entry.measured_s for entry in self.entries)


def test_a_difference_is_found_before_the_budget_is_spent() -> None:
    """A device that takes 1.3 times as long is slower at the first look, after a quarter of it."""
    turns = _Turns(2.0, 2.6)
    assert turns.run() > 0
    found = turns.looker.changes[KEY]
    assert (found.verdict, found.is_paired) == ("slower", True)
    assert found.ratio.high < 0.75
    assert turns.measured_s < 30


def test_equal_devices_show_no_difference() -> None:
    """Two devices of 2 ms with cv 0.1 are within 3 % of each other before 80 s are spent."""
    turns = _Turns(2.0, 2.0)
    assert turns.run() > 0
    found = turns.looker.changes[KEY]
    assert found.verdict == "no difference"
    assert found.ratio.low < 1 < found.ratio.high


def test_what_is_decided_is_measured_no_more() -> None:
    """Once an answer is decided, trials are for the others alone; precision closes none of them."""
    turns = _Turns(2.0, 2.6, limits_s=(0.010, 0.020))
    turns.run()
    assert {change.verdict for change in turns.looker.changes.values()} == {"slower"}


def test_a_limit_that_one_side_never_meets_ends_it() -> None:
    """Where B is late even when idle there is nothing to measure in turns, and it ends early."""
    turns = _Turns(2.0, 20.0)
    assert turns.run() > 0
    assert KEY not in turns.looker.changes
    assert turns.measured_s < 60


def test_a_side_that_failed_ends_it() -> None:
    """There is nothing to compare with a side that cannot be measured."""
    turns = _Turns(2.0, 2.0)
    turns.entries[1].fail("it broke")
    assert turns.looker(turns.entries)


def _side(**options: str) -> dict[str, Any]:
    return {**COMMON, "backend_options": {"service_ms": "2", **options}}


@pytest.mark.parametrize(
    ("b", "why"),
    [
        ({"percentile": 95.0}, "A and B need the same --percentile"),
        ({"max_latency": (0.02,)}, "A and B need --arrivals and --max-latency in common"),
        ({"batch_size": 0}, "B: --batch-size 0"),
    ],
)
def test_what_cannot_be_compared_is_refused_first(
    tmp_path: Path, b: dict[str, Any], why: str
) -> None:
    """Nothing is measured where the two have nothing to compare, or an option is wrong."""
    with pytest.raises(RequestError, match=why):
        measure_in_turns([_side(), {**_side(), **b}], tmp_path, 0.03, {})
    assert not list(tmp_path.iterdir())


def test_a_backend_that_refuses_is_told_with_its_side(tmp_path: Path) -> None:
    """What is found only when the workers are prepared names the side that it is about."""
    with pytest.raises(RunError, match=r"^A: .*nonsense"):
        measure_in_turns([_side(nonsense="1"), _side(nonsense="1")], tmp_path, 0.03, {})
