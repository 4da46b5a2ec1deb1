"""From sample numbers to a model's inputs, without copying what need not be copied."""

import mmap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.backend import Feed
from mlbench.contracts.cache import open_samples


class Feeds:
    """The sample cache of one worker, seen as the inputs of batches.

    `files` maps input names to cache files. Contiguous samples are views of the shared mapping;
    others are gathered into a buffer that is made once. Inputs that are `whole` have no batch
    dimension; a batch is fed what its first query brings.
    """

    def __init__(
        self, files: Mapping[str, str], batch_size: int, whole: Sequence[str] = ()
    ) -> None:
        every = {name: open_samples(path) for name, path in files.items()}
        self._whole: dict[str, NDArray[Any]] = {name: every[name] for name in whole}
        self._samples = {name: every[name] for name in files if name not in self._whole}
        self._buffers = {
            name: np.empty((batch_size, *samples.shape[1:]), samples.dtype)
            for name, samples in self._samples.items()
            if batch_size > 1
        }
        self._singles: dict[int, Feed] = {}

    def touch(self, count: int) -> None:
        """Read a byte of every page of the first samples, so that no query has to map them."""
        for samples in (*self._samples.values(), *self._whole.values()):
            samples[:count].reshape(-1).view(np.uint8)[:: mmap.PAGESIZE].max(initial=0)

    def one(self, sample: int) -> Feed:
        """Return the feed of one sample; made once and kept."""
        feed = self._singles.get(sample)
        if feed is None:
            feed = {name: array[sample : sample + 1] for name, array in self._samples.items()}
            feed |= self._whole_of(sample)
            self._singles[sample] = feed
        return feed

    def batch(self, samples: NDArray[np.uint32]) -> Feed:
        """Return the feed of a batch; valid until the next call."""
        if len(samples) == 1:
            return self.one(int(samples[0]))
        if not self._samples:
            return {}
        first = int(samples[0])
        if bool((samples[1:] == samples[:-1] + 1).all()):
            last = first + len(samples)
            feed = {name: array[first:last] for name, array in self._samples.items()}
        else:
            feed = {
                name: np.take(array, samples, axis=0, out=self._buffers[name][: len(samples)])
                for name, array in self._samples.items()
            }
        return feed | self._whole_of(first)

    def _whole_of(self, sample: int) -> dict[str, NDArray[Any]]:
        return {name: array[sample, ...] for name, array in self._whole.items()}
