import numpy as np
import pytest

from mlbench.contracts.predictions import as_classes


@pytest.mark.parametrize(
    ("output", "classes"),
    [
        (np.array([3, 1]), [3, 1]),
        (np.array([[3], [1]], np.int32), [3, 1]),
        (np.float32([[0.1, 0.9], [0.8, 0.2]]), [1, 0]),
        (np.float32([[0.1, 0.9], [0.8, 0.2]]).reshape(2, 2, 1, 1), [1, 0]),
    ],
)
def test_classes_and_scores_become_class_numbers(output, classes):
    """Integers are classes, and of scores the largest wins."""
    predictions = as_classes(output, 0)
    assert predictions is not None
    assert predictions.dtype == np.int64
    assert predictions.tolist() == classes


def test_the_label_offset_is_subtracted():
    """A model with a background class counts one more than the labels."""
    predictions = as_classes(np.array([1, 5]), 1)
    assert predictions is not None
    assert predictions.tolist() == [0, 4]


@pytest.mark.parametrize(
    "output",
    [
        np.array(3),
        np.zeros((2, 3), np.int64),
        np.zeros((2, 4, 4), np.float32),
        np.array([["a"], ["b"]]),
    ],
)
def test_other_outputs_are_no_class(output):
    """What is not one class for each sample gives no predictions."""
    assert as_classes(output, 0) is None
