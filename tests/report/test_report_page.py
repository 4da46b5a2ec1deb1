"""What the page of a report says, and what it never lets through."""

import json
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import optional
import page_documents as documents
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbench.contracts.errors import RequestError
from mlbench.report.html.facts import run_facts
from mlbench.report.html.origin import again_command, machine_section
from mlbench.report.html.run_sections import cautions
from mlbench.report.html.run_sentence import run_sentence
from mlbench.report.html.sources import distinct_names
from mlbench.report.html.sweep_facts import sweep_facts
from mlbench.report.html.write import write_report

pytest.importorskip("matplotlib", reason=optional.REPORT)
pytest.importorskip("jinja2", reason=optional.REPORT)
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}\x1b[2J"
Make = Callable[..., str]
RECORDED = Path(__file__).parent / "recorded_run.json"


class Reader(HTMLParser):
    """Collects tags, attributes, and the text of each kind of element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.attributes += attrs
        self._open.append(tag)

    def handle_data(self, data: str) -> None:
        """Note text."""
        if self._open and data.strip():
            self.text.setdefault(self._open[-1], []).append(data.strip())

    @property
    def words(self) -> str:
        """All text of the page but its style."""
        return " ".join(t for tag, own in self.text.items() if tag != "style" for t in own)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that makes the page of documents (by file name) and returns its HTML."""

    def page(**files: dict[str, Any]) -> str:
        paths = []
        for name, document in files.items():
            path = tmp_path / f"{name}.json"
            path.write_text(json.dumps(document))
            paths.append(path)
        write_report(paths, tmp_path / "page.html")
        return (tmp_path / "page.html").read_text()

    return page


def test_a_run_opens_with_its_answer(make: Make) -> None:
    """The heading has the rates and limits of Poisson arrivals; tables and charts follow."""
    page = make(run=documents.run_document())
    heading = Reader(page).text["h1"][0]
    assert heading == (
        "net.onnx serves 100 queries per second within 50 ms at the 99th percentile of the "
        "latency, and 120 within 100 ms, when queries arrive at random (Poisson) times."
    )
    for said in (
        "Some CPU",
        "90 of 100",
        "J per query",
        "0.25",
        "the service time's 99th percentile is over 20 ms",
    ):
        assert said in Reader(page).words
    assert "mlbench-coordinator run --model net.onnx --seed 7" in page
    assert page.count('<svg role="img"') == 12  # three charts of two kinds, wide and narrow


def test_the_rate_of_a_cluster_is_never_taken_for_that_of_one_host(make: Make) -> None:
    """The first sentence counts the hosts, and the machine's table names them."""
    document = documents.run_document()
    figures = {"hosts": 2, "names": "10.0.0.2, 10.0.0.3"}
    document["findings"] = [{"code": "cluster", "figures": figures, "text": "cluster"}]
    reader = Reader(make(run=document))
    assert " on 2 hosts serves " in reader.text["h1"][0]
    assert "2: 10.0.0.2, 10.0.0.3" in reader.text["td"]


def test_a_page_needs_no_other_file(make: Make) -> None:
    """No script, and no link but to places in the page itself."""
    reader = Reader(make(run=documents.run_document(), trial=documents.trial_document()))
    assert "script" not in reader.tags
    links = [value for name, value in reader.attributes if name in ("href", "src", "xlink:href")]
    assert all(value and value.startswith(("#", "data:,")) for value in links)
    assert "http" not in " ".join(reader.text["style"])


def test_charts_take_their_colours_from_the_page(make: Make) -> None:
    """No placeholder is left, nor a font; each ID is there once."""
    page = make(run=documents.run_document())
    reader = Reader(page)
    assert "#01" not in page
    assert "DejaVu" not in page
    ids = [value for name, value in reader.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_what_results_say_is_never_markup(make: Make) -> None:
    """Names, notes, reasons, settings and commands of a hostile file are shown as text."""
    run = documents.run_document(notes=[EVIL], cmdline=f"mlbench {EVIL}", started=EVIL)
    run["settings"] |= {"model": EVIL, "backend": EVIL, EVIL: EVIL}
    run["system"] |= {EVIL: {"x": EVIL}, "os": EVIL, "cpu": {"model": EVIL}}
    run["results"][EVIL] = documents.answers()
    run["results"]["linear"]["0.05"]["notes"] = [EVIL]
    run["scan"][EVIL] = documents.scan("linear", 4, 1.0)
    run["scan"]["linear"][EVIL] = next(iter(documents.scan("linear", 1, 1.0).values()))
    trial = {**documents.trial_document(), "arrivals": EVIL, "reasons": [EVIL], "host": {EVIL: 1}}
    sweep = documents.sweep_document()
    sweep["configurations"][0] |= {"name": EVIL, "reason": EVIL, "options": {EVIL: EVIL}}
    sweep["winners"]["exponential"]["0.05"]["name"] = EVIL
    page = make(run=run, trial=trial, sweep=sweep)
    reader = Reader(page)
    assert not {"script", "img", "iframe"} & set(reader.tags)
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert "\x1b" not in page
    assert "<script>alert(1)</script>" in reader.words


def test_an_older_file_says_what_it_lacks(make: Make) -> None:
    """Results without a model's curve and parts of the latency still give a report."""
    page = Reader(make(run=documents.older(documents.run_document()))).words
    assert "they have no model's curve" in page
    assert "do not say where the time went" in page


def test_a_recorded_run_gives_a_report(tmp_path: Path) -> None:
    """A file that a real run has written."""
    write_report([RECORDED], tmp_path / "page.html")
    assert "<h1>" in (tmp_path / "page.html").read_text()


def test_runs_are_laid_over_each_other(make: Make) -> None:
    """Two runs share charts, and the heading and the tables name both."""
    reader = Reader(make(before=documents.run_document(), after=documents.run_document(speed=1.2)))
    assert reader.text["h1"] == [
        "Within 100 ms at the 99th percentile, with random (Poisson) arrivals, before serves 120 "
        "and after serves 144 queries per second."
    ]
    assert {"before", "after"} <= set(reader.text["th"] + reader.text["td"])


def test_two_hundred_trials_are_below_a_megabyte(make: Make) -> None:
    """Also with two charts for each kind of arrivals, and all reasons."""
    assert len(make(run=documents.run_document(trials=200)).encode()) < 1_000_000


def test_a_trial_says_whether_it_met_its_limit(make: Make) -> None:
    """From what `trial --json` prints: percentiles, parts, workers, the verdict and its reason."""
    reader = Reader(make(trial=documents.trial_document()))
    assert reader.text["h1"][0].endswith("99 % within 60.0 ms: the limit was not kept.")
    assert "p99 60 ms is over 50 ms: 12 of 799 were later" in reader.words
    assert "waiting (due to start)" in reader.words
    assert "0.125 J per query" in reader.words


def test_every_query_of_a_trial_is_shown_over_its_time(tmp_path: Path) -> None:
    """From `trial --raw`: what was slow, and when; queries without an answer are counted."""
    n = 1000
    due_ns = np.arange(n, dtype=np.int64) * 10**7
    start_ns = due_ns + 10**6
    done_ns = start_ns + np.where(np.arange(n) == 700, 10**9, 5 * 10**6)
    status = np.ones(n, np.uint8)
    status[-1] = 0
    raw = tmp_path / "t.npz"
    documents.write_raw(raw, due_ns, start_ns, done_ns, status)
    write_report([raw], tmp_path / "page.html")
    reader = Reader((tmp_path / "page.html").read_text())
    assert reader.text["h1"] == [
        "Half of 1,000 queries were answered within 6.00 ms, and the slowest took 1.00 s."
    ]
    assert "1 of 1,000 queries failed or got no answer." in reader.words
    cells = reader.text["td"]
    assert float(cells[cells.index("1.00 s") - 3]) == pytest.approx(7.0, abs=0.2)


def test_a_sweep_shows_its_grid_and_its_winner(make: Make) -> None:
    """Who wins and whether it is more than noise, all rates, energy, and what failed and why."""
    page = make(sweep=documents.sweep_document())
    reader = Reader(page)
    assert reader.text["h1"] == [
        "Within 50 ms at the 99th percentile, with random (Poisson) arrivals, batch size 4 with "
        "threads 2 serves 212 queries per second, the most of 8 configurations: 1.07 times as much "
        "as batch size 8 with threads 2, more than noise."
    ]
    for said in ("worker 0 ended: out of memory", "212.1 (205.8 to 218.5) *", "0.141"):
        assert said in reader.words
    assert page.count('<svg role="img"') == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2", "it is not JSON"),
        ("[]", "neither a run, nor a trial, nor a sweep"),
        ('{"scan": {}, "results": []}', "not the results of a run"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, said: str) -> None:
    """With what is wrong, in one line."""
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(RequestError, match=said):
        write_report([path], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive"])
def test_a_damaged_raw_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """In one line, whatever it is instead."""
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(RequestError, match="not the queries of a trial"):
        write_report([path], tmp_path / "page.html")


def test_raw_columns_of_objects_are_not_loaded(tmp_path: Path) -> None:
    """A pickle in a file is refused unread."""
    path = tmp_path / "x.npz"
    np.savez(path, due_ns=np.array([{}], dtype=object))
    with pytest.raises(RequestError, match="not the queries of a trial"):
        write_report([path], tmp_path / "page.html")


def test_a_configuration_of_a_sweep_gives_the_report_of_a_run(tmp_path: Path) -> None:
    """FOLDER#NAME is the results in that folder of the sweep, and an empty name is refused."""
    own = tmp_path / "swept" / "batch_size=4"
    own.mkdir(parents=True)
    (own / "results.json").write_text(json.dumps(documents.run_document()))
    write_report([Path(f"{own.parent}#batch_size=4")], tmp_path / "page.html")
    assert "batch_size=4" in (tmp_path / "page.html").read_text()
    with pytest.raises(RequestError, match="expected FOLDER#NAME"):
        write_report([Path(f"{own.parent}#")], tmp_path / "page.html")


def test_a_page_never_takes_the_place_of_results(tmp_path: Path) -> None:
    """The same path for both is refused."""
    path = tmp_path / "results.json"
    path.write_text(json.dumps(documents.run_document()))
    with pytest.raises(RequestError, match="one of the results"):
        write_report([path], path)


def test_a_missing_library_is_named_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with the command that installs it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RequestError, match=r"pip install 'mlbench-coordinator\[report\]'"):
        write_report([RECORDED], tmp_path / "page.html")


def test_names_tell_results_apart() -> None:
    """As few parts of each path as do, without what all have in common."""
    paths = [Path("/runs/a/results.json"), Path("/runs/b/results.json")]
    assert distinct_names(paths) == ["a", "b"]
    assert distinct_names([Path("/x/t.json"), Path("/x/t.npz")]) == ["t.json", "t.npz"]
    assert distinct_names([Path("/x/t.json")] * 2) == ["t (1)", "t (2)"]


def test_invalid_trials_are_said_at_the_top() -> None:
    """How many they are, and the most frequent reason."""
    run = run_facts("r", documents.run_document(trials=20))
    assert cautions([run])[0].startswith("4 of 20 trials were invalid and count for nothing")


def test_a_run_without_an_answer_says_why() -> None:
    """Whether no rate keeps the limit, or nothing is known."""
    unmet = documents.answers()["0.02"]
    run = documents.run_document(results={"linear": {"0.02": unmet}})
    assert run_sentence(run_facts("r", run)) == (
        "No trial kept 20 ms at the 99th percentile of the latency, when queries arrive evenly "
        "spaced: the service time's 99th percentile is over 20 ms."
    )
    unmet["capacity_qps"] = None
    assert run_sentence(run_facts("r", run)).startswith("No answer: ")
    assert "no answer yet" in run_sentence(run_facts("r", {"results": {}, "scan": {}}))


def test_a_command_keeps_its_own_seed() -> None:
    """A seed is added only where none was typed; what is no command line is left out."""
    run = documents.run_document(cmdline="mlbench-coordinator run --seed=3")
    assert again_command(run_facts("r", run)) == "mlbench-coordinator run --seed=3"
    assert again_command(run_facts("r", documents.run_document(cmdline="'open"))) == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(["results", "scan", "settings", "system", "cmdline", "check_accuracy"])
INNER = st.sampled_from(["qps", "percentiles", "curve", "capacity_ci95", "reasons", "service_s"])


@given(st.dictionaries(KEYS, JSON), st.dictionaries(INNER, JSON))
def test_whatever_a_file_holds_is_read(outer: dict[str, Any], inner: dict[str, Any]) -> None:
    """Values of other types than expected count as unknown."""
    document = documents.run_document(trials=2)
    for table in (document["results"], document["scan"]):
        for entries in table.values():
            for entry in entries.values():
                entry.update(inner)
    run = run_facts("r", {**document, **outer})
    assert run_sentence(run)
    assert machine_section([run])
    assert sweep_facts({"configurations": [{"options": inner, "answers": outer}], **outer})


def test_a_trial_too_short_for_its_limit_may_tell_a_wider_one() -> None:
    """Its mark in charts is the verdict for that; it is not among those that count for nothing."""
    document = documents.run_document(trials=2)
    (entry,) = document["scan"]["linear"].values()
    entry |= {"verdict": "invalid", "judgements": {"0.05": {"verdict": "pass"}}}
    (trial, _) = run_facts("r", document).trials
    assert (trial.verdict, trial.mark) == ("invalid", "pass")
    assert cautions([run_facts("r", document)]) == []
