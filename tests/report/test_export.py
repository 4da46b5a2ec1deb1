import csv
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import optional
import pytest

import mlbench
from mlbench.contracts.errors import RequestError
from mlbench.records import Completions
from mlbench.report import export as module
from mlbench.report.export import QUERY_FORMS, check_form, export
from mlbench.report.raw import save_raw

HERE = Path(__file__).parent
RUN, SWEEP = HERE / "recorded_run.json", HERE / "recorded_sweep.json"
NEEDS = {".parquet": ("pyarrow", optional.PYARROW), ".hlog": ("hdrh", optional.HDRHISTOGRAM)}


@pytest.fixture
def raw(completions: Completions, tmp_path: Path) -> Path:
    """The .npz file of a trial of six queries."""
    save_raw(tmp_path / "q.npz", completions)
    return tmp_path / "q.npz"


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_trials_of_a_run_as_csv(tmp_path: Path) -> None:
    """Each trial is a line, and its figures read back exactly."""
    export(RUN, tmp_path / "trials.csv")
    trials, lines = mlbench.load(RUN).trials, _read_csv(tmp_path / "trials.csv")
    assert [line["trial"] for line in lines] == [trial["trial"] for trial in trials]
    for name in ("latency_p50_s", "achieved_qps", "target_qps"):
        assert [float(line[name]) for line in lines] == [trial[name] for trial in trials]


def test_answers_of_a_sweep_as_csv(tmp_path: Path) -> None:
    """Each answer of each configuration is a line; one that failed has a line with the reason."""
    export(SWEEP, tmp_path / "sweep.CSV")
    lines = _read_csv(tmp_path / "sweep.CSV")
    assert [line["batch_size"] for line in lines] == ["1", "4", "8"]
    assert [line["qps"] for line in lines] == ["410.0", "512.4", ""]
    assert [line["reason"] for line in lines] == ["", "", "worker 0 (cpu) ended"]


def test_tables_for_pandas(tmp_path: Path, raw: Path) -> None:
    """Rows, columns and files are frames at once, and CSV and Parquet hold the same."""
    pd = pytest.importorskip("pandas", reason=optional.PANDAS)
    pytest.importorskip("pyarrow", reason=optional.PYARROW)
    trials = pd.DataFrame(mlbench.load(RUN).trials)
    assert trials["latency_p50_s"].dtype == np.float64
    assert trials["completed"].dtype == np.int64
    for source, name in ((RUN, "trials"), (raw, "queries")):
        for form in ("csv", "parquet"):
            export(source, tmp_path / f"{name}.{form}")
    parquet = pd.read_parquet(tmp_path / "trials.parquet")
    text = pd.read_csv(tmp_path / "trials.csv")
    assert list(parquet) == list(text) == list(trials)
    numbers = trials.select_dtypes("number")
    pd.testing.assert_frame_equal(parquet[list(numbers)], numbers, check_exact=True)
    pd.testing.assert_frame_equal(text[list(numbers)], numbers, rtol=1e-12)
    queries = pd.DataFrame(mlbench.load(raw).queries)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "queries.parquet"), queries)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "queries.csv"), queries, check_dtype=False)


@pytest.mark.parametrize("form", QUERY_FORMS)
def test_a_trial_is_saved_in_each_form(
    completions: Completions, raw: Path, tmp_path: Path, form: str
) -> None:
    """What is saved at once in a form is what the .npz file gives in that form later."""
    if form in NEEDS:
        pytest.importorskip(NEEDS[form][0], reason=NEEDS[form][1])
    save_raw(tmp_path / f"a{form}", completions)
    if form != ".npz":
        export(raw, tmp_path / f"b{form}")
        assert (tmp_path / f"a{form}").read_bytes() == (tmp_path / f"b{form}").read_bytes()


@pytest.mark.parametrize("name", ["q.txt", "q", "csv", "q.csv.gz"])
def test_an_ending_that_names_no_form_is_refused(name: str, tmp_path: Path) -> None:
    """The endings that there are stand in the error."""
    with pytest.raises(RequestError, match=r"must end in \.npz, \.csv, \.parquet or \.hlog$"):
        check_form(tmp_path / name, QUERY_FORMS)
    with pytest.raises(RequestError, match=r"must end in \.csv, \.parquet or \.hlog$"):
        export(RUN, tmp_path / name)


@pytest.mark.parametrize("source", [RUN, SWEEP])
def test_a_log_needs_queries(source: Path, tmp_path: Path) -> None:
    """A file without every query's times makes no histogram, and the error says what does."""
    pytest.importorskip("hdrh", reason=optional.HDRHISTOGRAM)
    with pytest.raises(RequestError, match=r"the \.npz file that trial --raw saved"):
        export(source, tmp_path / "a.hlog")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", [".parquet", ".hlog"])
def test_a_missing_package_is_told_with_what_installs_it(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found before anything is read or measured."""

    def without(name: str) -> object:
        return None if name in ("pyarrow", "hdrh") else find_spec(name)

    monkeypatch.setattr(module, "find_spec", without)
    with pytest.raises(RequestError, match=r"pip install 'mlbench-coordinator\[report\]'"):
        check_form(tmp_path / f"a{form}", QUERY_FORMS)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A folder that is not there is a wrong request, and so is a run that has no trial."""
    with pytest.raises(RequestError, match="there is no folder"):
        export(RUN, tmp_path / "missing" / "a.csv")
    empty = tmp_path / "results.json"
    empty.write_text('{"schema_version": 1, "results": {}, "scan": {}}')
    with pytest.raises(RequestError, match="has no trial yet"):
        export(empty, tmp_path / "a.csv")
