"""The options of arrivals, as users give them."""

import json

import pytest

DEVICE = ("--backend", "simulated", "--backend-option", "service_ms=2")


@pytest.fixture
def trace(tmp_path):
    """A file of three times."""
    path = tmp_path / "trace.txt"
    path.write_text("0\n0.5\n2\n")
    return path


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--arrivals", "trace"), "--arrival-trace is needed"),
        (("--arrivals", "trace", "--arrival-trace", "/nowhere.txt"), "no such file"),
        (("--arrivals", "trace", "--arrival-trace", "/"), "cannot be read"),
        (
            ("--arrivals", "trace", "--arrival-trace", "empty"),
            "two times or more are needed, not 0",
        ),
        (("--arrivals", "trace", "--arrival-trace", "/dev/zero"), "it is a device"),
        (("--arrival-trace", "empty"), "--arrival-trace: only with 'trace'"),
        (("--arrival-cv", "2"), "--arrival-cv: only with 'gamma'"),
        (("--arrivals", "gamma", "--arrival-cv", "0"), "--arrival-cv 0"),
        (("--arrivals", "gamma", "--arrival-cv", "-1"), "--arrival-cv -1"),
        (("--arrivals", "gamma", "--arrival-cv", "nan"), "--arrival-cv nan"),
        (("--arrivals", "gama"), "did you mean 'gamma'"),
    ],
)
@pytest.mark.parametrize("kind", [("run",), ("trial", "--qps", "10")], ids=lambda k: k[0])
def test_options_that_do_not_fit_are_one_line(refused, kind, words, named, tmp_path, monkeypatch):
    """What is wrong with the arrivals is told before a worker starts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    assert named in refused(*kind, *DEVICE, *words)


def test_trials_are_played_with_gamma_and_trace(command, trace):
    """A trial says which arrivals it had, and offered the rate that was asked for."""
    for kind, option in (("gamma", ("--arrival-cv", 3)), ("trace", ("--arrival-trace", trace))):
        words = ("--qps", 50, "--duration", 1, "--arrivals", kind, *option, "--json", "--quiet")
        result = command("trial", *DEVICE, *words)
        assert result.status == 0, result.err
        document = json.loads(result.out)
        assert document["arrivals"] == kind
        assert document["offered_qps"] == pytest.approx(50.0, rel=1e-6)
