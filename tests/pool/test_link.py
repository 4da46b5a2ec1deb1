"""The local socket of a pool, and who may connect to it."""

import os
import socket

import pytest
from optional import ROOT

from mlbench.pool.link import Link


@pytest.fixture
def name():
    """The name of a link's socket."""
    link = Link()
    yield link.endpoint.removeprefix("ipc://@")
    link.close()


def _first_byte(name):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(30)
        peer.connect(f"\0{name}")
        return peer.recv(1)


def test_processes_of_the_same_user_are_greeted(name):
    """The socket has a name and no file, and greets its own user's processes."""
    assert len(_first_byte(name)) == 1
    assert not os.path.lexists(name)


@pytest.mark.skipif(os.geteuid() != 0, reason=ROOT)
def test_other_users_are_turned_away(name):
    """A connection of another user is closed before a word is said."""
    os.seteuid(65534)
    try:
        assert _first_byte(name) == b""
    finally:
        os.seteuid(0)
