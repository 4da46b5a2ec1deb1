import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlbench.contracts.findings import Finding
from mlbench.outcomes import Judgement
from mlbench.queueing.line import Queue
from mlbench.records import Completions, Energy, HostAccount
from mlbench.report.notation import duration_text, joules_text
from mlbench.report.raw import save_raw
from mlbench.report.trial_json import trial_document as document_of
from mlbench.report.trial_table import trial_rows
from mlbench.trial.replay import send_lag_ns

MS = 1_000_000
KEYS = [
    "arrivals", "target_qps", "offered_qps", "achieved_qps", "queries", "completed", "failed",
    "lost", "duration_s", "seed", "batch_size_mean", "latency_s", "queue_s", "service_s",
    "return_s", "send_lag_s", "coordinator_busy", "frames", "queries_per_frame_mean",
    "verdict", "reasons", "findings", "host", "energy_j", "energy_per_query_j",
    "energy", "workers",
]  # fmt: skip
LOST = Finding("queries_lost", {"lost": 1, "queries": 6})
SPREAD = ["mean", "50", "80", "90", "95", "99", "99.9", "max"]


def trial_document(
    completions: Completions, queue: Queue, judgement: Judgement | None = None
) -> dict[str, Any]:
    """Return the trial's JSON with the lag of this queue."""
    return document_of(completions, send_lag_ns(completions, queue), judgement)


def test_keys_of_a_trial(completions: Completions) -> None:
    """A trial's JSON has exactly the documented keys, whatever is unknown."""
    document = trial_document(completions, Queue())
    assert list(document) == KEYS
    for stage in ("latency_s", "queue_s", "service_s", "return_s"):
        assert list(document[stage]) == SPREAD
    assert list(document["send_lag_s"]) == ["50", "99", "max"]
    json.dumps(document, allow_nan=False)


def test_every_query_is_counted_once(completions: Completions) -> None:
    """Completed, failed and lost add up to the queries."""
    document = trial_document(completions, Queue())
    counts = [document[key] for key in ("queries", "completed", "failed", "lost")]
    assert counts == [6, 4, 1, 1]


def test_stages_add_up(completions: Completions) -> None:
    """Waiting and service add up to the latency; what the generator adds is part of waiting."""
    document = trial_document(completions, Queue())
    means = [document[key]["mean"] for key in ("queue_s", "service_s", "latency_s")]
    assert means == [0.003, 0.003, 0.006]
    assert document["send_lag_s"] == {"50": 0.003, "99": None, "max": 0.003}
    assert document["return_s"] == dict.fromkeys(SPREAD)


def test_return_time_runs_from_done(completions: Completions) -> None:
    """The way back is the time from the device's answer to the coordinator's sight of it."""
    document = trial_document(
        replace(completions, returned_ns=completions.done_ns + 4 * MS), Queue()
    )
    assert document["return_s"]["max"] == 0.004


def test_rates_and_means(completions: Completions) -> None:
    """One single and one batch of three are two batches; six queries in four frames."""
    document = trial_document(completions, Queue())
    assert document["batch_size_mean"] == pytest.approx(2)
    assert document["queries_per_frame_mean"] == 1.5
    assert document["duration_s"] == pytest.approx(0.046)
    assert document["achieved_qps"] == pytest.approx(4 / 0.046)
    assert document["offered_qps"] == pytest.approx(100)


def test_verdict_is_null_without_a_limit(completions: Completions) -> None:
    """Without a judgement the verdict is null; with one, it and its reasons are told."""
    assert trial_document(completions, Queue())["verdict"] is None
    judged = trial_document(completions, Queue(), Judgement("invalid", (LOST,)))
    assert judged["findings"] == [
        {"code": "queries_lost", "figures": LOST.figures, "text": judged["reasons"][0]}
    ]
    assert (judged["verdict"], judged["reasons"]) == ("invalid", ["1 of 6 queries got no answer"])


def test_a_trial_without_answers(completions: Completions) -> None:
    """When every query was lost unsent, all figures are null and nothing fails."""
    nothing = np.zeros(6, np.int64)
    dead = replace(
        completions,
        sent_ns=nothing,
        start_ns=nothing,
        done_ns=nothing,
        status=np.zeros(6, np.uint8),
        frames=0,
    )
    document = trial_document(dead, Queue())
    assert document["lost"] == 6
    assert document["batch_size_mean"] is None
    assert document["send_lag_s"] == {"50": None, "99": None, "max": None}
    json.dumps(document, allow_nan=False)
    assert trial_rows(document)


def test_raw_columns(completions: Completions, tmp_path: Path) -> None:
    """The raw file holds each query's columns, without pickle."""
    save_raw(tmp_path / "q.npz", completions)
    with np.load(tmp_path / "q.npz", allow_pickle=False) as raw:
        assert sorted(raw) == sorted(
            ["id", "sample", "worker", "due_ns", "sent_ns", "start_ns", "done_ns", "status"]
        )
        assert raw["sample"].tolist() == [3, 0, 1, 2, 3, 0]
        assert raw["due_ns"].tolist() == completions.due_ns.tolist()
        assert raw["status"].tolist() == [1, 1, 1, 1, 2, 0]


def test_rows_for_people(completions: Completions) -> None:
    """The table names each stage in plain words and units, and leaves out what is unknown."""
    rows = dict(trial_rows(trial_document(completions, Queue(), Judgement("fail", (LOST,)))))
    assert rows["latency"] == "mean 6.00 ms, p50 6.00 ms, max 6.00 ms"
    assert rows["queries"] == "6: 4 completed, 1 failed, 1 lost, in 0.05 s"
    assert rows["worker 0"] == "cpu: 5 queries, busy 30.0%"
    assert (rows["verdict"], rows["reason"]) == ("fail", "1 of 6 queries got no answer")
    assert "way back" not in rows


def test_energy_is_told_by_its_sources(completions: Completions) -> None:
    """Joules in all and for each completed query; a part that is not known is null, not 0."""
    energy = Energy(0.05, package_j=1.5, gpu_j=6.5)
    host = HostAccount(energy=energy)
    document = trial_document(replace(completions, host=host), Queue())
    assert (document["energy_j"], document["energy_per_query_j"]) == (8.0, 2.0)
    assert document["energy"] == {
        "measured_s": 0.05, "package_j": 1.5, "dram_j": None, "gpu_j": 6.5
    }  # fmt: skip
    assert "energy" not in document["host"]
    rows = dict(trial_rows(document))
    assert rows["energy"] == (
        "2.00 J a query, 8.00 J in all, 160.0 W (CPU packages 1.50 J, GPUs 6.50 J)"
    )


def test_unknown_energy_is_null_with_the_reason(completions: Completions) -> None:
    """What the machine does not tell is null, the reason is a finding, and no row shows it."""
    host = HostAccount(energy=Energy(0.05, why_no_cpu="no counters", why_no_gpu="no package"))
    document = trial_document(replace(completions, host=host), Queue())
    assert (document["energy_j"], document["energy_per_query_j"]) == (None, None)
    assert [(found["code"], found["text"]) for found in document["findings"]] == [
        ("cpu_energy_unknown", "the energy of the CPU is not known: no counters"),
        ("gpu_energy_unknown", "the energy of the GPU is not known: no package"),
    ]
    assert "energy" not in dict(trial_rows(document))
    assert trial_document(completions, Queue())["energy"] is None


@pytest.mark.parametrize(
    ("joules", "text"), [(0.00321, "3.21 mJ"), (0.9996, "1.00 J"), (85.34, "85.3 J")]
)
def test_joules_have_three_digits(joules: float, text: str) -> None:
    """Energies are shown in the unit that gives three digits that count."""
    assert joules_text(joules) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0000853, "85.3 us"), (0.0121, "12.1 ms"), (2.0, "2.00 s"), (0.9996, "1.00 s"),
     (0.0, "0.00 us"), (0.00099996, "1.00 ms"), (1234.0, "1,234 s")],
)  # fmt: skip
def test_durations_have_three_digits(seconds: float, text: str) -> None:
    """Durations are shown in the unit that gives three digits that count."""
    assert duration_text(seconds) == text
