import numpy as np
import pytest

from mlbench.contracts.backend import WorkerSpec
from workers.backends.simulated import SimulatedBackend
from workers.feeds import Feeds
from workers.warm_up import warm_up


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


def _warm_up(file, batch_size):
    spec = WorkerSpec(0, "", "watched", feeds={"x": file}, batch_size=batch_size, sample_count=3)
    backend = Watched()
    per_query_ns = warm_up(backend, Feeds(spec.feeds, batch_size), spec, seconds=0.0)
    return backend.batches, per_query_ns


def test_every_size_class_is_warmed_up(file):
    """Sizes 1, 2, 4, ... and the largest are each served a few times, in rising order."""
    batches, _ = _warm_up(file, 6)
    sizes = [len(batch) for batch in batches]
    assert sorted(set(sizes)) == [1, 2, 4, 6]
    assert sizes == sorted(sizes)
    assert min(sizes.count(size) for size in set(sizes)) >= 5


def test_few_samples_are_repeated(file):
    """A batch larger than the samples goes around them."""
    batches, _ = _warm_up(file, 6)
    assert batches[-1] == [0, 1, 2, 0, 1, 2]


def test_the_service_time_is_told(file):
    """The figure is a positive time for each query."""
    assert _warm_up(file, 1)[1] > 0


def test_a_simulated_device_tells_its_own_time():
    """A simulated device needs no warming up: its time at the largest batch is known."""
    options = {"service_ms": "2", "per_item_ms": "0.5"}
    spec = WorkerSpec(0, "", "simulated", options=options, batch_size=3)
    assert warm_up(SimulatedBackend(spec), Feeds({}, 3), spec, seconds=9.0) == pytest.approx(1e6)
