from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from mlbench.contracts.backend import Signature, TensorSpec
from mlbench.contracts.cache import open_samples
from mlbench.contracts.errors import RequestError
from mlbench.data.synthetic import draw_samples
from mlbench.host.kept import FileDamaged, KeptEvent


def signature(*inputs: tuple[str, str, tuple[int | None, ...]]) -> Signature:
    """Describe a model with these inputs."""
    return Signature(tuple(TensorSpec(*i) for i in inputs), ())


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("float32", 0, 1),
        ("float64", 0, 1),
        ("float16", 0, 1),
        ("int64", 0, 1),
        ("int32", 0, 1),
        ("int8", 0, 1),
        ("uint8", 0, 255),
        ("bool", 0, 1),
    ],
)
def test_values_have_the_type_and_range(tmp_path: Path, dtype: str, low: int, high: int) -> None:
    """Each type is drawn over its range: fractions, small integers, bytes, booleans."""
    feeds = draw_samples(signature(("x", dtype, (None, 3, 50))), 20, tmp_path)
    samples = open_samples(feeds["x"])
    assert samples.shape == (20, 3, 50)
    assert samples.dtype == dtype
    assert samples.min() >= low
    assert samples.max() <= high
    assert len(np.unique(samples)) > (2 if high == 255 or dtype.startswith("float") else 1)


def test_each_input_has_its_own_file(tmp_path: Path) -> None:
    """Several inputs, also of one number a sample, each get a file of the same count."""
    model = signature(
        ("ids", "int64", (1, 8)), ("mask", "bool", (None, 8)), ("t", "float32", (None,))
    )
    feeds = draw_samples(model, 5, tmp_path)
    shapes = {name: open_samples(path).shape for name, path in feeds.items()}
    assert shapes == {"ids": (5, 8), "mask": (5, 8), "t": (5,)}


def test_an_input_without_a_batch_is_the_same_in_all_samples(tmp_path: Path) -> None:
    """A tensor that a batch has once cannot differ between its queries; a lone integer is 1."""
    model = signature(
        ("k", "int64", ()), ("flag", "bool", ()), ("s", "float32", ()), ("w", "int32", (8, 50))
    )
    feeds = {name: open_samples(path) for name, path in draw_samples(model, 5, tmp_path).items()}
    assert [feeds["k"].tolist(), feeds["flag"].tolist()] == [[1] * 5, [False] * 5]
    assert feeds["w"].shape == (5, 8, 50)
    for name in ("s", "w"):
        assert (feeds[name] == feeds[name][0]).all()


def test_a_mask_shows_everything(tmp_path: Path) -> None:
    """Queries are not padded: a mask of integers or booleans is all 1."""
    model = signature(("attention_mask", "int64", (None, 9)), ("padding_MASK", "bool", (None, 9)))
    for path in draw_samples(model, 4, tmp_path).values():
        assert open_samples(path).all()


def test_same_seed_draws_the_same(tmp_path: Path) -> None:
    """Samples depend on the seed alone, and samples and inputs differ from each other."""
    model = signature(("a", "float32", (None, 4)), ("b", "float32", (None, 4)))
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
    one, two = draw_samples(model, 3, first), draw_samples(model, 3, second)
    assert one["a"].read_bytes() == two["a"].read_bytes()
    a, b = open_samples(one["a"]), open_samples(one["b"])
    assert not np.array_equal(a, b)
    assert not np.array_equal(a[0], a[1])
    other = open_samples(draw_samples(model, 3, first, seed=5)["a"])
    assert not np.array_equal(a, other)


def test_damaged_samples_are_drawn_again(tmp_path: Path) -> None:
    """Samples that are not what was drawn are never served, and that is told."""
    model = signature(("a", "float32", (None, 1000)))
    path = draw_samples(model, 500, tmp_path)["a"]
    content = path.read_bytes()
    path.write_bytes(bytes(len(content)))
    told: list[KeptEvent] = []
    assert draw_samples(model, 500, tmp_path, told.append) == {"a": path}
    assert told == [FileDamaged(path)]
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (("text", "string", (None,)), r"input text: .*type 'string' cannot be drawn"),
        (("text", "object", (None,)), r"input text: .*type 'object' cannot be drawn"),
    ],
)
def test_input_that_cannot_be_drawn_is_named(
    tmp_path: Path, spec: tuple[str, str, tuple[int | None, ...]], message: str
) -> None:
    """An odd type is an error that names the input."""
    with pytest.raises(RequestError, match=message):
        draw_samples(signature(("fine", "float32", (None, 4)), spec), 3, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_found_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inputs together must fit in memory."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=100))
    with pytest.raises(RequestError, match="too little memory: 4 samples need"):
        draw_samples(
            signature(("a", "float32", (None, 4)), ("b", "uint8", (None, 16))), 4, tmp_path
        )
