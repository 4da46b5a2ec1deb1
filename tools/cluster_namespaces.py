"""Hosts that are network namespaces of this machine, each with a Ray node of its own.

    python tools/cluster_namespaces.py --hosts 3 -- \
        python -m mlbench trial --cluster auto --backend simulated --qps 100 --duration 5

    head (0 CPUs, the command runs here) --+
    host 1 (Ray node) ---------------------+-- bridge, with an address for nobody else
    host 2 (Ray node) ---------------------+

Needs root, `ip` and Ray. The nodes ask each other for a token. Whatever happens, processes,
namespaces, bridge and files are gone in the end.
"""

import argparse
import contextlib
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_NET = "10.177.0"
_PORT = 6379
_TAG = "mlb"  # names of namespaces and devices begin so; the longest have 15 characters
_GONE_S = 5.0  # for killed processes to be gone
_STORE_BYTES = 200_000_000  # of each node's object store: the least that serves a big trial


def why_not() -> str | None:
    """Return why hosts cannot be made here; None when they can."""
    if os.geteuid() != 0:
        return "namespaces need root"
    if shutil.which("ip") is None:
        return "there is no ip command"
    try:
        import ray  # noqa: F401 - looked for
    except ImportError:
        return "Ray is not installed"
    probe = f"mlbt{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "this machine allows no namespaces"
    _ip("netns", "del", probe)
    return None


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass(frozen=True)
class Host:
    """One host: its namespace, its end of the cable on the bridge, its address."""

    namespace: str
    cable: str
    address: str

    def pids(self) -> list[int]:
        """Return the ids of its processes."""
        found = subprocess.run(
            ["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in found.stdout.split()]

    def signal(self, number: int) -> None:
        """Send a signal to all its processes."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End it as a power cut does, as far as processes can tell."""
        self.signal(signal.SIGKILL)

    def set_cable(self, *, plugged: bool) -> None:
        """Pull its cable, or plug it in again."""
        _ip("link", "set", self.cable, "up" if plugged else "down")


class Cluster:
    """Ray nodes in namespaces: `head`, where commands run, and `hosts`.

    `cores`: of each host in turn, as for taskset. `hidden`: a folder of which hosts see nothing, as
    if it were on another computer.
    """

    def __init__(
        self,
        hosts: int,
        cores: Sequence[str] | None = None,
        *,
        auth: bool = True,
        hidden: Path | None = None,
    ):
        self._tag = f"{_TAG}{os.getpid()}"
        self._bridge = f"{self._tag}br"
        self.folder = Path(tempfile.mkdtemp(prefix="mlb", dir="/tmp"))
        self.head = self._host(0)
        self.hosts = [self._host(number + 1) for number in range(hosts)]
        self._cores = cores
        self._hidden = hidden
        token = self.folder / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        self.environment = {
            **os.environ,
            "RAY_ADDRESS": f"{self.head.address}:{_PORT}",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "120",  # on a busy machine
            "RAY_AUTH_MODE": "token" if auth else "disabled",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def _host(self, number: int) -> Host:
        name = f"{self._tag}h{number}"
        return Host(name, name, f"{_NET}.{number + 1}")

    def __enter__(self) -> "Cluster":
        _sweep()
        try:
            _ip("link", "add", self._bridge, "type", "bridge")
            _ip("link", "set", self._bridge, "up")
            for host in (self.head, *self.hosts):
                self._make(host)
            self._start_nodes()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _make(self, host: Host) -> None:
        _ip("netns", "add", host.namespace)
        inside = ["netns", "exec", host.namespace, "ip"]
        _ip(
            "link",
            "add",
            host.cable,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            host.namespace,
        )
        _ip("link", "set", host.cable, "master", self._bridge, "up")
        _ip(*inside, "address", "add", f"{host.address}/24", "dev", "eth0")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip(*inside, "link", "set", "lo", "up")
        # Ray asks the kernel which address it would send from to the rest of the world.
        _ip(*inside, "route", "add", "default", "dev", "eth0")

    def _start_nodes(self) -> None:
        head = ["--head", f"--port={_PORT}", "--num-cpus=0", "--include-dashboard=false"]
        _check(self._start_node(self.head, head))
        started = [self._join(host) for host in self.hosts]
        for process in started:
            _check(process)

    def start(self, host: Host) -> None:
        """Start the Ray node of a host whose processes were killed, once Ray knows of that."""
        _python(self, _AWAIT_DEATH, host.address).wait()
        _check(self._join(host))

    def _join(self, host: Host) -> "subprocess.Popen[str]":
        cores = self._cores and self._cores[self.hosts.index(host) % len(self._cores)]
        join = [f"--address={self.head.address}:{_PORT}", "--num-cpus=1"]
        return self._start_node(host, join, cores)

    def _start_node(
        self, host: Host, words: Sequence[str], cores: str | None = None
    ) -> "subprocess.Popen[str]":
        pinned = ["taskset", "-c", cores] if cores else []
        # A namespace's commands have their own view of what is mounted where.
        hide = f'mount -t tmpfs none {shlex.quote(str(self._hidden))} && exec "$@"'
        covered = ["sh", "-c", hide, "sh"] if self._hidden and host is not self.head else []
        return self.popen(
            [
                *covered,
                *pinned,
                *("ray", "start", *words, f"--node-ip-address={host.address}"),
                f"--object-store-memory={_STORE_BYTES}",
                f"--temp-dir={self.folder / host.namespace}",
                "--disable-usage-stats",
            ],
            host,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def popen(
        self,
        command: Sequence[str],
        host: Host | None = None,
        extra: Mapping[str, str] | None = None,
        **options: object,
    ) -> "subprocess.Popen[str]":
        """Start a command on a host, by default the head."""
        namespace = (host or self.head).namespace
        words = ["ip", "netns", "exec", namespace, *command]
        environment = {**self.environment, **(extra or {})}
        return subprocess.Popen(words, env=environment, text=True, **options)  # type: ignore[call-overload]

    def close(self) -> None:
        """End all processes, and take the namespaces down."""
        _take_down([self.head, *self.hosts], self._bridge)
        shutil.rmtree(self.folder, ignore_errors=True)


def _take_down(hosts: Sequence[Host], bridge: str) -> None:
    end_s = time.monotonic() + _GONE_S
    while time.monotonic() < end_s and any(host.pids() for host in hosts):
        for host in hosts:
            host.kill()
        time.sleep(0.05)
    for host in hosts:
        _quietly("netns", "del", host.namespace)
        _quietly("link", "del", host.cable)
    _quietly("link", "del", bridge)


def _sweep() -> None:
    """Take down what programs left that were killed, known by their process ids."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    left: dict[str, list[Host]] = {}
    for name in re.findall(rf"^({_TAG}\d+h\d+)\b", listed.stdout, re.MULTILINE):
        pid = name.removeprefix(_TAG).split("h")[0]
        if not Path("/proc", pid).exists():
            left.setdefault(pid, []).append(Host(name, name, ""))
    for pid, hosts in left.items():
        _take_down(hosts, f"{_TAG}{pid}br")


_AWAIT_DEATH = """
import sys, time, ray
ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
while any(n["Alive"] and n["NodeManagerAddress"] == sys.argv[1] for n in ray.nodes()):
    time.sleep(0.2)
"""


def _python(cluster: Cluster, script: str, *words: str) -> "subprocess.Popen[str]":
    return cluster.popen([sys.executable, "-c", script, *words], stdout=subprocess.DEVNULL)


def _check(node: "subprocess.Popen[str]") -> None:
    told, _ = node.communicate()
    if node.returncode:
        raise RuntimeError(f"a Ray node did not start: {told[-2000:]}")


def _quietly(*words: str) -> None:
    subprocess.run(["ip", *words], check=False, capture_output=True)


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Let the first SIGTERM or SIGINT end this program, while everything is taken down."""

    def end(_number: int, _frame: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    yield


def _asked_for(asked: argparse.Namespace) -> Cluster:
    return Cluster(asked.hosts, asked.cores, auth=not asked.no_auth, hidden=asked.hidden)


def main() -> None:
    """Run a command beside some hosts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--cores", action="append", help="of a host, as for taskset; in turn")
    parser.add_argument("--hidden", type=Path, help="a folder of which hosts see nothing")
    parser.add_argument("--no-auth", action="store_true", help="without a token")
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args()
    if why := why_not():
        sys.exit(why)
    with ending_in_order(), _asked_for(asked) as cluster:
        sys.exit(cluster.popen(asked.command).wait())


if __name__ == "__main__":
    main()
