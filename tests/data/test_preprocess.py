"""Against references made with Pillow alone, by other means than ours.

Pillow has no exact counterpart of either scaling, so each is built from exact parts. Averaging by
1.5: repeat each pixel twice, then average blocks of three. Bilinear without smoothing: an affine
transform.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mlbench.data.image_file import read_image
from mlbench.data.preprocess import PREPROCESSING, prepare

# One level of 255 for each rounding to 8 bits: one in OpenCV and one in Pillow.
LEVELS = 1.01

# `pillow_reference(formula_picture(), kind)`, written down with Pillow 13: (row, column) -> RGB.
STORED = {
    "vgg": {
        (0, 0): (76.32, 58.22, -39.94),
        (111, 57): (-24.68, 42.22, 115.06),
        (223, 223): (-12.68, 54.22, 42.06),
    },
    "mobilenet": {
        (0, 0): (0.53725, 0.50588, -0.52941),
        (111, 57): (-0.17647, 0.29412, 0.76471),
        (223, 223): (-0.2, 0.27059, 0.23922),
    },
}
LEVEL = {"vgg": 1.0, "mobilenet": 2 / 255}


def formula_picture() -> Image.Image:
    """Return a picture of 384 x 576 that any program can draw, with fine detail."""
    x, y, c = np.meshgrid(np.arange(576), np.arange(384), np.arange(3), indexing="xy")
    return Image.fromarray(((x * x // 7 + y * 5 + x * y // 50 + c * 60) % 256).astype(np.uint8))


def prepared(file: Path, kind: str, layout: str = "NHWC") -> NDArray[np.float32]:
    """Prepare one file."""
    out = np.empty((3, 224, 224) if layout == "NCHW" else (224, 224, 3), np.float32)
    prepare(read_image(file), PREPROCESSING[kind], layout, out)
    return out


def pillow_reference(picture: Image.Image, kind: str) -> NDArray[np.float64]:
    """Scale by 1/1.5, crop and normalise with Pillow and NumPy."""
    width, height = (side * 2 // 3 for side in picture.size)
    if kind == "vgg":
        twice = picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST)
        scaled = twice.reduce(3)
    else:
        scaled = picture.transform(
            (width, height),
            Image.Transform.AFFINE,
            (1.5, 0, 0, 0, 1.5, 0),
            Image.Resampling.BILINEAR,
        )
    left, top = (width - 224) // 2, (height - 224) // 2
    pixels = np.asarray(scaled.crop((left, top, left + 224, top + 224)), dtype=np.float64)
    return pixels - (123.68, 116.78, 103.94) if kind == "vgg" else (pixels / 255 - 0.5) * 2


@pytest.mark.parametrize("kind", ["vgg", "mobilenet"])
def test_equals_stored_values(tmp_path: Path, kind: str) -> None:
    """Pixels written down from Pillow are met within one level of each."""
    formula_picture().save(tmp_path / "a.png")
    ours = prepared(tmp_path / "a.png", kind)
    for pixel, expected in STORED[kind].items():
        np.testing.assert_allclose(ours[pixel], expected, atol=LEVELS * LEVEL[kind])


@pytest.mark.parametrize("kind", ["vgg", "mobilenet"])
@pytest.mark.parametrize("size", [(576, 384), (384, 576), (384, 384)])
def test_equals_pillow(tmp_path: Path, kind: str, size: tuple[int, int]) -> None:
    """Scaling, crop and normalising equal Pillow's within one level of each pixel."""
    picture = formula_picture().resize(size, Image.Resampling.NEAREST)
    picture.save(tmp_path / "a.png")
    difference = np.abs(prepared(tmp_path / "a.png", kind) - pillow_reference(picture, kind))
    assert difference.max() <= LEVELS * LEVEL[kind]


def test_layouts_hold_the_same_numbers(tmp_path: Path) -> None:
    """NCHW is NHWC with the colours first, in the order red, green, blue."""
    picture = Image.new("RGB", (300, 260), (255, 127, 0))
    picture.save(tmp_path / "a.png")
    planes = prepared(tmp_path / "a.png", "mobilenet", "NCHW")
    np.testing.assert_array_equal(
        planes.transpose(1, 2, 0), prepared(tmp_path / "a.png", "mobilenet")
    )
    np.testing.assert_allclose(planes[:, 0, 0], [1, -1 / 255, -1], atol=1e-6)


@pytest.mark.parametrize("size", [(100, 80), (256, 256), (224, 3000), (512, 512)])
@pytest.mark.parametrize("kind", ["vgg", "mobilenet"])
def test_every_size_fills_the_crop(tmp_path: Path, kind: str, size: tuple[int, int]) -> None:
    """Small, square, long and evenly divisible images of one colour keep that colour."""
    Image.new("RGB", size, (128, 64, 32)).save(tmp_path / "a.png")
    expected = {"vgg": (4.32, -52.78, -71.94), "mobilenet": (1 / 255, -127 / 255, -191 / 255)}[kind]
    np.testing.assert_allclose(
        prepared(tmp_path / "a.png", kind), np.broadcast_to(expected, (224, 224, 3)), atol=1e-4
    )
