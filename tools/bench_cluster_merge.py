"""What a trial on many hosts costs its coordinator, for each query and each host.

    python tools/bench_cluster_merge.py --hosts 1000 --queries 10000000

Divides a schedule, makes the completions that hosts would send, merges them, and judges the whole.
Nothing is sent: `bytes` is what would be. The figures in `docs/cluster.md` are from here.
"""

import argparse
import pickle
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from mlbench.cluster.split import Divided, Outcome, divide, merge
from mlbench.contracts import wire
from mlbench.outcomes import LatencyLimit
from mlbench.queueing.line import Queue
from mlbench.records import Completions, WorkerAccount
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import draw_samples, make_schedule
from mlbench.trial.summary import summarise
from mlbench.trial.verdict import judge

Result = TypeVar("Result")
_SERVICE_NS = 50_000


def main() -> None:
    """Print the seconds of each step, and per million queries."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--queries", type=int, default=1_000_000)
    parser.add_argument("--qps", type=float, default=1e6)
    asked = parser.parse_args()
    schedule = make_schedule("exponential", asked.qps, asked.queries, seed=1)
    samples = draw_samples(asked.queries, 500, seed=1)
    divided = _timed(
        "divide", asked.queries, lambda: divide(schedule, samples, asked.hosts, "random")
    )
    outcomes = [_outcome(divided, host) for host in range(asked.hosts)]
    there = sum(_bytes(divided.part(host)) for host in range(asked.hosts))
    back = sum(_bytes(outcome.completions) for outcome in outcomes)
    print(f"bytes of a query: {there / asked.queries:.1f} there, {back / asked.queries:.1f} back")
    merged = _timed("merge", asked.queries, lambda: merge(divided, outcomes, 10**12))
    queue = Queue(asked.hosts, hosts=asked.hosts)
    send_lag_ns(merged.only(np.arange(9)), Queue())  # compiles
    lag_ns = _timed("replay", asked.queries, lambda: send_lag_ns(merged, queue))
    _timed("summary", asked.queries, lambda: summarise(merged))
    limit = LatencyLimit(99, 0.05)
    _timed("verdict", asked.queries, lambda: judge(merged, limit, queue, lag_ns))


def _outcome(divided: Divided, host: int) -> Outcome:
    part = divided.part(host)
    if part is None:
        return Outcome(f"h{host}", ("cpu",), None)
    count, begin_ns = len(part.samples), host * 10**12
    due_ns = part.schedule.due_ns + begin_ns
    completions = Completions(
        schedule=part.schedule,
        start_of_trial_ns=begin_ns,
        sample=part.samples,
        sent_ns=due_ns - 10**8,
        start_ns=due_ns,
        done_ns=due_ns + _SERVICE_NS,
        returned_ns=due_ns + 2 * _SERVICE_NS,
        worker=np.zeros(count, np.uint16),
        batch=np.ones(count, np.uint16),
        status=np.full(count, wire.COMPLETED, np.uint8),
        prediction=np.full(count, -1, np.int32),
        workers=(WorkerAccount("cpu", count, 0.5),),
    )
    return Outcome(f"h{host}", ("cpu",), completions)


def _bytes(value: object) -> int:
    return len(pickle.dumps(value, protocol=5))


def _timed(step: str, queries: int, call: Callable[[], Result]) -> Result:
    begin_s = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - begin_s
    print(f"{step}: {seconds:.2f} s, {seconds / queries * 1e6:.3f} s per million queries")
    return result


if __name__ == "__main__":
    main()
