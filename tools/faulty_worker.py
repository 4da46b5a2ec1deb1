"""A worker process whose first worker is killed or stopped at a given step of a claim.

    FAULT='KILL claiming 5' python tools/faulty_worker.py serve LIFELINE < orders

claiming: about to append its claim; claimed: appended, but not yet read; holding: it waits for the
queries that it claimed; serving: in the middle of a batch; answering: the answer is not yet sent.
"""

import os
import signal
from collections.abc import Callable
from typing import Any

from mlbench.contracts.claims import ClaimLog
from workers import tasks
from workers.__main__ import main
from workers.backends.simulated import SimulatedBackend
from workers.loop import Worker
from workers.outbox import Outbox

_STEPS = {
    "claiming": (ClaimLog, "claim", True),
    "claimed": (ClaimLog, "_append", False),
    "holding": (Worker, "_rest", True),
    "serving": (SimulatedBackend, "serve", True),
    "answering": (Outbox, "add_batch", False),
}


def break_at(step: str, count: int, signal_: signal.Signals) -> None:
    """Send this process a signal when it comes to the step for the count-th time."""
    owner, name, before = _STEPS[step]
    real: Callable[..., Any] = getattr(owner, name)
    left = count

    def faulty(self: Any, *arguments: Any) -> Any:
        nonlocal left
        waits_for_nothing = step == "holding" and self._batch is None
        left -= not waits_for_nothing
        if before and left == 0 and not waits_for_nothing:
            os.kill(os.getpid(), signal_)
        result = real(self, *arguments)
        if not before and left == 0:
            os.kill(os.getpid(), signal_)
        return result

    setattr(owner, name, faulty)


if __name__ == "__main__":
    real_serve = tasks.serve

    def serve(spec: Any) -> None:
        """Serve as usual, but for the first worker."""
        if spec.index == 0:
            word, step, count = os.environ["FAULT"].split()
            break_at(step, int(count), signal.Signals[f"SIG{word}"])
        real_serve(spec)

    tasks.serve = serve
    main()
