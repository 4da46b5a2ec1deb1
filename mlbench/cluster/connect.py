"""Joining a Ray cluster, with its token; and where on it hosts can be placed.

Ray's processes listen on all addresses, even those of a cluster that was started for 127.0.0.1, and
run what they are sent. So a cluster that answers without a token is refused.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mlbench.contracts.errors import RequestError, install_command, one_line
from mlbench.contracts.text import shown

_LISTENS_S = 5.0  # for a connection to the cluster's head
_PROBE_S = 60.0  # for a new process to load Ray and to be answered; a second, but on a busy host
_PROBE = """
import sys
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    GcsClient(address=sys.argv[1]).get_all_node_info()
except AuthenticationError:
    print("refused")
except Exception as error:
    print(str(error).splitlines()[0])
else:
    print("answered")
"""
_HOW_TO_START = (
    "start one with 'RAY_AUTH_MODE=token ray start --head' here and 'ray start --address ...' on "
    "the other hosts (docs/cluster.md)"
)


@dataclass(frozen=True)
class Node:
    """A node of the cluster on which a host can be placed."""

    node_id: str
    address: str


def find_ray() -> Any:
    """Return the module `ray`; raises RequestError where it is not installed."""
    # Ray would warn of a change to come that does not touch us.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise RequestError(
            f"--cluster needs Ray; install it with: {install_command('ray')}"
        ) from None
    return ray


def check_cluster(address: str, *, insecure: bool) -> None:
    """Raise RequestError unless there is a cluster that lets us in, and nobody without a token.

    The address is HOST:PORT, or `auto` for the cluster that this host is part of.
    """
    find_ray()
    _check_access(_find(address), insecure=insecure)


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be part of the cluster at an address that was checked.

    Raises RequestError when it turns us away.
    """
    ray = find_ray()
    place = _find(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # What befalls any node Ray would print on stdout, which is for results.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None
    try:
        ray.init(address=place, log_to_driver=False, logging_level="ERROR", configure_logging=True)
    except Exception as error:  # Ray has a dozen kinds, and no base for them
        raise RequestError(f"--cluster {address}: cannot join it: {one_line(error)}") from None
    finally:
        for number, handler in handlers.items():  # Ray would end this process in its own way
            signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


def _find(address: str) -> str:
    if "://" in address:
        raise RequestError(
            f"--cluster {shown(address)}: expected auto or HOST:PORT; run this on a host of the "
            "cluster itself"
        )
    from ray._private.services import canonicalize_bootstrap_address_or_die

    try:
        found: str = canonicalize_bootstrap_address_or_die(address)
    except (ConnectionError, ValueError):
        raise RequestError(f"--cluster {shown(address)}: no Ray cluster; {_HOW_TO_START}") from None
    return found


def _check_access(address: str, *, insecure: bool) -> None:
    """Raise RequestError unless the cluster answers this process, and nobody without a token."""
    has_token = os.environ.get("RAY_AUTH_MODE") == "token"
    if not has_token and not insecure:
        raise RequestError(
            f"--cluster: the Ray cluster at {address} listens to the whole network and runs what "
            "it is sent: set RAY_AUTH_MODE=token here and on all hosts (docs/cluster.md), or give "
            "--insecure on a network that nobody else can reach"
        )
    _check_listens(address)
    ours, others = _ask(address, {}), _ask(address, {"RAY_AUTH_MODE": "disabled"})
    answer = _answer(ours)
    if answer == "refused":
        raise RequestError(
            f"--cluster: the Ray cluster at {address} asks for another token: set "
            "RAY_AUTH_MODE=token and copy the token of its hosts (docs/cluster.md)"
        )
    if answer != "answered":
        raise RequestError(f"--cluster: no Ray cluster answers at {address}: {answer}")
    if _answer(others) != "refused" and not insecure:
        raise RequestError(
            f"--cluster: the Ray cluster at {address} answers without a token: start all its nodes "
            "with RAY_AUTH_MODE=token (docs/cluster.md), or give --insecure on a network that "
            "nobody else can reach"
        )


def _check_listens(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _LISTENS_S).close()
    except (OSError, ValueError, OverflowError) as error:
        why = one_line(error)
        raise RequestError(f"--cluster: no Ray cluster answers at {address}: {why}") from None


def _ask(address: str, environment: dict[str, str]) -> "subprocess.Popen[str]":
    """Start asking a cluster for its nodes, in a process of its own: its token is set once."""
    return subprocess.Popen(
        [sys.executable, "-c", _PROBE, address],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _answer(probe: "subprocess.Popen[str]") -> str:
    """Return `answered`, `refused`, or why there was neither."""
    try:
        out, _ = probe.communicate(timeout=_PROBE_S)
    except subprocess.TimeoutExpired:
        probe.kill()
        probe.communicate()
        return f"nothing came back within {_PROBE_S:.0f} s"
    return out.strip() or "what listens there does not answer as Ray does"


def nodes_with_cpus() -> list[Node]:
    """Return the living nodes that have CPUs, by address."""
    nodes = [
        Node(node["NodeID"], node["NodeManagerAddress"])
        for node in find_ray().nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    ]
    return sorted(nodes, key=lambda node: [int(p) for p in node.address.split(".") if p.isdigit()])
