import numpy as np
import pytest

from mlbench.contracts.backend import Signature, TensorSpec
from mlbench.contracts.predictions import as_classes, class_counts


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


@pytest.mark.parametrize(
    ("dtype", "shape", "counts"),
    [
        ("float32", (None, 1000), {"y": 1000}),
        ("float16", (1, 10, 1, 1), {"y": 10}),
        ("float32", (None, None), {}),
        ("float32", (None, 4, 4), {}),
        ("float32", (None,), {}),
        ("int64", (None, 1), {}),
    ],
)
def test_scores_of_a_fixed_shape_tell_how_many_classes(dtype, shape, counts):
    """The rule is the one by which scores become class numbers."""
    assert class_counts([TensorSpec("y", dtype, shape)]) == counts


@pytest.mark.parametrize(
    ("outputs", "wanted", "count"),
    [
        (("scores",), (), 10),
        (("scores", "class"), (), None),
        (("scores", "class"), ("scores",), 10),
        (("scores", "class"), ("class",), None),
        ((), (), None),
    ],
)
def test_how_many_classes_answers_come_from(outputs, wanted, count):
    """It is known where the answer is surely an output of scores."""
    assert Signature((), outputs, {"scores": 10}).class_count(wanted) == count


def test_the_usual_classifiers_say_it_beside_their_class_numbers():
    """The class numbers that are called ArgMax:0 are those of softmax_tensor:0."""
    signature = Signature((), ("ArgMax:0", "softmax_tensor:0"), {"softmax_tensor:0": 1001})
    assert signature.class_count(()) == signature.class_count(("ArgMax:0",)) == 1001
