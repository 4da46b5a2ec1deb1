"""What is refused about clusters before anything is started."""

import subprocess
import sys

import pytest

from mlbench.bench.settings import RunSettings, make_settings
from mlbench.cluster.connect import check_cluster
from mlbench.contracts.errors import RequestError


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"hosts": 2}, "--hosts: only with --cluster"),
        ({"split": "random"}, "--split: only with --cluster"),
        ({"insecure": True}, "--insecure: only with --cluster"),
        ({"cluster": "auto", "hosts": 0}, "--hosts 0: "),
        ({"cluster": "auto", "split": "rand"}, "--split rand: "),
        (
            {"cluster": "auto", "on_failure": "continue"},
            "--on-failure continue: not with --cluster",
        ),
    ],
)
def test_wrong_combinations_are_refused(options: dict[str, object], reason: str) -> None:
    """Options that mean nothing together are a wrong request, in one line."""
    with pytest.raises(RequestError) as refused:
        make_settings(RunSettings, {"backend": "simulated", **options}, {})
    assert str(refused.value).startswith(reason)


def test_a_client_address_is_refused() -> None:
    """Only a host of the cluster itself can be the coordinator's."""
    pytest.importorskip("ray")
    with pytest.raises(RequestError, match="HOST:PORT"):
        check_cluster("ray://x:1", insecure=False)


def test_a_cluster_without_a_token_is_refused(monkeypatch) -> None:
    """Without a token, or --insecure, nobody is even asked."""
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(RequestError, match="set RAY_AUTH_MODE=token"):
        check_cluster("127.0.0.1:1", insecure=False)


def test_a_run_on_one_host_loads_no_ray() -> None:
    """Whoever does not ask for a cluster pays nothing for it."""
    code = "import sys, mlbench.bench.run, mlbench.bench.trial; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
