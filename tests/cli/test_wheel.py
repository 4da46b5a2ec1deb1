"""What is shipped: the wheel holds the packages and nothing else, and works from anywhere."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "mlbench", "workers")


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
def wheel(tmp_path_factory):
    """The wheel, built from a copy so that the checkout stays clean."""
    source = tmp_path_factory.mktemp("source")
    for name in (*SOURCES, "tools", "tests"):
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    out = tmp_path_factory.mktemp("wheel")
    _run("-m", "build", "--wheel", "--no-isolation", "--outdir", out, cwd=source)
    (path,) = out.glob("mlbench-*.whl")
    return path


def test_the_wheel_holds_all_modules_and_their_data(wheel):
    """Every module, the type marker and the results' schema are in the wheel."""
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        str(path.relative_to(ROOT))
        for folder in ("mlbench", "workers")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert modules <= names
    assert {"mlbench/py.typed", "mlbench/report/results.schema.json"} <= names


def test_the_wheel_holds_nothing_else(wheel):
    """Neither tools nor tests nor anything else is shipped beside the two packages."""
    folders = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {f for f in folders if not f.endswith(".dist-info")} == {"mlbench", "workers"}


def test_the_wheel_works_from_any_folder(wheel, tmp_path):
    """Unpacked into an empty folder it runs a trial, beside a user's own `workers` folder."""
    site, home = tmp_path / "site", tmp_path / "home"
    zipfile.ZipFile(wheel).extractall(site)
    (home / "workers").mkdir(parents=True)
    (home / "workers" / "__main__.py").write_text("raise SystemExit('the wrong workers')")
    where = _run("-P", "-c", "import mlbench; print(mlbench.__file__)", cwd=home, PYTHONPATH=site)
    assert Path(where.strip()).is_relative_to(site)
    words = ("trial", "--backend", "null", "--qps", 50, "--duration", 0.2, "--json")
    assert '"completed": 10' in _run("-P", "-m", "mlbench", *words, cwd=home, PYTHONPATH=site)
