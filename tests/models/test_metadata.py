from pathlib import Path

import numpy as np
import pytest
from optional import TENSORFLOW

from mlbench.models import network as net
from mlbench.models.graphdef_writer import graphdef_bytes
from mlbench.models.metadata import model_metadata
from mlbench.models.onnx_writer import onnx_bytes

NOTE = {"description": "SYNTHETIC: für Tests", "weights": "synthetic"}


def _network() -> net.Network:
    head, outputs = net.classifier_head(
        "features", np.zeros((3, 2), np.float32), np.zeros(2, np.float32)
    )
    return net.Network("tiny", (3, 4, 4), (net.Mean("features", net.INPUT), *head), outputs, NOTE)


@pytest.mark.parametrize(("suffix", "write"), [("onnx", onnx_bytes), ("pb", graphdef_bytes)])
def test_note_comes_back(suffix: str, write: type[bytes], tmp_path: Path) -> None:
    """What a file was labelled as is read back from either format, without a runtime."""
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(write(_network(), "NHWC"))
    assert model_metadata(path) == NOTE


@pytest.mark.parametrize("name", ["model.onnx", "model.pb", "model.keras", "folder"])
def test_unlabelled_files_say_nothing(name: str, tmp_path: Path) -> None:
    """A broken, missing or other file has no metadata, and that is no error."""
    assert model_metadata(tmp_path / name) == {}
    (tmp_path / name).write_bytes(b"\xff\xff\xff")
    assert model_metadata(tmp_path / name) == {}


def test_tensorflow_reads_the_note() -> None:
    """The label is an ordinary string constant that TensorFlow can read."""
    tf = pytest.importorskip("tensorflow", reason=TENSORFLOW)
    graph = tf.compat.v1.GraphDef.FromString(graphdef_bytes(_network(), "NHWC"))
    (node,) = (node for node in graph.node if node.name == "mlbench_metadata")
    assert b'"weights": "synthetic"' in node.attr["value"].tensor.string_val[0]
