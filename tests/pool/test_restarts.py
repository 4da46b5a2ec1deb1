import pytest

from mlbench.pool.awake import PAUSE_NS, AwakeTime
from mlbench.pool.restarts import (
    MOST_RESTARTS,
    MOST_RESTARTS_EACH,
    Failure,
    Restarts,
    WorkerKeepsFailingError,
)


def test_a_worker_is_started_again_a_few_times():
    """Then it is enough, and all its causes are told, each once with its number."""
    restarts = Restarts()
    for restart in range(1, MOST_RESTARTS_EACH + 1):
        failure = Failure("was ended by SIGKILL", f"word {restart}")
        assert restarts.note(1, "worker 1 (cpu:3)", failure) == restart
    assert restarts.note(2, "worker 2 (cpu:4)", Failure("hangs")) == 1
    with pytest.raises(WorkerKeepsFailingError) as raised:
        restarts.note(1, "worker 1 (cpu:3)", Failure("hangs", "bye"))
    assert raised.value.worker == 1
    assert str(raised.value) == (
        "worker 1 (cpu:3) keeps failing: was ended by SIGKILL (3 times); hangs; its last words: bye"
    )


def test_all_workers_together_have_a_limit():
    """Many workers that each fail a few times end a run, too."""
    restarts = Restarts()
    for worker in range(MOST_RESTARTS):
        restarts.note(worker, f"worker {worker}", Failure("hangs"))
    with pytest.raises(WorkerKeepsFailingError, match="worker 99"):
        restarts.note(99, "worker 99", Failure("hangs"))


def test_pauses_of_our_own_do_not_count_as_waiting():
    """Time passes while we look often enough; a longer gap is told instead."""
    awake = AwakeTime(1_000)
    assert awake.look(1_000 + PAUSE_NS) == 0
    assert awake.look(1_000 + 5 * PAUSE_NS) == 4 * PAUSE_NS
    assert awake.look(1_007 + 5 * PAUSE_NS) == 0
    assert awake.waited_ns == PAUSE_NS + 7
