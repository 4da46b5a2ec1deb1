"""From a model's output to class numbers, the same for every backend; and what is none is told."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.backend import Predictions, TensorSpec, WorkerSpec

_LARGEST = np.iinfo(np.int32).max  # a class is 32 bits on the wire


def class_reader(spec: WorkerSpec) -> Callable[[Any], Predictions | None]:
    """Return what reads the classes of a worker's queries from the output of its model.

    Where a query fills whole tensors, no row of an output belongs to it: there are no classes.
    """
    if not spec.has_batches:
        return lambda _: None
    return partial(as_classes, label_offset=spec.label_offset)


def as_classes(output: Any, label_offset: int) -> Predictions | None:
    """Return one class for each sample, less the offset; None when the output is not a class.

    Integers of shape (batch,) or (batch, 1) are classes; floats of shape (batch, classes), with or
    without trailing axes of length one, are scores whose largest wins. Raises ValueError when the
    largest is no finite number.
    """
    if not isinstance(output, np.ndarray) or output.ndim == 0:
        return None
    rows = output.reshape(output.shape[0], -1)
    classes: Predictions | None = None
    if np.issubdtype(output.dtype, np.integer) and rows.shape[1] == 1:
        classes = rows[:, 0].astype(np.int64) - label_offset
    elif np.issubdtype(output.dtype, np.floating) and _is_scores(output):
        classes = _winners(rows) - label_offset
    return classes


def class_counts(outputs: Iterable[TensorSpec]) -> dict[str, int]:
    """Return how many classes each output of scores tells apart, where its shape is fixed."""
    counts = {}
    for output in outputs:
        sizes = [size for size in output.shape[1:] if size is not None]
        is_fixed = 0 < len(sizes) == len(output.shape) - 1
        if output.dtype.startswith("float") and is_fixed and math.prod(sizes) == max(sizes):
            counts[output.name] = max(sizes)
    return counts


def _is_scores(output: NDArray[Any]) -> bool:
    """Whether all axes after the batch but one have length one."""
    return output.size > 0 and output[0].size == max(output.shape[1:], default=0)


def _winners(scores: NDArray[Any]) -> Predictions:
    """Return where the largest of each row is; to `argmax` a NaN is larger than all numbers."""
    winners: Predictions = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), winners]
    if not np.isfinite(best).all():
        raise ValueError(f"the model's largest score is {best[~np.isfinite(best)][0]}")
    return winners


def check_classes(answer: Any, count: int) -> Predictions:
    """Return what `predict` answered to so many queries; raises ValueError if it is no classes."""
    if not isinstance(answer, np.ndarray):
        raise ValueError(f"predict returned a {type(answer).__name__}, expected an array")
    if answer.shape != (count,):
        raise ValueError(f"predict returned {answer.shape}, expected ({count},)")
    if answer.dtype.kind not in "iu":
        raise ValueError(f"predict returned {answer.dtype}, expected integers")
    for extreme in (answer.min(), answer.max()):
        if not -1 <= extreme <= _LARGEST:
            raise ValueError(f"predict returned class {extreme}, expected -1 to {_LARGEST}")
    return answer
