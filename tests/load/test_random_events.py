"""A trial under any order of events, held against a simple account of its own."""

import numpy as np
import pytest

from mlbench.contracts import wire
from mlbench.load.arrivals import make_schedule
from mlbench.load.dispatch import ExpectedFirst, RoundRobin
from mlbench.load.trial_state import TrialState

START_NS = 5 * 10**9


class Storm:
    """Plays random events against a trial, and keeps its own account of every query."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.workers = int(self.rng.integers(1, 5))
        queries = int(self.rng.integers(1, 300))
        dispatcher = RoundRobin(self.workers) if seed % 2 else ExpectedFirst([1e6] * self.workers)
        self.state = TrialState(
            make_schedule("exponential", 1_000.0, queries, seed),
            START_NS,
            dispatcher,
            workers=self.workers,
            sample_count=7,
        )
        self.now_ns = START_NS
        self.alive = set(range(self.workers))
        self.held = {worker: [] for worker in self.alive}
        self.status = {}

    def play(self):
        """Play until the trial is finished; return its columns."""
        events = [self.send, self.send, self.answer, self.answer, self.answer, self.nonsense]
        while not self.state.finished:
            self.now_ns += int(self.rng.integers(0, 5_000_000))
            self.rng.choice(events)()
            if self.rng.random() < 0.01:
                self.crash()
            if self.rng.random() < 0.002:
                self.state.end_early()
        return self.state.completions()

    def send(self):
        """Send what is due."""
        for worker, requests, ids in self.state.take_due(self.now_ns):
            assert worker in self.alive
            assert (requests["due_ns"] <= self.now_ns).all()
            self.state.sent(ids, self.now_ns)
            self.held[worker] += requests["id"].tolist()
            self.status.update(dict.fromkeys(requests["id"].tolist(), wire.LOST))

    def answer(self):
        """Answer some of what one worker holds."""
        worker = int(self.rng.integers(self.workers))
        count = min(int(self.rng.integers(1, 20)), len(self.held[worker]))
        if not count:
            return
        ids, self.held[worker] = self.held[worker][:count], self.held[worker][count:]
        status = self.rng.choice([wire.COMPLETED, wire.COMPLETED, wire.FAILED], count)
        self._deliver(worker, ids, status)
        self.status.update(zip(ids, status.tolist(), strict=True))

    def nonsense(self):
        """An answer of the wrong worker, to something that was never asked."""
        worker = int(self.rng.integers(self.workers))
        id_ = int(self.rng.integers(0, 400))
        if id_ not in self.held[worker]:
            self._deliver(worker, [id_], np.array([wire.COMPLETED]))

    def crash(self):
        """Lose one worker and all it holds."""
        if self.alive:
            worker = int(self.rng.choice(sorted(self.alive)))
            self.alive.discard(worker)
            self.held[worker] = []
            self.state.worker_lost(worker, f"worker {worker} crashed")

    def _deliver(self, worker, ids, status):
        answers = np.zeros(len(ids), wire.COMPLETION)
        answers["id"], answers["status"], answers["batch"] = ids, status, 1
        answers["start_ns"], answers["done_ns"] = self.now_ns - 10, self.now_ns
        self.state.received(worker, answers, self.now_ns)


@pytest.mark.parametrize("seed", range(60))
def test_every_query_has_one_fate_whatever_happens(seed):
    """In any order of sends, answers, crashes and nonsense each query ends as its own account."""
    storm = Storm(seed)
    completions = storm.play()
    n = len(completions.schedule.due_ns)
    assert completions.completed + completions.failed + completions.lost == n
    assert completions.status.tolist() == [storm.status.get(i, wire.LOST) for i in range(n)]
    assert set(storm.status) <= set(range(n))
    answered = completions.status != wire.LOST
    assert sum(storm.state.served) == np.count_nonzero(answered)
    assert (completions.sent_ns >= completions.due_ns)[answered].all()
    assert (completions.done_ns >= completions.sent_ns)[answered].all()
    assert (completions.done_ns[~answered] == 0).all()
    assert np.isin(completions.worker[answered], range(storm.workers)).all()
