"""Who gets which query. Pure: times are arguments, nothing is sent here.

A query is bound to a worker when it is due, not before: to the one expected to complete it first.
What is expected of a worker follows from its outstanding queries and its measured service time; a
count alone would not tell a query that has just started from one that is about to end, and loses
up to one service time at the tail. A worker that takes longer than expected is not taken for idle:
it should need as much again as its service times S differ from their mean m in the mean, as
E(S - m | S > m) = E|S - m| where half of them are longer.
"""

from typing import Protocol

Share = tuple[int, int]
"""(worker, how many of the due queries it gets)."""

SERVICE_MEMORY = 0.02
"""Weight of the newest query in a worker's running means of service times and their deviations."""
FIRST_GUESS = 10
"""Queries that count as much as what was expected before the trial."""


def weight(nth: int, count: int) -> float:
    """Return the weight in a running mean of `count` samples, the first of which is its nth."""
    return float(1 - (1 - max(SERVICE_MEMORY, 1 / nth)) ** count)


class Dispatcher(Protocol):
    """Divides due queries among workers; told of everything that comes back."""

    def assign(self, count: int, now_ns: int) -> list[Share]:
        """Divide `count` queries that are due now; empty when no worker is left."""

    def idle_next(self, now_ns: int) -> int | None:
        """Return the worker that the next query would go to, if it has nothing to do now."""

    def completed(self, worker: int, count: int, done_ns: int, service_ns: float) -> None:
        """Note `count` answers of a worker: the last at `done_ns`, `service_ns` for each query."""

    def lost(self, worker: int) -> None:
        """Give a worker nothing more."""


class ExpectedFirst:
    """Each query goes to the worker expected to complete it first."""

    def __init__(self, service_ns: list[float]) -> None:
        """Start with a guess of every worker's service time for a query, in nanoseconds.

        It may be far off: after a trial of full batches single queries take many times as long.
        """
        self._service_ns = [max(1.0, s) for s in service_ns]
        self._deviation_ns = [0.0] * len(service_ns)
        self._answered = [0] * len(service_ns)
        self._free_ns = [0.0] * len(service_ns)
        self._outstanding = [0] * len(service_ns)
        self._alive = list(range(len(service_ns)))

    def assign(self, count: int, now_ns: int) -> list[Share]:
        """Divide `count` queries; cost depends on the number of workers, not on `count`."""
        if not self._alive:
            return []
        if len(self._alive) == 1:
            shares = {self._alive[0]: count}
        else:
            free_ns = self._expected_free_ns(now_ns)
            shares = self._fill(count, free_ns) if count > len(self._alive) else {}
            for _ in range(count - sum(shares.values())):
                first = self._first(free_ns, shares)
                shares[first] = shares.get(first, 0) + 1
        free_ns = self._expected_free_ns(now_ns)
        for worker, share in shares.items():
            self._free_ns[worker] = free_ns[worker] + share * self._service_ns[worker]
            self._outstanding[worker] += share
        return list(shares.items())

    def _expected_free_ns(self, now_ns: int) -> dict[int, float]:
        """Return when each worker should be free, also if it is overdue."""
        return {w: max(self._free_ns[w], now_ns + self._overdue_ns(w)) for w in self._alive}

    def _overdue_ns(self, worker: int) -> float:
        """Return how long a worker should take for what it has, when its first query is overdue."""
        behind = self._outstanding[worker] - 1
        if behind < 0:
            return 0.0
        return self._deviation_ns[worker] + behind * self._service_ns[worker]

    def _first(self, free_ns: dict[int, float], shares: dict[int, int]) -> int:
        """Return who would complete one more query first; of equals, who has least to do."""

        def expected(worker: int) -> tuple[float, int]:
            more = shares.get(worker, 0)
            end_ns = free_ns[worker] + (more + 1) * self._service_ns[worker]
            return end_ns, self._outstanding[worker] + more

        return min(self._alive, key=expected)

    def idle_next(self, now_ns: int) -> int | None:
        """Return the worker that the next query would go to, if it has nothing to do now."""
        if not self._alive:
            return None
        first = self._first(self._expected_free_ns(now_ns), {})
        return None if self._outstanding[first] else first

    def _fill(self, count: int, free_ns: dict[int, float]) -> dict[int, int]:
        """Pour almost all of `count` in so that all workers end at about the same time."""
        level_ns, rate, capacity = 0.0, 0.0, 0.0
        for worker in sorted(free_ns, key=free_ns.__getitem__):
            if rate and capacity + rate * (free_ns[worker] - level_ns) >= count:
                break
            capacity += rate * (free_ns[worker] - level_ns)
            level_ns = free_ns[worker]
            rate += 1 / self._service_ns[worker]
        level_ns += (count - capacity) / rate
        filled = {w: int((level_ns - free_ns[w]) / self._service_ns[w]) for w in free_ns}
        # Rounding can only leave too few, but for the last bits of a float.
        return {w: n for w, n in filled.items() if n > 0} if sum(filled.values()) <= count else {}

    def completed(self, worker: int, count: int, done_ns: int, service_ns: float) -> None:
        """Correct what is expected of the worker by what it did."""
        longer_ns, seen = service_ns - self._service_ns[worker], self._answered[worker]
        self._service_ns[worker] += weight(seen + FIRST_GUESS, count) * longer_ns
        deviation_ns = abs(longer_ns) - self._deviation_ns[worker]
        self._deviation_ns[worker] += weight(seen + 1, count) * deviation_ns
        self._answered[worker] += count
        self._outstanding[worker] -= count
        self._free_ns[worker] = done_ns + self._outstanding[worker] * self._service_ns[worker]

    def lost(self, worker: int) -> None:
        """Give a worker nothing more."""
        if worker in self._alive:
            self._alive.remove(worker)


class RoundRobin:
    """Workers take turns, whatever they have to do; for comparison."""

    def __init__(self, workers: int) -> None:
        self._alive = list(range(workers))
        self._turn = 0
        self._outstanding = [0] * workers

    def assign(self, count: int, now_ns: int) -> list[Share]:  # noqa: ARG002 - the protocol's
        """Divide `count` queries evenly, going on where the last call ended."""
        if not self._alive:
            return []
        each, extra = divmod(count, len(self._alive))
        turns = [self._alive[(self._turn + i) % len(self._alive)] for i in range(len(self._alive))]
        self._turn = (self._turn + count) % len(self._alive)
        shares = [(w, each + (i < extra)) for i, w in enumerate(turns)]
        for worker, share in shares:
            self._outstanding[worker] += share
        return [(w, n) for w, n in shares if n]

    def idle_next(self, now_ns: int) -> int | None:  # noqa: ARG002 - the protocol's
        """Return the worker whose turn is next, if it has nothing to do now."""
        if not self._alive:
            return None
        first = self._alive[self._turn % len(self._alive)]
        return None if self._outstanding[first] else first

    def completed(
        self,
        worker: int,
        count: int,
        done_ns: int,  # noqa: ARG002 - the protocol's
        service_ns: float,  # noqa: ARG002 - the protocol's
    ) -> None:
        """Keep count; nothing that comes back changes the turns."""
        self._outstanding[worker] -= count

    def lost(self, worker: int) -> None:
        """Leave a worker out."""
        if worker in self._alive:
            self._alive.remove(worker)
