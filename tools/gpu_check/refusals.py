"""What must be refused in one line with status 2, before a CPU serves in the GPU's place."""

from gpu_check.bench import Bench, Check, FailedError, NotHereError
from mlbench.host.gpus import visible_gpus

_TRIAL = ("trial", "--qps", "10", "--duration", "1", "--dataset", "synthetic", "--quiet")
_TORCH = (*_TRIAL, "--backend", "torch", "--model", "net.pt2")


def missing_gpu(bench: Bench) -> str:
    """A GPU that is not there."""
    number = max(7, len(visible_gpus()))
    return _refused(bench, f"cuda:{number}", *_TORCH, "--device", f"cuda:{number}")


def hidden_gpu(bench: Bench) -> str:
    """GPUs that CUDA does not show."""
    return _refused(bench, "gpu", *_TORCH, "--device", "gpu", CUDA_VISIBLE_DEVICES="")


def runtime_without_cuda(bench: Bench) -> str:
    """An ONNX Runtime without CUDA."""
    try:
        import onnxruntime
    except ImportError:
        raise NotHereError("onnxruntime is not installed") from None
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        raise NotHereError("this onnxruntime has CUDA")
    if not (bench.folder / "net.onnx").exists():
        raise NotHereError("the package onnx is missing, with which the model is made")
    words = (*_TRIAL, "--backend", "onnxruntime", "--model", "net.onnx", "--device", "gpu")
    return _refused(bench, "CUDAExecutionProvider", *words)


def _refused(bench: Bench, named: str, *words: str, **variables: str) -> str:
    done = bench.run(*words, **variables)
    lines = done.stderr.strip().splitlines()
    if done.returncode != 2:
        raise FailedError(f"status {done.returncode} in place of 2; {lines[-1:]}")
    if len(lines) != 1 or named not in lines[0] or done.stdout:
        raise FailedError(f"not one line that names {named}: {lines} {done.stdout[:200]}")
    return lines[0].removeprefix("error: ")


CHECKS: list[tuple[str, Check]] = [
    ("a GPU that is not there is refused", missing_gpu),
    ("a GPU that is hidden is refused", hidden_gpu),
    ("ONNX Runtime without CUDA is refused", runtime_without_cuda),
]
