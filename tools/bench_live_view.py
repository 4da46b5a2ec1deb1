"""What the live view costs the device: the same trials in turns with it and without it.

    python tools/bench_live_view.py --pairs 100 --seconds 1

One pool serves the embedded default (or --model) at a fixed share of its rate. Each pair of trials
has the same arrivals; one of them is watched on a terminal, in random order. The terminal is a
pseudo-terminal that another process reads. Printed are the mean service time with the view over
that without it (of the pairs' logarithms the trimmed mean, without the fifth at either end that a
busy moment of the machine made), with its 95 % interval, and the CPU time of a drawing.

On a noisy machine that interval is wider than what is looked for. With --times 200 each drawing is
made so many times, and costs so much that it can be told from noise. What follows for one is
printed, too: the device slows down in proportion to the CPU time that the view takes.
"""

import argparse
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from rich.console import Console
from scipy import stats

from mlbench.arrivals.exponential import Exponential
from mlbench.bench.events import AnswersNarrowed, Event, RunStarted, StageBegan, TrialStarted
from mlbench.bench.job import prepare
from mlbench.bench.settings import RunSettings, make_settings
from mlbench.contracts import wire
from mlbench.outcomes import Standing, TrialRequest
from mlbench.pool import trial_play
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.events import TrialUnderWay
from mlbench.pool.local import LocalLauncher
from mlbench.records import Completions
from mlbench.report.live.region import Region, takes_more
from mlbench.report.live.view import LiveView
from mlbench.trial.schedule import make_schedule, query_count

_NEVER_NS = 1 << 62
_TRIMMED = 0.2  # of the pairs, at either end


@contextmanager
def terminal(width: int) -> Iterator[Console]:
    """Yield a console on a pseudo-terminal that another process reads and forgets."""
    ours, theirs = pty.openpty()
    nowhere = subprocess.DEVNULL
    reader = subprocess.Popen(["cat"], stdin=ours, stdout=nowhere, stderr=nowhere)
    os.close(ours)
    with os.fdopen(theirs, "w") as stream:
        yield Console(file=stream, force_terminal=True, color_system="256", width=width, height=40)
    reader.kill()
    reader.wait()


@dataclass
class Watch:
    """Passes events to a view, when there is one, and counts what that takes of this thread.

    Each is drawn `times` times, of which `first_s` counts the first only.
    """

    times: int = 1
    view: LiveView | None = None
    drawings: int = 0
    cpu_s: float = 0.0
    first_s: float = 0.0

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if self.view is None:
            return
        begin_s = time.thread_time()
        self.view(event)
        self.first_s += time.thread_time() - begin_s
        for number in range(1, self.times):
            if isinstance(event, TrialUnderWay):  # lines that stand there already are not sent
                event = replace(event, answered=number)
            self.view(event)
        self.cpu_s += time.thread_time() - begin_s
        self.drawings += 1


def stage(settings: RunSettings, qps: float) -> list[Event]:
    """Return what a view has heard in the middle of a search with the usual eight answers."""
    (kind, *_), limits = settings.kinds, settings.max_latency
    known = [
        Standing(name, at, qps, qps * 1.1, (qps, qps * 1.2), closed=False)
        for name in ("linear", "exponential")
        for at in limits
    ]
    request = TrialRequest(kind, qps, 1000, 1, limits[-1])
    return [
        RunStarted(settings),
        StageBegan("search"),
        AnswersNarrowed(known, 10.0, 150.0),
        TrialStarted(request),
    ]


def mean_service_s(completions: Completions) -> float:
    """Return the mean service time of a trial's queries, in seconds."""
    ok = completions.status == wire.COMPLETED
    return float((completions.done_ns - completions.start_ns)[ok].mean()) * 1e-9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a trial")
    parser.add_argument("--minutes", type=float, default=4.0, help="in which pairs may begin")
    parser.add_argument("--times", type=int, default=1, help="that each drawing is made")
    parser.add_argument("--load", type=float, default=0.6, help="share of the saturated rate")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--width", type=int, default=120)
    args = parser.parse_args()
    given = {"backend": args.backend, "workers_per_device": 1, "threads": args.threads}
    if args.model:
        given |= {"model": args.model, "dataset": "synthetic"}
    settings = make_settings(RunSettings, given, os.environ)
    job = prepare(settings, lambda _: None)
    watch = Watch(args.times)
    with (
        terminal(args.width) as console,
        WorkerPool(job.specs, LocalLauncher(), tell=watch) as pool,
    ):
        qps = args.load * pool.saturated_qps
        region = Region(console.file, lambda: args.width, takes_more(console.file.fileno()))
        seconds = count()
        view = LiveView(console, region, lambda: next(seconds))  # none is left out as too early
        for event in stage(settings, qps):
            view(event)
        logs = []
        end_s = time.monotonic() + 60 * args.minutes
        for pair in range(args.pairs):
            if time.monotonic() > end_s:
                break
            logs.append(_pair(pool, watch, view, qps, args.seconds, pair))
            print(f"\r{pair + 1} of {args.pairs} pairs", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    _report(np.array(logs), watch, qps, args.seconds)


def _pair(
    pool: WorkerPool, watch: Watch, view: LiveView, qps: float, seconds: float, seed: int
) -> float:
    """Return ln(mean service time with the view over that without it)."""
    schedule = make_schedule(Exponential(), qps, query_count(qps, seconds), seed)
    service_s = {}
    told_every_ns = trial_play._TELL_EVERY_NS  # no option of the pool: nobody else turns it off
    for is_watched in np.random.default_rng(seed).permutation([True, False]).tolist():
        watch.view = view if is_watched else None
        trial_play._TELL_EVERY_NS = told_every_ns if is_watched else _NEVER_NS
        service_s[is_watched] = mean_service_s(pool.run(schedule))
    trial_play._TELL_EVERY_NS = told_every_ns
    return float(np.log(service_s[True] / service_s[False]))


def _report(
    logs: "np.ndarray[tuple[int], np.dtype[np.float64]]", watch: Watch, qps: float, seconds: float
) -> None:
    ratio = np.exp(stats.trim_mean(logs, _TRIMMED))
    low, high = np.exp(stats.mstats.trimmed_mean_ci(logs, (_TRIMMED, _TRIMMED), alpha=0.05))
    print(
        f"{len(logs)} pairs of {seconds:g} s at {qps:.0f} qps: mean service time with the view "
        f"{ratio:.4f} times that without, 95 % interval {low:.4f} to {high:.4f}"
    )
    taken_s = len(logs) * seconds
    share, first = watch.cpu_s / taken_s, watch.first_s / taken_s
    print(
        f"a drawing takes {1e3 * watch.first_s / max(watch.drawings, 1):.3f} ms of CPU time, "
        f"{watch.drawings / taken_s:.1f} times a second: {first:.3%} of one core; here, each "
        f"{watch.times} times, {share:.2%}"
    )
    one, lowest, highest = np.exp(np.log([ratio, low, high]) * first / share)
    print(f"so for one drawing: {one:.5f} times, 95 % interval {lowest:.5f} to {highest:.5f}")


if __name__ == "__main__":
    main()
