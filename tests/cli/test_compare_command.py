"""`compare` on the command line: what it prints, and the status it ends with."""

import json
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

RECORDED = json.loads((Path(__file__).parents[1] / "report" / "recorded_run.json").read_text())
Files = Callable[..., tuple[str, str]]


def _compare(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlbench", "compare", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Return what writes two result files, the second with capacities times a factor."""

    def write(factor: float = 1.0, **settings: Any) -> tuple[str, str]:
        other = deepcopy(RECORDED)
        other["settings"].update(settings)
        for answers in other["results"].values():
            for answer in answers.values():
                answer["capacity_qps"] *= factor
                answer["capacity_ci95"] = [factor * end for end in answer["capacity_ci95"]]
        for name, document in (("a.json", RECORDED), ("b.json", other)):
            (tmp_path / name).write_text(json.dumps(document))
        return str(tmp_path / "a.json"), str(tmp_path / "b.json")

    return write


def test_a_slower_result_fails_the_gate(files: Files) -> None:
    """Status 0 without a limit and 1 with --fail-if-slower; the table says slower."""
    a, b = files(0.7)
    assert _compare(a, b).returncode == 0
    ended = _compare(a, b, "--fail-if-slower", "3%")
    assert ended.returncode == 1
    assert "slower" in ended.stdout


def test_the_same_result_passes_the_gate_but_for_doubt(files: Files) -> None:
    """Equal capacities with wide intervals fail only with --fail-if-undecided."""
    a, b = files(1.0)
    assert _compare(a, b, "--fail-if-slower", "0.1%").returncode == 0
    assert _compare(a, b, "--fail-if-slower", "0.1%", "--fail-if-undecided").returncode == 1


def test_json_is_one_document(files: Files) -> None:
    """--format json prints the comparison as JSON, and nothing else."""
    a, b = files(0.7)
    document = json.loads(_compare(a, b, "--format", "json").stdout)
    assert document["comparisons"][0]["answers"]["linear"]["0.01"]["verdict"] == "slower"


def test_a_configuration_of_a_sweep_is_named_by_its_folder(files: Files, tmp_path: Path) -> None:
    """FOLDER#NAME means FOLDER/NAME/results.json; a folder alone means its results.json."""
    a, _ = files()
    folder = tmp_path / "swept" / "threads=1"
    folder.mkdir(parents=True)
    (folder / "results.json").write_bytes(Path(a).read_bytes())
    assert _compare(a, f"{tmp_path}/swept#threads=1").returncode == 0
    assert _compare(a, str(folder)).returncode == 0


def test_other_files_of_mlbench_are_told_from_results(files: Files, tmp_path: Path) -> None:
    """A sweep's file says how its configurations are named; a trial's is refused."""
    a, _ = files()
    swept = {"schema_version": 1, "id": "x", "configurations": [], "winners": {}}
    trial = {"arrivals": "linear", "latency_s": {}, "workers": []}
    for document, says in ((swept, "name one of its configurations"), (trial, "a single trial")):
        other = tmp_path / "other.json"
        other.write_text(json.dumps(document))
        ended = _compare(a, str(other))
        assert ended.returncode == 2
        assert says in ended.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("{a}",), "compare needs two results or more"),
        (("{a}", "nowhere.json"), "cannot read nowhere.json"),
        (("{a}", "{a}#../x"), "expected FOLDER#NAME"),
        (("{a}", "{b}"), "is about the percentile"),
        (("{a}", "{a}", "--margin", "lots"), "'lots' is no share such as 3% or 0.03"),
        (("{a}", "{a}", "--fail-if-slower", "-1"), "is no share"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_line(
    files: Files, words: tuple[str, ...], says: str
) -> None:
    """Status 2, one line on stderr, nothing on stdout."""
    a, b = files(percentile=95.0)
    ended = _compare(*(word.format(a=a, b=b) for word in words))
    assert ended.returncode == 2
    assert says in ended.stderr
    assert (ended.stderr.count("\n"), ended.stdout) == (1, "")


SIMULATED = (
    *("--backend", "simulated", "--backend-option", "cv=0.1", "--arrivals", "exponential"),
    *("--max-latency", "0.005", "--budget", "4", "--seed", "3", "--quiet"),
)


def test_two_settings_are_measured_in_turns_and_answered_in_a_sentence(tmp_path: Path) -> None:
    """The last line says who is faster; results stay where --output says; the gate holds."""
    ended = _compare(
        *(*SIMULATED, "--output", str(tmp_path / "kept"), "--fail-if-slower", "3%"),
        *("--measure", "--backend-option service_ms=0.3", "--backend-option 'service_ms=0.6'"),
    )
    assert ended.returncode == 1, ended.stderr
    last = ended.stdout.splitlines()[-1]
    assert last.startswith("exponential, 5 ms: B is slower: it serves")
    again = _compare(f"{tmp_path}/kept#A", f"{tmp_path}/kept#B", "--format", "json")
    change = json.loads(again.stdout)["comparisons"][0]["answers"]["exponential"]["0.005"]
    assert change["rounds"] >= 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("a.json", "--measure", "", ""), "--measure takes options of run, and no results"),
        (("--threads", "2", "a.json", "b.json"), "--threads: results are measured already"),
        (("--measure", "--no-such", ""), "--measure '--no-such': No such option '--no-such'"),
        (("--measure", "'", ""), "No closing quotation"),
        (("--measure", "--output x", ""), "--output is not about one side alone"),
        (("--measure", "", "--json"), "--json is not about one side alone"),
        (("--measure", "--threads many", ""), "is not a valid integer"),
        ((*SIMULATED, "--measure", "--percentile 95", ""), "the same --percentile"),
    ],
)
def test_wrong_options_are_told_before_anything_is_measured(
    words: tuple[str, ...], says: str
) -> None:
    """Status 2, and one line that says where."""
    ended = _compare(*words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert says in ended.stderr
    assert ended.stderr.count("\n") == 1
