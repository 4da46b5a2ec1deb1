import resource

import pytest

from mlbench.contracts.errors import RequestError
from mlbench.host.limits import allow_open_files


@pytest.fixture
def limits(monkeypatch):
    """Return a function that sets what limits there seem to be; it returns those set later."""
    changed = []

    def pretend(soft, hard):
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda _, both: changed.append(both))
        return changed

    return pretend


def test_a_low_limit_is_told_with_what_to_do(limits):
    """Where the system allows too few open files, the line says how many, and the command."""
    limits(20, 20)
    with pytest.raises(RequestError, match=r"only 20 files .* 'ulimit -n 1024'"):
        allow_open_files()


def test_a_limit_that_may_be_raised_is_raised(limits):
    """The soft limit follows what many workers take, up to the hard one."""
    changed = limits(256, 4096)
    allow_open_files(workers=20)
    assert changed == []
    allow_open_files(workers=200)
    ((soft, hard),) = changed
    assert 800 < soft < 1024
    assert hard == 4096


def test_no_limit_is_enough(limits):
    """An unlimited number is left alone."""
    assert limits(resource.RLIM_INFINITY, resource.RLIM_INFINITY) == []
    allow_open_files(workers=10_000)
