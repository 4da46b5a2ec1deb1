"""The small files in which the kernel tells about itself."""

from pathlib import Path


def kernel_text(path: Path) -> str | None:
    """Return a kernel file's text without blanks around; None where it is not there or not ours."""
    try:
        return path.read_text().strip()
    except OSError:
        return None
