"""What the tab key offers, asked as a shell asks."""

import os

import pytest


@pytest.fixture
def offered(process):
    """Return a function that completes the last of these words, as bash does."""

    def complete(*words):
        line = " ".join(("mlbench-coordinator", *words))
        asked = {
            "_MLBENCH_COORDINATOR_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words)),
        }
        result = process(env={**os.environ, **asked})
        assert result.err == ""
        return [item.partition(",")[2] for item in result.out.split()]

    return complete


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("tr",), {"trial"}),
        (("run", "--back"), {"--backend", "--backend-option"}),
        (("run", "--backend", "s"), {"simulated"}),
        (("run", "--arrivals", "linear,e"), {"linear,exponential"}),
        (("trial", "--arrivals", "g"), {"gamma"}),
        (("run", "--profile", "lite0-o"), {"lite0-onnxruntime"}),
        (("run", "--dataset", "synth"), {"synthetic"}),
        (("run", "--dispatch", "r"), {"round-robin"}),
        (("run", "--on-failure", "''"), {"stop", "continue"}),
        (("run", "--preprocessing", "v"), {"vgg"}),
        (("run", "--data-format", "NC"), {"NCHW"}),
        (("run", "--device", "gp"), {"gpu"}),
    ],
)
def test_the_tab_key_completes(offered, words, expected):
    """Commands, options and the values of options; of a list its last word."""
    assert set(offered(*words)) == expected
