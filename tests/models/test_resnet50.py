import numpy as np
import pytest
from optional import ONNXRUNTIME, SKLEARN

from mlbench.models import network as net
from mlbench.models.onnx_writer import onnx_bytes
from mlbench.models.resnet50 import (
    VGG_MEAN,
    features_network,
    rescale_input,
    resnet50_network,
    take_vgg_images,
)
from mlbench.models.synthetic import digit_photos, fit_head, synthetic_weights, vgg_images
from mlbench.models.unpickle import Weights

SIZE, WIDTH = 64, 8
FROZEN = [-0.13435942, 0.07754768]  # two of the weights of width 4


@pytest.fixture(scope="module")
def weights() -> Weights:
    """Weights of a narrow ResNet-50 with 1,000 classes."""
    rng = np.random.default_rng(4)
    head = {"fc.weight": rng.normal(size=(1000, WIDTH * 32)), "fc.bias": rng.normal(size=1000)}
    return {**synthetic_weights(WIDTH), **head}


def _convs(model: net.Network) -> dict[str, net.Conv]:
    return {op.output: op for op in model.ops if isinstance(op, net.Conv)}


def _run(model: net.Network, output: str, images: np.ndarray) -> np.ndarray:
    ort = pytest.importorskip("onnxruntime", reason=ONNXRUNTIME)
    session = ort.InferenceSession(onnx_bytes(model, "NCHW"))
    (values,) = session.run([output], {"input_tensor:0": images.astype(np.float32)})
    return np.asarray(values)


def test_has_the_published_number_of_parameters() -> None:
    """At full width there are 25,557,032 parameters, those of the 1,000 classes included."""
    trained = (v.size for k, v in synthetic_weights(64).items() if "running" not in k)
    assert sum(trained) + 2048 * 1000 + 1000 == 25_557_032


def test_stride_is_in_the_3x3_convolution(weights: Weights) -> None:
    """v1.5 halves the image in a stage's first 3x3 convolution, v1 in the 1x1 before it."""
    later = _convs(resnet50_network(weights, SIZE, {}))
    first = _convs(resnet50_network(weights, SIZE, {}, "1x1"))
    for stage in (2, 3, 4):
        unit = f"layer{stage}.0"
        assert (later[f"{unit}.conv1"].stride, later[f"{unit}.conv2"].stride) == (1, 2)
        assert (first[f"{unit}.conv1"].stride, first[f"{unit}.conv2"].stride) == (2, 1)
    assert later["layer1.0.conv2"].stride == 1


def test_padding_is_symmetric(weights: Weights) -> None:
    """Every convolution is padded by half its kernel on all four sides."""
    for conv in _convs(resnet50_network(weights, SIZE, {})).values():
        assert conv.pads == (conv.weight.shape[2] // 2,) * 4


def test_background_class_is_never_predicted(weights: Weights) -> None:
    """Class i of the weights is class i + 1 of the file, and class 0 has probability 0."""
    images = np.random.default_rng(5).normal(0, 60, (4, 3, SIZE, SIZE))
    features = _run(features_network(weights, SIZE), "features:0", images)
    model = resnet50_network(weights, SIZE, {})
    expected = (features @ weights["fc.weight"].T + weights["fc.bias"]).argmax(axis=1)
    np.testing.assert_array_equal(_run(model, "ArgMax:0", images), expected + 1)
    probabilities = _run(model, "softmax_tensor:0", images)
    assert probabilities.shape == (4, 1001)
    assert (probabilities[:, 0] == 0).all()


def _first_layer(weights: Weights, patch: np.ndarray) -> np.ndarray:
    """What the first convolution and normalisation make of one 7x7 patch (3, 7, 7)."""
    kernel, bias = net.fold_batch_norm(weights, "conv1", "bn1", 1e-5)
    return np.einsum("oihw,ihw->o", kernel, patch) + bias


def test_input_scale_moves_into_the_first_layer(weights: Weights) -> None:
    """Rescaled weights make of a patch what the old ones make of the scaled and shifted patch."""
    patch = np.random.default_rng(6).normal(size=(3, 7, 7))
    scale, shift = np.array([2.0, 0.5, 3.0]), np.array([1.0, -2.0, 0.3])
    expected = _first_layer(weights, patch * scale[:, None, None] + shift[:, None, None])
    found = _first_layer(rescale_input(weights, scale, shift), patch)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_trained_scale_is_replaced_by_mean_subtraction(weights: Weights) -> None:
    """A patch less the mean gives what the normalised patch gave the trained weights."""
    pixels = np.random.default_rng(7).uniform(0, 255, (3, 7, 7))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    trained = (pixels / 255 - mean[:, None, None]) / std[:, None, None]
    found = _first_layer(take_vgg_images(weights), pixels - np.array(VGG_MEAN)[:, None, None])
    np.testing.assert_allclose(found, _first_layer(weights, trained), rtol=1e-3, atol=1e-4)


def test_missing_tensor_is_named(weights: Weights) -> None:
    """Weights that lack a tensor are refused with its name."""
    partial = {name: values for name, values in weights.items() if name != "layer3.1.bn2.bias"}
    with pytest.raises(KeyError, match=r"layer3\.1\.bn2\.bias"):
        resnet50_network(partial, SIZE, {})


def test_deeper_network_is_refused(weights: Weights) -> None:
    """Weights of a deeper ResNet are not cut down to 50 layers in silence."""
    deeper = {**weights, "layer3.6.conv1.weight": np.zeros((1, 1, 1, 1))}
    with pytest.raises(ValueError, match=r"layer3\.6\.conv1\.weight"):
        resnet50_network(deeper, SIZE, {})


def test_synthetic_weights_are_frozen() -> None:
    """The random weights are the same on every machine and in every release."""
    first = synthetic_weights(4)["layer4.2.conv3.weight"]
    np.testing.assert_array_equal(first, synthetic_weights(4)["layer4.2.conv3.weight"])
    np.testing.assert_allclose(first[0, :2, 0, 0], FROZEN, rtol=1e-6)


def test_photos_crop_to_the_image_size() -> None:
    """Digits are grey RGB pictures whose centre crop of 87.5 % is the image, less the mean."""
    pytest.importorskip("sklearn", reason=SKLEARN)
    photos, labels = digit_photos(56)
    assert photos.shape == (1797, 64, 64, 3)
    assert set(labels.tolist()) == set(range(10))
    image = vgg_images(photos[:1], 56)[0]
    np.testing.assert_allclose(image[:, 0, 0], photos[0, 4, 4] - np.array(VGG_MEAN), rtol=1e-5)


def test_head_tells_separable_features_apart() -> None:
    """The fitted head is right on features that separate the digits; no other class ever wins."""
    rng = np.random.default_rng(8)
    labels = np.arange(200) % 10
    features = (np.eye(10)[labels] + rng.normal(0, 0.05, (200, 10))).astype(np.float32)
    head = fit_head(features[:100], labels[:100])
    strange = np.vstack([features[100:], rng.normal(0, 100, (100, 10))])
    answers = (strange @ head["fc.weight"].T + head["fc.bias"]).argmax(axis=1)
    np.testing.assert_array_equal(answers[:100], labels[100:])
    assert answers.max() < 10
