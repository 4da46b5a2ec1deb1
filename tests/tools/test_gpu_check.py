import os
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_check import __main__ as gpu_check
from gpu_check import refusals
from gpu_check.bench import Bench, FailedError, NotHereError

ROOT = Path(__file__).parents[2]


def _raising(error):
    def check(_bench):
        raise error

    return check


CHECKS = [
    ("good", lambda _bench: "42 qps"),
    ("missing", _raising(NotHereError("no onnx"))),
    ("bad", _raising(FailedError("fell back"))),
    ("broken", _raising(KeyError("gpus"))),
]

SLEEPER = """
import subprocess
print(subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)
"""


@pytest.mark.parametrize(("checks", "status"), [(CHECKS, 1), (CHECKS[:2], 0)])
def test_each_check_has_a_line(tmp_path, capsys, monkeypatch, checks, status):
    """A check that fails or breaks keeps none of the others from its turn, and sets the status."""
    monkeypatch.setattr(gpu_check, "CHECKS", checks)
    assert gpu_check.main(tmp_path) == status
    *lines, summary = capsys.readouterr().out.splitlines()
    assert (
        lines
        == [
            "ok        good: 42 qps",
            "not here  missing: no onnx",
            "FAILED    bad: fell back",
            "FAILED    broken: KeyError: 'gpus'",
        ][: len(checks)]
    )
    assert summary.startswith(f"1 ok, {2 * status} FAILED, 1 not here; ")


def test_checks_can_be_chosen(tmp_path, capsys, monkeypatch):
    """Words choose the checks that have one of them in their name."""
    monkeypatch.setattr(gpu_check, "CHECKS", CHECKS)
    assert gpu_check.main(tmp_path, ["goo", "miss"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_the_command_runs_from_a_clone(tmp_path):
    """The script finds the checks and makes the metadata; to be asked for none is no failure."""
    done = subprocess.run(
        [ROOT / "tools/check_gpu.sh", tmp_path, "no such check"],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("0 ok, 0 FAILED, 0 not here; "), done.stderr
    assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / "metadata").glob("*.egg-info/entry_points.txt"))


def test_what_a_command_leaves_behind_is_found(tmp_path):
    """A process that outlives its command is known by its environment, until it has ended."""
    bench = Bench(tmp_path)
    pid = int(bench.python("-c", SLEEPER))
    try:
        assert bench.left_behind(0.0) == [pid]
    finally:
        os.kill(pid, 9)
    assert bench.left_behind(10.0) == []


@pytest.mark.parametrize(
    ("status", "err", "complaint"),
    [
        (0, "", "status 0 in place of 2"),
        (2, "error: no GPU 7\nTraceback", "not one line"),
        (2, "error: some GPU", "not one line that names cuda:7"),
    ],
)
def test_what_is_no_refusal_is_found(tmp_path, monkeypatch, status, err, complaint):
    """A refusal has status 2 and one line, which names what was refused."""
    done = subprocess.CompletedProcess([sys.executable], status, "", err)
    monkeypatch.setattr(Bench, "run", lambda *_words, **_variables: done)
    with pytest.raises(FailedError, match=complaint):
        refusals.missing_gpu(Bench(tmp_path))
