"""From hosts that answer to hosts that serve: versions, files, pools."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mlbench.cluster.events import FileSent
from mlbench.cluster.files import HostFile, read_chunks
from mlbench.cluster.host import HostFacts, OpenPool, PoolFacts
from mlbench.cluster.hosts import Hosts
from mlbench.contracts.errors import RequestError

Tell = Callable[[object], None]
Hear = Callable[[str, object], None]
"""Is told the name of a host and what happened there."""


class BringUp:
    """Gives hosts what they need, and starts their pools.

    `backend`: whose version has to be the same everywhere. `files`: those that hosts need.
    `open_pool` opens the pool of a host, on that host.
    """

    def __init__(
        self,
        hosts: Hosts,
        backend: str,
        open_pool: OpenPool,
        files: Sequence[HostFile],
        tell: Tell,
        hear: Hear,
    ) -> None:
        self._hosts, self._backend, self._open_pool = hosts, backend, open_pool
        self._files, self._tell, self._hear = files, tell, hear
        self._versions: HostFacts | None = None  # those of the first host

    def start(self, hosts: Sequence[int], query_s: float | None = None) -> list[PoolFacts]:
        """Start the pools of these hosts; return what they are, in the same order.

        `query_s`: how long a query takes on one core, where that is known. Raises RequestError
        where a host differs from the first in what has to be the same.
        """
        facts = self._hosts.ask(hosts, "facts", self._backend)
        self._check_versions(hosts, facts)
        self._send_files(hosts)
        if query_s is not None or len(hosts) == 1:
            return self._open(hosts, query_s)
        # Where the layout is measured, the first host's holds for all, so that all are alike.
        first = self._open(hosts[:1], None)
        return first + self._open(hosts[1:], first[0].query_s)

    def check_alike(self, pools: Sequence[PoolFacts]) -> None:
        """Raise RequestError where a host has more or fewer workers than the first."""
        first = pools[0].devices
        for host, facts in enumerate(pools):
            if len(facts.devices) != len(first):
                raise RequestError(
                    f"host {self._hosts.names[host]} has {len(facts.devices)} workers, but host "
                    f"{self._hosts.names[0]} has {len(first)}: every host gets as many queries, so "
                    "give --device and --workers-per-device that are the same on all"
                )

    def _open(self, hosts: Sequence[int], query_s: float | None) -> list[PoolFacts]:
        arguments = {host: (self._open_pool, host, query_s) for host in hosts}
        return self._hosts.ask_each("open", arguments, tell=self._hear)

    def _check_versions(self, hosts: Sequence[int], facts: Sequence[HostFacts]) -> None:
        if self._versions is None:
            self._versions = facts[0]
        for host, one in zip(hosts, facts, strict=True):
            for what, version in self._versions.versions.items():
                if one.versions.get(what) != version:
                    raise RequestError(
                        f"host {self._hosts.names[host]} has {what} {one.versions.get(what)}, but "
                        f"host {self._hosts.names[0]} has {version}: install the same on all hosts"
                    )

    def _send_files(self, hosts: Sequence[int]) -> None:
        """Send what is missing, each file to all hosts at once, a piece at a time."""
        missing = self._hosts.ask(hosts, "missing", self._files)
        for place, file in enumerate(self._files):
            lacking = [h for h, places in zip(hosts, missing, strict=True) if place in places]
            if lacking:
                self._send(file, lacking)

    def _send(self, file: HostFile, hosts: Sequence[int]) -> None:
        sent = 0
        for chunk in read_chunks(Path(file.path)):
            self._hosts.ask(hosts, "receive", file, chunk)
            sent += len(chunk)
            self._tell(FileSent(file.name, sent, file.size, len(hosts)))
