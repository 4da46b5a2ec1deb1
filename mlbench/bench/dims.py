"""Free dimensions of a model, and what `--dim NAME=SIZE` makes of them. Pure.

NAME is what the model calls the dimension, wherever it has that name, or INPUT.AXIS: `ids.1` is the
second dimension of input `ids`.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mlbench.contracts.backend import Signature, TensorSpec, nearest
from mlbench.contracts.errors import RequestError
from mlbench.contracts.text import shown

_EXAMPLE = 128  # tokens of a usual query, and enough pixels for most networks
_BATCH_NAMES = ("batch", "batch_size", "n")


def fix_dims(signature: Signature, dims: Mapping[str, int]) -> Signature:
    """Return a signature whose named dimensions have these sizes.

    Raises RequestError for a name that no dimension has, or one that the model fixes otherwise.
    """
    known = [name for i in signature.inputs for name in _names(i)]
    for name, size in dims.items():
        if name not in known:
            raise RequestError(
                f"--dim {_equals(name, size)}: the model has no such dimension"
                f"{nearest(name, known)}; {_free_dims(signature.inputs)}"
            )
    return replace(signature, inputs=tuple(_fix(spec, dims) for spec in signature.inputs))


def _names(spec: TensorSpec) -> list[str]:
    return [name for axis in range(len(spec.shape)) for name in spec.dim_names(axis)]


def _free_dims(inputs: Sequence[TensorSpec]) -> str:
    free = dict.fromkeys(_name(i, axis) for i in inputs for axis in _free_axes(i))
    return f"free are: {', '.join(free)}" if free else "none is free"


def _free_axes(spec: TensorSpec) -> list[int]:
    return [axis for axis, size in enumerate(spec.shape) if size is None]


def _name(spec: TensorSpec, axis: int) -> str:
    return spec.dim_names(axis)[0]


def _fix(spec: TensorSpec, dims: Mapping[str, int]) -> TensorSpec:
    shape = list(spec.shape)
    for axis, size in enumerate(spec.shape):
        asked = _asked(spec, axis, dims)
        if asked is None:
            continue
        if size not in (None, dims[asked]):
            raise RequestError(
                f"--dim {_equals(asked, dims[asked])}: input {spec} fixes it at {size}"
            )
        shape[axis] = dims[asked]
    return replace(spec, shape=tuple(shape))


def _asked(spec: TensorSpec, axis: int, dims: Mapping[str, int]) -> str | None:
    """Return under which of its names a dimension was given a size; the narrower one goes first."""
    return next((name for name in reversed(spec.dim_names(axis)) if name in dims), None)


def check_batch(batch_size: int, inputs: Iterable[TensorSpec], dims: Mapping[str, int]) -> None:
    """Refuse inputs whose first dimension cannot be a batch of this size.

    One that is fixed above 1 by `dims` is no batch: the query fills the whole tensor.
    """
    inputs = list(inputs)
    for spec in inputs:
        fixed = spec.shape[0] if spec.shape else None
        if fixed is None:
            continue
        if batch_size != 1 and fixed == 1:
            raise RequestError(
                f"--batch-size {batch_size}: input {spec} has a fixed batch dimension of 1; "
                "export the model with a symbolic batch dimension"
            )
        if fixed != 1 and _asked(spec, 0, dims) is None:
            raise RequestError(
                f"input {spec} has a fixed batch dimension of {fixed}: queries arrive one by one, "
                "so batches vary; export the model with a symbolic batch dimension, or let one "
                f"query fill it whole: {_option(spec, 0, fixed)}"
            )
    if batch_size != 1 and inputs and all(spec.is_whole for spec in inputs):
        raise RequestError(f"--batch-size {batch_size}: no input has a batch dimension")


def check_all_fixed(inputs: Sequence[TensorSpec]) -> None:
    """Raise RequestError for free dimensions besides the batch, with the options that fix them."""
    asking = [spec for spec in inputs if None in spec.sample_shape]
    if not asking:
        return
    options = dict.fromkeys(
        _option(spec, axis, _example(spec, axis)) for spec in asking for axis in _to_fix(spec)
    )
    names = dict.fromkeys(f"'{_name(s, axis)}'" for s in asking for axis in _to_fix(s))
    raise RequestError(
        f"{'; '.join(f'input {spec}' for spec in asking)}: free besides the batch: "
        f"{', '.join(names)}; give sizes, such as {' '.join(options)}"
    )


def _to_fix(spec: TensorSpec) -> list[int]:
    """Return the free axes but the batch; all of them where another is called the batch."""
    free = _free_axes(spec)
    is_batch_elsewhere = any(_name(spec, axis).lower() in _BATCH_NAMES for axis in free if axis)
    return free if is_batch_elsewhere else [axis for axis in free if axis or spec.is_whole]


def _example(spec: TensorSpec, axis: int) -> int:
    return 1 if _name(spec, axis).lower() in _BATCH_NAMES else _EXAMPLE


def _option(spec: TensorSpec, axis: int, size: int) -> str:
    return f"--dim {_equals(_name(spec, axis), size)}"


def _equals(name: str, size: int) -> str:
    return shlex.quote(f"{shown(name)}={size}")


def sizes_by_name(
    inputs: Iterable[TensorSpec], shapes: Mapping[str, Sequence[int]]
) -> dict[str, int]:
    """Return the sizes of dimensions that the model names; `shapes`: of samples, by input.

    A name to which `--dim INPUT.AXIS` gave several sizes is left out. Raises RequestError when
    samples give it several.
    """
    sizes: dict[str, int] = {}
    several = set()
    for spec in inputs:
        batch = () if spec.is_whole else spec.shape[:1]
        for axis, size in enumerate((*batch, *shapes[spec.name])):
            *given, _ = spec.dim_names(axis)
            if not given or size is None:
                continue
            before = sizes.setdefault(given[0], size)
            if before != size and spec.shape[axis] is None:
                raise RequestError(
                    f"input {spec}: '{given[0]}' is {size}, but {before} in another input"
                )
            if before != size:
                several.add(given[0])
    return {name: size for name, size in sizes.items() if name not in several}
