"""From files of results to the file of a report."""

from collections.abc import Sequence
from pathlib import Path

from mlbench.contracts.errors import RequestError
from mlbench.host.files import check_writable, real_path, replacing
from mlbench.report.html.charts.drawing import require_libraries
from mlbench.report.html.page import make_pages, render
from mlbench.report.html.sources import read_sources


def write_report(results: Sequence[Path], output: Path) -> int:
    """Write the page about these files and folders; return its size in bytes.

    Raises RequestError when a library is missing, the page cannot be written or would take the
    place of results, or something cannot be read.
    """
    require_libraries()
    if real_path(output) in map(real_path, results):
        raise RequestError(f"{output} is one of the results; give another path for the page")
    check_writable(output)
    content = render(make_pages(read_sources(results))).encode()
    with replacing(output) as file:
        file.write(content)
    return len(content)
