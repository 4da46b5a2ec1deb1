"""Play trials on the real pool for a long time, kill a worker now and then, and see what grows.

    python tools/soak.py --minutes 10 --qps 50000

Two workers without a model serve trials of ten seconds. In every fourth one a worker is killed, as
if by the kernel; the pool is opened anew when its restarts are used up. Each trial's account must
be exact: every query that was due has one fate, and where nobody was killed it is an answer. A line
for each minute goes to stdout, with the memory of all processes together; the status is 1 when an
account was wrong, or memory grew by over 5 % after the first minute.
"""

import signal
import sys
import threading
import time

import click
import numpy as np
import psutil
from engine_bench.ours import null_pool

from mlbench.contracts import wire
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.restarts import WorkerKeepsFailingError
from mlbench.records import Completions
from mlbench.trial.schedule import make_schedule, query_count

_TRIAL_S = 10.0
_KILL_EVERY = 4  # trials
_MOST_GROWTH = 0.05


def wrong_account(done: Completions, *, killed: bool) -> str | None:
    """Return what is wrong with the account of a trial; None when it is exact."""
    n = len(done.status)
    if done.completed + done.failed + done.lost != n:
        return f"{done.completed} + {done.failed} + {done.lost} are not {n} queries"
    if sum(worker.queries for worker in done.workers) != done.completed + done.failed:
        return "what the workers served is not what was answered"
    answered = done.status != wire.LOST
    if bool((done.done_ns[answered] < done.start_ns[answered]).any()):
        return "an answer was done before it was begun"
    if not killed and (done.faults or done.failed or done.lost):
        return (
            f"{done.failed} failed, {done.lost} lost, faults {done.faults}, and nobody was killed"
        )
    return None


def play(pool: WorkerPool, qps: float, seed: int, *, kill: bool) -> Completions:
    """Play one trial; where asked, kill a worker in the middle of it."""
    schedule = make_schedule("exponential", qps, query_count(qps, _TRIAL_S), seed)
    victim = psutil.Process(pool.pids[seed % pool.size])
    killer = threading.Timer(_TRIAL_S / 2, victim.send_signal, [signal.SIGKILL])
    if kill:
        killer.start()
    try:
        return pool.run(schedule)
    finally:
        killer.cancel()


def memory_bytes() -> int:
    """Return what this process and all workers hold, shared pages counted once."""
    own = psutil.Process()
    every = [own, *own.children(recursive=True)]
    return sum(process.memory_full_info().pss for process in every if process.is_running())


@click.command(help=__doc__)
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--qps", default=50_000.0, show_default=True)
def main(minutes: float, qps: float) -> None:
    """Soak, and tell each minute."""
    begin_s, trial, queries, killed, wrong = time.monotonic(), 0, 0, 0, 0
    sizes: list[int] = []
    pool = null_pool(1, workers=2)
    try:
        while time.monotonic() - begin_s < 60 * minutes:
            trial += 1
            kill = trial % _KILL_EVERY == 0
            try:
                done = play(pool, qps, trial, kill=kill)
            except WorkerKeepsFailingError:
                pool.close()
                pool = null_pool(1, workers=2)
                continue
            killed, queries = killed + kill, queries + len(done.status)
            if why := wrong_account(done, killed=kill):
                wrong += 1
                print(f"WRONG trial {trial}: {why}", file=sys.stderr, flush=True)
            if time.monotonic() - begin_s > 60 * (len(sizes) + 1):
                sizes.append(memory_bytes())
                print(
                    f"{len(sizes)} min: {trial} trials, {queries:,} queries, {killed} kills, "
                    f"{wrong} wrong accounts, {sizes[-1] / 1e6:.0f} MB",
                    flush=True,
                )
    finally:
        pool.close()
    growth = np.median(sizes[-2:]) / sizes[0] - 1 if len(sizes) > 1 else 0.0
    print(f"growth {growth:+.1%}")
    sys.exit(1 if wrong or growth > _MOST_GROWTH else 0)


if __name__ == "__main__":
    main()
