"""Whatever a run measures, its file holds it as JSON, and gives it back."""

import json
import os
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import mlbench
from mlbench.arrivals.linear import Linear
from mlbench.contracts.findings import Finding
from mlbench.outcomes import (
    PERCENTILES,
    Answer,
    CurvePoint,
    Judgement,
    Summary,
    Trial,
    TrialRequest,
)
from mlbench.records import CoreShare, HostAccount
from mlbench.report import documents
from mlbench.report.results import ResultStore

HEAD = {"started": "now", "cmdline": "mlbench run", "version": "1", "settings": {}, "system": {}}
ANY = st.floats() | st.none()
TIME = st.floats(1e-9, 1e7)
RATE = st.floats(1e-6, 1e12)
FINDING = st.builds(
    lambda text, figure: Finding(
        "synthetic_model", {"description": text, "some_s": figure, "count": 3}
    ),
    st.text(max_size=30),
    ANY,
)
FINDINGS = st.lists(FINDING, max_size=2).map(tuple)
JUDGEMENT = st.builds(
    Judgement, st.sampled_from(["pass", "fail", "undecided", "invalid"]), FINDINGS
)
SUMMARY = st.builds(
    Summary, ANY, ANY, ANY, st.integers(0), st.fixed_dictionaries(dict.fromkeys(PERCENTILES, ANY))
)
SPREAD = st.fixed_dictionaries({"mean": ANY, **dict.fromkeys(PERCENTILES, ANY), "max": ANY})
CURVE = st.lists(st.builds(CurvePoint, RATE, TIME, TIME, TIME), max_size=2).map(tuple)
HOST = st.none() | st.builds(
    HostAccount, all_cores=st.builds(CoreShare, steal_fraction=st.floats(0, 1))
)


@st.composite
def trials(draw):
    """Draw a trial whose figures may be anything."""
    limits = draw(st.lists(TIME, min_size=1, max_size=3, unique=True))
    request = TrialRequest(
        Linear(), draw(RATE), draw(st.integers(1)), draw(st.integers(0)), limits[0]
    )
    judgements = {limit: draw(JUDGEMENT) for limit in limits}
    lag_s = {"50": draw(ANY), "99": draw(ANY), "max": draw(ANY)}
    summary, findings = draw(SUMMARY), draw(FINDINGS)
    parts = {"queue_s": draw(SPREAD), "service_s": draw(SPREAD)}
    return Trial(request, summary, judgements, draw(ANY), lag_s, draw(HOST), findings, **parts)


@st.composite
def answers(draw):
    """Draw an answer whose figures may be anything."""
    trial = draw(st.none() | trials())
    capacity = draw(st.none() | st.tuples(ANY, ANY))
    qps = None if trial is None else trial.request.target_qps
    counts = draw(st.integers(0)), draw(st.floats(0, 1e9)), draw(st.integers(0))
    kind = draw(st.sampled_from(["linear", "gamma"]))
    known = draw(ANY), capacity, *counts, draw(FINDINGS)
    return Answer(kind, draw(TIME), qps, trial, *known, curve=draw(CURVE))


def _strict(content):
    return json.loads(content, parse_constant=lambda word: (_ for _ in ()).throw(ValueError(word)))


@given(st.lists(trials(), max_size=3), st.lists(answers(), max_size=2), FINDING)
def test_results_come_back_as_they_were_saved(some, found, finding):
    """Saved and loaded, trials, answers and findings are the same, and nothing is NaN."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results.json")
        store = ResultStore(path, HEAD)
        store.add_finding(finding)
        for trial in some:
            store.add_trial(trial)
        store.set_answers(found)
        before = mlbench.load(path).document
        store.close()
        assert mlbench.load(path).document == _strict(path.read_bytes())
        assert before | {"runtime": 0} == mlbench.load(path).document | {"runtime": 0}
        assert os.listdir(folder) == ["results.json"]  # noqa: PTH208 - names are enough
    rows = list(before["scan"].get("linear", {}).values())
    assert rows == [_strict(json.dumps(documents.trial_entry(trial))) for trial in some]
    assert before["results"] == _strict(json.dumps(documents.results(found)))


@given(st.lists(trials(), min_size=1, max_size=4), st.floats(0, 1))
def test_a_run_that_is_killed_while_it_saves_loses_at_most_that(some, share):
    """Wherever its journal breaks off, the trials before are there, in order, and whole."""
    with tempfile.TemporaryDirectory() as folder:
        path, states = Path(folder, "results.json"), []
        store = ResultStore(path, HEAD)
        for trial in some:
            store.add_trial(trial)
            states.append(mlbench.load(path).trials)
        journal = path.with_name("results.json.journal")
        os.truncate(journal, int(share * journal.stat().st_size))
        left = mlbench.load(path).trials
        store._journal.close()
    assert left in states
