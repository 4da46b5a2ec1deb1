"""Write `resnet50_v1.onnx` and `resnet50_v1.pb` from one set of weights.

python tools/build_resnet50.py --weights resnet50-11ad3fa6.pth --output models --verify
python tools/build_resnet50.py --synthetic --output models --digits digits --verify
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.errors import MlbenchError, RequestError, RunError, install_command
from mlbench.host.files import replacing
from mlbench.host.kept import sums_of, write_sums
from mlbench.models.checkpoints import IMAGE_SIZE, load_resnet50
from mlbench.models.graphdef_writer import graphdef_bytes
from mlbench.models.network import Floats, Network
from mlbench.models.resnet50 import features_network, resnet50_network
from mlbench.models.synthetic import digit_photos, fit_head, synthetic_weights, vgg_images
from mlbench.models.unpickle import Weights

WIDTH, SMALL_WIDTH, SMALL_IMAGE_SIZE = 64, 16, 64
FITTED, HELD_OUT = 500, 500
BATCH = 8
ONNX_NAME, GRAPHDEF_NAME = "resnet50_v1.onnx", "resnet50_v1.pb"
INPUT, PREDICTION, PROBABILITIES = "input_tensor:0", "ArgMax:0", "softmax_tensor:0"
TOLERANCE = 1e-3  # relative, of a probability: what different orders of float32 sums may do


@click.command()
@click.option("--weights", type=click.Path(path_type=Path), help="A checkpoint of a ResNet-50.")
@click.option("--synthetic", is_flag=True, help="Random weights, with a head fitted on digits.")
@click.option("--small", is_flag=True, help="With --synthetic: quarter width, 64x64 images.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder [default: $MODEL_DIR].")
@click.option("--digits", type=click.Path(path_type=Path), help="With --synthetic: images too.")
@click.option("--verify", is_flag=True, help="Run both files and compare their answers.")
def main(
    weights: Path | None,
    synthetic: bool,
    small: bool,
    output: Path | None,
    digits: Path | None,
    verify: bool,
) -> None:
    """Write resnet50_v1.onnx (NCHW) and resnet50_v1.pb (NHWC) from one set of weights.

    \b
    Example: python tools/build_resnet50.py --synthetic --output models --digits digits --verify

    --weights takes torchvision's state_dict (.pth, .safetensors) or the weights of
    keras.applications.ResNet50 (.h5, .keras). --digits writes 500 handwritten digits with a
    val_map.txt, none of which the synthetic model was fitted on.
    """
    try:
        if (weights is None) != synthetic or (weights and (small or digits)):
            raise RequestError("give --weights FILE, or --synthetic [--small] [--digits DIR]")
        folder = output or Path(os.environ.get("MODEL_DIR", "."))
        for wanted in filter(None, (folder, digits)):
            _make_folder(wanted)
        if weights:
            model = load_resnet50(weights)
        else:
            model = build_synthetic(SMALL_WIDTH if small else WIDTH, _image_size(small))
        write_files(model, folder)
        if digits:
            write_digits(digits, _image_size(small))
        if verify:
            verify_files(folder, model.image_shape[1])
    except MlbenchError as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(error.exit_status) from None


def _image_size(small: bool) -> int:
    return SMALL_IMAGE_SIZE if small else IMAGE_SIZE


def _make_folder(folder: Path) -> None:
    """Find out before the work that the result can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"can't make the folder {folder} ({error.strerror})") from None
    if not os.access(folder, os.W_OK):
        raise RequestError(f"can't write to the folder {folder}; give another one")


def build_synthetic(width: int, image_size: int) -> Network:
    """Return a ResNet-50 with random convolutions and a head fitted on 500 digits.

    Prints the share of 500 other digits that it gets right. Raises RequestError when onnx,
    onnxruntime or scikit-learn is missing.
    """
    weights = synthetic_weights(width)
    photos, labels = digit_photos(image_size)
    features = _features(weights, image_size, photos[: FITTED + HELD_OUT])
    head = fit_head(features[:FITTED], labels[:FITTED])
    answers = (features[FITTED:] @ head["fc.weight"].T + head["fc.bias"]).argmax(axis=1)
    right = int((answers == labels[FITTED : FITTED + HELD_OUT]).sum())
    click.echo(f"{right} of {HELD_OUT} held-out digits right ({right / HELD_OUT:.1%})")
    metadata = {
        "architecture": "ResNet-50 v1.5",
        "description": "SYNTHETIC ResNet-50 v1.5: random weights, head fitted on digits",
        "held_out_digits_right": f"{right}/{HELD_OUT}",
        "weights": "synthetic",
    }
    return resnet50_network({**weights, **head}, image_size, metadata)


def _features(weights: Weights, image_size: int, photos: NDArray[np.uint8]) -> Floats:
    run = _onnx_runner(_onnx_bytes(features_network(weights, image_size)), ["features:0"])
    starts = range(0, len(photos), BATCH)
    with click.progressbar(starts, label="looking at digits", file=sys.stderr) as bar:
        batches = [run(vgg_images(photos[at : at + BATCH], image_size))[0] for at in bar]
    return np.concatenate(batches)


def write_files(model: Network, folder: Path) -> None:
    """Write the network in both formats, each whole or not at all, with its sums beside it."""
    for name, content in (
        (ONNX_NAME, _onnx_bytes(model)),
        (GRAPHDEF_NAME, graphdef_bytes(model, "NHWC")),
    ):
        path = folder / name
        _write(path, content)
        write_sums(path, sums_of(path))
        click.echo(f"wrote {path}, {len(content) / 1e6:.1f} MB")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(content)


def write_digits(folder: Path, image_size: int) -> None:
    """Write the held-out digits as PNG with a `val_map.txt`, labels 0..9.

    PNG keeps every value, so that the images are exactly those that `build_synthetic` counted.
    """
    photos, labels = digit_photos(image_size)
    lines = []
    for index in range(FITTED, FITTED + HELD_OUT):
        name = f"digit_{index:04}_{labels[index]}.png"
        png = cv2.imencode(".png", photos[index])[1].tobytes()
        _write(folder / name, png)
        lines.append(f"{name} {labels[index]}\n")
    _write(folder / "val_map.txt", "".join(lines).encode())
    click.echo(f"wrote {HELD_OUT} digits to {folder}")


def verify_files(folder: Path, image_size: int) -> None:
    """Run both files on the same noise and compare; raises RunError when they disagree.

    Where TensorFlow is not installed, says that the comparison was not made.
    """
    noise = np.random.default_rng(0).uniform(-120, 140, (BATCH, 3, image_size, image_size))
    images = noise.astype(np.float32)
    run = _onnx_runner((folder / ONNX_NAME).read_bytes(), [PREDICTION, PROBABILITIES])
    classes, probabilities = run(images)
    try:
        import tensorflow as tf
    except ImportError:
        mend = install_command("tensorflow")
        click.echo(f"not compared: TensorFlow is missing; {mend}", err=True)
        return
    graph = tf.compat.v1.GraphDef.FromString((folder / GRAPHDEF_NAME).read_bytes())
    imported = tf.compat.v1.wrap_function(lambda: tf.compat.v1.import_graph_def(graph, name=""), [])
    pruned = imported.prune(INPUT, [PREDICTION, PROBABILITIES])
    found = [t.numpy() for t in pruned(tf.constant(images.transpose(0, 2, 3, 1)))]
    likely = probabilities > 1e-6
    difference = float(np.max(np.abs(found[1][likely] / probabilities[likely] - 1)))
    if not np.array_equal(classes, found[0]) or difference > TOLERANCE:
        raise RunError(
            f"{ONNX_NAME} and {GRAPHDEF_NAME} in {folder} disagree: classes {classes} and "
            f"{found[0]}, probabilities by up to {difference:.1e}; build them again"
        )
    click.echo(f"both files agree on {BATCH} images, probabilities within {difference:.1e}")


def _onnx_bytes(model: Network) -> bytes:
    try:
        from mlbench.models.onnx_writer import onnx_bytes
    except ImportError:
        raise RequestError("writing ONNX needs the package onnx; pip install onnx") from None
    return onnx_bytes(model, "NCHW")


def _onnx_runner(content: bytes, outputs: list[str]) -> Callable[[Floats], list[NDArray[Any]]]:
    try:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it looks when it is imported
        import onnxruntime
    except ImportError:
        raise RequestError(
            f"running the model needs onnxruntime; {install_command('onnxruntime')}"
        ) from None
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda images: list(session.run(outputs, {INPUT: images}))


if __name__ == "__main__":
    main()
