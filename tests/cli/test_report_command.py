"""`report`: from files of results to a page."""

import json
from pathlib import Path

import optional
import pytest

pytest.importorskip("matplotlib", reason=optional.REPORT)
pytest.importorskip("jinja2", reason=optional.REPORT)
RECORDED = Path(__file__).parents[1] / "report" / "recorded_run.json"


def test_results_here_are_reported_by_default(command, monkeypatch, tmp_path):
    """Without words `report` makes report.html of results.json; stdout stays empty."""
    monkeypatch.chdir(tmp_path)
    Path("results.json").write_bytes(RECORDED.read_bytes())
    result = command("report")
    assert (result.status, result.out) == (0, "")
    assert result.err.startswith("report.html: ")
    assert Path("report.html").read_text().startswith("<!doctype html>")


def test_the_json_of_a_trial_is_reported(command, tmp_path):
    """What `trial --json` prints is read as it is."""
    trial = command(
        "trial", "--backend", "simulated", "--qps", 500, "--duration", 0.5, "--json", "--quiet"
    )
    assert trial.status == 0, trial.err
    path = tmp_path / "trial.json"
    path.write_text(trial.out)
    assert json.loads(trial.out)["queries"] == 250
    result = command("report", path, "-o", tmp_path / "page.html")
    assert result.status == 0
    assert "At 500.0 queries per second" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("words", [["none.json"], ["."], ["results.json", "-o", "results.json"]])
def test_what_is_no_results_is_refused(refused, monkeypatch, tmp_path, words):
    """A file that is not there, a folder without results, and a page in place of results."""
    monkeypatch.chdir(tmp_path)
    if "-o" in words:
        Path("results.json").write_bytes(RECORDED.read_bytes())
    assert words[0] in refused("report", *words)


def test_a_table_is_written_by_its_ending(command, tmp_path):
    """With -o FILE.csv the trials of a result come out as a table, a line each below the names."""
    table = tmp_path / "trials.csv"
    result = command("report", RECORDED, "-o", table)
    assert (result.status, result.out) == (0, "")
    trials = [key for kind in json.loads(RECORDED.read_text())["scan"].values() for key in kind]
    assert len(table.read_text().splitlines()) == 1 + len(trials)


def test_a_table_is_of_one_result(refused, tmp_path):
    """Two results have no common table, and the line says so."""
    line = refused("report", RECORDED, RECORDED, "-o", tmp_path / "trials.csv")
    assert "a table takes one file, not 2" in line
