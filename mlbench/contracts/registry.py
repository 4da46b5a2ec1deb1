"""Backends are found by name through the entry-point group `mlbench.backends`."""

import importlib.util
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from mlbench.contracts.backend import Backend, nearest
from mlbench.contracts.errors import RequestError, install_command, one_line
from mlbench.contracts.text import shown

GROUP = "mlbench.backends"
_ATTRIBUTES = ("OPTIONS", "RUNTIME", "NEEDS_MODEL", "inspect", "predict", "describe")
_OF_SELF_TIMED = ("serve", "mean_service_ns")


def backend_names() -> list[str]:
    """Return the names of all registered backends, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def find_backend(name: str) -> type[Backend]:
    """Return the backend class of this name; its module imports no runtime yet.

    Raises RequestError for a name that is not registered, or what cannot be imported or is no
    backend.
    """
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in entries:
        raise RequestError(
            f"unknown backend '{shown(name)}'{nearest(name, list(entries))}; "
            f"there are: {', '.join(sorted(entries))}"
        )
    try:
        backend = entries[name].load()
    except (Exception, SystemExit) as error:  # a module can raise anything when it is imported
        raise _broken(entries[name], f"cannot be imported: {one_line(error)}") from error
    if flaw := _flaw(backend):
        raise _broken(entries[name], flaw)
    return cast(type[Backend], backend)


def _broken(entry: EntryPoint, why: str) -> RequestError:
    return RequestError(f"backend '{entry.name}' ({entry.value}) {why}")


def _flaw(backend: object) -> str | None:
    """Return why something is not a backend's class; None when it may be one."""
    missing = [name for name in _ATTRIBUTES if not hasattr(backend, name)]
    if getattr(backend, "STAMPS_ITS_OWN_TIMES", False):
        missing += [name for name in _OF_SELF_TIMED if not hasattr(backend, name)]
    if missing:
        return f"is no backend: it has no {', '.join(missing)}"
    if not isinstance(backend.OPTIONS, Mapping):  # type: ignore[attr-defined]  # looked at above
        return "is no backend: its OPTIONS are no mapping"
    match backend.RUNTIME:  # type: ignore[attr-defined]  # looked at above
        case None | (str(), str()):
            return None
    return "is no backend: its RUNTIME is neither None nor a module and an extra"


def missing_runtime(backend: type[Backend]) -> str | None:
    """Return the extra that would install the backend's runtime, None when it is importable."""
    if backend.RUNTIME is None or _is_installed(backend.RUNTIME[0]):
        return None
    return backend.RUNTIME[1]


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # of a package that is not there, or no name at all
        return False


def ready_backend(name: str) -> type[Backend]:
    """Return the backend class of this name, whose runtime is installed.

    Raises RequestError as `find_backend` does, or naming the extra that installs the runtime.
    """
    backend = find_backend(name)
    extra = missing_runtime(backend)
    if extra is not None:
        raise RequestError(
            f"backend '{name}' needs its runtime; install it with: {install_command(extra)}"
        )
    return backend
