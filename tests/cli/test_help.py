import subprocess
import sys

HEAVY = (
    "cv2",
    "scipy",
    "numba",
    "pydantic",
    "psutil",
    "zmq",
    "rich",
    "onnxruntime",
    "tensorflow",
    "matplotlib",
    "jinja2",
)


def test_help_loads_nothing_that_measuring_needs():
    """The help of a command appears at once: no image, statistics or runtime library is loaded."""
    program = f"""
import sys
from mlbench.cli.commands import cli
cli.main(["run", "--help"], standalone_mode=False)
print("LOADED", [name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert "--max-latency" in done.stdout
    assert done.stdout.rstrip().endswith("LOADED []")
