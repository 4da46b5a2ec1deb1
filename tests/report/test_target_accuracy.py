import pytest

from mlbench.outcomes import Accuracy
from mlbench.report.sentences import accuracy_sentence


def test_interval_holds_the_accuracy() -> None:
    """The interval is Wilson's: 363 of 501 gives 68.4 to 76.2 %."""
    assert Accuracy(363, 501).ci95 == pytest.approx((68.38, 76.19), abs=0.01)
    assert Accuracy(20, 20).ci95[1] == 100
    assert Accuracy(0, 20).ci95[0] == 0


@pytest.mark.parametrize(("good", "met"), [(75692, True), (75691, False)])
def test_whole_set_decides_the_target(good: int, met: bool) -> None:
    """On the whole set the target is met or not, by the exact share of right answers."""
    accuracy = Accuracy(good, 100_000, target=75.692, whole_set=True)
    assert accuracy.target_met is met
    assert ("not met" in accuracy_sentence(accuracy)) is not met


def test_part_of_the_set_decides_nothing() -> None:
    """On a part of the set the target stays open, and the sentence says where it lies."""
    accuracy = Accuracy(363, 501, target=75.69)
    assert accuracy.target_met is None
    assert "lies in it" in accuracy_sentence(accuracy)
    assert "lies outside it" in accuracy_sentence(Accuracy(200, 501, target=75.69))


def test_counts_must_fit() -> None:
    """More right answers than answers is a fault of the caller."""
    with pytest.raises(ValueError, match="cannot be right"):
        Accuracy(21, 20)
