"""Hosts that are killed, stand still or lose their cable: named in time, and nothing left behind?

    python tools/study_cluster_faults.py --times 20 kill pause cable

Two namespaces are hosts (`tools/cluster_namespaces.py`). Each time a trial is begun, one host is
harmed at a moment of its own, and it is noted how long it took until the host was named, how the
trial ended, and what is left on both hosts a while after.
"""

import argparse
import json
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen

from cluster_namespaces import Cluster, Host, ending_in_order, why_not

_NAMED_S = 2.0  # in which a host has to be named
_PAUSE_S = 5.0
_TRIAL_S = 12.0  # long enough that no trial is over before somebody is harmed
_GONE_S = 15.0  # a host that is alone ends itself after ten seconds


@dataclass
class Seen:
    """What became of one trial. `named_s`: from the harm to the line that names the host."""

    named_s: float | None
    status: int
    verdict: str | None
    is_right_host: bool
    left: list[str]

    @property
    def good(self) -> bool:
        """Whether the host was named in time, nothing passed and nothing is left."""
        is_named = self.named_s is not None and self.named_s <= _NAMED_S and self.is_right_host
        return is_named and self.status == 3 and self.verdict == "invalid" and not self.left


def main() -> None:
    """Harm hosts in each way that is asked for, so many times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ways", nargs="+", choices=list(_WAYS))
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if why := why_not():
        sys.exit(why)
    rng = random.Random(asked.seed)  # noqa: S311 - moments, no secrets
    with ending_in_order(), Cluster(2) as cluster:
        for way in asked.ways:
            seen = [_once(cluster, way, rng) for _ in range(asked.times)]
            named_s = [one.named_s for one in seen if one.named_s is not None]
            slowest = f"{max(named_s):.2f} s at most" if named_s else "never"
            print(f"{way}: {sum(one.good for one in seen)} of {len(seen)} good; named {slowest}")


def _once(cluster: Cluster, way: str, rng: random.Random) -> Seen:
    harm, mend = _WAYS[way]
    victim = rng.choice(cluster.hosts)
    words = "trial --cluster auto --backend simulated --backend-option service_ms=5 --qps 200"
    options = f"--duration {_TRIAL_S} --max-latency 0.1 --json"
    command = [sys.executable, "-m", "mlbench", *words.split(), *options.split()]
    trial = _begun(cluster, command)
    time.sleep(rng.uniform(1.0, 4.0))
    harmed_s = time.monotonic()
    harm(victim)
    named_s, is_right = None, False
    told = []
    for line in trial.stderr:
        told.append(line.rstrip())
        if "warning: host " in line and named_s is None:
            named_s = time.monotonic() - harmed_s
            is_right = victim.address in line
    out = trial.stdout.read()
    status = trial.wait()
    rest_s = _PAUSE_S - (time.monotonic() - harmed_s) if way == "pause" else 0
    time.sleep(max(rest_s, 0))
    mend(cluster, victim)
    left = _left(cluster)
    verdict = json.loads(out)["verdict"] if out.strip() else None
    seen = Seen(named_s, status, verdict, is_right, left)
    print(f"  {way} {victim.address}: {seen}")
    if not seen.good:
        print("    " + "\n    ".join(told[-6:]))
    sys.stdout.flush()
    return seen


def _begun(cluster: Cluster, command: list[str]) -> "Popen[str]":
    """Start a trial and return when it begins; again while Ray has not mended the last harm yet."""
    while True:
        trial, line = cluster.popen(command, stdout=PIPE, stderr=PIPE), ""
        for line in trial.stderr:
            if "clocks are known" in line:  # all is up
                return trial
        print(f"    not begun, once more (status {trial.wait()}): {line.rstrip()[:300]}")
        time.sleep(_PAUSE_S)


def _left(cluster: Cluster) -> list[str]:
    """Return the commands of workers and actors that are still there when all should be gone."""
    end_s = time.monotonic() + _GONE_S
    while (left := _ours(cluster)) and time.monotonic() < end_s:
        time.sleep(0.2)
    return left


def _ours(cluster: Cluster) -> list[str]:
    found = []
    for host in cluster.hosts:
        for pid in host.pids():
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            command = " ".join(words)
            if "-m workers" in command or command.startswith("ray::Host"):
                found.append(command.strip()[:60])
    return found


_WAYS: dict[str, tuple[Callable[[Host], None], Callable[[Cluster, Host], None]]] = {
    "kill": (Host.kill, Cluster.start),
    "pause": (
        lambda victim: victim.signal(signal.SIGSTOP),
        lambda _, victim: victim.signal(signal.SIGCONT),
    ),
    "cable": (
        lambda victim: victim.set_cable(plugged=False),
        lambda _, victim: victim.set_cable(plugged=True),
    ),
}

if __name__ == "__main__":
    main()
