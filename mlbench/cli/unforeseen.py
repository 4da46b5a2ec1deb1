"""The last guard: an error that nobody foresaw."""

import os
import platform
import shlex
import sys
import time
import traceback

from mlbench import __version__
from mlbench.contracts.errors import one_line
from mlbench.host.files import replacing
from mlbench.host.folders import cache_dir


def keep_traceback(error: Exception) -> str:
    """Put the traceback into a file of the cache folder; return a line that says where."""
    story = "".join(traceback.format_exception(error))
    about = f"mlbench {__version__}, Python {platform.python_version()}, {platform.platform()}"
    try:
        path = cache_dir() / f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
        with replacing(path) as file:
            file.write(f"{about}\n{shlex.join(sys.argv)}\n\n{story}".encode(errors="replace"))
    except Exception as refusal:  # the folder, or whatever it takes to write, may be the fault
        return f"unforeseen: {one_line(error)}; its traceback is not kept ({one_line(refusal)})"
    return f"unforeseen: {one_line(error)}; please report it with {path}"
