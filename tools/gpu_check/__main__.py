"""Runs the checks in order, with a line for each: python -m gpu_check FOLDER [WORD]..."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gpu_check import backends, device, ends, refusals, trials
from gpu_check.bench import Bench, Check, FailedError, NotHereError

CHECKS: list[tuple[str, Check]] = [
    *device.CHECKS,
    *backends.CHECKS,
    *refusals.CHECKS,
    *ends.CHECKS,
    *trials.CHECKS,
]


def main(folder: Path, words: Sequence[str] = ("",)) -> int:
    """Run the checks that have one of the words in their name, by default all.

    A check that failed does not keep the next from its turn.
    """
    bench, counts, began_s = Bench(folder), {"ok": 0, "FAILED": 0, "not here": 0}, time.monotonic()
    for name, check in CHECKS:
        if not any(word in name for word in words):
            continue
        word, detail = _outcome(bench, check)
        counts[word] += 1
        print(f"{word:<8}  {name}: {detail}", flush=True)
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    print(f"{told}; {time.monotonic() - began_s:.0f} s; what was printed is in {folder}")
    return 1 if counts["FAILED"] else 0


def _outcome(bench: Bench, check: Check) -> tuple[str, str]:
    try:
        return "ok", check(bench)
    except NotHereError as why:
        return "not here", str(why)
    except FailedError as why:
        return "FAILED", str(why)
    except Exception as error:  # a check that breaks has failed, and the others have their turn
        return "FAILED", f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:] or ("",)))
