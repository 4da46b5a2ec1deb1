"""How `--help` looks: options in groups, what is asked for most first."""

from collections.abc import Mapping

import click

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Comparing": ("measure", "margin", "fail_if_slower", "fail_if_undecided", "form", "force"),
    "Model": ("profile", "backend", "backend_options", "model", "inputs", "outputs", "dims"),
    "Data": (
        *("dataset", "dataset_path", "dataset_list", "preprocessing", "data_format"),
        *("label_offset", "skip_bad_images", "count"),
    ),
    "Devices and workers": (
        *("devices", "workers_per_device", "threads", "batch_size", "batch_timeout_s"),
        *(
            "dispatch",
            "start_timeout",
            "on_failure",
            "cluster",
            "hosts",
            "split",
            "insecure",
            "tune",
        ),
    ),
    "Load": ("qps", "duration", "arrivals", "arrival_cv", "arrival_trace", "seed"),
    "Limits and search": (
        *("max_latency", "percentile", "time", "budget", "precision", "skip_accuracy"),
    ),
    "Output": ("output", "raw", "as_json", "quiet", "help"),
}
"""The titles of the groups, with the names of the parameters in each."""

_REST = "Other options"


class GroupedCommand(click.Command):
    """A command whose help has its options in GROUPS; what stands in none comes last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        records = {
            str(parameter.name): record
            for parameter in self.get_params(ctx)
            if (record := parameter.get_help_record(ctx))
        }
        for title, names in GROUPS.items():
            _write(formatter, title, [records.pop(name) for name in names if name in records])
        _write(formatter, _REST, list(records.values()))


def _write(formatter: click.HelpFormatter, title: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)
