"""One host of a cluster: its local pool, played in parts of trials. Knows nothing of Ray.

    coordinator --- play(part) ---> pool's thread: WorkerPool.run
                <-- ready ---------    all workers have the beginning of the part
                --- go(start) ---->    the part starts then, by this host's clock
                <-- completions ---

Each arrow is a call of a method in a thread of its own, so that a host answers heartbeats, and can
be told to end, whatever its pool does.
"""

import importlib.metadata
import os
import platform
import signal
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from mlbench import __version__
from mlbench.cluster.files import FileStore, HostFile
from mlbench.cluster.split import Part
from mlbench.contracts.errors import MlbenchError, RequestError, one_line
from mlbench.host.clock import now_ns
from mlbench.host.gpus import visible_gpus
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.events import TrialUnderWay
from mlbench.pool.restarts import WorkerKeepsFailingError
from mlbench.records import Completions

ALONE_S = 10.0
"""Without a heartbeat, after which a host ends itself: its coordinator is gone, or cannot be
reached. Ray ends the hosts of a coordinator that died at once; this is for a cable that was pulled,
and long enough for a coordinator that was only stopped for a moment."""

_LOOK_EVERY_S = 1.0
_NO_TRIAL_AFTER = 2**63

Result = TypeVar("Result")

OpenPool = Callable[[dict[str, str], int, float | None, Callable[[object], None]], "Opened"]
"""Opens this host's pool: from the paths of files here by their path on the coordinator's host, the
host's number, and the seconds that a query takes on one thread, if they are known."""


@dataclass(frozen=True)
class Opened:
    """A pool and what decided its layout: the seconds of a query on one thread, None if nothing."""

    pool: WorkerPool
    query_s: float | None


@dataclass(frozen=True)
class PoolFacts:
    """What a coordinator needs to know of a host's pool; `service_ns` for each worker."""

    devices: tuple[str, ...]
    service_ns: tuple[float, ...]
    backends: dict[int, dict[str, Any]]
    query_s: float | None


@dataclass(frozen=True)
class HostFacts:
    """What a host is. `versions`: of everything that has to be the same everywhere."""

    name: str
    pid: int
    cpus: int
    gpus: int
    versions: dict[str, str]


@dataclass(frozen=True)
class Beat:
    """What a host answers to a heartbeat: its clock, and the events of its pool since the last."""

    host_ns: int
    told: tuple[object, ...]


@dataclass(frozen=True)
class Failed:
    """A call that raised one of our errors, which this host puts into words."""

    kind: Literal["request", "worker", "run"]
    message: str

    @classmethod
    def of(cls, error: Exception) -> "Failed":
        """Return what an error says."""
        if isinstance(error, RequestError):
            return cls("request", str(error))
        kind: Literal["worker", "run"] = (
            "worker" if isinstance(error, WorkerKeepsFailingError) else "run"
        )
        return cls(kind, str(error) if isinstance(error, MlbenchError) else one_line(error))


class Host:
    """The methods that a coordinator calls; all but `beat` and those of a trial one by one."""

    def __init__(self) -> None:
        # Workers end with the thread that started them, so that one thread has to last.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pool")
        self._files = FileStore()
        self._opened: Opened | None = None
        self._told: deque[object] = deque()
        self._course = threading.Condition()
        self._ready = self._ended = 0  # the last trial that is ready, or that was told to end
        self._start_ns: dict[int, int] = {}
        self._heard_ns = now_ns()
        self._closed = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        """End this process, and with it its workers, when nobody asks for it any more."""
        while not self._closed.wait(_LOOK_EVERY_S):
            if now_ns() - self._heard_ns > ALONE_S * 1e9:
                signal.raise_signal(signal.SIGKILL)  # whatever other threads do

    def beat(self) -> Beat:
        """Say that this host lives, what its clock shows, and what its pool tells."""
        self._heard_ns = now_ns()
        told = tuple(self._told.popleft() for _ in range(len(self._told)))
        return Beat(now_ns(), told)

    def facts(self, backend: str | None) -> HostFacts:
        """Say what this host is, with the version of a backend's runtime."""
        versions = {"mlbench": __version__, "python": platform.python_version()}
        if backend is not None:
            versions |= _runtime_version(backend)
        cpus = len(os.sched_getaffinity(0))
        return HostFacts(platform.node(), os.getpid(), cpus, len(visible_gpus()), versions)

    def missing(self, files: tuple[HostFile, ...]) -> tuple[int, ...]:
        """Return the places of those files that are not here."""
        return self._files.missing(files)

    def receive(self, file: HostFile, chunk: bytes) -> Failed | None:
        """Take in the next bytes of a file."""
        return _told_errors(lambda: self._files.receive(file, chunk))

    def open(self, make: OpenPool, number: int, query_s: float | None) -> PoolFacts | Failed:
        """Start and warm up this host's workers."""
        return _told_errors(lambda: self._thread.submit(self._open, make, number, query_s).result())

    def _open(self, make: OpenPool, number: int, query_s: float | None) -> PoolFacts:
        self._opened = make(self._files.paths, number, query_s, self._tell)
        pool = self._opened.pool
        return PoolFacts(
            devices=pool.devices,
            service_ns=tuple(pool.service_ns),
            backends=pool.backends,
            query_s=self._opened.query_s,
        )

    def _tell(self, event: object) -> None:
        """Keep an event for the next beat; how one part of a trial goes says little of all."""
        if not isinstance(event, TrialUnderWay):
            self._told.append(event)

    def play(self, trial: int, part: Part, max_backlog_s: float) -> Completions | Failed:
        """Play a part of a trial, and return its fate; `ready` tells when it may start."""
        try:
            return _told_errors(
                lambda: self._thread.submit(self._play, trial, part, max_backlog_s).result()
            )
        finally:
            self._note_ready(trial)

    def _play(self, trial: int, part: Part, max_backlog_s: float) -> Completions:
        if self._opened is None:
            raise RuntimeError("no pool was opened")
        return self._opened.pool.run(
            part.schedule,
            max_backlog_s,
            part.samples,
            start_ns=lambda: self._await_start(trial),
            is_ended=lambda: self._ended >= trial,
        )

    def _await_start(self, trial: int) -> int | None:
        """Wait for the word to start; None when the trial is to end before it."""
        self._note_ready(trial)
        with self._course:
            self._course.wait_for(lambda: trial in self._start_ns or self._ended >= trial)
            return self._start_ns.pop(trial, None)

    def _note_ready(self, trial: int) -> None:
        with self._course:
            self._ready = max(self._ready, trial)
            self._course.notify_all()

    def ready(self, trial: int) -> None:
        """Return when the trial may start, or when it is over already."""
        with self._course:
            self._course.wait_for(lambda: self._ready >= trial)

    def go(self, trial: int, start_ns: int) -> int:
        """Let a trial start at this moment of this host's clock, or now where that is over.

        Return by how many nanoseconds it starts later than asked.
        """
        begin_ns = max(start_ns, now_ns())
        with self._course:
            self._start_ns[trial] = begin_ns
            self._course.notify_all()
        return begin_ns - start_ns

    def end(self, trial: int) -> None:
        """End a trial early, which is no fault."""
        with self._course:
            self._ended = max(self._ended, trial)
            self._course.notify_all()

    def pool_facts(self) -> tuple[bool, tuple[float, ...]]:
        """Say whether a worker failed in the last trial, and the mean service times in ns."""
        assert self._opened is not None  # noqa: S101 - asked only after `open`
        return self._opened.pool.has_failed, tuple(self._opened.pool.service_ns)

    def close(self) -> None:
        """End the trial that is played, and the workers, in the thread that started them."""
        self.end(_NO_TRIAL_AFTER)
        if self._opened is not None:
            self._thread.submit(self._opened.pool.close).result()
        self._files.sweep()
        self._closed.set()


def _told_errors(call: Callable[[], Result]) -> Result | Failed:
    """Return what a call returns, or its error as a value: errors of ours do not travel whole."""
    try:
        return call()
    except Exception as error:
        return Failed.of(error)


def _runtime_version(backend: str) -> dict[str, str]:
    from mlbench.contracts.registry import find_backend

    try:
        runtime = find_backend(backend).RUNTIME
    except RequestError as error:
        return {backend: str(error)}
    if runtime is None:
        return {}
    packages = importlib.metadata.packages_distributions().get(runtime[0], [])
    version = f"{packages[0]} {importlib.metadata.version(packages[0])}" if packages else "missing"
    return {backend: version}
