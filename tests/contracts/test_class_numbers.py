import numpy as np
import pytest

from mlbench.contracts.backend import Signature, TensorSpec, WorkerSpec
from mlbench.contracts.predictions import as_classes, check_classes, class_counts, class_reader


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


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(bad):
    """A NaN or an infinity that would win is told; minus infinity may stand for a class masked."""
    scores = np.float32([[0.1, 0.9], [bad, 0.2]])
    with pytest.raises(ValueError, match=f"the model's largest score is {bad}"):
        as_classes(scores, 0)
    assert as_classes(np.float32([[0.1, -np.inf]]), 0) == [0]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (np.array([1]), r"predict returned \(1,\), expected \(2,\)"),
        (np.array([[1, 2]]), r"predict returned \(1, 2\), expected \(2,\)"),
        (np.array([1.0, np.nan]), "predict returned float64, expected integers"),
        (np.array([1, 2**40]), "predict returned class 1099511627776, expected -1 to 2147483647"),
        (np.array([-2, 0]), "predict returned class -2"),
        ([1, 2], "predict returned a list, expected an array"),
    ],
)
def test_what_is_no_classes_is_told(answer, why):
    """An answer to two queries is two whole numbers of 32 bits."""
    with pytest.raises(ValueError, match=why):
        check_classes(answer, 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_classes_of_any_integers_will_do(dtype):
    """What a runtime gives is taken as it is."""
    assert check_classes(np.array([3, 7], dtype), 2).tolist() == [3, 7]


def test_what_is_no_array_tells_no_class():
    """A sequence of maps, as some classifiers answer, is no class, and no error."""
    assert as_classes([{0: 0.1, 1: 0.9}], 0) is None


def test_a_query_that_fills_whole_tensors_has_no_class():
    """Rows of an output belong to queries only where an input has a batch dimension."""
    read = class_reader(WorkerSpec(0, "", "null", feeds={"x": "a"}, whole=("x",)))
    assert read(np.array([3, 1])) is None
    read = class_reader(WorkerSpec(0, "", "null", feeds={"x": "a", "s": "b"}, whole=("s",)))
    assert read(np.array([3, 1])).tolist() == [3, 1]
