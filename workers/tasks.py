"""What a worker process is started for: to serve, or to inspect a model.

Its stdout belongs to nobody's results: whatever a runtime prints goes to stderr. `inspect` answers
with one line of JSON on the real stdout.
"""

import json
import os
import sys
from typing import Any

from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.errors import RequestError, one_line
from mlbench.contracts.registry import find_backend
from mlbench.host.clock import set_precise_sleep
from workers.connection import Connection
from workers.loop import Worker


def do(task: str) -> None:
    """Read the orders on stdin and do the task."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    orders = json.load(sys.stdin)
    if task == "inspect":
        answer.write(json.dumps(_inspect(orders)) + "\n")
        answer.flush()
    else:
        answer.close()
        serve(WorkerSpec.from_dict(orders))


def _inspect(orders: dict[str, Any]) -> dict[str, Any]:
    try:
        backend = find_backend(orders["backend"])
        return {"signature": backend.inspect(orders["model"]).to_dict()}
    except Exception as error:
        return {"error": one_line(error)}


def serve(spec: WorkerSpec) -> None:
    """Load the backend, report, and serve until told to stop."""
    set_precise_sleep()
    # ZeroMQ's thread inherits the affinity of the moment: connect first, pin to cores after that.
    connection = Connection(spec.endpoint, spec.identity)
    try:
        if spec.cores is not None:
            os.sched_setaffinity(0, spec.cores)
        backend = find_backend(spec.backend)(spec)
        worker = Worker(spec, backend, connection)
        connection.send_control("ready", backend=backend.describe())
    except Exception as error:
        is_request = isinstance(error, RequestError)
        connection.send_control(
            "error", message=one_line(error), is_final=is_request, is_request=is_request
        )
        connection.close()
        return
    worker.run()
    connection.close()
