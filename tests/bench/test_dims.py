import pytest

from mlbench.bench.dims import check_all_fixed, check_batch, fix_dims, sizes_by_name
from mlbench.contracts.backend import Signature, TensorSpec
from mlbench.contracts.errors import RequestError

IDS = TensorSpec("ids", "int64", (None, None), ("batch", "seq"))
MASK = TensorSpec("mask", "int64", (None, None), ("batch", "seq + 1"))
PIXELS = TensorSpec("x:0", "float32", (None, None, None, 3))
FIRST = TensorSpec("steps", "float32", (None, None, 4), ("seq", "batch"))


def _shapes(dims, *inputs):
    return [spec.shape for spec in fix_dims(Signature(inputs, ()), dims).inputs]


@pytest.mark.parametrize(
    ("dims", "inputs", "shapes"),
    [
        ({"seq": 128}, (IDS, IDS), [(None, 128), (None, 128)]),
        ({"seq": 128, "seq + 1": 129}, (IDS, MASK), [(None, 128), (None, 129)]),
        ({"x:0.1": 8, "x:0.2": 9}, (PIXELS,), [(None, 8, 9, 3)]),
        ({"ids.1": 5}, (IDS, MASK), [(None, 5), (None, None)]),
        ({"seq": 4, "ids.1": 5}, (IDS,), [(None, 5)]),
        ({"seq": 0}, (IDS,), [(None, 0)]),
        ({"x:0.3": 3}, (PIXELS,), [(None, None, None, 3)]),
    ],
)
def test_a_dimension_is_fixed_under_its_names(dims, inputs, shapes):
    """The model's name fixes it wherever it stands, INPUT.AXIS in one place and before the name."""
    assert _shapes(dims, *inputs) == shapes


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ({"sequ": 1}, r"--dim sequ=1: .*did you mean 'seq'\?\); free are: batch, seq, seq \+ 1"),
        ({"ids.2": 1}, r"--dim ids.2=1: the model has no such dimension \(did you mean 'ids.1'"),
    ],
)
def test_an_unknown_dimension_names_the_nearest(dims, message):
    """A wrong name is told with the nearest, and with all that are free."""
    with pytest.raises(RequestError, match=message):
        _shapes(dims, IDS, MASK)


def test_a_model_without_free_dimensions_says_so():
    """Nothing can be fixed where nothing is free, or otherwise than the model fixes it."""
    fixed = TensorSpec("x", "float32", (1, 4))
    with pytest.raises(RequestError, match="no such dimension; none is free"):
        _shapes({"seq": 1}, fixed)
    with pytest.raises(RequestError, match=r"--dim x\.1=5: input x: float32\(1, 4\) fixes it at 4"):
        _shapes({"x.1": 5}, fixed)


@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        ((IDS,), "--dim seq=128"),
        ((IDS, MASK), "--dim seq=128 --dim 'seq + 1=128'"),
        ((PIXELS,), "--dim x:0.1=128 --dim x:0.2=128"),
        ((FIRST,), "--dim seq=128 --dim batch=1"),
    ],
)
def test_free_dimensions_are_asked_for_with_the_options_to_add(inputs, options):
    """The line ends in options that can be pasted; where the batch is not first all are fixed."""
    with pytest.raises(RequestError) as caught:
        check_all_fixed(inputs)
    assert str(caught.value).endswith(f"give sizes, such as {options}")
    assert str(inputs[0]) in str(caught.value)


def test_the_batch_may_be_free():
    """A free first dimension is the batch, whatever it is called; nothing is asked then."""
    check_all_fixed([TensorSpec("x", "float32", (None, 3), ("rows",)), TensorSpec("s", "bool", ())])


def test_a_first_dimension_above_one_is_taken_only_when_asked_for():
    """Of a fixed batch the way out is told; fixed by --dim, one query fills the whole tensor."""
    eight = TensorSpec("x", "float32", (8, 4))
    with pytest.raises(RequestError, match=r"batch dimension of 8: .*fill it whole: --dim x\.0=8"):
        check_batch(1, [eight], {})
    check_batch(1, [eight], {"x.0": 8})
    with pytest.raises(RequestError, match="--batch-size 2: no input has a batch dimension"):
        check_batch(2, [eight], {"x.0": 8})


def test_sizes_go_to_the_runtime_by_name():
    """What samples are long in is known by the model's names, and the batch where it is fixed."""
    assert sizes_by_name([IDS, PIXELS], {"ids": (7,), "x:0": (2, 3, 3)}) == {"seq": 7}
    fixed = fix_dims(Signature((IDS,), ()), {"batch": 1, "seq": 7}).inputs
    assert sizes_by_name(fixed, {"ids": (7,)}) == {"batch": 1, "seq": 7}
    whole = fix_dims(Signature((FIRST,), ()), {"batch": 1, "seq": 5}).inputs
    assert sizes_by_name(whole, {"steps": (5, 1, 4)}) == {"batch": 1, "seq": 5}


def test_a_name_that_was_given_two_sizes_is_none_for_the_runtime():
    """Where --dim INPUT.AXIS makes a difference, the name alone tells no size."""
    types = TensorSpec("types", "int64", (None, None), ("batch", "seq"))
    inputs = fix_dims(Signature((IDS, types), ()), {"seq": 7, "types.1": 8}).inputs
    assert sizes_by_name(inputs, {"ids": (7,), "types": (8,)}) == {}


def test_one_name_has_one_size():
    """Recorded tensors that disagree in a dimension of one name are refused."""
    other = TensorSpec("types", "int64", (None, None), ("batch", "seq"))
    with pytest.raises(RequestError, match="'seq' is 8, but 7 in another input"):
        sizes_by_name([IDS, other], {"ids": (7,), "types": (8,)})
