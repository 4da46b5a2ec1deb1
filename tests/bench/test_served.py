"""What was served, told by its content."""

from pathlib import Path

import numpy as np

from mlbench.bench.served import describe_served
from mlbench.host.kept import keep, sums_of


def test_a_model_is_known_by_its_content(tmp_path: Path) -> None:
    """A copy under another name has the same sum, a file that differs in one byte another."""
    files = [tmp_path / name for name in ("a", "copy", "other")]
    for file, content in zip(files, (b"model", b"model", b"modem"), strict=True):
        file.write_bytes(content)
    sums = [describe_served("null", file, {}).model for file in files]
    assert sums[0] == sums[1] != sums[2]
    assert sums[0] is not None
    assert len(sums[0]) == 16


def test_samples_have_the_sum_that_they_were_kept_with(tmp_path: Path) -> None:
    """The sums beside a kept file will do, and are those of its content."""

    def build(path: Path) -> object:
        np.save(path.open("wb"), np.arange(10))
        return sums_of(path)

    kept = tmp_path / "kept.npy"
    keep(kept, build)  # type: ignore[arg-type]
    plain = tmp_path / "plain.npy"
    plain.write_bytes(kept.read_bytes())
    by_file = {file: describe_served("null", None, {"x": str(file)}).data for file in (kept, plain)}
    assert by_file[kept] == by_file[plain]
    assert describe_served("null", None, {"y": str(kept)}).data != by_file[kept]


def test_there_may_be_nothing_to_sum(tmp_path: Path) -> None:
    """Without a model and samples, or where a model is a folder, there is no sum."""
    assert describe_served("null", None, {}).model is None
    assert describe_served("null", None, {}).data is None
    assert describe_served("null", tmp_path, {}).model is None


def test_the_runtime_is_told_with_its_version() -> None:
    """A backend with a runtime names its package's version; one without names nothing."""
    runtime = describe_served("onnxruntime", None, {}).runtime
    assert runtime is not None
    assert runtime.startswith("onnxruntime ")
    assert describe_served("null", None, {}).runtime is None
