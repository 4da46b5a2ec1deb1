"""Imports run one way: the rules of the house, held by reading every import statement."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("mlbench", "workers")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
NO_PICKLE_BUT_HERE = "mlbench.models.unpickle"


def _trees(package: str) -> Iterator[tuple[str, ast.Module]]:
    for name, path in MODULES.items():
        if name == package or name.startswith(package + "."):
            yield name, ast.parse(path.read_text())


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield the full names of everything that is imported, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def _violations(package: str, forbidden: tuple[str, ...], allowed: tuple[str, ...] = ()):
    return [
        f"{name} imports {imported}"
        for name, tree in _trees(package)
        for imported in _imported(tree)
        if _within(imported, forbidden) and not _within(imported, allowed)
    ]


def test_workers_import_only_the_contracts_and_the_clock():
    """A worker process loads nothing of the coordinator's side."""
    allowed = ("mlbench.contracts", "mlbench.host.clock")
    assert _violations("workers", ("mlbench", "tools", "tests"), allowed) == []


def test_nothing_in_mlbench_imports_workers():
    """Workers are started as processes and never imported."""
    assert _violations("mlbench", ("workers", "tools", "tests")) == []


CORE = ("contracts", "arrivals", "records", "outcomes", "stats")
PURE = (*CORE, "queueing", "trial", "estimation", "search")
BELOW = {
    "contracts": (),
    "arrivals": ("contracts",),
    "records": ("contracts", "arrivals"),
    "outcomes": ("contracts", "records", "arrivals"),
    "stats": ("outcomes",),
    "host": ("contracts", "records"),
    "queueing": CORE,
    "trial": (*CORE, "queueing"),
    "estimation": (*CORE, "queueing", "trial"),
    "search": (*CORE, "queueing", "trial", "estimation"),
    "pool": (*CORE, "queueing", "trial", "host"),
    "cluster": (*CORE, "queueing", "trial", "host", "pool"),
    "data": ("contracts", "host"),
    "models": ("contracts", "host"),
    "bench": (*PURE, "host", "pool", "cluster", "data", "models"),
    "report": (*CORE, "trial", "host", "data", "pool", "cluster", "bench"),
    "cli": ("contracts", "arrivals", "host", "bench", "report", "run", "run_trial"),
}
"""Which rooms of mlbench each room may import from, besides itself; `run` and `run_trial` are the
package's own functions."""


def test_every_room_has_a_rule():
    """No folder and no loose file of mlbench is without a line above."""
    rooms = {name.split(".")[1] for name in MODULES if name.startswith("mlbench.")}
    assert rooms - {"__main__"} == set(BELOW)


@pytest.mark.parametrize("room", BELOW)
def test_imports_run_one_way(room):
    """From the command line down to the contracts, and never back."""
    allowed = ("mlbench.__version__", *(f"mlbench.{name}" for name in (room, *BELOW[room])))
    assert _violations(f"mlbench.{room}", ("mlbench",), allowed) == []


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("mlbench.host.clock", ()),
        ("mlbench.host.topology", ()),
        ("mlbench.host.devices", ("mlbench.host.topology", "mlbench.contracts")),
    ],
)
def test_the_clock_and_places_stand_alone(module, allowed):
    """What workers load, and what is pure about devices, drags nothing else in."""
    assert _violations(module, ("mlbench",), allowed) == []


@pytest.mark.parametrize("package", ["mlbench.contracts", "mlbench.host.clock", "workers"])
def test_what_a_worker_loads_is_light(package):
    """Neither OpenCV, nor the command line's packages, nor a runtime at import time."""
    heavy = ("cv2", "click", "rich", "pydantic", "psutil")
    assert _violations(package, heavy) == []
    runtimes = ("onnxruntime", "tensorflow", "torch", "onnx")
    for name, tree in _trees(package):
        top = ast.Module([node for node in tree.body if not _is_type_checking(node)], [])
        shallow = [
            imported
            for node in top.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for imported in _imported(ast.Module([node], []))
        ]
        assert not [i for i in shallow if _within(i, runtimes)], name


def test_opencv_is_loaded_when_images_are_prepared():
    """What every run and trial imports neither has OpenCV in it nor a runtime."""
    code = "import sys, mlbench.bench.run, mlbench.bench.trial; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"cv2", "numba", "onnx", "onnxruntime", "tensorflow", "keras", "torch", "matplotlib"}
    assert not heavy & {*ended.stdout.split()}


def test_the_compiler_is_loaded_when_something_is_played():
    """One module imports numba, and that module is imported inside functions only."""
    loop = "mlbench.queueing.loop"
    for name, tree in _trees("mlbench"):
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        imported = set(_imported(ast.Module(top, [])))
        assert not {i for i in imported if _within(i, (loop,))}, name
        assert name == loop or not {i for i in _imported(tree) if _within(i, ("numba",))}, name


def _is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def test_no_module_shadows_a_library():
    """No worker module has the name of a library that it could be taken for."""
    names = {path.stem for name, path in MODULES.items() if name.startswith("workers.")}
    assert not names & {"onnxruntime", "tensorflow", "torch", "simulate", "zmq", "numpy"}


def test_only_the_command_line_prints_or_exits():
    """Nothing else in mlbench writes to stdout or ends the process."""
    found = []
    for name, tree in _trees("mlbench"):
        if name.startswith("mlbench.cli"):
            continue
        calls = [ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)]
        exits = ("print", "exit", "quit", "sys.exit", "os._exit", "sys.stdout.write")
        found += [f"{name} calls {call}" for call in calls if call in exits]
        found += [f"{name} uses click" for i in _imported(tree) if _within(i, ("click",))]
    assert found == []


def test_pickle_is_read_in_one_place_only():
    """No socket and no model file is unpickled, but for the restricted reader of checkpoints."""
    unsafe = ("pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal")
    for package in ("mlbench", "workers"):
        found = _violations(package, unsafe)
        assert [f for f in found if not f.startswith(NO_PICKLE_BUT_HERE)] == []


def test_numpy_files_are_never_unpickled():
    """No call allows pickled objects in a file."""
    for package in ("mlbench", "workers"):
        for name, tree in _trees(package):
            for node in ast.walk(tree):
                if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                    assert ast.unparse(node.value) == "False", name
                if isinstance(node, ast.keyword) and node.arg == "weights_only":
                    assert ast.unparse(node.value) == "True", name


def test_ray_is_loaded_for_a_cluster_only():
    """Only the cluster imports Ray, and inside functions, so that nobody else needs it."""
    for name, tree in _trees("mlbench"):
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        ray = [
            n for n in imports if any(_within(i, ("ray",)) for i in _imported(ast.Module([n], [])))
        ]
        assert not ray or name.startswith("mlbench.cluster."), name
        assert not [node for node in ray if node in tree.body], name
