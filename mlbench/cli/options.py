"""The command line's options, shared by `run` and `trial`; values are validated in settings."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from mlbench.cli.completion import list_of, one_of

Command = TypeVar("Command", bound=Callable[..., Any])


def _comma_list(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    return None if value is None else tuple(part.strip() for part in value.split(","))


def _float_list(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    words = _comma_list(context, parameter, value)
    try:
        return None if words is None else tuple(float(word) for word in words)
    except ValueError:
        raise click.BadParameter(f"'{value}' is not a list of numbers such as 0.01,0.05") from None


def _key_values(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str] | None:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"'{value}' is not KEY=VALUE")
    return dict(value.split("=", 1) for value in values) or None


def _sizes(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, int] | None:
    sizes: dict[str, int] = {}
    for value in values:
        name, equals, size = value.rpartition("=")  # a model may have = in a name
        if not (name and equals and size.isascii() and size.isdigit()):
            raise click.BadParameter(f"'{value}' is not NAME=SIZE, such as seq=128")
        if sizes.setdefault(name, int(size[:20])) != int(size[:20]):
            raise click.BadParameter(f"'{name}' is given two sizes")
    return sizes or None


_CLUSTER = [
    click.option(
        "--cluster",
        metavar="auto|HOST:PORT",
        help="Use the hosts of this Ray cluster, with a pool of workers on each.",
    ),
    click.option("--hosts", type=int, help="How many hosts of the cluster (all)."),
    click.option(
        "--insecure", is_flag=True, default=None, help="Allow a cluster that asks for no token."
    ),
]

_SHARED = [
    click.option(
        "--profile",
        shell_complete=one_of("profiles"),
        help="Defaults for a kind of model: lite0-onnxruntime, lite0-tf, resnet50-onnxruntime, "
        "resnet50-tf.",
    ),
    click.option(
        "--backend",
        shell_complete=one_of("backends"),
        help="onnxruntime, tensorflow, torch (by default the model file's), null, simulated, "
        "faulty.",
    ),
    click.option(
        "--backend-option",
        "backend_options",
        metavar="KEY=VALUE",
        multiple=True,
        callback=_key_values,
        help="A setting of the backend; repeatable.",
    ),
    click.option(
        "--model",
        type=click.Path(path_type=Path),
        help="The model: a file, or a SavedModel folder.",
    ),
    click.option("--inputs", callback=_comma_list, help="Names of the inputs to feed."),
    click.option("--outputs", callback=_comma_list, help="Names of the outputs to fetch."),
    click.option(
        "--dim",
        "dims",
        metavar="NAME=SIZE",
        multiple=True,
        callback=_sizes,
        help="Fixes a free dimension of the model, such as seq=128; repeatable.",
    ),
    click.option(
        "--label-offset",
        type=int,
        help="Subtracted from answers before they are compared with labels (0).",
    ),
    click.option(
        "--dataset",
        shell_complete=one_of("datasets"),
        help="sample, imagenet, synthetic or npz.",
    ),
    click.option(
        "--dataset-path",
        type=click.Path(path_type=Path),
        help="The image folder, or the .npz file of recorded tensors.",
    ),
    click.option("--dataset-list", type=click.Path(path_type=Path), help="The list of labels."),
    click.option(
        "--preprocessing",
        shell_complete=one_of("preprocessing"),
        help="vgg or mobilenet; by default the profile's.",
    ),
    click.option(
        "--data-format",
        shell_complete=one_of("data_formats"),
        help="NCHW or NHWC; by default the profile's.",
    ),
    click.option("--skip-bad-images", is_flag=True, default=None, help="Leave out broken images."),
    click.option("--count", type=int, help="Images to use (500, or all if fewer)."),
    click.option(
        "--device",
        "devices",
        multiple=True,
        shell_complete=list_of("devices"),
        callback=lambda _c, _p, v: v or None,
        help="cpu, cpu:0, cpu:0-3, gpu, cuda:0; repeatable or a comma-separated list.",
    ),
    click.option(
        "--workers-per-device",
        type=int,
        help="Workers on each device (GPU: 1; CPU: chosen by what a query takes on one thread).",
    ),
    click.option("--threads", type=int, help="Threads of a worker (its physical cores)."),
    click.option("--batch-size", type=int, help="Largest batch (1)."),
    click.option(
        "--batch-timeout",
        "batch_timeout_s",
        type=float,
        help="Seconds that a query may wait for its batch to fill (0).",
    ),
    click.option(
        "--dispatch",
        shell_complete=one_of("dispatch"),
        help="shared (one line for all workers, the default) or round-robin.",
    ),
    click.option(
        "--start-timeout", type=float, help="Seconds to load a model, and to warm it up (300)."
    ),
    click.option(
        "--on-failure",
        shell_complete=one_of("on_failure"),
        help="When a worker keeps failing: stop (default), or continue with the others.",
    ),
    click.option(
        "--arrival-cv", type=float, help="Coefficient of variation of the gaps of gamma (2)."
    ),
    click.option(
        "--arrival-trace",
        type=click.Path(path_type=Path),
        help="The file for trace: ascending times in seconds, one a line.",
    ),
    *_CLUSTER,
    click.option(
        "--split",
        help="How hosts share queries: random, or round-robin (the default for linear).",
    ),
    click.option("--percentile", type=float, help="The percentile that must keep the limit (99)."),
    click.option("--seed", type=int, help="Seed of the arrivals; drawn and recorded by default."),
    click.option("--skip-accuracy", is_flag=True, default=None, help="No accuracy stage."),
    click.option("--quiet", is_flag=True, help="No progress on stderr."),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
]

_RUN = [
    click.option(
        "--arrivals",
        callback=_comma_list,
        shell_complete=list_of("arrivals"),
        help="A list of linear, exponential, gamma, trace (linear,exponential).",
    ),
    click.option(
        "--max-latency", callback=_float_list, help="Limits in seconds (0.01,0.05,0.1,0.2)."
    ),
    click.option("--time", type=float, help="Longest trial in seconds (10)."),
    click.option("--budget", type=float, help="Measured seconds of the whole search (150)."),
    click.option("--precision", type=float, help="Half-width of the 95 % interval (0.02)."),
    click.option("--output", type=click.Path(path_type=Path), help="Result file (results.json)."),
]

_TRIAL = [
    click.option("--qps", type=float, help="Queries per second to offer."),
    click.option("--duration", type=float, help="Seconds (10)."),
    click.option(
        "--arrivals",
        shell_complete=one_of("arrivals"),
        help="One of linear, exponential, gamma, trace (exponential).",
    ),
    click.option("--max-latency", type=float, help="Limit in seconds, to get a verdict."),
    click.option(
        "--raw",
        type=click.Path(path_type=Path),
        help="Save every query's times: a .npz, .csv or .parquet file, or an .hlog of latencies.",
    ),
]


def run_options(command: Command) -> Command:
    """Add the options of `run`."""
    return _apply([*_SHARED, *_RUN], command)


def trial_options(command: Command) -> Command:
    """Add the options of `trial`."""
    return _apply([*_SHARED, *_TRIAL], command)


def cluster_options(command: Command) -> Command:
    """Add the options that say which cluster's hosts to use."""
    return _apply(_CLUSTER, command)


def _apply(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def given_only(values: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given."""
    return {key: value for key, value in values.items() if value is not None}
