"""What a cluster tells: how it comes up, and whom it loses."""

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


@dataclass(frozen=True)
class HostLost:
    """A host died or is silent: it ends the trial, and is no longer part of the cluster."""

    host: str
    reason: str


ClusterEvent = HostsAwaited | FileSent | HostLost
