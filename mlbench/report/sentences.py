"""The sentence that people read for each finding. Pure."""

import math
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mlbench.contracts.findings import Figure, Figures, Finding
from mlbench.contracts.text import printable
from mlbench.outcomes import Accuracy


class _Formatter(string.Formatter):
    """Knows durations and cores, too.

    {lag_s:time} is 3.2 ms or 1.25 s, {lag_s:us} is 85 us, {cores:cores} is core 3 or cores 0-1,4.
    """

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "us":
            return f"{value * 1e6:.0f} us"
        if format_spec == "cores":
            return f"{'core' if value.isdigit() else 'cores'} {value}"
        if format_spec != "time":
            return str(super().format_field(value, format_spec))
        if value is None or not math.isfinite(value):
            return "(not served by the end)"
        return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.2f} s"


def _fill(template: str, figures: Figures, **more: Figure) -> str:
    return _Formatter().vformat(template, (), {**figures, **more})


def _compared(figures: Figures) -> str:
    latency_s, max_latency_s = figures["latency_s"], figures["max_latency_s"]
    is_over = latency_s is None or float(latency_s) > float(max_latency_s or 0)
    return _fill(
        "p{percentile:g} {latency_s:time} is {side} {max_latency_s:time}: "
        "{late:,} of {queries:,} were later",
        figures,
        side="over" if is_over else "within",
    )


def _over_by_chance(figures: Figures) -> str:
    chance = _fill(
        "{likely_fraction:.2%} or more is likely, {allowed_fraction:.2%} is allowed, worth "
        "{independent_queries:,.0f} queries",
        figures,
    )
    return f"{_compared(figures)}, which may be chance ({chance})"


def _generator_late(figures: Figures) -> str:
    less_lag = {"latency_s": figures["latency_less_lag_s"], "late": figures["late_less_lag"]}
    return (
        _fill("the load generator's own lateness decides (its p{percentile:g} is ", figures)
        + _fill("{lag_s:time}): ", figures)
        + f"{_compared(figures)}; without it {_compared({**figures, **less_lag})}"
    )


def _generator_off_rate(figures: Figures) -> str:
    error = float(figures["error_fraction"] or 0)
    return _fill(
        "the load generator sent {size:.1%} {side} than the {target_qps:,.6g} qps asked for",
        figures,
        size=abs(error),
        side="less" if error < 0 else "more",
    )


def _queries_failed(figures: Figures) -> str:
    text = "{failed:,} of {queries:,} queries failed"
    if figures.get("worker") is not None:
        text += ", {on_worker:,} of them on worker {worker} ({device})"
    return _fill(text, figures)


def _host_busy(figures: Figures) -> str:
    text = "other programs took {other_cpu_fraction:.0%} of {cores:cores}"
    if figures["processes"]:
        text += " (right after it: {processes})"
    return _fill(text, figures)


def _host_busy_before(figures: Figures) -> str:
    text = "this machine is busy: other programs take {other_cpu_fraction:.0%} of {cores:cores}"
    if figures["processes"]:
        text += " ({processes})"
    return _fill(f"{text}; stop them, since trials that they disturb decide nothing", figures)


def _because(text: str) -> Callable[[Figures], str]:
    """Return what tells a finding that rests on another, whose code stands in `because`."""

    def tell(figures: Figures) -> str:
        return f"{text}: {sentence(Finding(str(figures['because']), figures))}"

    return tell


def _layout(figures: Figures) -> str:
    batch_size, threads = figures["batch_size"], figures["threads"]
    return _fill(
        "workers: {workers} of {threads} thread{s}, as {what} takes {query_s:time} on one; "
        "--workers-per-device and --threads decide otherwise",
        figures,
        s="" if threads == 1 else "s",
        what="a query" if batch_size == 1 else f"a batch of {batch_size}",
    )


def _measured_apart(figures: Figures) -> str:
    apart_s = figures["apart_s"]
    began = "" if apart_s is None else f", begun {float(apart_s) / 60:,.0f} minutes apart"
    return (
        f"not measured in turns{began}: the intervals hold what the machine did during each, not "
        "between them, and a machine's speed may change by more than that; "
        "compare --measure has no such doubt"
    )


SENTENCES: Mapping[str, str | Callable[[Figures], str]] = {
    # The reasons of verdicts.
    "within_limit": _compared,
    "over_limit": _compared,
    "over_limit_by_chance": _over_by_chance,
    "device_behind": "the device fell behind: it served {served_qps:,.4g} of the "
    "{offered_qps:,.4g} qps offered, and latency grew from {before_s:time} to {after_s:time}",
    "cut_short": "the trial was cut short because the backlog grew over its limit",
    "generator_late": _generator_late,
    "generator_off_rate": _generator_off_rate,
    "queries_failed": _queries_failed,
    "queries_lost": "{lost:,} of {queries:,} queries got no answer",
    "worker_lost": "fault: {reason}, holding {held:,} queries",
    "wrong_answers": "fault: {reason}; {answers:,} answers are left out",
    "worker_paused": "fault: worker {worker} ({device}) was stopped by a signal",
    "coordinator_paused": "fault: the coordinator stood still for {paused_s:.1f} s",
    "host_lost": "fault: host {host} {reason}",
    "host_started_late": "fault: it started {late_s:time} after the others",
    "foreign_message": "fault: a message came from a process that was not started here",
    "short_turn": "a short turn of a comparison: {completed:,} queries, p{percentile:g} needs "
    "{needed:,}",
    "too_few_queries": "too few queries: {completed:,}, but p{percentile:g} needs {needed:,}; "
    "measure longer",
    # What the host did during a trial.
    "cpu_stolen": "a hypervisor took {steal_fraction:.0%} of {cores:cores} away",
    "host_busy": _host_busy,
    "host_busy_before": _host_busy_before,
    "memory_short": "memory was short: {major_faults:,} pages were read back from disk",
    "cpu_quota": "the CPU quota stopped the processes {quota_throttles:,} times, for "
    "{quota_throttled_s:time} of core time (throttling)",
    "cpu_hot": "the CPU was slowed down by heat {heat_throttles:,} times",
    "gpu_throttled": "GPU {gpu} was throttled at {throttled_looks} of {looks} looks: "
    "{throttled_by} (down to {lowest_clock_mhz} MHz, up to {highest_temperature_c} C)",
    "gpu_state": "GPU {gpu}: {temperature_c} C, {clock_mhz} MHz, {memory_used_gib:.1f} GiB used",
    "cpu_energy_unknown": "the energy of the CPU is not known: {why}",
    "gpu_energy_unknown": "the energy of the GPU is not known: {why}",
    # What an estimate rests on.
    "slower_after_idling": "a batch takes {change_fraction:+.0%} on a device that was idle before",
    "unlike_workers": "the slowest worker takes {ratio:.2f} times as long as the quickest",
    "unlike_hosts": "host {slowest} takes {ratio:.2f} times as long as host {quickest}, counted "
    "from 0; each gets as many queries, so the slowest decides",
    "trials_differ": "the machine changes: service times of the next trial are uncertain by "
    "{scatter_fraction:.1%}, more than their number explains",
    "model_corrected": "measured latencies differ by {difference_fraction:+.0%} from the queue "
    "model; corrected",
    "model_misfit": "the queue model does not fit: measured latencies differ from it by "
    "{difference_fraction:+.0%}; the interval counts that",
    "put_in_order": "put in order with the other limits, since a wider one cannot have a lower "
    "rate: its own estimate was {own_qps:.4g} qps",
    "one_line_model": "the queue model has one line for all workers, but --dispatch is "
    "round-robin: the capacity is too high",
    "workers_left": "measured on {workers} of {of} workers, as some keep failing",
    # What service times say about the device.
    "slowed_down": "the device slowed down while it was measured, by {change_per_s:.2%} a second",
    "sped_up": "the device sped up while it was measured, by {change_per_s:.2%} a second",
    "pauses": "the device stops for {pause_s:.3g} s every {gap_s:.3g} s, whatever it is doing",
    "stalls": "{slow:,} of {batches:,} batches took more than {times:g} times as long as the "
    "median (stalls)",
    "runs": "slow and fast batches come in runs of about {batches:.0f}",
    # Why a limit has no rate, or a doubtful one.
    "slower_trial_failed": "a slower trial, at {trial_qps:.4g} qps, did not meet the limit",
    "budget_spent": "no trial was run for it: the budget was spent before; raise --budget",
    "run_ended": "no trial was run for it: the run ended",
    "all_trials_invalid": _because("every trial was invalid"),
    "service_over_limit": "the service time's {percentile:g}th percentile, {service_s:time}, is "
    "already over {max_latency_s:time}",
    "trials_too_short": "at the {qps:.3g} qps that seem possible the {percentile:g}th percentile "
    "takes a trial of {needed_s:.0f} s; raise --time",
    "slow_trial_failed": _because("not even a slow trial met the limit"),
    "rates_above_estimate": "the rates that trials met are above what the estimate supports",
    "no_trial_met": "no trial met the limit",
    "no_trial_met_in_budget": "no trial met the limit before the budget was spent",
    # About a comparison of results.
    "no_capacity": "nothing is known of one side: {why}",
    "limit_unmet_by_a": "A meets the limit at no rate, B does",
    "limit_unmet_by_b": "B meets the limit at no rate, A does",
    "limit_unmet_by_both": "neither meets the limit at any rate",
    "limit_may_be_unmet": "it is not certain whether both meet the limit at some rate",
    "few_common_rounds": "only {rounds} rounds of the sweep in common: compared as if they "
    "were measured apart",
    "not_the_same": "{b} {how} than {a}",
    "measured_apart": _measured_apart,
    # About a whole run.
    "trials_too_short_for_some": "the device is so slow that trials are too short to tell the "
    "percentile for {unanswered} of {answers} answers: they take --time {needed_time_s} "
    "--budget {needed_budget_s}; the others are answered",
    "accuracy_skipped": "accuracy skipped: {why}",
    "labels_beyond_answers": "{items:,} labels, up to {label}, are above all answers of the model, "
    "up to {answer}: they may belong to another model, or be numbered otherwise",
    "labels_off_by_one": "{right_fraction:.1%} of the answers are right, but {other_fraction:.1%} "
    "would be with --label-offset {label_offset}: the model or the labels number classes "
    "otherwise",
    "worker_restarted": "{worker} is started again ({restart} of {most}): {cause}",
    "worker_left_out": "{reason}; the run goes on with the {workers} workers left",
    "synthetic_model": "this is not a trained model: {description}",
    "quota_below_cores": "this control group's CPU quota is {quota_cores:.3g} of {cores} cores: by "
    "default workers have no more threads than that together",
    "layout": _layout,
    "cluster": "cluster: {workers} workers on {hosts} hosts ({names}); clocks are known to "
    "{clock_error_s:time}, which matters for the common start alone",
    "generator": "generator: adds {lag_p50_s:us} to a query (median), {lag_p99_s:us} (99th "
    "percentile) at {lag_qps:,.0f} qps; holds {held_qps:,.0f} qps within {max_latency_s:time} "
    "against a no-op",
}
"""For each code its sentence, with the figures' names in braces."""


def sentence(finding: Finding) -> str:
    """Return a finding in words; what a model or a worker said cannot steer a terminal."""
    words = SENTENCES[finding.code]
    text = _fill(words, finding.figures) if isinstance(words, str) else words(finding.figures)
    host = finding.figures.get("host")
    if host is not None and str(host) not in text:
        text = f"host {host}: {text}"
    return printable(text)


def sentences(findings: Iterable[Finding]) -> list[str]:
    """Return findings in words, one by one."""
    return [sentence(finding) for finding in findings]


def accuracy_sentence(accuracy: Accuracy) -> str:
    """Return an accuracy with its interval, and how its target stands to that."""
    low, high = accuracy.ci95
    interval = f"accuracy {accuracy.percent:.2f} %, 95 % interval {low:.2f} to {high:.2f} %"
    if accuracy.target is None:
        return interval
    target = f"target {accuracy.target:.2f} %"
    if accuracy.target_met is not None:
        return f"{interval}; {target} {'met' if accuracy.target_met else 'not met'}"
    inside = "lies in it" if low <= accuracy.target <= high else "lies outside it"
    return (
        f"{interval}; {target} {inside} ({accuracy.total_items} items cannot decide it, only the "
        "whole set can)"
    )
