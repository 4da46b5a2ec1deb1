import numpy as np
import pytest

from mlbench.contracts.backend import WorkerSpec
from workers.backends.simulated import SimulatedBackend
from workers.feeds import Feeds
from workers.warm_up import WarmUpError, warm_up


class Watched:
    """A backend that keeps the samples of every batch it was given."""

    def __init__(self):
        self.batches = []

    def predict(self, feed):
        """Note the batch."""
        self.batches.append(feed["x"].tolist())


@pytest.fixture
def file(tmp_path):
    """Three samples: 0, 1, 2."""
    np.save(tmp_path / "x.npy", np.arange(3))
    return str(tmp_path / "x.npy")


def _warm_up(file, batch_size, seconds=0.0):
    spec = WorkerSpec(0, "", "watched", feeds={"x": file}, batch_size=batch_size, sample_count=3)
    backend = Watched()
    return backend.batches, warm_up(backend, Feeds(spec.feeds, batch_size), spec, seconds)


def test_every_size_class_is_warmed_up(file):
    """Sizes 1, 2, 4, ... and the largest are each served a few times, in rising order."""
    batches, _ = _warm_up(file, 6)
    sizes = [len(batch) for batch in batches]
    assert sorted(set(sizes)) == [1, 2, 4, 6]
    assert sizes == sorted(sizes)
    assert min(sizes.count(size) for size in set(sizes)) >= 5


def test_every_other_size_has_its_turn(file):
    """Where there is time, no size is new to the runtime when trials begin."""
    batches, _ = _warm_up(file, 7, seconds=0.05)
    sizes = [len(batch) for batch in batches]
    assert set(sizes) == set(range(1, 8))
    assert sizes[-3:] == [3, 5, 6]


def test_few_samples_are_repeated(file):
    """A batch larger than the samples goes around them."""
    batches, _ = _warm_up(file, 6)
    assert batches[-1] == [0, 1, 2, 0, 1, 2]


def test_the_service_time_is_told(file):
    """The figures are positive: for each query, and for the slowest batch."""
    _, found = _warm_up(file, 2)
    assert 0 < found.service_ns <= found.slowest_ns <= found.first_ns


def test_a_simulated_device_tells_its_own_time():
    """A simulated device needs no warming up: its time at the largest batch is known."""
    options = {"service_ms": "2", "per_item_ms": "0.5"}
    spec = WorkerSpec(0, "", "simulated", options=options, batch_size=3)
    found = warm_up(SimulatedBackend(spec), Feeds({}, 3), spec, seconds=9.0)
    assert (found.service_ns, found.slowest_ns) == (pytest.approx(1e6), pytest.approx(3e6))


class Shaky:
    """A backend that fails at these calls, counted from 1."""

    def __init__(self, *calls):
        self._failing = calls
        self._calls = 0

    def predict(self, feed):
        """Fail when it is time to."""
        assert feed
        self._calls += 1
        if self._calls in self._failing:
            raise OSError(f"call {self._calls}")


def _shake(file, *calls):
    spec = WorkerSpec(0, "", "shaky", feeds={"x": file}, batch_size=6, sample_count=3)
    return warm_up(Shaky(*calls), Feeds(spec.feeds, 6), spec, seconds=0.0)


def test_calls_that_fail_now_and_then_are_counted(file, capfd):
    """A warm-up goes on after failures that are not too many in a row, and tells their number."""
    assert _shake(file, 2, 3, 7, 8).service_ns > 0
    told = "4 of 20 calls of the warm-up failed, the last one with OSError: call 8"
    assert told in capfd.readouterr().err


@pytest.mark.parametrize(
    ("calls", "is_final", "why"),
    [
        ([1], True, "fails at its first query: OSError: call 1"),
        ([10, 11, 12], False, "fails in warm-up, at call 12: OSError: call 12"),
    ],
)
def test_a_model_that_fails_says_when(file, calls, is_final, why):
    """At its first call that is final; later, after some in a row, another start may help."""
    with pytest.raises(WarmUpError, match=why) as raised:
        _shake(file, *calls)
    assert raised.value.is_final == is_final


def test_answers_that_are_none_are_found_before_anything_is_measured(file):
    """One class for a whole batch is told by the warm-up."""

    class Constant(Shaky):
        def predict(self, feed):
            super().predict(feed)
            return np.zeros(1, np.int64)

    spec = WorkerSpec(0, "", "constant", feeds={"x": file}, batch_size=2, sample_count=3)
    with pytest.raises(WarmUpError, match=r"at call 8: .*predict returned \(1,\), expected \(2,\)"):
        warm_up(Constant(), Feeds(spec.feeds, 2), spec, seconds=0.0)
