from types import SimpleNamespace

import pytest

from mlbench.bench.limits import check_queries, check_workers
from mlbench.bench.search import RateSearch
from mlbench.bench.settings import RunSettings, make_settings
from mlbench.contracts.errors import RequestError

GIB = 1 << 30


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 4 GiB to spare."""
    monkeypatch.setattr("mlbench.host.memory.available_bytes", lambda: 4 * GIB)


@pytest.mark.usefixtures("memory")
def test_a_trial_must_fit_in_memory() -> None:
    """A trial of too many queries is told with what it needs, what there is, and what to lower."""
    check_queries(25_000_000, "--time")
    words = r"30,000,000 queries in one trial need 4\.5 GiB, 4\.0 GiB are available; lower --time"
    with pytest.raises(RequestError, match=words):
        check_queries(30_000_000, "--time")


@pytest.mark.usefixtures("memory")
def test_workers_must_fit_in_memory() -> None:
    """So do processes."""
    check_workers(64)
    with pytest.raises(RequestError, match="lower --workers-per-device"):
        check_workers(1024)


def test_queries_are_numbered_in_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory is without end, a trial still is not."""
    monkeypatch.setattr("mlbench.host.memory.available_bytes", lambda: 1 << 60)
    with pytest.raises(RequestError, match="too many: lower --time"):
        check_queries(2**31 + 1, "--time")


def test_a_search_ends_before_a_trial_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which option to lower, and keeps the answers that it has."""
    monkeypatch.setattr("mlbench.host.memory.available_bytes", lambda: 1000)
    pool = SimpleNamespace(saturated_qps=1000.0, size=1)
    search = RateSearch(make_settings(RunSettings, {"backend": "null"}, {}), print)
    with pytest.raises(RequestError, match="lower --time"):
        search.on(pool)
    assert len(search.answers()) == 8
