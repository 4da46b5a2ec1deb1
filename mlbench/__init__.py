"""Latency-bounded throughput benchmark for ML inference.

    import mlbench

    found = mlbench.run(backend="simulated", max_latency=[0.05], skip_accuracy=True)
    for answer in found.answers:
        print(answer.kind, answer.max_latency_s, answer.qps, answer.capacity_ci95)

`run` and `run_trial` do what the commands `run` and `trial` do, and `load` reads what they saved.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlbench.bench.run import run
    from mlbench.bench.trial import run_trial
    from mlbench.report.load import load

__all__ = ["__version__", "load", "run", "run_trial"]

__version__ = "0.1.0"

_WHERE = {
    "load": "mlbench.report.load",
    "run": "mlbench.bench.run",
    "run_trial": "mlbench.bench.trial",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: a worker needs none of it."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_WHERE[name]), name)
