"""What is shipped: the whole project as sources, and a wheel that works from anywhere."""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from mlbench.contracts.errors import install_command

ROOT = Path(__file__).parents[2]
NOT_SOURCES = (".git", ".venv*", ".*_cache", "__pycache__", "*.egg-info", "build", "dist", "output")


def _run(*argv, cwd, **environment):
    ended = subprocess.run(
        [sys.executable, *map(str, argv)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A folder with the sources and the wheel that is built from them, made from a clean copy."""
    folder = tmp_path_factory.mktemp("shipped")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*NOT_SOURCES))
    out = folder / "dist"
    _run("-m", "build", "--no-isolation", "--outdir", out, cwd=folder / "source")
    return out


@pytest.fixture(scope="module")
def wheel(dist):
    """The wheel."""
    (path,) = dist.glob("mlbench_coordinator-*.whl")
    return path


@pytest.fixture(scope="module")
def source_names(dist):
    """The files of the source distribution, as they are called in a clone."""
    (path,) = dist.glob("mlbench_coordinator-*.tar.gz")
    with tarfile.open(path) as file:
        return {name.partition("/")[2] for name in file.getnames()}


def test_the_sources_are_the_whole_project(source_names):
    """What a clone has to run, test and build the images is in the source distribution."""
    assert {"run_local.sh", "run_tests.sh", "run_and_time.sh", ".dockerignore"} <= source_names
    for folder in (".ci", "docker", "docs", "mlbench", "tests", "tools", "workers"):
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        ours = {str(p.relative_to(ROOT)) for p in files if "__pycache__" not in p.parts}
        assert ours <= source_names


def test_what_the_readme_links_to_is_in_the_sources(source_names):
    """A package page shows the README alone; the files that it names come with the sources."""
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text())
    assert {link for link in links if "://" not in link} <= source_names


@pytest.fixture(scope="module")
def metadata(wheel):
    """What a package index knows of the wheel."""
    (path,) = [n for n in zipfile.ZipFile(wheel).namelist() if n.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(zipfile.ZipFile(wheel).read(path))


def test_a_package_page_has_no_link_into_the_clone(metadata):
    """The README is the description, in which every link leads to an address or into itself."""
    page = metadata.get_payload()
    assert "(`docs/results.md`)" in page
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert links == [link for link in links if link.startswith(("https://", "#"))]


def test_errors_advise_to_install_this_distribution(metadata):
    """The name in `pip install` is the one that the wheel has, and no stranger's."""
    assert install_command("gpu") == f"pip install '{metadata['Name']}[gpu]'"
    assert "gpu" in metadata.get_all("Provides-Extra")


def test_the_wheel_holds_all_modules_and_their_data(wheel):
    """Every module, the type marker and the schemas are in the wheel."""
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        str(path.relative_to(ROOT))
        for folder in ("mlbench", "workers")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert modules <= names
    schemas = {f"mlbench/report/{name}.schema.json" for name in ("results", "trial", "sweep")}
    assert {"mlbench/py.typed", *schemas} <= names


def test_the_wheel_holds_nothing_else(wheel):
    """Neither tools nor tests nor anything else is shipped beside the two packages."""
    folders = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {f for f in folders if not f.endswith(".dist-info")} == {"mlbench", "workers"}


def test_the_wheel_works_from_any_folder(wheel, tmp_path):
    """Unpacked into an empty folder it runs a trial, beside a user's own `workers` folder."""
    site, home = tmp_path / "site", tmp_path / "home"
    shutil.unpack_archive(wheel, site, "zip")
    (home / "workers").mkdir(parents=True)
    (home / "workers" / "__main__.py").write_text("raise SystemExit('the wrong workers')")
    where = _run("-P", "-c", "import mlbench; print(mlbench.__file__)", cwd=home, PYTHONPATH=site)
    assert Path(where.strip()).is_relative_to(site)
    words = ("trial", "--backend", "null", "--qps", 50, "--duration", 0.2, "--json")
    assert '"completed": 10' in _run("-P", "-m", "mlbench", *words, cwd=home, PYTHONPATH=site)
