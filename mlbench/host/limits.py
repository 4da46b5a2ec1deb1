"""What the system lets this process use."""

import resource

from mlbench.contracts.errors import RequestError

_FEWEST_FILES = 64  # on CPUs a coordinator or a worker was seen to open up to 18
_FILES_EACH = 4  # for each worker: its connection, its timetable, and pipes
_USUAL_FILES = 1024


def allow_open_files(workers: int = 0) -> None:
    """Let this process open as many files as so many workers take.

    Raises RequestError when the system does not allow it. ZeroMQ would abort the process.
    """
    needed = _FEWEST_FILES + _FILES_EACH * workers
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _holds(soft, needed):
        return
    if not _holds(hard, needed):
        raise RequestError(
            f"only {hard} files may be open at once, and {needed} are needed: "
            f"raise the limit with 'ulimit -n {max(needed, _USUAL_FILES)}'"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _holds(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed
