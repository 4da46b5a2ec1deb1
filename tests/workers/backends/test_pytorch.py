import importlib.util
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from optional import TORCH, TORCH_GPU

from mlbench.contracts.backend import TensorSpec, WorkerSpec
from mlbench.contracts.device import Device
from mlbench.contracts.errors import RequestError
from workers.backends.pytorch import SIGNATURE_EXAMPLE, SIGNATURE_FILE, TorchBackend

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason=TORCH)

FEED = np.float32([[0, 0, 9, 0], [0, 9, 0, 0], [0, 0, 0, 9]])
CLASSES = [2, 1, 3]
SIGNATURE = {
    "inputs": [{"name": "x", "dtype": "float32", "shape": [None, 4]}],
    "outputs": ["scores", "total"],
}


@pytest.fixture(scope="module")
def torch():
    """PyTorch."""
    return pytest.importorskip("torch", reason=TORCH)


@pytest.fixture(scope="module")
def tiny(torch):
    """A classifier of four classes: gives scores, and one number for the whole batch."""

    class Tiny(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(4))

        def forward(self, x):
            return x * self.scale, x.sum()

    return Tiny().eval()


@pytest.fixture(scope="module")
def models(torch, tiny, tmp_path_factory):
    """The tiny classifier in each format: format name -> path."""
    folder = tmp_path_factory.mktemp("models")
    paths = {"TorchScript": str(folder / "tiny.pt"), "torch.export": str(folder / "tiny.pt2")}
    example = torch.from_numpy(FEED)
    traced = torch.jit.trace(tiny, example)
    extra = {SIGNATURE_FILE: json.dumps(SIGNATURE)}
    torch.jit.save(traced, paths["TorchScript"], _extra_files=extra)
    dynamic = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(tiny, (example,), dynamic_shapes=dynamic)
    torch.export.save(program, paths["torch.export"])
    return paths


def _spec(model, **changes):
    spec = WorkerSpec(index=0, endpoint="", backend="torch", model=model, threads=1)
    return replace(spec, **changes)


@pytest.mark.parametrize("kind", ["TorchScript", "torch.export"])
def test_every_format_gives_the_same_classes(torch, models, kind):
    """One classifier saved in two formats gives the same class numbers for each batch size."""
    backend = TorchBackend(_spec(models[kind]))
    assert backend.predict({"x": FEED}).tolist() == CLASSES
    assert backend.predict({"x": FEED[:1]}).tolist() == CLASSES[:1]
    assert backend.describe() == {
        "name": "torch",
        "version": torch.__version__,
        "format": kind,
        "device": "cpu",
        "threads": 1,
    }


@pytest.mark.parametrize("kind", ["TorchScript", "torch.export"])
def test_inspect_tells_each_formats_input(models, kind):
    """The input's name, dtype and shape are read from the file, with a free batch dimension."""
    signature = TorchBackend.inspect(models[kind])
    assert signature.inputs == (TensorSpec("x", "float32", (None, 4)),)
    assert len(signature.outputs) == 2


def test_a_fixed_batch_size_is_told(torch, tiny, tmp_path):
    """A model exported without a free dimension keeps the batch size of its example."""
    path = str(tmp_path / "fixed.pt2")
    torch.export.save(torch.export.export(tiny, (torch.from_numpy(FEED),)), path)
    assert TorchBackend.inspect(path).inputs == (TensorSpec("x", "float32", (3, 4)),)


def test_free_dimensions_have_names(torch, tmp_path):
    """Each dimension that was exported as dynamic is free, and has the name PyTorch gave it."""

    class Mean(torch.nn.Module):
        def forward(self, ids, mask):
            return (ids * mask).sum(1, keepdim=True)

    batch, seq = torch.export.Dim("batch"), torch.export.Dim("seq", min=2, max=512)
    example = torch.ones(2, 7, dtype=torch.int64)
    free = {"ids": {0: batch, 1: seq}, "mask": {0: batch, 1: seq}}
    program = torch.export.export(Mean(), (example, example), dynamic_shapes=free)
    torch.export.save(program, tmp_path / "m.pt2")
    ids, mask = TorchBackend.inspect(str(tmp_path / "m.pt2")).inputs
    assert ids.shape == (None, None)
    assert len(set(ids.dims)) == 2
    assert mask.dims == ids.dims


def test_a_scalar_is_fed_as_one(torch, tmp_path):
    """A tensor without dimensions is an input like any other."""

    class Scaled(torch.nn.Module):
        def forward(self, x, k):
            return x * k

    arguments, path = (torch.zeros(2, 4), torch.tensor(2.0)), str(tmp_path / "m.pt2")
    free = {"x": {0: torch.export.Dim("batch")}, "k": None}
    torch.export.save(torch.export.export(Scaled(), arguments, dynamic_shapes=free), path)
    assert TorchBackend.inspect(path).inputs[1].is_whole
    backend = TorchBackend(_spec(path, feeds={"x": "", "k": ""}, whole=("k",)))
    assert backend.predict({"x": FEED, "k": np.array(3, np.float32)}).tolist() == CLASSES


def test_an_export_of_a_newer_release_is_told(models, tmp_path):
    """A schema that this release does not read is named, though PyTorch only logs it."""
    path = str(tmp_path / "new.pt2")
    with zipfile.ZipFile(models["torch.export"]) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("/models/model.json"):
                program = json.loads(content)
                program["schema_version"]["major"] = 99
                content = json.dumps(program).encode()
            target.writestr(name, content)
    with pytest.raises(RequestError, match="saved by another PyTorch: its schema version is 99"):
        TorchBackend.inspect(path)


def test_the_label_offset_is_taken_off(models):
    """A model with a background class has all its class numbers moved down."""
    backend = TorchBackend(_spec(models["torch.export"], label_offset=1))
    assert backend.predict({"x": FEED}).tolist() == [c - 1 for c in CLASSES]


def test_an_output_that_is_no_class_gives_no_prediction(models):
    """One number for the whole batch tells no classes."""
    backend = TorchBackend(_spec(models["TorchScript"], outputs=("total",)))
    assert backend.predict({"x": FEED}) is None


def test_an_unknown_output_is_refused(models):
    """The refusal names the nearest output that the model has."""
    with pytest.raises(RequestError, match=r"no output 'score' .*'scores'.*it has: scores, total"):
        TorchBackend(_spec(models["TorchScript"], outputs=("score",)))


def test_a_read_only_feed_is_served_without_a_warning(models, recwarn):
    """Samples come from a read-only mapping, which is all the backend needs."""
    feed = FEED.copy()
    feed.flags.writeable = False
    backend = TorchBackend(_spec(models["TorchScript"]))
    recwarn.clear()
    assert backend.predict({"x": feed}).tolist() == CLASSES
    assert not recwarn.list


def test_a_model_is_loaded_without_a_warning(models, recwarn):
    """Some versions read weights where they lie in the file; nothing writes to them."""
    TorchBackend(_spec(models["torch.export"]))
    assert not recwarn.list


def test_torchscript_without_shapes_is_refused_with_an_example(torch, tiny, tmp_path):
    """The refusal shows how to save the shapes, and its example is a valid signature."""
    path = str(tmp_path / "bare.pt")
    torch.jit.save(torch.jit.trace(tiny, torch.from_numpy(FEED)), path)
    with pytest.raises(RequestError, match="tells no input shapes"):
        TorchBackend.inspect(path)
    extra = {SIGNATURE_FILE: SIGNATURE_EXAMPLE}
    torch.jit.save(torch.jit.trace(tiny, torch.from_numpy(FEED)), path, _extra_files=extra)
    assert TorchBackend.inspect(path).inputs[0].shape == (None, 3, 224, 224)


def test_a_pickled_checkpoint_is_refused(torch, tiny, tmp_path):
    """A file of torch.save is not unpickled, and the refusal tells what to save instead."""
    path = str(tmp_path / "weights.pth")
    torch.save(tiny.state_dict(), path)
    with pytest.raises(RequestError, match=r"torch\.save is no model"):
        TorchBackend.inspect(path)


class Trap:
    """Raises the alarm when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("data/sample_inputs/model.pt", "cannot load it"),
        ("data/constants/opaque_obj_0", "pickled objects"),
        ("data/aotinductor/model/model.so", "compiled code"),
    ],
)
def test_an_export_that_brings_code_is_refused(torch, models, tmp_path, entry, message):
    """No pickle and no library in a torch.export file is ever run."""
    path = str(tmp_path / "trap.pt2")
    torch.save(({"x": Trap()},), tmp_path / "trap.bin")
    content = {entry: (tmp_path / "trap.bin").read_bytes()}
    with zipfile.ZipFile(models["torch.export"]) as source, zipfile.ZipFile(path, "w") as target:
        root = source.namelist()[0].partition("/")[0]
        for name in source.namelist():
            content.setdefault(name.partition("/")[2], source.read(name))
        for name, data in content.items():
            target.writestr(f"{root}/{name}", data)
    with pytest.raises(RequestError, match=message):
        TorchBackend.inspect(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("gone.pt", None, "no such file"), ("junk.pt2", b"junk", "takes TorchScript or")],
)
def test_a_bad_model_file_is_refused_in_one_line(tmp_path, name, content, message):
    """A file that is missing or broken is a bad request with its path."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestError, match=message) as caught:
        TorchBackend.inspect(str(path))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_gpu_that_cannot_be_used_is_refused(torch, models):
    """Asking for a GPU that PyTorch cannot use says why, and never runs on the CPU."""
    if torch.cuda.device_count():
        pytest.skip("not for a machine with a GPU that PyTorch can use")
    with pytest.raises(RequestError, match=r"device cuda:1: .*(PyTorch|driver)"):
        TorchBackend(_spec(models["torch.export"], device=Device("cuda:1", 1)))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["TorchScript", "torch.export"])
def test_a_gpu_gives_the_same_classes(torch, models, kind):
    """The model on the first GPU answers as it does on the CPU, and says where it ran."""
    if not torch.cuda.is_available():
        pytest.skip(TORCH_GPU)
    backend = TorchBackend(_spec(models[kind], device=Device("cuda:0", 0)))
    assert backend.predict({"x": FEED}).tolist() == CLASSES
    assert backend.describe()["device"] == torch.cuda.get_device_name(0)
