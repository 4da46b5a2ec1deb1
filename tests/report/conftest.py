"""Trials and answers with known figures."""

import numpy as np
import pytest

from mlbench.arrivals.linear import Linear
from mlbench.contracts import wire
from mlbench.contracts.findings import Finding
from mlbench.outcomes import Answer, Judgement, Summary, Trial, TrialRequest
from mlbench.records import (
    BusyProcess,
    Completions,
    CoreShare,
    Energy,
    GpuAccount,
    HostAccount,
    Schedule,
    WorkerAccount,
)

MS = 1_000_000
OVER = Finding(
    "over_limit",
    {"percentile": 99.0, "latency_s": 0.3, "max_latency_s": 0.2, "late": 50, "queries": 501},
)
TOO_SLOW = Finding(
    "service_over_limit", {"percentile": 99.0, "service_s": 0.0121, "max_latency_s": 0.01}
)


@pytest.fixture
def summary() -> Summary:
    """The figures of the documented log line."""
    values = (0.0085, 0.0093, 0.0095, 0.0096, 0.009488344192504883, None)
    names = ("50", "80", "90", "95", "99", "99.9")
    told = dict(zip(names, values, strict=True))
    return Summary(99.81, 0.008619, 5.02, 501, told, max_s=0.01051)


@pytest.fixture
def trial(summary: Summary) -> Trial:
    """A trial at 100.7 qps that serves two targets."""
    request = TrialRequest(Linear(), 100.7, 501, 7, 0.01)
    judgements = {0.01: Judgement("pass"), 0.2: Judgement("fail", (OVER,))}
    host = HostAccount(
        CoreShare((0, 1), 0.3, 0.01),
        (CoreShare((1,), 0.5, 0.01),),
        (BusyProcess(7, "other", 0.6),),
        gpus=(GpuAccount(0, 60, 1980, 2**30, (), 1905, 61, 26, 0),),
        energy=Energy(5.1, 250.5, None, 500.0),
    )
    lag_s = {"50": 0.00002, "99": 0.00009, "max": 0.0004}
    return Trial(request, summary, judgements, 100.7, lag_s, host)


@pytest.fixture
def answers(trial: Trial) -> list[Answer]:
    """One target met, one met below ten queries per second, one unmet."""
    return [
        Answer("linear", 0.01, 127.9, trial, 128.3, (126.0, 130.5), 3, 9.5, 1503),
        Answer("linear", 0.1, 9.379, trial, 9.4, (9.0, float("inf")), 2, 5.0, 90),
        Answer("exponential", 0.01, None, None, None, None, 4, 7.5, 800, (TOO_SLOW,)),
    ]


@pytest.fixture
def completions() -> Completions:
    """Six queries, 10 ms apart: four completed (a single and a batch of 3), one failed, one lost.

    Each is pushed 100 ms ahead, starts 3 ms after it was due, and takes 3 ms.
    """
    due_ns = np.arange(6, dtype=np.int64) * 10 * MS
    start_of_trial_ns = 5_000 * MS
    start_ns, done_ns = due_ns + start_of_trial_ns + 3 * MS, due_ns + start_of_trial_ns + 6 * MS
    start_ns[5] = done_ns[5] = 0
    return Completions(
        schedule=Schedule("linear", 100.0, 3, due_ns),
        start_of_trial_ns=start_of_trial_ns,
        sent_ns=due_ns + start_of_trial_ns - 100 * MS,
        start_ns=start_ns,
        done_ns=done_ns,
        worker=np.zeros(6, np.uint16),
        batch=np.array([1, 3, 3, 3, 1, 0], np.uint16),
        status=np.array([wire.COMPLETED] * 4 + [wire.FAILED, wire.LOST], np.uint8),
        sample=np.array([3, 0, 1, 2, 3, 0], np.uint32),
        workers=(WorkerAccount("cpu", 5, 0.3),),
        frames=4,
        coordinator_busy=0.02,
    )
