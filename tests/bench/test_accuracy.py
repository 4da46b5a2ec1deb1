import numpy as np
import pytest

from mlbench.bench.accuracy import beyond_answers, off_by_one
from mlbench.contracts.findings import Finding


def test_labels_above_all_answers_are_told() -> None:
    """Labels that the model never gives show that they are not its own."""
    answers, labels = np.array([3, 9, 2] * 4, np.int32), np.array([10, 9, 12] * 4)
    figures = {"items": 8, "label": 12, "answer": 9}
    assert beyond_answers(answers, labels) == Finding("labels_beyond_answers", figures)


@pytest.mark.parametrize("beyond", [0, 4])
def test_a_few_wrong_answers_to_the_last_classes_are_chance(beyond: int) -> None:
    """Some images of the highest classes are just not recognised."""
    labels = np.arange(100)
    answers = np.minimum(labels, 99 - beyond).astype(np.int32)
    assert beyond_answers(answers, labels) is None


@pytest.mark.parametrize(("shift", "label_offset"), [(1, 3), (-1, 1)])
def test_labels_one_off_are_told_with_the_offset_that_mends_it(shift, label_offset) -> None:
    """Where nearly nothing is right and much is one off, the finding has the offset to give."""
    labels = np.arange(100)
    answers = (labels + shift).astype(np.int32)
    answers[:30] = 500
    figures = {"right_fraction": 0.0, "other_fraction": 0.7, "label_offset": label_offset}
    assert off_by_one(answers, labels, 2) == Finding("labels_off_by_one", figures)


@pytest.mark.parametrize("right", [0, 6, 60])
def test_a_model_that_is_just_bad_or_good_gets_no_hint(right: int) -> None:
    """Answers that are mostly right, or neither right nor one off, say nothing about an offset."""
    labels = np.arange(100)
    answers = np.full(100, 500, np.int32)
    answers[:right] = labels[:right]
    answers[90:] = labels[90:] + 1
    assert off_by_one(answers, labels, 0) is None
