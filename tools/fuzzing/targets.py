"""What is fuzzed: for each kind of input a function that takes in a case of it.

A target refuses what is wrong by the exceptions that its users handle. Any other is a crash.
"""

import contextlib
import io
import json
import os
import random
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import msgpack
import numpy as np

import mlbench
from fuzzing.mutate import odd_bytes, odd_text, odd_word
from mlbench.bench.limits import check_queries
from mlbench.bench.settings import RunSettings, TrialSettings, make_settings
from mlbench.contracts import wire
from mlbench.contracts.backend import TensorSpec, parse_options
from mlbench.contracts.cache import open_samples
from mlbench.contracts.errors import RequestError
from mlbench.data.datasets import open_dataset
from mlbench.data.image_file import BadImageError, read_image
from mlbench.data.npz import open_npz
from mlbench.data.preprocess import PREPROCESSING, prepare, sample_shape
from mlbench.host.devices import parse_devices
from mlbench.host.kept import is_damaged, sums_of, write_sums
from mlbench.report.export import export
from mlbench.report.queries import DTYPES, write_npz
from mlbench.report.results import ResultStore
from mlbench.trial.schedule import query_count

_LONGEST = 6000  # characters of a refusal, which may name a path
Target = Callable[[random.Random, Path], None]

_OPTIONS = {"service_ms": (2.0,), "cv": 0.0, "seed": 1, "provider": "cuda", "spinning": True}
_NAMES = [f"{letter}.jpg" for letter in "abcdef"]
_HEAD = {"started": "now", "cmdline": "mlbench", "version": "1", "settings": {}, "system": {}}


def settings(rng: random.Random, _: Path) -> None:
    """Make settings of what a command line may give, and ask what they need."""
    kind = rng.choice((RunSettings, TrialSettings))
    names = [name for name in kind.model_fields if name not in ("output", "raw")]
    given: dict[str, Any] = {"backend": "simulated", "qps": 10.0} if kind is TrialSettings else {}
    for name in rng.sample(names, rng.randint(1, 4)):
        listed = name in ("devices", "arrivals", "max_latency", "inputs", "outputs")
        given[name] = [odd_word(rng) for _ in range(rng.randint(0, 3))] if listed else odd_word(rng)
    if rng.random() < 0.5:
        given["backend_options"] = {rng.choice([*_OPTIONS, odd_word(rng)]): odd_word(rng)}
    try:
        made = make_settings(kind, given, {})
        json.dumps(made.model_dump(mode="json"), allow_nan=False)
        parse_options(made.backend_options, _OPTIONS, "simulated")
        parse_devices(made.devices, range(4), 1)
        if isinstance(made, TrialSettings):
            check_queries(query_count(made.qps, made.duration), "--qps")
    except RequestError as refusal:
        _check_refusal(refusal)


def labels(rng: random.Random, folder: Path) -> None:
    """List images by what a file of labels says."""
    for name in _NAMES:
        (folder / name).touch()
    lists = {
        "val_map.txt": [f"{name} {rng.randrange(1000)}" for name in _NAMES],
        "labels.txt": [str(rng.randrange(1000)) for _ in _NAMES],
        "synsets.txt": [f"n{rng.randrange(10**8):08}" for _ in _NAMES],
        "ILSVRC2012_validation_ground_truth.txt": ["1", "2", "3", "1", "2", "3"],
    }
    table = [f"n{number:08} {number} name" for number in (3, 1, 2)]
    (folder / "map_clsloc.txt").write_bytes(odd_text(rng, table))
    listing = folder / rng.choice(list(lists))
    listing.write_bytes(odd_text(rng, lists[listing.name]))
    try:
        images = open_dataset("imagenet", folder, listing, rng.choice((None, 1, 3, 100)))
    except RequestError as refusal:
        _check_refusal(refusal)
        return
    labels = images.labels
    _must(labels is not None and len(labels) == len(images.files), "a label for each image")
    _must(len(set(images.files)) == len(images.files), "each image once")
    _must(labels is not None and 0 <= labels.min() <= labels.max() < 2**31, "classes")


def trace(rng: random.Random, folder: Path) -> None:
    """Read a trace of arrivals, and draw from it."""
    path = folder / "trace.txt"
    path.write_bytes(odd_text(rng, ["# times", "0", "0.5", "0.75", "10", "11"]))
    try:
        made = make_settings(
            TrialSettings, {"qps": 5, "arrivals": "trace", "arrival_trace": path}, {}
        )
    except RequestError as refusal:
        _check_refusal(refusal)
        return
    due_ns = made.kind.due_ns(1, made.qps, 50)
    _must(bool(np.isfinite(due_ns).all() and (np.diff(due_ns) >= 0).all()), "ascending times")


def images(rng: random.Random, folder: Path) -> None:
    """Decode an image file and prepare it."""
    path = folder / "image.jpg"
    path.write_bytes(odd_bytes(rng, rng.choice(_usual_images())))
    try:
        image = read_image(path)
    except BadImageError:
        return
    how = PREPROCESSING[rng.choice(list(PREPROCESSING))]
    layout = rng.choice(("NCHW", "NHWC"))
    prepare(image, how, layout, np.empty(sample_shape(layout), np.float32))


@cache
def _usual_images() -> list[bytes]:
    """Return JPEGs and PNGs of several kinds and sizes."""
    rng = np.random.default_rng(1)
    found = []
    for height, width in ((40, 60), (300, 260), (1, 300), (3, 2)):
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        grey = picture[:, :, 0]
        for pixels in (picture, grey):
            for progressive in (0, 1):
                form = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
                found.append(cv2.imencode(".jpg", pixels, form)[1].tobytes())
            found.append(cv2.imencode(".png", pixels)[1].tobytes())
    return found


def recorded(rng: random.Random, folder: Path) -> None:
    """Take recorded tensors from an archive, in which arrays or the archive itself are odd."""
    path, whole = folder / "recorded.npz", io.BytesIO()
    with zipfile.ZipFile(whole, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as to:
        for name in ("ids", "scale", "labels"):
            member = io.BytesIO()
            np.save(member, np.zeros((6, 3), np.int64) if name == "ids" else np.zeros(6, np.int8))
            to.writestr(f"{name}.npy", odd_bytes(rng, member.getvalue()))
    content = whole.getvalue()
    path.write_bytes(odd_bytes(rng, content) if rng.random() < 0.5 else content)
    inputs = (TensorSpec("ids", "int64", (None, None)), TensorSpec("scale", "float32", ()))
    try:
        found = open_npz(path, inputs, 4, folder)
    except RequestError as refusal:
        _check_refusal(refusal)
        return
    samples = [open_samples(file) for file in found.files.values()]
    _must({len(array) for array in samples} == {found.count}, "as many samples of each")


def results(rng: random.Random, folder: Path) -> None:
    """Load results and the journal beside them, and begin another run there."""
    path, journal = folder / "results.json", folder / "results.json.journal"
    store = ResultStore(path, _HEAD)
    for number in range(3):
        store._save({"scan": {"linear": {f"linear/0.01/{number}": {"qps": 1.5}}}})
    if rng.random() < 0.5:
        journal.write_bytes(odd_bytes(rng, journal.read_bytes()))
    if rng.random() < 0.6:
        path.write_bytes(odd_bytes(rng, path.read_bytes()))
    try:
        loaded = mlbench.load(path)
        _must(isinstance(loaded.trials + loaded.answers, list), "rows")
    except RequestError as refusal:
        _check_refusal(refusal)
    store._journal.close()
    following = ResultStore(path, _HEAD)
    following._save({"notes": ["next"]})
    following.close()
    _must(mlbench.load(path).document["notes"] == ["next"], "the following run's results")


def queries(rng: random.Random, folder: Path) -> None:
    """Load the queries of a trial, and write them as a table."""
    path = folder / "queries.npz"
    made = io.BytesIO()
    write_npz(made, {name: np.ones(5, dtype) for name, dtype in DTYPES.items()})
    path.write_bytes(odd_bytes(rng, made.getvalue()))
    try:
        export(path, folder / "queries.csv")
    except RequestError as refusal:
        _check_refusal(refusal)


def sums(rng: random.Random, folder: Path) -> None:
    """Compare a file with sums that are not what they were."""
    path = folder / "kept.bin"
    path.write_bytes(rng.randbytes(rng.choice((0, 1, 5000))))
    write_sums(path, sums_of(path))
    beside = folder / "kept.bin.sums"
    usual = beside.read_bytes()
    beside.write_bytes(odd_bytes(rng, usual))
    _must(is_damaged(path) or beside.read_bytes().split() == usual.split(), "it is damaged")


def frames(rng: random.Random, _: Path) -> None:
    """Unpack a frame of the wire."""
    rows = np.zeros(rng.randrange(4), wire.COMPLETION)
    nested: Any = {"type": "go"}
    for _level in range(rng.choice((0, 1, 600))):
        nested = [nested]
    usual = rng.choice(
        (
            wire.pack_requests(1, 5, 10),
            wire.pack_completions(1, rows),
            wire.pack_control("ready", pid=1, backend={"name": "null"}),
            wire.pack_control("stop")[: wire.HEADER.size] + msgpack.packb({"type": nested}),
            struct.pack("<qq", rng.getrandbits(60), rng.getrandbits(60)),
            rng.randbytes(rng.randrange(40)),
        )
    )
    with contextlib.suppress(ValueError):
        wire.unpack(odd_bytes(rng, usual))


def _check_refusal(refusal: RequestError) -> None:
    _must(str(refusal).isprintable() and len(str(refusal)) < _LONGEST, "a short, printable line")


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(f"expected {what}")


TARGETS: dict[str, Target] = {
    "settings": settings,
    "labels": labels,
    "trace": trace,
    "images": images,
    "recorded": recorded,
    "results": results,
    "queries": queries,
    "sums": sums,
    "frames": frames,
}


def generator(*names: object) -> random.Random:
    """Return a random generator that is the same for the same names."""
    return random.Random(" ".join(map(str, names)))  # noqa: S311 - nothing is secret


def play(name: str, seed: int, case: int, folder: Path) -> None:
    """Take in one case of a target, in an empty folder, which is emptied again."""
    TARGETS[name](generator(seed, name, case), folder)
    for entry in os.scandir(folder):
        Path(entry.path).unlink()
