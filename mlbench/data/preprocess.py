"""From an image file to the array that a model takes.

Both kinds follow the MLPerf inference reference (`vision/classification_and_detection`): scale so
that a centre crop of 224 is 87.5 % of the short side, crop, normalise each colour.

    file -> decode -> BGR uint8 (h, w, 3) -> scale and crop (224, 224, 3) -> normalise, RGB, layout
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mlbench.data.area import shrink_window

Layout = Literal["NCHW", "NHWC"]

CROP = 224
SHORT_SIDE = 256
"""CROP / 0.875"""


class BadImageError(Exception):
    """A file that is not a whole image; the message names it and says why."""


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


def read_image(file: Path) -> NDArray[np.uint8]:
    """Decode an image file of any kind OpenCV reads to upright BGR, uint8 (h, w, 3).

    The content decides, not the name. Grey and CMYK become BGR; an EXIF orientation is applied.
    Raises BadImageError when the file cannot be read, is cut short or is not an image.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BadImageError(f"{file}: {error.strerror}") from None
    if not data:
        raise BadImageError(f"{file}: the file is empty")
    if _is_cut_short(data):
        raise BadImageError(f"{file}: the JPEG is cut short (no end marker)")
    image = _decode(data)
    if image is None:
        raise BadImageError(f"{file}: corrupt, or not a JPEG or PNG image")
    return image


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


def _decode(data: bytes) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # raised in place of None when the header asks for an absurd size
        return None


def _is_cut_short(data: bytes) -> bool:
    """Tell a JPEG whose last scan never ends: older OpenCV fills the rest with grey.

    Inside a scan 0xFF is always followed by 0x00 or a restart marker (ITU-T T.81, B.1.1.5), so the
    end marker FF D9 after the last start of scan FF DA is the end of the image. What programs
    append after it does no harm.
    """
    if not data.startswith(b"\xff\xd8") or data.endswith(b"\xff\xd9"):
        return False
    return data.find(b"\xff\xd9", data.rfind(b"\xff\xda")) < 0
