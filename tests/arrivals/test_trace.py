from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mlbench.arrivals.trace import Trace
from mlbench.contracts.errors import RequestError
from mlbench.trial.schedule import make_schedule

GAPS = [1.0, 0.0, 2.0, 5.0]  # of the file below, with a mean of 2


def _trace(path: Path, content: bytes | str) -> Trace:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Trace.of(SimpleNamespace(arrival_trace=path))


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    """A trace of five times, with a comment and blank lines between."""
    return _trace(tmp_path / "t.txt", "# seconds\n1e1\n11\n\n  11.0\n# a pause\n13\n18\n\n")


def test_a_trace_repeats_and_scales(trace: Trace) -> None:
    """Gaps come in the order of the file, scaled to the rate, and again when it is over."""
    due_ns = make_schedule(trace, 100.0, 9, seed=0).due_ns
    gaps = np.diff(due_ns) / 5e6  # at 100 qps the mean gap of 2 s becomes 10 ms
    begins = [np.roll(GAPS, -begin).tolist() * 2 for begin in range(4)]
    assert gaps.tolist() in begins


def test_the_seed_draws_where_a_schedule_begins(trace: Trace) -> None:
    """All places of the trace come up, and the same seed gives the same one."""
    first = {tuple(make_schedule(trace, 1.0, 5, seed).due_ns.tolist()) for seed in range(40)}
    again = {tuple(make_schedule(trace, 1.0, 5, seed).due_ns.tolist()) for seed in range(40)}
    assert first == again
    assert len(first) == 4


def test_streams_are_runs_of_the_trace_from_random_places(trace: Trace) -> None:
    """Each row runs through the trace in order, at the rate 1, and the rows begin anywhere."""
    gaps = np.diff(trace.streams(1, 64, 9), prepend=0.0)
    begins = {tuple(np.roll(GAPS, -begin) / 2) for begin in range(4)}
    assert {tuple(row[:4]) for row in gaps} == begins
    assert np.array_equal(gaps[:, :4], gaps[:, 4:8])


def test_a_part_without_gaps_still_gives_the_rate() -> None:
    """Where a schedule falls on equal times only, its last query is due when the rate wants it."""
    burst = Trace(np.array([0.0, 0.0, 0.0, 4.0]))
    offered = {make_schedule(burst, 10.0, 3, seed).offered_qps for seed in range(20)}
    assert offered == {10.0}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "or more are needed, not 0"),
        ("# none\n\n", "or more are needed, not 0"),
        ("1\n", "or more are needed, not 1"),
        ("1\n3\n2\n", ":3: 2 comes after 3"),
        ("# t\n1\n\nsoon\n", ":4: 'soon' is not a time"),
        ("1\nnan\n", ":2: 'nan'"),
        ("1\ninf\n", ":2: 'inf'"),
        ("1 2\n3\n", ":1: '1 2'"),
        ("5\n5\n5\n", "all times are equal"),
        (b"\xff\xfe1\n", "cannot be read"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, content: str, named: str) -> None:
    """What is wrong is told in one line, with the file, and the line where there is one."""
    with pytest.raises(RequestError) as caught:
        _trace(tmp_path / "bad.txt", content)
    assert named in str(caught.value)
    assert f"--arrival-trace {tmp_path / 'bad.txt'}" in str(caught.value)
    assert "\n" not in str(caught.value)
