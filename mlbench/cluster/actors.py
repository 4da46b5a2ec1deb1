"""Hosts as Ray actors: placed one on each node, called, and ended."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from mlbench.cluster.connect import Node, find_ray
from mlbench.cluster.host import Host
from mlbench.contracts.errors import RequestError

_PLACED_S = 30.0  # until nodes that are there and free have their actors; a second is usual
_GROUPS = {"beat": 1, "control": 4}
"""Threads of an actor beside the one of its pool: a beat never waits, and of a trial `ready`, `go`
and `end` may be under way at once."""
_GROUP_OF = {
    "beat": "beat",
    "ready": "control",
    "go": "control",
    "end": "control",
    "close": "control",
}


class Actor:
    """One host's actor. `name` is the node's address, which people know it by."""

    def __init__(self, node: Node, handle: Any) -> None:
        self.node = node
        self.name = node.address
        self._handle = handle

    def call(self, method: str, *arguments: object) -> "Future[Any]":
        """Call a method of its `Host`; the future fails with Ray's error when the host is lost."""
        bound = getattr(self._handle, method)
        if method in _GROUP_OF:
            bound = bound.options(concurrency_group=_GROUP_OF[method])
        future: Future[Any] = bound.remote(*arguments).future()
        return future

    def kill(self) -> None:
        """End its process, and with it the host's workers, without asking."""
        find_ray().kill(self._handle, no_restart=True)


class Placement:
    """Actors on nodes, one on each: all of them are placed, or none. Ended by `close`."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        ray = find_ray()
        from ray.util.placement_group import placement_group

        bundles = [{"CPU": 1, f"node:{node.address}": 0.001} for node in nodes]
        self._group = placement_group(bundles, strategy="STRICT_SPREAD")
        if not self._group.wait(_PLACED_S):
            self.close()
            names = ", ".join(node.address for node in nodes)
            raise RequestError(
                f"--cluster: no free CPU for a host on each of {names} within {_PLACED_S:.0f} s: "
                "end what else runs on the cluster ('ray status' shows it), or wait until Ray has "
                "noticed that one of them is gone"
            )
        self.actors = [Actor(node, self._start(ray, index)) for index, node in enumerate(nodes)]

    def _start(self, ray: Any, bundle: int) -> Any:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        return (
            ray.remote(concurrency_groups=_GROUPS)(Host)
            .options(
                num_cpus=1,
                scheduling_strategy=PlacementGroupSchedulingStrategy(self._group, bundle),
                # Devices are the pool's business: Ray would hide GPUs that it did not hand out.
                runtime_env={"env_vars": {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}},
            )
            .remote()
        )

    def close(self) -> None:
        """Give the places back; what runs there ends."""
        from ray.util.placement_group import remove_placement_group

        remove_placement_group(self._group)
