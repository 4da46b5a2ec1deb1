import numpy as np
import pytest

from mlbench.contracts.cache import open_samples


def test_samples_are_mapped_read_only(tmp_path):
    """A worker sees the samples of the file and cannot change them."""
    samples = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(tmp_path / "x.npy", samples)
    mapped = open_samples(tmp_path / "x.npy")
    assert np.array_equal(mapped, samples)
    assert not mapped.flags.writeable


def test_a_pickled_array_is_refused(tmp_path):
    """An array of objects would have to be unpickled, and is not."""
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"[Oo]bject|pickle"):
        open_samples(tmp_path / "x.npy")


def test_a_scalar_is_no_sample_cache(tmp_path):
    """The first axis is the sample, so there must be one."""
    np.save(tmp_path / "x.npy", np.float32(3))
    with pytest.raises(ValueError, match="axis"):
        open_samples(tmp_path / "x.npy")
