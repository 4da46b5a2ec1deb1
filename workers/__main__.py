"""The worker process: `python -P -m workers serve|inspect LIFELINE`.

Its orders are JSON on stdin. LIFELINE is the descriptor of a pipe that ends with the coordinator.
"""

import sys

from workers.lifeline import end_with_coordinator


def main() -> None:
    """Serve, or inspect a model, as the first argument says."""
    task, lifeline = sys.argv[1:]
    end_with_coordinator(int(lifeline))
    # What this imports, and a runtime after it, takes seconds: a lifeline has to stand before.
    from workers import tasks

    tasks.do(task)


if __name__ == "__main__":
    main()
