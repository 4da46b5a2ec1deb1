"""Kill a sweep again and again, and compare its table with that of an undisturbed one.

    python tools/study_sweep_kills.py FILE.yaml FOLDER --kills 3

Measures FOLDER/undisturbed and FOLDER/killed. The second gets SIGKILL at random moments and is
started again; after each the trials saved by then must be there as they were. In the end no trial
may have been repeated: each has arrivals of its own, and a configuration has no more measured
seconds than its budget and the trial that exceeds it. Takes twice the time of the sweep.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_LOOK_EVERY_S = 0.05


def main() -> int:
    """Measure both, and print the table; the status is 1 if a trial was lost or repeated."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    calm, killed = asked.folder / "undisturbed", asked.folder / "killed"
    _finish(asked.file, calm)
    share = len(_trials(calm)) / (asked.kills + 1)
    rng, seen = random.Random(asked.seed), {}  # noqa: S311 - moments to kill at
    is_right = True
    for kill in range(asked.kills):
        _kill(asked.file, killed, round(share * (kill + rng.uniform(0.3, 1.0))), rng)
        now = _trials(killed)
        is_right &= seen.items() <= now.items()
        print(f"killed with {len(now)} trials; of {len(seen)} before, all as they were: {is_right}")
        seen = now
    _finish(asked.file, killed)
    is_right &= seen.items() <= _trials(killed).items()
    return 0 if _compare(_table(calm), _table(killed), killed) and is_right else 1


def _command(file: Path, folder: Path) -> list[str]:
    return [sys.executable, "-m", "mlbench", "sweep", str(file), "-o", str(folder), "--quiet"]


def _finish(file: Path, folder: Path) -> None:
    subprocess.run(_command(file, folder), check=False, stdout=subprocess.DEVNULL)


def _kill(file: Path, folder: Path, trials: int, rng: random.Random) -> None:
    """Start the sweep, and kill it within a second after so many trials are saved."""
    process = subprocess.Popen(_command(file, folder), stdout=subprocess.DEVNULL)
    while process.poll() is None and len(_trials(folder)) < trials:
        time.sleep(_LOOK_EVERY_S)
    time.sleep(rng.uniform(0, 1))
    process.kill()
    process.wait()


def _trials(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*/trials/*.npz")
    }


def _table(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "sweep.json").read_text())
    return document


def _compare(calm: dict[str, Any], killed: dict[str, Any], folder: Path) -> bool:
    """Print both tables; return whether no trial of the second was repeated or lost."""
    is_right = True
    print("\n| configuration | answer | undisturbed | killed | intervals meet |")
    print("|---|---|---|---|---|")
    for one, other in zip(calm["configurations"], killed["configurations"], strict=True):
        for kind, answers in one["answers"].items():
            for limit_s, answer in answers.items():
                again = other["answers"].get(kind, {}).get(limit_s, {})
                meet = _meet(answer.get("capacity_ci95"), again.get("capacity_ci95"))
                cells = (one["name"], f"{kind} {limit_s} s", _text(answer), _text(again), meet)
                print("|", " | ".join(map(str, cells)), "|")
        results = json.loads((folder / other["results"]).read_text())
        trials = [trial for some in results["scan"].values() for trial in some.values()]
        files = list((folder / other["name"] / "trials").glob("*.npz"))
        is_right &= len({trial["seed"] for trial in trials}) == len(trials) == len(files)
    print(f"\nno trial was repeated or lost: {is_right}")
    return is_right


def _text(answer: dict[str, Any]) -> str:
    if not answer.get("capacity_ci95"):
        return "-"
    low, high = answer["capacity_ci95"]
    return f"{answer['capacity_qps']:.1f} ({low or 0:.1f} to {high or 0:.1f})"


def _meet(a: list[float] | None, b: list[float] | None) -> str:
    if not a or not b:
        return "-"
    return "yes" if a[0] <= b[1] and b[0] <= a[1] else "no"


if __name__ == "__main__":
    sys.exit(main())
