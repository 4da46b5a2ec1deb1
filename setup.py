"""All is in setup.cfg but the long description: the README, without what leads into the clone."""

import re
from pathlib import Path

from setuptools import setup

_PICTURE = re.compile(r"!\[[^\]]*\]\([^)]*\)\n*")
_LINK_INTO_CLONE = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)#]+)[^)]*\)")


def _long_description() -> str:
    """Return the README with `[text](docs/page.md)` as `text (docs/page.md)`.

    A package page has no such file to link to, nor the pictures.
    """
    readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    return _LINK_INTO_CLONE.sub(
        lambda link: link[1] if link[1] == link[2] else f"{link[1]} (`{link[2]}`)",
        _PICTURE.sub("", readme),
    )


setup(long_description=_long_description())
