"""Whole commands on namespaces as hosts, each with a Ray node of its own."""

import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE, CompletedProcess

import cluster_namespaces
import pytest

WHY_NOT = cluster_namespaces.why_not()
pytestmark = [pytest.mark.cluster, pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))]
SIMULATED = ("--backend", "simulated", "--backend-option", "service_ms=5")


@pytest.fixture(scope="module")
def only_here(tmp_path_factory) -> Path:
    """Return a folder that the head sees and hosts do not."""
    return tmp_path_factory.mktemp("only-here")


@pytest.fixture(scope="module")
def cluster(only_here) -> Iterator[cluster_namespaces.Cluster]:
    """Two hosts, a spare one, and a head where commands run."""
    with cluster_namespaces.Cluster(3, hidden=only_here) as running:
        yield running


@pytest.fixture(scope="module")
def run(cluster) -> Callable[..., CompletedProcess[str]]:
    """Return a function that runs `mlbench-coordinator` on the head."""

    def call(*words: object, **environment: str) -> CompletedProcess[str]:
        command = [sys.executable, "-m", "mlbench", *map(str, words)]
        process = cluster.popen(command, extra=environment, stdout=PIPE, stderr=PIPE)
        out, err = process.communicate(timeout=90)
        return CompletedProcess(command, process.returncode, out, err)

    return call


def _trial(*words: object) -> list[object]:
    return ["trial", "--cluster", "auto", *SIMULATED, "--json", *words]


def test_hosts_play_a_trial_together(run) -> None:
    """Each host serves its part, all queries are accounted for, and the trial has a verdict."""
    ended = run(*_trial("--hosts", 2, "--qps", 200, "--duration", 3, "--max-latency", 0.2))
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["completed"] == told["queries"] == 600
    assert sum(host["queries"] for host in told["hosts"]) == 600
    assert [worker["queries"] for worker in told["workers"]] == [
        host["completed"] for host in told["hosts"]
    ]
    assert told["verdict"] == "pass"


def test_a_run_on_hosts_saves_its_results(run, tmp_path) -> None:
    """`run` finds an answer on two hosts, and says which hosts these were."""
    file: Path = tmp_path / "results.json"
    options = (
        "--hosts",
        2,
        "--max-latency",
        0.05,
        "--arrivals",
        "linear",
        "--budget",
        5,
        "--time",
        2,
    )
    ended = run("run", "--cluster", "auto", *SIMULATED, *options, "--output", file)
    assert ended.returncode == 0, ended.stderr
    saved = json.loads(file.read_text())
    assert saved["results"]["linear"]["0.05"]["capacity_qps"] == pytest.approx(400, rel=0.02)
    (found,) = [one for one in saved["findings"] if one["code"] == "cluster"]
    assert found["figures"]["hosts"] == 2


def test_a_model_that_hosts_lack_is_sent_once(run, only_here, models) -> None:
    """Model and samples of the coordinator's host reach the others, and are there the next time."""
    pytest.importorskip("onnxruntime")
    model = only_here / "model.onnx"
    model.write_bytes(models["classifier"].read_bytes())
    words = ["trial", "--cluster", "auto", "--hosts", 2, "--model", model, "--dataset", "synthetic"]
    words += ["--count", 10, "--threads", 1, "--qps", 50, "--duration", 1, "--json"]
    cache = {"MLBENCH_CACHE": str(only_here / "cache")}
    for times in (3, 0):  # the model, its samples, and each only at first
        ended = run(*words, **cache)
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["completed"] == 50
        assert ended.stderr.count("to 2 hosts: 100%") in range(max(times - 1, 0), times + 1)


def test_strangers_get_nowhere(run, tmp_path) -> None:
    """Neither without a token nor with a wrong one is anything run, and the reason is told."""
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64)
    words = _trial("--qps", 100, "--duration", 1)
    for environment, reason in (
        ({"RAY_AUTH_MODE": "disabled"}, "set RAY_AUTH_MODE=token"),
        ({"RAY_AUTH_TOKEN_PATH": str(wrong)}, "asks for another token"),
    ):
        ended = run(*words, **environment)
        assert ended.returncode == 2
        assert reason in ended.stderr
        assert ended.stderr.count("\n") == 1
    assert run(*words, "--insecure", RAY_AUTH_MODE="disabled").returncode == 2


def test_more_hosts_than_there_are_is_told(run) -> None:
    """Asking for too many hosts is a wrong request that names those that are there."""
    ended = run(*_trial("--hosts", 9, "--qps", 100, "--duration", 1))
    assert ended.returncode == 2
    assert "the cluster has 3: 10." in ended.stderr


def test_a_silent_host_is_named_and_replaced(cluster) -> None:
    """A host that stands still spoils a trial; a spare takes its place, and it is played again."""
    command = [sys.executable, "-m", "mlbench", *map(str, _trial("--hosts", 2, "--qps", 200))]
    trial = cluster.popen([*command, "--duration", "4"], stdout=PIPE, stderr=PIPE)
    told = iter(trial.stderr)
    begun = next(line for line in told if "clocks are known" in line)
    victim = next(host for host in cluster.hosts if host.address in begun)
    time.sleep(1)
    try:
        victim.signal(signal.SIGSTOP)
        stopped_s = time.monotonic()
        named = next(line for line in told if re.search(r"warning: host \S+ is silent", line))
        assert time.monotonic() - stopped_s < 2
        assert victim.address in named
        out, _ = trial.stdout.read(), trial.stderr.read()
    finally:
        victim.signal(signal.SIGCONT)
    assert trial.wait() == 0
    names = [host["name"] for host in json.loads(out)["hosts"]]
    assert victim.address not in names
    assert len(names) == 2
