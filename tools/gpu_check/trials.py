"""Trials and short runs on the GPU: rates, batches, energy, and the state that was sampled."""

import json
from typing import Any

from gpu_check.bench import Bench, Check, FailedError, NotHereError, document, gpu_memory, last_line

_SECONDS = 4
_LOOKS_PER_S = 3  # at least; the coordinator looks five times a second
_DATA = ("--dataset", "synthetic", "--count", "64", "--device", "cuda:0")
_TORCH = ("--backend", "torch", "--model", "net.pt2", *_DATA)
_ORT = ("--backend", "onnxruntime", "--model", "net.onnx", *_DATA)
_IDLE_QPS = 20


def torch_trial(batch_size: int, workers: int) -> Check:
    """Return what serves the model at about half of what one query at a time allows."""

    def check(bench: Bench) -> str:
        return _trial(bench, _TORCH, batch_size, workers)

    return check


def bound_trial(batch_size: int) -> Check:
    """Return what serves a model with ONNX Runtime, whose inputs lie in buffers on the GPU."""

    def check(bench: Bench) -> str:
        _needs_ort_with_cuda(bench)
        return _trial(bench, _ORT, batch_size, 1)

    return check


def _needs_ort_with_cuda(bench: Bench) -> None:
    try:
        import onnxruntime
    except ImportError:
        raise NotHereError("onnxruntime is not installed") from None
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise NotHereError(f"onnxruntime {onnxruntime.__version__} has no CUDA")
    if not (bench.folder / "net.onnx").exists():
        raise NotHereError("the package onnx is missing, with which the model is made")


def _trial(bench: Bench, what: tuple[str, ...], batch_size: int, workers: int) -> str:
    shape = ("--batch-size", batch_size, "--workers-per-device", workers)
    qps = 0.5 * min(batch_size, 4) * workers / _query_s(bench, what)
    at_rest = gpu_memory()
    trial = _play(bench, (*what, *shape), qps)
    (gpu,) = trial["host"]["gpus"]
    if gpu["memory_used_bytes"] <= at_rest:
        raise FailedError("nothing lay in the GPU's memory")
    if batch_size > 1 and trial["batch_size_mean"] <= 1:
        raise FailedError("no batches were formed")
    return (
        f"{trial['achieved_qps']:.0f} qps, p99 {_ms(trial['latency_s']['99'])}, service "
        f"{_ms(trial['service_s']['50'])} (p50), mean batch {trial['batch_size_mean']:.1f}, "
        f"harness adds {_ms(trial['send_lag_s']['99'])} (p99), {_energy(trial)}; {_state(trial)}"
    )


def _query_s(bench: Bench, what: tuple[str, ...]) -> float:
    """Return what a query takes alone, measured once for each model."""
    if what not in bench.query_s:
        slow = _play(bench, what, _IDLE_QPS, limit=())
        bench.query_s[what] = slow["service_s"]["mean"]
    return bench.query_s[what]


def _play(
    bench: Bench,
    what: tuple[object, ...],
    qps: float,
    limit: tuple[str, ...] = ("--max-latency", "1"),
) -> dict[str, Any]:
    """Return a trial's document; FailedError when a query was not answered or it is invalid."""
    rate = ("--qps", f"{qps:.4g}", "--duration", _SECONDS, "--seed", "1")
    done = bench.run("trial", *what, *rate, *limit, "--json", "--quiet")
    trial = document(done)
    if trial["completed"] != trial["queries"]:
        raise FailedError(f"{trial['completed']} of {trial['queries']} answered: {last_line(done)}")
    if any(worker["device"] != "cuda:0" for worker in trial["workers"]):
        raise FailedError(f"served by {trial['workers']}")
    codes = {found["code"] for found in trial["findings"]}
    if trial["verdict"] == "invalid" and codes & {"gpu_throttled"}:
        raise NotHereError(f"an undisturbed GPU: {'; '.join(trial['reasons'])}")
    if limit and trial["verdict"] != "pass":
        raise FailedError(f"{trial['verdict']}: {'; '.join(trial['reasons'])}")
    return trial


def _energy(trial: dict[str, Any]) -> str:
    if trial["energy_j"] is None:
        raise FailedError(f"no energy: {[found['text'] for found in trial['findings']]}")
    watts = trial["energy"]["gpu_j"] / trial["energy"]["measured_s"]
    if not 10 < watts < 3000:
        raise FailedError(f"a GPU at work seems to take {watts:.1f} W")
    return f"{trial['energy_per_query_j']:.3g} J a query, the GPU {watts:.0f} W"


def _state(trial: dict[str, Any]) -> str:
    (gpu,) = trial["host"]["gpus"]
    if gpu["looks"] < _LOOKS_PER_S * _SECONDS:
        raise FailedError(f"only {gpu['looks']} looks at the GPU in {_SECONDS} s")
    return (
        f"{gpu['looks']} looks, none throttled, {gpu['lowest_clock_mhz']} to {gpu['clock_mhz']} "
        f"MHz, up to {gpu['highest_temperature_c']} C"
    )


def search(model: str, batch_size: int, workers: int) -> Check:
    """Return what finds the highest rate within 50 ms."""

    def check(bench: Bench) -> str:
        output = f"results-{batch_size}-{workers}.json"
        done = bench.run(
            *(
                "run",
                "--backend",
                "torch",
                "--model",
                model,
                *_DATA,
                "--batch-size",
                batch_size,
                "--workers-per-device",
                workers,
            ),
            *("--max-latency", "0.05", "--arrivals", "exponential", "--skip-accuracy", "--quiet"),
            *("--time", "4", "--budget", "24", "--seed", "1", "--output", output),
        )
        if done.returncode:
            raise FailedError(f"status {done.returncode}: {last_line(done)}")
        results = json.loads((bench.folder / output).read_text())["results"]
        answer = results["exponential"]["0.05"]
        if answer["energy_per_query_j"] is None:
            raise FailedError("the answer has no energy")
        low, high = (f"{end:.0f}" if end else "?" for end in answer["capacity_ci95"])
        return (
            f"{answer['qps']:.0f} qps within 50 ms (capacity {low} to {high}), "
            f"{answer['energy_per_query_j']:.3g} J a query, {answer['trials']} trials in "
            f"{answer['measured_s']:.0f} s"
        )

    return check


def _ms(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds * 1e3:.2f} ms"


CHECKS: list[tuple[str, Check]] = [
    *(
        (f"torch, batches of {batch_size}, {workers} worker{'s' * (workers > 1)}", check)
        for batch_size in (1, 8)
        for workers in (1, 2)
        for check in [torch_trial(batch_size, workers)]
    ),
    ("a search, batches of 1, 1 worker", search("net.pt2", 1, 1)),
    ("a search, batches of 8, 2 workers", search("net.pt", 8, 2)),
    ("I/O binding, batches of 1", bound_trial(1)),
    ("I/O binding, batches of 8", bound_trial(8)),
]
