"""The documents hold together."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    """Every link and picture of a page that names a file of the clone leads to one."""
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_index_names_every_page():
    """Whoever begins at docs/index.md finds all other pages."""
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    links = re.findall(r"\]\(([^)#/]+\.md)", (ROOT / "docs" / "index.md").read_text())
    assert set(links) == pages
