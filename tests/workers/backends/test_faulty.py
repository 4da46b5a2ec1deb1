import os
import signal

import numpy as np
import pytest

from mlbench.contracts import wire
from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.errors import RequestError
from mlbench.pool.answers import Asked, find_wrong
from workers.backends.faulty import LIES, FaultyBackend


def _backend(index=0, **options):
    words = {key: str(value) for key, value in options.items()}
    return FaultyBackend(WorkerSpec(index, "", "faulty", options=words))


@pytest.fixture
def killed(monkeypatch):
    """The signals that a backend sent to this process, which does not get them."""
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, word: sent.append((pid, word)))
    return sent


def _answers():
    answers = np.zeros(2, wire.COMPLETION)
    answers["id"], answers["status"], answers["batch"] = [3, 4], wire.COMPLETED, 1
    answers["start_ns"], answers["done_ns"] = [10, 20], [20, 30]
    return answers


def _is_believed(frame):
    """Whether a frame of answers in trial 5 is."""
    try:
        _, trial, answers = wire.unpack(frame)
    except ValueError:
        return False
    asked = Asked(answers["id"] < 5, np.array([10, 20]), free_ns=0, now_ns=30, batch_size=1)
    return trial == 5 and find_wrong(answers, asked) is None


@pytest.mark.parametrize("lie", LIES)
def test_no_lie_is_believed(monkeypatch, lie):
    """What this backend makes of good answers breaks a rule; before its time it tells the truth."""
    monkeypatch.setattr(wire, "pack_completions", wire.pack_completions)
    backend = _backend(lie=lie, lie_after=3)
    backend.serve(0, 2)
    assert _is_believed(wire.pack_completions(5, _answers()))
    backend.serve(0, 1)
    assert not _is_believed(wire.pack_completions(5, _answers()))


def test_it_dies_when_it_was_told_to(killed):
    """At the query asked for, and by the signal asked for."""
    backend = _backend(die_after=3, die_by="SIGSEGV")
    backend.serve(0, 2)
    assert killed == []
    backend.serve(0, 1)
    assert killed == [(os.getpid(), signal.SIGSEGV)]


def test_one_fault_is_enough_where_it_was_asked_for_once(killed, tmp_path):
    """The first worker that breaks makes the file, and the others see it."""
    for _ in range(3):
        _backend(die_after=1, once=tmp_path / "broken").serve(0, 1)
    assert len(killed) == 1


def test_only_the_worker_asked_for_breaks(killed):
    """The others are simulated devices."""
    for index in (0, 1):
        _backend(index, die_after=1, only_worker=1).serve(0, 1)
    assert len(killed) == 1


def test_batches_fail_with_the_probability_asked_for():
    """About as many as that raise, the same ones for the same seed."""

    def failures():
        backend, count = _backend(fail_p=0.3), 0
        for _ in range(1_000):
            try:
                backend.serve(0, 1)
            except OSError:
                count += 1
        return count

    assert failures() == failures() == pytest.approx(300, abs=60)


def test_what_is_left_alone_is_a_simulated_device():
    """Without faults its times are those of the device; a leak only takes memory."""
    backend = _backend(service_ms=3, leak_mb=0.1)
    assert backend.serve(0, 1) == 3_000_000
    assert backend.describe() == {"name": "faulty", "service_ms": 3.0}


@pytest.mark.parametrize(
    ("option", "value"),
    [("load", "explode"), ("lie", "clas"), ("die_by", "SIGNONE"), ("hang_p", 2), ("leak_mb", -1)],
)
def test_a_fault_that_is_none_is_refused(option, value):
    """One line names the option, and what was meant."""
    with pytest.raises(RequestError, match=f"backend option {option}={value}"):
        _backend(**{option: value})
