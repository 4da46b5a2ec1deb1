"""Shrinking an image by averaging, only where it is needed.

Each new pixel is the mean of the old image over the area that it covers, which is what OpenCV
calls INTER_AREA. That is linear and separable: new = V old H', where row i of V holds how much of
each old row lies in new row i. V and H are banded, so they are applied in small dense blocks.
OpenCV cannot leave out what the crop discards, and takes more than twice the time.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_BLOCK = 8  # new pixels in one matrix product; 4 to 16 are about as fast

Floats = NDArray[np.float32]
_Band = tuple[int, int, Floats]
"""Old elements [start, stop) and the weights that make the new ones of one block from them."""


def shrink_window(
    image: NDArray[np.uint8], new_size: tuple[int, int], corner: tuple[int, int], side: int
) -> Floats:
    """Return a square window of the shrunk image, float32 (side, side, 3).

    `image`: uint8 (h, w, 3). `new_size`: height and width to shrink to, not larger than the
    image's. `corner`: top and left of the window in the shrunk image. `side`: a multiple of 8.
    """
    height, width, channels = image.shape
    rows = _bands(height, new_size[0], corner[0], side, 1)
    columns = _bands(width, new_size[1], corner[1], side, channels)
    top, left = rows[0][0], columns[0][0]
    old = image.reshape(height, -1)[top : rows[-1][1], left : columns[-1][1]].astype(np.float32)
    short = np.empty((side, old.shape[1]), np.float32)
    for i, (start, stop, weights) in enumerate(rows):
        out = short[i * _BLOCK : (i + 1) * _BLOCK]
        np.matmul(weights, old[start - top : stop - top], out=out)
    new = np.empty((side, side * channels), np.float32)
    step = _BLOCK * channels
    for i, (start, stop, weights) in enumerate(columns):
        out = new[:, i * step : (i + 1) * step]
        np.matmul(short[:, start - left : stop - left], weights.T, out=out)
    return new.reshape(side, side, channels)


@lru_cache(maxsize=64)  # most photos of a set have one of a few sizes
def _bands(old: int, new: int, first: int, count: int, channels: int) -> tuple[_Band, ...]:
    """Return the blocks of new pixels [first, first + count) along one axis.

    Each weights matrix is (_BLOCK * channels, stop - start); channels are interleaved.
    """
    scale = old / new
    width = int(np.ceil(_BLOCK * scale)) + 1  # old pixels that one block can touch
    low = np.arange(first, first + count).reshape(-1, _BLOCK, 1) * scale
    starts = np.minimum(low[:, 0, 0].astype(int), old - width)
    pixels = starts[:, None, None] + np.arange(width)
    covered = np.minimum(low + scale, pixels + 1) - np.maximum(low, pixels)
    share = (covered.clip(0) / scale).astype(np.float32)
    spread = np.zeros((len(starts), _BLOCK, channels, width, channels), np.float32)
    for channel in range(channels):
        spread[:, :, channel, :, channel] = share
    weights = spread.reshape(len(starts), _BLOCK * channels, width * channels)
    return tuple(
        (start * channels, (start + width) * channels, block)
        for start, block in zip(starts.tolist(), weights, strict=True)
    )
