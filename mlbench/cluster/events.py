"""What a cluster tells while it comes up."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HostsAwaited:
    """The hosts of a cluster are placed and started, so many."""

    hosts: int


@dataclass(frozen=True)
class FileSent:
    """So many bytes of a file, of `size`, have been sent to `hosts` hosts that have it not."""

    name: str
    sent: int
    size: int
    hosts: int


ClusterEvent = HostsAwaited | FileSent
