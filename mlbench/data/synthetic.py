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


def draw_samples(
    signature: Signature, count: int, folder: Path, tell: TellKept = tell_nobody, seed: int = 0
) -> dict[str, Path]:
    """Write `count` samples for each input; return input name -> .npy file (count, ...).

    Dimension 0 of an input is the batch and is dropped. Floats are uniform in [0, 1), uint8 in
    0..255, other integers 0 or 1, booleans either. The same signature, count and seed give the same
    files, which are kept; it tells of one that was damaged. Raises RequestError for an input that
    cannot be drawn or too little memory.
    """
    shapes = {spec.name: _sample_shape(spec) for spec in signature.inputs}
    sizes = [_dtype(s).itemsize * int(np.prod(shapes[s.name])) for s in signature.inputs]
    check_samples(count, sum(sizes))
    return {
        spec.name: _kept(spec, (count, *shapes[spec.name]), seed + i, folder, tell)
        for i, spec in enumerate(signature.inputs)
    }


def _sample_shape(spec: TensorSpec) -> tuple[int, ...]:
    if not spec.shape:
        raise RequestError(f"input {spec} has no batch dimension, so no samples can be drawn")
    free = [i for i, dim in enumerate(spec.shape) if dim is None and i > 0]
    if free:
        raise RequestError(
            f"input {spec}: dimension {free[0]} is free; export the model with a fixed size there "
            "(only the batch, dimension 0, may be free)"
        )
    return tuple(dim for dim in spec.shape[1:] if dim is not None)


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
    key = hashlib.sha256(f"{spec} {shape} {seed}".encode()).hexdigest()[:20]
    path = folder / f"synthetic-{key}.npy"
    keep(path, partial(_draw, _dtype(spec), shape, seed), tell)
    return path


def _draw(dtype: np.dtype[np.generic], shape: tuple[int, ...], seed: int, path: Path) -> Sums:
    rng = np.random.default_rng(seed)
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    with replacing(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(shape[0]):
            file.write(_values(rng, dtype, shape[1:]).tobytes())
    return sums_of(path)


def _values(
    rng: np.random.Generator, dtype: np.dtype[np.generic], shape: tuple[int, ...]
) -> NDArray[np.generic]:
    if dtype.kind == "f":
        return rng.random(shape, dtype=np.float32).astype(dtype)
    return rng.integers(0, 256 if dtype == np.uint8 else 2, shape).astype(dtype)
