import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from optional import HADOLINT

ROOT = Path(__file__).parent.parent
DOCKERFILES = ["docker/Dockerfile.cpu", "docker/Dockerfile.gpu"]
SCRIPTS = ["run_and_time.sh", "tools/build_with_buildah.sh"]
_HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


@pytest.mark.skipif(_HADOLINT is None, reason=HADOLINT)
@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_dockerfiles_pass_the_linter(dockerfile):
    """Hadolint has nothing to say, with its defaults and no rule turned off."""
    result = subprocess.run([_HADOLINT, dockerfile], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout == ""
    assert result.returncode == 0


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_every_base_is_pinned_and_the_user_is_not_root(dockerfile):
    """Each base has the tag of one release, and what runs at the end is an ordinary user."""
    lines = (ROOT / dockerfile).read_text().splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert set(bases) == {"python:3.11.13-slim-bookworm"}
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users[-1].partition(":")[0] not in ("root", "0")


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_process_1_is_an_init(dockerfile):
    """The command runs under an init that is installed with it, at a pinned version."""
    text = (ROOT / dockerfile).read_text()
    assert 'ENTRYPOINT ["dumb-init", "--", "mlbench-coordinator"]' in text
    assert 'pip install ".[${EXTRAS}]" dumb-init==' in text


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_executable_and_valid_shell(script):
    """Bash can parse each script, and it can be called by its name."""
    subprocess.run(["bash", "-n", script], cwd=ROOT, check=True)
    assert os.access(ROOT / script, os.X_OK)


@pytest.fixture
def run(tmp_path):
    """Run run_and_time.sh with a PATH that has coreutils and the given fake engines."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "env", "dirname", "id", "realpath", "mkdir", "grep", "sh"):
        (tools / tool).symlink_to(shutil.which(tool))

    def call(*words, engines=(), **environment):
        for name, script in engines:
            (tools / name).write_text(f"#!/bin/sh\n{script}\n")
            (tools / name).chmod(0o755)
        return subprocess.run(
            [ROOT / "run_and_time.sh", *words],
            env={"PATH": str(tools), "HOME": str(tmp_path), **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return call


RECORDING_ENGINE = 'echo "$0 $*" >> "$HOME/calls"'


@pytest.mark.parametrize("words", [(), ("caffe",), ("tf", "tpu")])
def test_a_wrong_call_is_refused_with_the_usage(run, words):
    """What is not a runtime or a device ends with the usage and exit status 2."""
    result = run(*words)
    assert result.returncode == 2
    assert result.stderr.startswith("usage: ./run_and_time.sh tf|onnxruntime")


def test_without_an_engine_one_line_says_so(run):
    """Neither docker nor podman is one clear line and exit status 2."""
    result = run("onnxruntime")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "neither docker nor podman found" in result.stderr


def test_an_engine_that_does_not_answer_is_named(run):
    """A docker client without its daemon is one clear line and exit status 2."""
    result = run("onnxruntime", engines=[("docker", "exit 1")])
    assert result.returncode == 2
    assert "docker is installed but does not answer" in result.stderr


def test_podman_is_taken_when_docker_does_not_answer(run, tmp_path):
    """The first engine that works builds the image, runs the benchmark and checks the image."""
    engines = [("docker", "exit 1"), ("podman", RECORDING_ENGINE)]
    result = run("onnxruntime", "--seed", "1", engines=engines)
    assert result.returncode == 0, result.stderr
    _, build, benchmark, check = (tmp_path / "calls").read_text().splitlines()
    assert "podman build" in build
    assert "EXTRAS=onnxruntime,sample" in build
    assert "--read-only" in benchmark
    assert benchmark.endswith("run --profile lite0-onnxruntime --device cpu --seed 1")
    assert "trial --backend simulated" in check


def test_models_and_data_are_mounted_read_only(run, tmp_path):
    """MODEL_DIR and DATA_DIR choose the ResNet-50 profile and come in read-only."""
    folders = {"MODEL_DIR": str(tmp_path / "m"), "DATA_DIR": str(tmp_path / "d")}
    for folder in folders.values():
        Path(folder).mkdir()
    result = run("tf", "gpu", engines=[("docker", RECORDING_ENGINE)], **folders)
    assert result.returncode == 0, result.stderr
    benchmark = (tmp_path / "calls").read_text().splitlines()[-2]
    assert f"-v {tmp_path}/m:/models:ro -e MODEL_DIR=/models" in benchmark
    assert f"-v {tmp_path}/d:/data:ro -e DATA_DIR=/data" in benchmark
    assert "--gpus all" in benchmark
    assert "--profile resnet50-tf --device gpu" in benchmark


def test_one_folder_alone_is_refused(run, tmp_path):
    """MODEL_DIR without DATA_DIR is one clear line and exit status 2."""
    result = run("tf", MODEL_DIR=str(tmp_path))
    assert result.returncode == 2
    assert "set both MODEL_DIR and DATA_DIR" in result.stderr


def test_the_benchmarks_exit_status_is_passed_on(run):
    """A target that was not met ends the script as it ends the benchmark."""
    fails_run = 'case "$*" in *" run --profile"*) exit 1 ;; esac'
    result = run("tf", engines=[("docker", fails_run)])
    assert result.returncode == 1
    assert "is healthy" in result.stderr


def test_an_end_that_was_asked_for_ends_the_script(run, tmp_path):
    """After a signal nothing else is run, and the status is the benchmark's."""
    interrupted = RECORDING_ENGINE + '; case "$*" in *" run --profile"*) exit 130 ;; esac'
    result = run("tf", engines=[("docker", interrupted)])
    assert result.returncode == 130
    assert "trial" not in (tmp_path / "calls").read_text()
