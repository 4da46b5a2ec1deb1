"""A trial under any order of events, held against a simple account of its own."""

import numpy as np
import pytest

from mlbench.contracts import wire
from mlbench.contracts.claims import Claim
from mlbench.contracts.findings import Finding
from mlbench.pool.trial_state import TrialState
from mlbench.trial.schedule import make_schedule

START_NS = 5 * 10**9
HORIZON_NS = 10_000_000


class Storm:
    """Plays random events against a trial, and keeps its own account of every query."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.workers = int(self.rng.integers(1, 5))
        self.shared = bool(seed % 2)
        queries = int(self.rng.integers(1, 300))
        self.schedule = make_schedule("exponential", 1_000.0, queries, seed)
        self.state = TrialState(
            self.schedule,
            np.zeros(queries, np.uint32),
            START_NS,
            workers=self.workers,
            alive=range(self.workers),
            shared=self.shared,
        )
        self.now_ns = START_NS
        self.alive = set(range(self.workers))
        self.held = {worker: [] for worker in self.alive}
        self.head = 0
        self.status = {}

    def play(self):
        """Play until the trial is finished; return its columns."""
        events = [self.push, self.claim, self.claim, self.answer, self.answer, self.nonsense]
        while not self.state.finished:
            self.now_ns += int(self.rng.integers(0, 5_000_000))
            self.rng.choice(events)()
            if self.rng.random() < 0.01:
                self.crash()
            if self.rng.random() < 0.002:
                self.end()
        return self.state.completions()

    def push(self):
        """Push what is due within the horizon."""
        if self.state.closing:
            return
        for line, requests in self.state.take_ahead(self.now_ns, HORIZON_NS):
            if not self.shared:
                assert line in self.alive
                self.held[line] += requests["id"].tolist()

    def claim(self):
        """Let one worker claim the next query that is due, where workers share a line."""
        due = self.schedule.due_ns.searchsorted(self.now_ns - START_NS, "right")
        if not self.shared or self.head >= min(self.state.pushed, due) or self.state.closing:
            return
        worker = int(self.rng.integers(self.workers))
        if worker in self.alive:
            self.state.claimed([Claim(worker, self.head, 1)])
            self.held[worker].append(self.head)
            self.head += 1

    def answer(self):
        """Answer some of what one worker holds and is due."""
        worker = int(self.rng.integers(self.workers))
        limit = int(self.rng.integers(1, 20))
        due_ns = self.schedule.due_ns + START_NS
        ids = [i for i in self.held[worker][:limit] if due_ns[i] <= self.now_ns]
        if not ids:
            return
        self.held[worker] = self.held[worker][len(ids) :]
        status = self.rng.choice([wire.COMPLETED, wire.COMPLETED, wire.FAILED], len(ids))
        self._deliver(worker, ids, status)
        known = [
            pair for pair in zip(ids, status.tolist(), strict=True) if pair[0] < self.state.end
        ]
        self.status.update(known)

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
            if not self.alive:
                self.state.give_up(Finding("no_worker_left"))

    def end(self):
        """End the trial early; workers finish later, one by one."""
        if not self.state.closing:
            self.state.end_early(self.now_ns)
            for worker in self.alive:
                self.state.worker_closed(worker)

    def _deliver(self, worker, ids, status):
        answers = np.zeros(len(ids), wire.COMPLETION)
        answers["id"], answers["status"], answers["batch"] = ids, status, 1
        answers["start_ns"], answers["done_ns"] = self.now_ns - 10, self.now_ns
        self.state.received(worker, answers, self.now_ns)


@pytest.mark.parametrize("seed", range(60))
def test_every_query_has_one_fate_whatever_happens(seed):
    """In any order of pushes, claims, answers and crashes each query ends as its own account."""
    storm = Storm(seed)
    completions = storm.play()
    n = len(completions.schedule.due_ns)
    assert completions.completed + completions.failed + completions.lost == n
    assert completions.status.tolist() == [storm.status.get(i, wire.LOST) for i in range(n)]
    assert set(storm.status) <= set(range(n))
    answered = completions.status != wire.LOST
    assert sum(storm.state.served) == np.count_nonzero(answered)
    assert (completions.sent_ns > 0)[answered].all()
    assert (completions.done_ns >= completions.due_ns)[answered].all()
    assert (completions.done_ns[~answered] == 0).all()
    assert np.isin(completions.worker[answered], range(storm.workers)).all()
