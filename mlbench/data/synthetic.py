"""Samples drawn at random from a model's own signature."""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.backend import Signature, TensorSpec
from mlbench.contracts.errors import RequestError
from mlbench.host.files import replacing
from mlbench.host.kept import Sums, TellKept, keep, sums_of, tell_nobody
from mlbench.host.memory import check_samples

_VERSION = 2  # of what is drawn: files of an earlier one are not taken for it


def draw_samples(
    signature: Signature, count: int, folder: Path, tell: TellKept = tell_nobody, seed: int = 0
) -> dict[str, Path]:
    """Write `count` samples for each input; return input name -> .npy file (count, ...).

    The batch dimension is dropped; all others must be fixed. Floats are uniform in [0, 1), uint8 in
    0..255, booleans either. Other integers are 0 or 1, which are numbers of rows in any table: the
    range of a model's own is not known. Integers and booleans of a mask are all 1. A tensor without
    dimensions is the same in all samples; an integer is 1 then, and a boolean false. The same
    signature, count and seed give the same files, which are kept; it tells of one that was damaged.
    Raises RequestError for an input that cannot be drawn or too little memory.
    """
    shapes = {spec.name: _sample_shape(spec) for spec in signature.inputs}
    sizes = [_dtype(s).itemsize * int(np.prod(shapes[s.name])) for s in signature.inputs]
    check_samples(count, sum(sizes))
    return {
        spec.name: _kept(spec, (count, *shapes[spec.name]), seed + i, folder, tell)
        for i, spec in enumerate(signature.inputs)
    }


def _sample_shape(spec: TensorSpec) -> tuple[int, ...]:
    shape = tuple(size for size in spec.sample_shape if size is not None)
    if len(shape) < len(spec.sample_shape):
        raise ValueError(f"input {spec} has a free dimension besides the batch")
    return shape


def _dtype(spec: TensorSpec) -> np.dtype[np.generic]:
    try:
        dtype = np.dtype(spec.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "fiub":
        raise RequestError(
            f"input {spec}: samples of type '{spec.dtype}' cannot be drawn; "
            "floats, integers and booleans can"
        )
    return dtype


def _kept(
    spec: TensorSpec, shape: tuple[int, ...], seed: int, folder: Path, tell: TellKept
) -> Path:
    what = f"{spec.name} {spec.dtype} {shape} {seed} {spec.is_whole}"
    key = hashlib.sha256(f"{_VERSION} {what}".encode()).hexdigest()[:20]
    path = folder / f"synthetic-{key}.npy"
    keep(path, partial(_draw, spec, _dtype(spec), shape, seed), tell)
    return path


def _draw(
    spec: TensorSpec, dtype: np.dtype[np.generic], shape: tuple[int, ...], seed: int, path: Path
) -> Sums:
    rng = np.random.default_rng(seed)
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    with replacing(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        sample = b""
        for index in range(shape[0]):
            if index == 0 or not spec.is_whole:
                sample = _values(rng, spec, dtype, shape[1:]).tobytes()
            file.write(sample)
    return sums_of(path)


def _values(
    rng: np.random.Generator, spec: TensorSpec, dtype: np.dtype[np.generic], shape: tuple[int, ...]
) -> NDArray[np.generic]:
    if dtype.kind == "f":
        return np.asarray(rng.random(shape, dtype=np.float32)).astype(dtype)
    if not spec.shape:
        return np.full(shape, dtype.kind != "b", dtype)
    if "mask" in spec.name.lower():
        return np.ones(shape, dtype)
    return rng.integers(0, 256 if dtype == np.uint8 else 2, shape).astype(dtype)
