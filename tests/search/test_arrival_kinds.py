"""Searches with further kinds of arrivals, against simulations that share no code with them."""

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import jsonschema
import numpy as np
import pytest

from mlbench.arrivals.gamma import Gamma
from mlbench.arrivals.kind import ArrivalKind, Floats, FromGaps
from mlbench.arrivals.registry import KINDS
from mlbench.arrivals.trace import Trace
from mlbench.bench.settings import RunSettings, TrialSettings, make_settings
from mlbench.outcomes import Answer
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.report.loglines import answer_lines, trial_line
from mlbench.report.results import ResultStore
from mlbench.report.trial_json import trial_document
from mlbench.search.plan import SearchPlan
from mlbench.search.search import Search
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule

SERVICE_S, LIMIT_S = 0.002, 0.020
HEAD = {
    "started": "2026-01-01T00:00:00Z",
    "cmdline": "",
    "version": "",
    "settings": {},
    "system": {},
}


def _search(kind: ArrivalKind, seed: int = 1) -> Search:
    plan = SearchPlan((kind,), (LIMIT_S,), 99.0, 10.0, 60.0, 0.02, seed, Queue(), 450.0)
    search, pool = Search(plan), VirtualPool(SimulatedService(SERVICE_S), seed=seed)
    while (request := search.next()) is not None:
        schedule = make_schedule(request.kind, request.target_qps, request.queries, request.seed)
        search.record(request, pool.run(schedule, request.max_backlog_s))
    return search


def _answer(search: Search) -> Answer:
    return search.answers()[search.plan.kinds[0].name][LIMIT_S]


def _late_fraction(gaps: Floats, qps: float) -> float:
    """Return the late fraction in Lindley's recursion, by gaps (rows, n) with the mean 1."""
    wait_s, late = np.zeros(len(gaps)), []
    for gap in gaps.T:
        wait_s = np.maximum(wait_s + SERVICE_S - gap / qps, 0.0)
        late.append((wait_s + SERVICE_S > LIMIT_S).mean())
    return float(np.mean(late[len(late) // 8 :]))


def _confirm(answer: Answer, gaps: Floats) -> None:
    assert answer.capacity_qps is not None
    assert answer.capacity_ci95 is not None
    assert _late_fraction(gaps, 0.985 * answer.capacity_qps) < 0.01
    assert _late_fraction(gaps, 1.015 * answer.capacity_qps) > 0.01
    assert answer.trial is not None
    assert 0.8 * answer.capacity_qps < answer.qps <= answer.capacity_qps
    assert not any(found.code == "model_misfit" for found in answer.findings)


@pytest.mark.parametrize("cv", [0.5, 2.0])
def test_gamma_arrivals_get_the_capacity_that_a_simulation_confirms(cv: float) -> None:
    """Within 1.5 %, and with a trial that met the limit at nearly that rate."""
    gaps = np.random.default_rng(9).gamma(1 / cv**2, cv**2, (2_000, 4_000))
    _confirm(_answer(_search(Gamma(cv))), gaps)


def test_a_trace_gets_the_capacity_that_a_simulation_confirms() -> None:
    """Bursts of three and a pause, again and again with some jitter: within 1.5 %."""
    rng = np.random.default_rng(5)
    own = np.tile([0.1, 0.1, 0.1, 3.7], 2_000) * rng.gamma(2.0, 0.5, 8_000)
    places = rng.integers(0, len(own), (2_000, 1)) + np.arange(4_000)
    own /= own.mean()
    _confirm(_answer(_search(Trace(own))), own[places % len(own)])


@dataclass(frozen=True)
class Pairs(FromGaps):
    """Two queries at once, then an exponential gap."""

    name: ClassVar[str] = "pairs"

    def gaps(self, rng: np.random.Generator, rows: int, n: int) -> Floats:
        """Draw 0 and an exponential gap in turn."""
        drawn = 2 * rng.standard_exponential((rows, n))
        drawn[:, ::2] = 0.0
        return drawn


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of one's own in the registry."""
    monkeypatch.setitem(KINDS, "pairs", lambda _: Pairs())


@pytest.mark.usefixtures("pairs")
def test_a_kind_of_ones_own_plays_a_trial() -> None:
    """One object and one line in the registry are all that a trial needs."""
    given = {"backend": "simulated", "arrivals": "pairs", "qps": 100.0}
    settings = make_settings(TrialSettings, given, {})
    schedule = make_schedule(settings.kind, settings.qps, 501, seed=1)
    completions = VirtualPool(SimulatedService(SERVICE_S)).run(schedule)
    document = trial_document(completions, send_lag_ns(completions, Queue()))
    assert (document["arrivals"], document["completed"]) == ("pairs", 501)
    assert document["offered_qps"] == pytest.approx(100.0)


@pytest.mark.usefixtures("pairs")
def test_a_kind_of_ones_own_gets_its_answer_and_is_saved(tmp_path: Path) -> None:
    """The search models it, log lines name it, and its results fit the schema."""
    settings = make_settings(RunSettings, {"backend": "simulated", "arrivals": ("pairs",)}, {})
    search = _search(settings.kinds[0])
    answer = _answer(search)
    _confirm(answer, Pairs().gaps(np.random.default_rng(8), 2_000, 4_000))
    assert trial_line(search.trials[1]).startswith("pairs/0.02/")
    assert answer_lines(answer)[-1].startswith("===RESULT: pairs target_latency=0.02 ")
    store = ResultStore(tmp_path / "r.json", HEAD)
    store.add_trial(search.trials[1])
    store.set_answers([answer])
    store.close()
    document = json.loads(store.path.read_text())
    schema = json.loads((files("mlbench.report") / "results.schema.json").read_text())
    jsonschema.validate(document, schema)
    assert [list(document[key]) for key in ("results", "final_results", "scan")] == [["pairs"]] * 3
