"""Pictures to test with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

WriteImages = Callable[..., list[Path]]
"""Writes small JPEGs of the given names into the test's folder; returns their paths."""


def smooth_picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return an RGB picture without sharp edges, so that JPEG changes it little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
