import numpy as np
import pytest

from mlbench.contracts.batching import batch_start, batch_start_ns


@pytest.mark.parametrize(
    ("free", "oldest", "filled", "timeout", "start", "why"),
    [
        (0, 10, None, 0, 10, "an idle device starts at once"),
        (25, 10, None, 0, 25, "a busy one when it is free"),
        (0, 10, None, 5, 15, "with a timeout it waits for more"),
        (0, 10, 12, 5, 12, "until the batch is full"),
        (0, 10, 99, 5, 15, "and never longer than the timeout"),
        (25, 10, 12, 5, 25, "what waited while the device was busy starts when it is free"),
        (12, 10, None, 5, 15, "the timeout counts from the oldest arrival"),
    ],
)
def test_when_a_batch_starts(free, oldest, filled, timeout, start, why):
    """A batch starts when the device is free and the batch is full or its time is over."""
    assert batch_start_ns(free, oldest, filled, timeout) == start, why


def test_the_rule_works_on_columns():
    """The queue model applies the same rule to many replicas at once."""
    free, oldest = np.array([0.0, 25.0, 12.0]), np.array([10.0, 10.0, 10.0])
    filled = np.array([12.0, 12.0, np.inf])
    starts = batch_start(free, oldest, filled, 5.0, np.maximum, np.minimum)
    assert starts.tolist() == [12.0, 25.0, 15.0]
