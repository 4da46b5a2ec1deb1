import re
from pathlib import Path

import numpy as np
import pytest

from workers.feeds import Feeds

PIXELS = np.arange(20, dtype=np.float32).reshape(10, 2)
LENGTHS = np.arange(10, dtype=np.int64) * 100


@pytest.fixture
def files(tmp_path):
    """Two inputs of ten samples each."""
    for name, values in (("pixels", PIXELS), ("length", LENGTHS)):
        np.save(tmp_path / f"{name}.npy", values)
    return {name: str(tmp_path / f"{name}.npy") for name in ("pixels", "length")}


@pytest.mark.parametrize("samples", [[3], [2, 3, 4], [0, 9, 4], [5, 5, 5], [4, 3, 2]])
def test_a_batch_holds_its_samples_in_order(files, samples):
    """Contiguous or not, row i of every input is the sample of query i."""
    feed = Feeds(files, batch_size=4).batch(np.array(samples, np.uint32))
    assert np.array_equal(feed["pixels"], PIXELS[samples])
    assert np.array_equal(feed["length"], LENGTHS[samples])


def test_one_sample_is_a_batch_of_one(files):
    """The feed of a single query keeps the batch's axis."""
    feed = Feeds(files, batch_size=1).one(7)
    assert feed["pixels"].shape == (1, 2)
    assert feed["length"].tolist() == [700]


def test_contiguous_samples_are_views_and_others_share_one_buffer(files):
    """Nothing is copied that lies together; the rest is gathered where it was before."""
    feeds = Feeds(files, batch_size=4)
    run = feeds.batch(np.array([2, 3], np.uint32))["pixels"]
    assert not run.flags.writeable
    first = feeds.batch(np.array([1, 3], np.uint32))["pixels"]
    second = feeds.batch(np.array([0, 5, 9], np.uint32))["pixels"]
    assert np.shares_memory(first, second)


def test_a_backend_without_inputs_gets_an_empty_feed():
    """A device that takes no samples is fed nothing, for any batch."""
    feeds = Feeds({}, batch_size=4)
    assert feeds.batch(np.array([0], np.uint32)) == {}
    assert feeds.batch(np.array([0, 1, 2], np.uint32)) == {}


def _mapped_kib(file):
    """Return how much of a file is in this process's page tables (proc(5), smaps)."""
    maps = Path("/proc/self/smaps").read_text().split(str(file), 1)
    return int(re.search(r"^Rss:\s+(\d+) kB", maps[1], re.MULTILINE)[1]) if maps[1:] else 0


def test_samples_that_were_touched_are_mapped(tmp_path):
    """No query has to map a page of the samples that trials draw from, only of the others."""
    file = tmp_path / "x.npy"
    np.save(file, np.zeros((64, 1 << 20), np.uint8))
    feeds = Feeds({"x": str(file)}, batch_size=1)
    feeds.touch(32)
    mapped_kib = _mapped_kib(file)
    assert 32 * 1024 <= mapped_kib < 60 * 1024
    feeds.touch(64)
    assert _mapped_kib(file) >= 64 * 1024


def test_an_input_without_a_batch_is_fed_as_it_is(tmp_path):
    """A scalar stays a scalar, beside inputs that come in batches, and alone."""
    np.save(tmp_path / "x.npy", np.arange(8, dtype=np.float32).reshape(4, 2))
    np.save(tmp_path / "s.npy", np.float32([5, 6, 7, 8]))
    files = {name: str(tmp_path / f"{name}.npy") for name in ("x", "s")}
    feeds = Feeds(files, batch_size=3, whole=("s",))
    assert feeds.one(2)["s"].shape == ()
    assert feeds.one(2)["s"] == 7
    for samples in ([1, 2, 3], [3, 0, 1]):
        feed = feeds.batch(np.array(samples, np.uint32))
        assert feed["x"].shape == (3, 2)
        assert feed["s"] == 5 + samples[0]
    feeds.touch(4)


def test_empty_tensors_are_fed(tmp_path):
    """A dimension of 0, as the past of a text that begins has, is fed like any other."""
    np.save(tmp_path / "past.npy", np.zeros((3, 0, 4), np.float32))
    feeds = Feeds({"past": str(tmp_path / "past.npy")}, batch_size=2)
    feeds.touch(3)
    assert feeds.one(1)["past"].shape == (1, 0, 4)
    assert feeds.batch(np.array([2, 0], np.uint32))["past"].shape == (2, 0, 4)
