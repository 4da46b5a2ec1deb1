import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GPUS = Path("/proc/driver/nvidia/gpus")


def _run(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the script as it would be from a shell without the two variables."""
    kept = {k: v for k, v in os.environ.items() if k not in ("MODEL_DIR", "DATA_DIR")}
    return subprocess.run(
        [ROOT / "run_local.sh", *words],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.skipif(GPUS.exists(), reason="not for a machine with an NVIDIA driver")
def test_a_machine_without_a_gpu_is_told_before_anything_is_installed() -> None:
    """Gigabytes of GPU packages are not fetched for a GPU that is not there."""
    result = _run("onnxruntime", "gpu")
    assert result.returncode == 2
    assert result.stderr.startswith("error: device gpu: no NVIDIA driver")
    assert not (ROOT / ".venv-onnxruntime-gpu").exists()


@pytest.mark.parametrize("words", [(), ("caffe",), ("tf", "tpu")])
def test_words_that_it_does_not_know_get_its_usage(words: tuple[str, ...]) -> None:
    """An unknown runtime or device is refused with the usage and status 2."""
    result = _run(*words)
    assert result.returncode == 2
    assert result.stderr.startswith("usage: ./run_local.sh tf|onnxruntime")


def test_one_variable_without_the_other_is_refused() -> None:
    """Models without data, or data without models, are no benchmark."""
    result = _run("tf", MODEL_DIR="/models")
    assert result.returncode == 2
    assert "set both MODEL_DIR and DATA_DIR" in result.stderr
