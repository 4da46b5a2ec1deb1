"""A job on the hosts of a cluster: what is done here, and what each host does with the settings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlbench.bench.events import Event, Listener, Noted, StageBegan, from_cluster
from mlbench.bench.job import Job, place_here
from mlbench.bench.pool import open_local
from mlbench.bench.settings import Settings
from mlbench.cluster.host import Opened
from mlbench.cluster.pool import ClusterPool, ClusterRequest
from mlbench.contracts.backend import WorkerSpec


def open_cluster(job: Job, settings: Settings, tell: Listener) -> ClusterPool:
    """Start a job's workers on all hosts and warm them up; the caller closes the pool."""
    assert settings.cluster is not None  # noqa: S101 - the caller looked
    (worker,) = job.specs
    files = [*([job.model] if job.model else []), *map(Path, dict.fromkeys(worker.feeds.values()))]
    pool = ClusterPool(
        ClusterRequest(settings.cluster, settings.hosts, settings.split),
        settings.backend,
        OpenHere(settings, worker),
        files,
        worker.sample_count,
        tell=from_cluster(tell),
    )
    tell(Noted(pool.finding))
    return pool


@dataclass(frozen=True)
class OpenHere:
    """What a host does to open its pool; it travels there."""

    settings: Settings
    worker: WorkerSpec

    def __call__(
        self, paths: Mapping[str, str], host: int, query_s: float | None, tell: Listener
    ) -> Opened:
        """Place the workers on this host's devices, and start them with this host's files."""
        model, feeds = self.worker.model, self.worker.feeds
        worker = replace(
            self.worker,
            model=None if model is None else paths[model],
            feeds={name: paths[path] for name, path in feeds.items()},
        )

        def tell_once(event: Event) -> None:
            # What follows from a layout that another host has measured was told there.
            if query_s is None or not isinstance(event, Noted | StageBegan):
                tell(event)

        specs, query_s_here = place_here(worker, self.settings, tell_once, query_s)
        specs = tuple(replace(spec, earlier_workers=host * len(specs)) for spec in specs)
        return Opened(open_local(specs, self.settings, tell_once), query_s_here)
