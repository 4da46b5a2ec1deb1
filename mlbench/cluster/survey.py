"""What the hosts of a cluster are, for `doctor`: nothing is started on them but an actor each."""

from typing import Any

from mlbench.cluster.connect import check_cluster
from mlbench.cluster.hosts import Hosts


def survey(address: str, hosts: int | None, *, insecure: bool) -> list[dict[str, Any]]:
    """Return each host's name, CPUs, GPUs, versions, and clock, as plain JSON values.

    `clock_offset_s`: its clock less ours, wrong by `clock_error_s` at most. Monotonic clocks count
    from a computer's start, so that large offsets mean nothing. Raises RequestError as
    `check_cluster` and `Hosts`.
    """
    check_cluster(address, insecure=insecure)
    with Hosts(address, hosts) as found:
        facts = found.ask_all("facts", None)
        clocks = [found.pulse(host).clock.offset for host in range(len(facts))]
    return [
        {
            "name": name,
            "host_name": one.name,
            "cpus": one.cpus,
            "gpus": one.gpus,
            "versions": one.versions,
            "clock_offset_s": clock.offset_ns * 1e-9,
            "clock_error_s": clock.error_ns * 1e-9,
        }
        for name, one, clock in zip(found.names, facts, clocks, strict=True)
    ]
