import copy
import io

import pytest
from rich.console import Console

from mlbench.contracts.findings import Finding
from mlbench.report.doctor_page import doctor_document, doctor_page

GENERATOR = {
    "lag_p50_s": 2e-6,
    "lag_p99_s": 9e-5,
    "held_qps": 200_000.0,
    "lag_qps": 1000.0,
    "max_latency_s": 0.01,
}
FOUND = {
    "version": "0.1.0",
    "system": {
        "cpu": {
            "model": "A CPU",
            "architecture": "x86_64",
            "cores": 4,
            "physical_cores": 2,
            "affinity": [0, 1],
            "quota_cores": None,
            "governor": None,
        },
        "memory_bytes": 8 << 30,
        "kernel": "6.1",
        "os": "Debian",
        "python": "CPython 3.11",
        "container": False,
        "gpus": [],
    },
    "backends": {
        "onnxruntime": {"state": "ready", "version": "onnxruntime 1.20"},
        "null": {"state": "ready", "version": None},
        "torch": {"state": "missing", "mend": "pip install 'mlbench-coordinator[torch]'"},
        "mine": {"state": "broken", "why": "it has no \x1b[2Jpredict"},
    },
    "gpus": 0,
    "load": {"other_cpu_fraction": 0.03, "steal_fraction": 0.0, "processes": []},
    "throttling": {"quota_throttles": 0, "heat_throttles": 0},
    "generator": Finding("generator", GENERATOR),
}


def found(**changes):
    """Return what a good machine tells, but for what stands at paths such as `load__steal`."""
    told = copy.deepcopy(FOUND)
    for path, value in changes.items():
        *keys, last = path.split("__")
        place = told
        for key in keys:
            place = place[key]
        place[last] = value
    return told


def printed(told, width=80):
    """Return the page on a console of so many columns."""
    stream = io.StringIO()
    Console(file=stream, width=width).print(doctor_page(told), crop=False)
    return stream.getvalue()


def test_a_good_machine_is_fit():
    """One verdict at the top, and what was looked at."""
    text = printed(FOUND)
    assert text.startswith("mlbench 0.1.0: fit to measure\n")
    assert "2 of 4 logical cores are ours, without a CPU quota" in text
    assert "ready: onnxruntime\n" in "\n".join(map(str.rstrip, text.splitlines()))
    document = doctor_document(FOUND)
    assert (document["fit"], document["verdict"]) == (True, "fit to measure")
    assert {check["state"] for check in document["checks"]} == {"good"}


BUSY = {
    "other_cpu_fraction": 0.6,
    "steal_fraction": 0.0,
    "processes": [{"pid": 7, "name": "stress\x1b[2J", "cpu_fraction": 0.98}],
}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"load": BUSY}, "not fit to measure: other programs take 60 % of our cores"),
        ({"load__steal_fraction": 0.2}, "not fit to measure: a hypervisor takes 20 % of our cores"),
        ({"throttling__heat_throttles": 3}, "not fit to measure: heat stopped our cores 3 times"),
        ({"throttling__quota_throttles": 9}, "not fit to measure: the CPU quota stopped"),
        ({"generator": Finding("generator", {**GENERATOR, "held_qps": 0.0})},
         "not fit to measure: the load generator holds only 0 qps"),
        ({"backends": {"null": {"state": "ready", "version": None}}},
         "not fit to measure: no backend is ready"),
        ({"system__cpu__quota_cores": 1.5}, "fit to measure, but a CPU quota allows 1.5 of 2"),
        ({"system__cpu__governor": "powersave"}, "fit to measure, but the CPU governor"),
        ({"generator": Finding("generator", {**GENERATOR, "lag_p99_s": 0.0042})},
         "fit to measure, but the load generator is late by 4.2 ms"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_in_the_verdict(changes, verdict):
    """A machine is not fit, or only just, for a reason that stands at the top."""
    told = found(**changes)
    assert " ".join(printed(told, 200).split()).startswith(f"mlbench 0.1.0: {verdict}")
    assert doctor_document(told)["fit"] == verdict.startswith("fit")


def test_busy_programs_are_named():
    """With their shares; a name cannot steer the terminal."""
    text = printed(found(load=BUSY), 120)
    assert r"stress\x1b[2J 98 %, pid 7" in text
    assert "\x1b" not in text


def test_commands_can_be_copied():
    """The line that mends something is in one piece on a narrow terminal, too."""
    assert "mend it with: pip install 'mlbench-coordinator[torch]'" in printed(FOUND, 40)


def test_a_gpu_is_shown():
    """With what the driver tells of it."""
    gpu = {"index": 0, "model": "H100", "driver": "550", "memory_bytes": 80 << 30}
    text = printed(found(gpus=1, system__gpus=[gpu]))
    assert "1 NVIDIA GPU: --device gpu" in text
    assert "H100, driver 550, 80 GiB" in text
