"""The claims of a host's workers: one order for all, whatever happens to a claimer."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mlbench.contracts.claims import Claim, ClaimLog, create_claim_file


@pytest.fixture
def file() -> Iterator[int]:
    """A fresh file of claims."""
    descriptor = create_claim_file()
    yield descriptor
    os.close(descriptor)


def _log(file: int, trial: int = 1) -> ClaimLog:
    log = ClaimLog(file)
    log.begin(trial)
    return log


def test_claims_follow_each_other(file: int) -> None:
    """Each claim begins where the one before ended, and everybody sees the same."""
    one, other = _log(file), _log(file)
    assert one.claim(0, 2) == Claim(0, 0, 2)
    other.read()
    assert other.claim(1, 3) == Claim(1, 2, 3)
    assert one.read() == [Claim(1, 2, 3)]
    assert one.head == other.head == 5
    assert _log(file).read() == [Claim(0, 0, 2), Claim(1, 2, 3)]


def test_who_was_too_late_holds_nothing(file: int) -> None:
    """A claim from where another one began first is void, and the loser knows at once."""
    one, other = _log(file), _log(file)
    one.claim(0, 2)
    assert other.claim(1, 1) is None
    assert other.head == 2
    assert other.claim(1, 1) == Claim(1, 2, 1)


def test_a_closed_line_has_no_more_claims(file: int) -> None:
    """After the end every claim is void, for those who know of it and those who do not."""
    one, coordinator = _log(file), _log(file)
    one.claim(0, 1)
    coordinator.close()
    assert one.claim(0, 1) is None
    assert one.closed
    assert coordinator.read() == [Claim(0, 0, 1)]
    assert coordinator.head == 1


def test_claims_of_another_trial_are_void(file: int) -> None:
    """A worker that comes back from a pause can't disturb the trial that is played now."""
    old = _log(file, trial=1)
    new = _log(file, trial=2)
    assert new.claim(1, 4) == Claim(1, 0, 4)
    assert old.claim(0, 1) is None
    assert new.read() == []
    assert new.head == 4


def test_a_file_is_used_again_for_the_next_trial(file: int) -> None:
    """An emptied file begins with the next trial's first claim."""
    log = _log(file)
    log.claim(0, 5)
    log.clear()
    log.begin(2)
    assert os.fstat(file).st_size == 0
    assert log.claim(0, 1) == Claim(0, 0, 1)


_CLAIMER = """
import sys
from mlbench.contracts.claims import ClaimLog
log, worker = ClaimLog(int(sys.argv[1])), int(sys.argv[2])
log.begin(1)
while log.head < 3_000:
    log.claim(worker, 1 + worker)
"""


def test_processes_that_race_get_every_query_once(file: int) -> None:
    """Four processes claim as fast as they can, one is stopped and one is killed on the way."""
    claimers = [
        subprocess.Popen([sys.executable, "-c", _CLAIMER, str(file), str(i)], pass_fds=[file])
        for i in range(4)
    ]
    log = _log(file)
    claims: list[Claim] = []
    while log.head < 300:
        claims += log.read()
    claimers[0].send_signal(signal.SIGSTOP)
    claimers[1].kill()
    for claimer in claimers[2:]:
        assert claimer.wait(60) == 0
    claimers[0].kill()
    for claimer in claimers:
        claimer.wait(60)
    claims += log.read()
    assert claims[0].first == 0
    assert all(a.first + a.size == b.first for a, b in itertools.pairwise(claims))
    assert log.head >= 3_000
