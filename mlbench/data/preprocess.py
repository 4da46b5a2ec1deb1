"""From an image to the array that a model takes.

Both kinds follow the MLPerf inference reference (`vision/classification_and_detection`): scale so
that a centre crop of 224 is 87.5 % of the short side, crop, normalise each colour.

    BGR uint8 (h, w, 3) -> scale and crop (224, 224, 3) -> normalise, RGB, layout
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mlbench.data.area import shrink_window

Layout = Literal["NCHW", "NHWC"]

CROP = 224
SHORT_SIDE = 256
"""CROP / 0.875"""


@dataclass(frozen=True)
class Preprocessing:
    """A named way to prepare images: (x - mean) * scale of each colour.

    `interpolation`: OpenCV's flag. `mean`: red, green, blue, from 0 to 255.
    """

    name: str
    interpolation: int
    mean: tuple[float, float, float]
    scale: float


PREPROCESSING = {
    p.name: p
    for p in (
        Preprocessing("vgg", cv2.INTER_AREA, (123.68, 116.78, 103.94), 1.0),
        # (x / 255 - 0.5) * 2
        Preprocessing("mobilenet", cv2.INTER_LINEAR, (127.5, 127.5, 127.5), 1 / 127.5),
    )
}


def sample_shape(layout: Layout) -> tuple[int, int, int]:
    """Return the shape of one prepared image."""
    return (3, CROP, CROP) if layout == "NCHW" else (CROP, CROP, 3)


def sample_bytes(layout: Layout) -> int:
    """Return the size of one prepared image, float32."""
    return math.prod(sample_shape(layout)) * np.dtype(np.float32).itemsize


def prepare(
    image: NDArray[np.uint8], how: Preprocessing, layout: Layout, out: NDArray[np.float32]
) -> None:
    """Write one prepared image into `out`, float32 of `sample_shape(layout)`.

    `image`: BGR uint8 (h, w, 3).
    """
    rgb = _scaled_crop(image, how.interpolation)[:, :, ::-1]
    mean = np.array(how.mean, dtype=np.float32)
    if layout == "NCHW":
        np.subtract(rgb.transpose(2, 0, 1), mean[:, None, None], out=out)
    else:
        np.subtract(rgb, mean, out=out)
    if how.scale != 1:
        np.multiply(out, np.float32(how.scale), out=out)


def _scaled_crop(image: NDArray[np.uint8], interpolation: int) -> NDArray[Any]:
    """Return the centre CROP x CROP of the image scaled to SHORT_SIDE, uint8 or float32 BGR."""
    old_height, old_width = image.shape[:2]
    height, width = _scaled_size(old_height, old_width)
    top, left = (height - CROP) // 2, (width - CROP) // 2
    shrinks = min(old_height, old_width) > SHORT_SIDE
    whole_ratio = old_height % height == 0 and old_width % width == 0  # where OpenCV is fastest
    if interpolation == cv2.INTER_AREA and shrinks and not whole_ratio:
        return shrink_window(image, (height, width), (top, left), CROP)
    scaled = cv2.resize(image, (width, height), interpolation=interpolation)
    return scaled[top : top + CROP, left : left + CROP]


def _scaled_size(height: int, width: int) -> tuple[int, int]:
    """Scale so that the short side is SHORT_SIDE; the long side is rounded down, as MLPerf's."""
    short = min(height, width)
    return SHORT_SIDE * height // short, SHORT_SIDE * width // short
