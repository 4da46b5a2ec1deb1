import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlbench.bench.events import EmbeddedModelChosen, Noted
from mlbench.bench.job import prepare
from mlbench.bench.settings import TrialSettings, make_settings
from mlbench.contracts.cache import open_samples
from mlbench.contracts.errors import RequestError
from mlbench.data.events import ImagesStreamed
from mlbench.host.kept import sums_of, write_sums
from mlbench.host.topology import Processor


def _prepare(tell=lambda _: None, **given):
    return prepare(make_settings(TrialSettings, {"qps": 1.0, **given}, {}), tell)


def test_a_backend_without_samples_needs_only_workers():
    """A simulated device gets its options and as many sample numbers as were asked for."""
    job = _prepare(backend="simulated", backend_options={"service_ms": "3"}, count=7)
    (spec,) = job.specs
    assert (spec.backend, spec.options) == ("simulated", {"service_ms": "3"})
    assert (spec.sample_count, spec.feeds, spec.model) == (7, {}, None)
    assert job.samples.labels is None


def test_workers_share_the_cores_of_their_device():
    """N workers on a device have its cores among them, and are numbered in a row."""
    cores = sorted(os.sched_getaffinity(0))
    job = _prepare(backend="null", workers_per_device=len(cores))
    assert [spec.index for spec in job.specs] == list(range(len(cores)))
    assert sorted(spec.cores for spec in job.specs) == [(core,) for core in cores]
    assert [spec.threads for spec in job.specs] == [1] * len(cores)


def test_workers_are_placed_by_the_machines_topology(monkeypatch):
    """Where all CPUs are threads of one physical core, a worker has them all and one thread."""
    monkeypatch.setattr(
        "mlbench.bench.job.read_topology",
        lambda cpus: {cpu: Processor(0, 0, min(cpus)) for cpu in cpus},
    )
    (spec,) = _prepare(backend="null").specs
    assert spec.cores == tuple(sorted(os.sched_getaffinity(0)))
    assert spec.threads == 1


def test_a_model_gets_one_thread_workers_without_a_limit():
    """Where nobody says how many workers there are, each core has one, and the job says why."""
    told = []
    job = _prepare(told.append)
    assert sorted(spec.cores for spec in job.specs) == [
        (core,) for core in sorted(os.sched_getaffinity(0))
    ]
    assert [spec.threads for spec in job.specs] == [1] * len(job.specs)
    layouts = [event.finding.figures for event in told if isinstance(event, Noted)]
    assert [layout["threads"] for layout in layouts] == [1] * (len(job.specs) > 1)


def test_a_narrow_limit_gives_a_worker_all_cores():
    """A query that takes longer on one thread than the limit gets all the threads there are."""
    (spec,) = _prepare(max_latency=1e-6).specs
    assert spec.cores == tuple(sorted(os.sched_getaffinity(0)))


@pytest.mark.parametrize("given", [{"workers_per_device": 1}, {"threads": 1}])
def test_what_is_asked_for_is_given(given):
    """One worker, or the threads of one, are taken as they are told."""
    told = []
    job = _prepare(told.append, **given)
    assert len(job.specs) == 1
    assert not any(isinstance(event, Noted) for event in told)


def test_a_quota_below_the_cores_limits_threads_and_is_told(monkeypatch):
    """Neither one worker nor those chosen by time have more threads than it has cores."""
    monkeypatch.setattr("mlbench.bench.job.cpu_quota", lambda: 0.5)
    told = []
    (spec,) = _prepare(told.append, backend="null").specs
    assert spec.threads == 1
    assert [spec.threads for spec in _prepare(told.append).specs] == [1]
    findings = [event.finding for event in told if isinstance(event, Noted)]
    assert [found.code for found in findings] == ["quota_below_cores"] * 2
    assert findings[0].figures["quota_cores"] == 0.5


def test_batching_reaches_the_worker_in_nanoseconds():
    """The timeout is seconds on the command line and nanoseconds in the worker."""
    (spec,) = _prepare(backend="null", batch_size=16, batch_timeout_s=0.0025).specs
    assert (spec.batch_size, spec.batch_timeout_ns) == (16, 2_500_000)


def test_the_embedded_default_is_built():
    """The default job is the published model on twenty labelled photos, ready to be served."""
    events = []
    job = _prepare(events.append)
    spec = job.specs[0]
    assert Path(job.specs[0].model or "").is_file()
    assert EmbeddedModelChosen() in events
    assert job.samples.count == spec.sample_count == len(job.samples.labels) == 20
    (file,) = spec.feeds.values()
    assert open_samples(file).shape == (20, 3, 224, 224)


def test_synthetic_samples_follow_the_signature(models):
    """Each input has its own samples, of its type and shape, without the batch dimension."""
    job = _prepare(model=models["pair"], dataset="synthetic", count=6)
    drawn = {name: open_samples(path) for name, path in job.samples.feeds.items()}
    assert {name: (a.shape, a.dtype) for name, a in drawn.items()} == {
        "ids": ((6, 3), np.int64),
        "mask": ((6, 2), np.bool_),
    }
    assert job.samples.labels is None


def test_a_relative_model_path_is_made_absolute(models, monkeypatch):
    """A worker runs the model that was meant, from whatever folder."""
    monkeypatch.chdir(models["one"].parent)
    spec = _prepare(model="one.onnx", dataset="synthetic", count=1).specs[0]
    assert spec.model == str(models["one"])


def test_a_damaged_model_with_sums_beside_it_is_refused(models, tmp_path):
    """A file that was built with its sums is compared with them, and not blamed on the runtime."""
    model = tmp_path / "m.onnx"
    model.write_bytes(models["one"].read_bytes())
    write_sums(model, sums_of(model))
    assert _prepare(model=model, dataset="synthetic", count=1).model == model
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    with pytest.raises(RequestError, match=r"m\.onnx: it is not what m\.onnx\.sums .* tells"):
        _prepare(model=model, dataset="synthetic", count=1)


@pytest.fixture
def photos(tmp_path):
    """Four photos with labels 0, 1, 2, 0."""
    for i, name in enumerate("abcd"):
        Image.fromarray(np.full((230, 230, 3), 60 * i, np.uint8)).save(tmp_path / f"{name}.jpg")
    (tmp_path / "val_map.txt").write_text("a.jpg 0\nb.jpg 1\nc.jpg 2\nd.jpg 0\n")
    return tmp_path


@pytest.mark.parametrize(("count", "whole"), [(2, False), (4, True), (500, True)])
def test_the_first_images_are_taken(models, photos, count, whole):
    """Of a folder the first `count` are prepared, and whether these are all is known."""
    samples = _prepare(
        model=models["images"], dataset="imagenet", dataset_path=photos, count=count
    ).samples
    expected = [0, 1, 2, 0][:count]
    assert samples.labels.tolist() == expected
    assert samples.count == len(expected)
    assert samples.whole_set is whole


def test_channels_last_models_get_channels_last_images(models, photos):
    """A layout that does not fit the model is found before an image is read."""
    with pytest.raises(RequestError, match=r"float32\(\?, 224, 224, 3\).*--data-format"):
        _prepare(
            model=models["images"], dataset="imagenet", dataset_path=photos, data_format="NHWC"
        )


def test_more_images_than_fit_in_memory_are_streamed(models, photos, monkeypatch):
    """Accuracy runs over all images that were asked for, trials over those that fit in memory."""
    monkeypatch.setattr("mlbench.data.cache._USUAL_COUNT", 2)
    two_images = 2 * 3 * 224 * 224 * 4 + 1
    monkeypatch.setattr("mlbench.data.cache.available_bytes", lambda: two_images)
    events = []
    job = _prepare(
        events.append,
        model=models["images"],
        dataset="imagenet",
        dataset_path=photos,
        count=3,
    )
    assert (job.samples.count, job.samples.resident) == (3, 2)
    assert job.specs[0].sample_count == 2
    assert ImagesStreamed(3, 2) in events


def test_a_label_beyond_the_models_classes_is_refused(photos):
    """A label that the model cannot give is found before anything is prepared."""
    (photos / "val_map.txt").write_text("a.jpg 0\nb.jpg 1000\n")
    with pytest.raises(RequestError, match=r"go up to 1000, .* with 1000 classes, only to 999"):
        _prepare(dataset="imagenet", dataset_path=photos)


def test_a_model_without_a_profile_asks_what_to_feed_it(models):
    """A model that takes inputs is never run on nothing."""
    settings = make_settings(TrialSettings, {"qps": 1.0, "model": models["pair"]}, {})
    with pytest.raises(RequestError, match="--dataset synthetic"):
        prepare(settings.model_copy(update={"dataset": None}), lambda _: None)


def test_a_runtime_that_a_file_needs_is_told_with_its_command(monkeypatch, tmp_path):
    """Where the file chose the backend, the line names it, and how to install what is missing."""
    monkeypatch.setattr("mlbench.contracts.registry._is_installed", lambda _: False)
    (tmp_path / "m.pt2").write_bytes(b"PK")
    message = r"model .*m\.pt2: backend 'torch' needs its runtime; install it with: pip install '"
    with pytest.raises(RequestError, match=message):
        _prepare(model=tmp_path / "m.pt2", dataset="synthetic")
