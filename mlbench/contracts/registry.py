"""Backends are found by name through the entry-point group `mlbench.backends`."""

import importlib.util
from importlib.metadata import entry_points

from mlbench.contracts.backend import Backend, nearest
from mlbench.contracts.errors import RequestError, install_command

GROUP = "mlbench.backends"


def backend_names() -> list[str]:
    """Return the names of all registered backends, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def find_backend(name: str) -> type[Backend]:
    """Return the backend class of this name; its module imports no runtime yet.

    Raises RequestError for a name that is not registered, or a class that cannot be imported.
    """
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in entries:
        raise RequestError(
            f"unknown backend '{name}'{nearest(name, list(entries))}; "
            f"there are: {', '.join(sorted(entries))}"
        )
    try:
        backend: type[Backend] = entries[name].load()
    except (ImportError, AttributeError) as error:
        raise RequestError(
            f"backend '{name}' ({entries[name].value}) cannot be imported: {error}"
        ) from error
    return backend


def missing_runtime(backend: type[Backend]) -> str | None:
    """Return the extra that would install the backend's runtime, None when it is importable."""
    if backend.RUNTIME is None or importlib.util.find_spec(backend.RUNTIME[0]) is not None:
        return None
    return backend.RUNTIME[1]


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
