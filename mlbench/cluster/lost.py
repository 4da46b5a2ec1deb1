"""The error of a cluster without enough hosts; apart, so that who catches it loads nothing else."""

from mlbench.contracts.errors import RunError


class HostLostError(RunError):
    """Hosts died, fell silent or keep failing, and no spare one can take their place."""
