import numpy as np
import pytest

from mlbench.contracts import wire
from mlbench.pool.answers import Asked, find_wrong

DUE_NS = [100, 200, 300, 400]
NOW_NS = 1_000


def _answers(**columns):
    """Return a batch of one query, and one of three; with these columns in place of the true."""
    answers = np.zeros(4, wire.COMPLETION)
    true = {
        "id": [3, 4, 6, 9],
        "status": [wire.COMPLETED, wire.FAILED, wire.COMPLETED, wire.COMPLETED],
        "start_ns": [150, 400, 400, 400],
        "done_ns": [250, 600, 600, 600],
        "batch": [1, 3, 3, 3],
        "prediction": [-1, 0, 7, 2**31 - 1],
    }
    for name, values in {**true, **columns}.items():
        answers[name] = values
    return answers


def _find_wrong(answers, *, held=True, free_ns=0):
    asked = Asked(np.full(4, held), np.array(DUE_NS), free_ns, NOW_NS, batch_size=4)
    return find_wrong(answers, asked)


def test_true_answers_are_believed():
    """Batches one after the other, each after its queries were due, and heard of after its end."""
    assert _find_wrong(_answers(), free_ns=150) is None


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"id": [4, 3, 6, 9]}, "out of their order"),
        ({"id": [3, 3, 6, 9]}, "out of their order"),
        ({"status": [1, 2, 0, 1]}, "a status that is no answer's"),
        ({"status": 77}, "a status that is no answer's"),
        ({"start_ns": [99, 400, 400, 400]}, "before they were due"),
        ({"start_ns": [-(2**63), 400, 400, 400]}, "before they were due"),
        ({"done_ns": [149, 600, 600, 600]}, "before they started"),
        ({"done_ns": [250, 1_001, 1_001, 1_001]}, "later than it told so"),
        ({"batch": [0, 3, 3, 3]}, "not of 1 to 4"),
        ({"batch": 70_000}, "not of 1 to 4"),
        ({"batch": [1, 3, 2, 3]}, "another size"),
        ({"batch": [1, 2, 2, 2]}, "another size"),
        ({"batch": [1, 4, 4, 4]}, "another size"),
        ({"start_ns": [150, 400, 401, 400]}, "another size"),
        ({"done_ns": [250, 600, 601, 600]}, "at different times"),
        ({"prediction": [-2, 0, 7, 7]}, "a class below -1"),
        ({"done_ns": [401, 600, 600, 600]}, "before the one before had ended"),
    ],
)
def test_answers_that_cannot_be_true_are_found(columns, why):
    """Each rule that one column breaks is told in words."""
    assert why in _find_wrong(_answers(**columns))


def test_singles_may_not_overlap():
    """Queries of batches of one are served one after the other, too."""
    columns = {"batch": 1, "start_ns": [400, 500, 600, 700], "done_ns": [500, 600, 700, 800]}
    assert _find_wrong(_answers(**columns)) is None
    assert "had ended" in _find_wrong(_answers(**{**columns, "start_ns": [400, 499, 600, 700]}))


def test_a_worker_was_free_when_it_started():
    """The first batch starts after the last one that was heard of before."""
    assert "had ended" in _find_wrong(_answers(), free_ns=151)


def test_answers_to_what_is_not_held_are_found():
    """Another worker's queries, those answered already, and those lost."""
    assert "did not hold" in _find_wrong(_answers(), held=False)
