"""Weights for a ResNet-50 where no trained ones can be had: true cost, and answers to check.

The convolutions are random. Only the last layer is fitted, on real handwritten digits (the test
set of Alpaydin and Kaynak, 1998, which scikit-learn carries), so that digits are recognised.
"""

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.errors import RequestError
from mlbench.models.network import Floats
from mlbench.models.resnet50 import BLOCKS, VGG_MEAN, rescale_input
from mlbench.models.unpickle import Weights

CLASSES = 1000
_SEED = 50
_RESIDUAL_GAIN = 0.5  # keeps activations from growing with depth
_PIXEL_SCALE = 1 / 64  # brings pixels of 0..255 to about unit size
_RIDGE = 3e-3  # of the mean square of the images' features; 1e-3 to 1e-2 differ by 1 %


def synthetic_weights(width: int) -> Weights:
    """Return the convolutions of a ResNet-50 whose first has `width` channels (64 in the paper).

    He initialisation (He et al., 2015): normal with variance 2 / fan_in. Batch normalisation is
    the identity, but for halving each residual branch. There is no `fc`. Images are as for
    `resnet50_network`; the first layer adds the mean back, so that black is 0. The same width
    gives the same numbers.
    """
    rng = np.random.default_rng(_SEED)
    weights: Weights = {}

    def conv(name: str, norm: str, inputs: int, outputs: int, kernel: int, gain: float) -> None:
        deviation = np.float32(np.sqrt(2 / (inputs * kernel * kernel)))
        shape = (outputs, inputs, kernel, kernel)
        weights[f"{name}.weight"] = rng.standard_normal(shape, np.float32) * deviation
        identity = {"weight": gain, "bias": 0, "running_mean": 0, "running_var": 1}
        for part, value in identity.items():
            weights[f"{norm}.{part}"] = np.full(outputs, value, np.float32)

    conv("conv1", "bn1", 3, width, 7, 1)
    inputs = width
    for stage, blocks in enumerate(BLOCKS):
        inner, outputs = width << stage, width << stage + 2
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            conv(f"{name}.conv1", f"{name}.bn1", inputs, inner, 1, 1)
            conv(f"{name}.conv2", f"{name}.bn2", inner, inner, 3, 1)
            conv(f"{name}.conv3", f"{name}.bn3", inner, outputs, 1, _RESIDUAL_GAIN)
            if block == 0:
                conv(f"{name}.downsample.0", f"{name}.downsample.1", inputs, outputs, 1, 1)
            inputs = outputs
    mean = np.array(VGG_MEAN)
    return rescale_input(weights, np.full(3, _PIXEL_SCALE), mean * _PIXEL_SCALE)


def digit_photos(image_size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the 1,797 digits as grey RGB images (n, side, side, 3), and their labels 0..9.

    Each of the 8x8 grey values becomes a square. The side is 8/7 of `image_size`, so that the
    centre crop of 87.5 % has `image_size`, with no rescaling between. They are shuffled, since the
    writers come one after the other. Raises RequestError when scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise RequestError("the digits need scikit-learn; pip install scikit-learn") from None
    digits = load_digits()
    square = image_size // 7
    order = np.random.default_rng(_SEED).permutation(len(digits.target))
    grey = np.rint(digits.images[order] * (255 / 16)).astype(np.uint8)
    enlarged = grey.repeat(square, axis=1).repeat(square, axis=2)
    return np.repeat(enlarged[..., None], 3, axis=3), digits.target[order].astype(np.int64)


def vgg_images(photos: NDArray[np.uint8], image_size: int) -> Floats:
    """Return the centre crop less the mean: float32 (n, 3, image_size, image_size)."""
    start = (photos.shape[1] - image_size) // 2
    stop = start + image_size
    cropped = photos[:, start:stop, start:stop].astype(np.float32) - np.array(VGG_MEAN, np.float32)
    return np.ascontiguousarray(cropped.transpose(0, 3, 1, 2))


def fit_head(features: Floats, labels: NDArray[np.int64]) -> Weights:
    """Return `fc.weight` (1000, channels) and `fc.bias` (1000,) that tell the digits apart.

    Ridge regression on one-hot labels with a free intercept (Hastie et al., The Elements of
    Statistical Learning, 3.4.1). For any image the ten digits' outputs then sum to 1, so that the
    largest beats the other 990 classes, which are always 0.
    """
    x = features.astype(np.float64)
    y = np.eye(10)[labels]
    centre, share = x.mean(axis=0), y.mean(axis=0)
    x -= centre
    # Solved in the dual: there are fewer images than channels.
    gram = x @ x.T
    gram[np.diag_indices_from(gram)] += _RIDGE * np.trace(gram) / len(gram)
    slopes = x.T @ np.linalg.solve(gram, y - share)
    weight, bias = np.zeros((CLASSES, x.shape[1]), np.float32), np.zeros(CLASSES, np.float32)
    weight[:10], bias[:10] = slopes.T, share - centre @ slopes
    return {"fc.weight": weight, "fc.bias": bias}
