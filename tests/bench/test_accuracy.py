import numpy as np
import pytest

from mlbench.bench.accuracy import beyond_answers
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
