import threading

from mlbench.bench.events import Noted
from mlbench.contracts.findings import Finding
from mlbench.data.events import ImagesPrepared
from mlbench.report.progress import Progress


def test_what_a_model_says_cannot_write_to_the_terminal(capsys):
    """Escapes of a terminal in a model's description are spelt out."""
    found = Finding("synthetic_model", {"description": "\x1b[2Jtrained :bomb: [red]"})
    Progress(quiet=True)(Noted(found, warning=True))
    err = capsys.readouterr().err
    assert r"\x1b[2Jtrained :bomb: [red]" in err
    assert "\x1b" not in err


def test_a_bar_ends_with_its_block():
    """Nothing goes on drawing when the images were not all prepared."""
    before = set(threading.enumerate())
    with Progress() as progress:
        progress(ImagesPrepared(1, 10))
        (drawing,) = set(threading.enumerate()) - before
    drawing.join(30)
    assert not drawing.is_alive()
