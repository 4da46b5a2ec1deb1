import json
from importlib.resources import files

import jsonschema
import numpy as np
import pytest

SPREAD = ["mean", "50", "80", "90", "95", "99", "99.9", "max"]
KEYS = [
    *("arrivals", "target_qps", "offered_qps", "achieved_qps", "queries", "completed"),
    *("failed", "lost", "duration_s", "seed", "batch_size_mean", "latency_s", "queue_s"),
    *("service_s", "return_s", "send_lag_s", "coordinator_busy", "frames"),
    *(
        "queries_per_frame_mean",
        "verdict",
        "reasons",
        "findings",
        "host",
        "energy_j",
        "energy_per_query_j",
        "energy",
        "workers",
    ),
]
COLUMNS = {
    "id": np.uint32,
    "sample": np.uint32,
    "worker": np.uint16,
    "due_ns": np.int64,
    "sent_ns": np.int64,
    "start_ns": np.int64,
    "done_ns": np.int64,
    "status": np.uint8,
}
SCHEMA = json.loads(files("mlbench").joinpath("report/trial.schema.json").read_text())
SIMULATED = ("trial", "--backend", "simulated", "--backend-option", "service_ms=2")


@pytest.fixture(scope="module", params=["exponential", "linear"])
def told(request, process, tmp_path_factory):
    """One trial of 2,500 queries as users run it: kind, rate, its JSON, its raw columns."""
    kind, qps = request.param, {"exponential": 700, "linear": 900}[request.param]
    raw = tmp_path_factory.mktemp("trial") / "q.npz"
    words = ["trial", "--backend", "simulated", "--backend-option", "service_ms=1"]
    words += [
        "--qps",
        qps,
        "--arrivals",
        kind,
        "--duration",
        2_500 / qps,
        "--json",
        "--raw",
        raw,
        "--seed",
        11,
    ]
    result = process(*words)
    assert result.status == 0, result.err
    with np.load(raw) as file:
        columns = {name: file[name] for name in file.files}
    return kind, qps, json.loads(result.out), columns


def test_the_json_has_the_documented_keys(told):
    """One trial as JSON is exactly what the interface says, key by key."""
    _, _, document, _ = told
    assert list(document) == KEYS
    for stage in ("latency_s", "queue_s", "service_s", "return_s"):
        assert list(document[stage]) == SPREAD
    assert list(document["send_lag_s"]) == ["50", "99", "max"]
    assert list(document["workers"][0]) == ["device", "queries", "busy_fraction"]


@pytest.mark.parametrize("fail_p", [0, 0.2, 1])
def test_the_json_fits_its_schema(command, fail_p):
    """Documents of real trials follow the schema, also where some or all queries failed."""
    words = ("--backend", "faulty", "--backend-option", f"fail_p={fail_p}", "--qps", 200)
    result = command("trial", *words, "--duration", 0.3, "--max-latency", 0.05, "--json")
    assert result.out, result.err
    document = json.loads(result.out)
    jsonschema.validate(document, SCHEMA)
    assert (document["failed"] / document["queries"] > 0.05) is (fail_p > 0)


def test_every_query_is_counted_once(told):
    """completed + failed + lost == queries, and a healthy trial completes all."""
    _, _, document, columns = told
    assert document["completed"] + document["failed"] + document["lost"] == document["queries"]
    assert document["completed"] == document["queries"] == len(columns["id"]) == 2_500


def test_the_request_is_recorded(told):
    """Kind, rate and seed are in the JSON; without a limit there is no verdict."""
    kind, qps, document, _ = told
    assert (document["arrivals"], document["target_qps"]) == (kind, qps)
    assert document["seed"] == 11
    assert (document["verdict"], document["reasons"]) == (None, [])


def test_the_raw_columns_are_the_documented_ones(told):
    """Every query's times are saved, by id, all of one length."""
    _, _, _, columns = told
    assert {name: column.dtype for name, column in columns.items()} == COLUMNS
    assert np.array_equal(columns["id"], np.arange(2_500))
    assert all(column.shape == (2_500,) for column in columns.values())
    assert (columns["status"] == 1).all()


def test_the_offered_rate_is_the_requested_one(told):
    """Counted from the due times in the file, the rate is within 0.2 % of what was asked."""
    _, qps, document, columns = told
    span_s = (columns["due_ns"][-1] - columns["due_ns"][0]) * 1e-9
    assert 2_499 / span_s == pytest.approx(qps, rel=0.002)
    assert document["offered_qps"] == pytest.approx(2_499 / span_s)


def test_latencies_are_those_of_the_recursion(told):
    """Each is what a server of constant time gives for the due times, and no more than the lag."""
    _, _, document, columns = told
    service_ns, done_ns, dones_ns = 1_000_000, 0, []
    for due_ns in columns["due_ns"].tolist():
        done_ns = max(due_ns, done_ns) + service_ns
        dones_ns.append(done_ns)
    later_s = (columns["done_ns"] - np.array(dones_ns)) * 1e-9
    assert later_s.min() >= 0
    assert later_s.max() == pytest.approx(document["send_lag_s"]["max"], abs=1e-8)
    assert document["service_s"]["99"] == pytest.approx(service_ns * 1e-9)


def test_the_same_seed_gives_the_same_arrivals(command, tmp_path):
    """Two trials of one seed offer their queries at the same distances."""
    gaps_ns = []
    for name in ("a.npz", "b.npz"):
        words = ("--qps", 500, "--duration", 0.2, "--seed", 5, "--raw", tmp_path / name)
        assert command(*SIMULATED, *words).status == 0
        with np.load(tmp_path / name) as file:
            gaps_ns.append(np.diff(file["due_ns"]))
    assert np.array_equal(*gaps_ns)


def test_a_trial_that_misses_its_bound_ends_with_status_1(command):
    """A limit below the service time is not met: the verdict and its reasons say so."""
    words = ("--qps", 100, "--duration", 2, "--max-latency", 0.001, "--json")
    result = command(*SIMULATED, *words)
    document = json.loads(result.out)
    assert result.status == 1
    assert document["verdict"] in ("fail", "invalid")
    assert document["reasons"]


def test_a_trial_that_meets_its_bound_ends_with_status_0(command):
    """Status 0 means pass, and a host too busy to tell is no pass."""
    words = ("--qps", 100, "--duration", 2, "--max-latency", 5, "--json")
    result = command(*SIMULATED, *words)
    verdict = json.loads(result.out)["verdict"]
    assert (verdict, result.status) in [("pass", 0), ("invalid", 1)]


def test_without_json_there_is_a_table(command):
    """People get rows with names and units instead of JSON."""
    result = command(*SIMULATED, "--qps", 100, "--duration", 0.3)
    assert result.status == 0
    assert "latency" in result.out
    assert len(result.out.splitlines()) > 5


def test_percentiles_of_too_few_queries_are_null(command):
    """Ten queries cannot tell a p99: it is null and never NaN."""
    result = command(*SIMULATED, "--qps", 50, "--duration", 0.2, "--json")
    latency_s = json.loads(result.out)["latency_s"]
    assert latency_s["50"] is not None
    assert latency_s["99"] is None
    assert "NaN" not in result.out


def test_workers_and_batches_as_asked(command):
    """Two workers that batch up to four serve larger batches than one when overloaded."""
    words = ("--workers-per-device", 2, "--batch-size", 4, "--qps", 4_000, "--duration", 0.2)
    document = json.loads(command(*SIMULATED, *words, "--json").out)
    assert [worker["queries"] > 0 for worker in document["workers"]] == [True, True]
    assert 1 < document["batch_size_mean"] <= 4


@pytest.mark.parametrize("option", ["--time", "--budget", "--precision", "--output"])
def test_a_trial_rejects_the_options_of_a_run(refused, option):
    """Options of the search have no meaning for one trial."""
    assert option in refused("trial", "--qps", 10, option, 1)


def test_a_raw_file_of_another_form_is_refused(refused, tmp_path):
    """The ending of --raw says the form; one that is none is told before anything is measured."""
    line = refused(*SIMULATED, "--qps", 10, "--raw", tmp_path / "q.xlsx")
    assert line.endswith("q.xlsx: its name must end in .npz, .csv, .parquet or .hlog\n")


def test_the_raw_file_of_a_trial_may_be_a_table(command, tmp_path):
    """With .csv there is a line for each query, under the names of the columns."""
    words = ("--qps", 500, "--duration", 0.2, "--raw", tmp_path / "q.csv")
    assert command(*SIMULATED, *words).status == 0
    lines = (tmp_path / "q.csv").read_text().splitlines()
    assert lines[0].split(",") == list(COLUMNS)
    assert len(lines) == 101
