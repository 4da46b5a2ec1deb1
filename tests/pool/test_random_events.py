"""A trial under any order of events, held against a simple account of its own."""

import numpy as np
import pytest

from mlbench.contracts import wire
from mlbench.contracts.claims import Claim
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
            shared=self.shared,
            batch_size=400,
        )
        self.now_ns = START_NS
        self.alive = set(range(self.workers))
        self.held = {worker: [] for worker in self.alive}
        self.head = 0
        self.status = {}

    def play(self):
        """Play until the trial is finished; return its columns."""
        events = [
            self.push,
            self.claim,
            self.claim,
            self.answer,
            self.answer,
            self.nonsense,
            self.close,
        ]
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
            self.state.claimed([Claim(worker, self.head, 1)], self.now_ns)
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
        assert self._deliver(worker, ids, status) is None
        known = [
            pair for pair in zip(ids, status.tolist(), strict=True) if pair[0] < self.state.end
        ]
        self.status.update(known)

    def nonsense(self):
        """An answer of the wrong worker, to something that was never asked."""
        worker = int(self.rng.integers(self.workers))
        id_ = int(self.rng.integers(0, 400))
        if id_ not in self.held[worker]:
            assert self._deliver(worker, [id_], np.array([wire.COMPLETED])) is not None

    def crash(self):
        """Lose one worker and all it holds, which ends the trial."""
        if self.alive:
            self.end()
            worker = int(self.rng.choice(sorted(self.alive)))
            self.alive.discard(worker)
            held = sum(query < self.state.end for query in self.held[worker])
            self.held[worker] = []
            assert self.state.lose(worker) == held

    def end(self):
        """End the trial early; workers finish later, one by one."""
        if not self.state.closing:
            self.state.end_early(self.now_ns)

    def close(self):
        """Let one worker say that it is done, when it is."""
        worker = int(self.rng.integers(self.workers))
        if self.state.closing and not self.held[worker]:
            self.state.worker_closed(worker)

    def _deliver(self, worker, ids, status):
        answers = np.zeros(len(ids), wire.COMPLETION)
        answers["id"], answers["status"], answers["batch"] = ids, status, len(ids)
        answers["start_ns"], answers["done_ns"] = self.now_ns, self.now_ns
        return self.state.received(worker, answers, self.now_ns)


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
    assert sum(tally.served for tally in storm.state.tallies) == np.count_nonzero(answered)
    assert (completions.sent_ns > 0)[answered].all()
    assert (completions.done_ns >= completions.due_ns)[answered].all()
    assert (completions.done_ns[~answered] == 0).all()
    assert np.isin(completions.worker[answered], range(storm.workers)).all()
