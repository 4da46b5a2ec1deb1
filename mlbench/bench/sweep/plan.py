"""From a sweep's YAML file to its configurations. Pure, but for reading the file.

    base, grid, include, exclude --> options of each configuration --> validated settings

Everything that can be wrong with the file is found here, before anything is measured.
"""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mlbench.bench.settings import RunSettings, make_settings
from mlbench.contracts.backend import nearest
from mlbench.contracts.errors import RequestError
from mlbench.contracts.text import shown

Options = Mapping[str, Any]
Keep = Literal["all", "best"]

RESULTS = "results.json"
"""What the file of each configuration is called in its folder."""

_SECTIONS = ("base", "grid", "include", "exclude", "keep")
_MOST_BYTES = 1 << 20  # a hundred times the longest file that a person writes
_MOST_CONFIGURATIONS = 10_000  # at a minute each, a week
_LONGEST_NAME = 100  # of the 255 bytes that file systems allow, so that paths stay short

_FIELDS = {
    "device": "devices",
    "backend_option": "backend_options",
    "batch_timeout": "batch_timeout_s",
}
"""Options whose setting has another name."""
_SWEEPS_OWN = ("output", "seed")  # each configuration has its file; all share the sweep's seed
_LISTS = ("devices", "max_latency", "arrivals", "inputs", "outputs")
_NO_IDENTITY = ("output", "seed", "budget", "precision", "time", "start_timeout", "on_failure")
"""Settings that say how long and where to measure, not what: with others, trials are still good."""


@dataclass(frozen=True)
class Configuration:
    """One configuration: its options as the file has them, and the settings that they make.

    `choices`: those options that tell it from the others of the sweep; they make its `name`, which
    is safe as the name of a folder.
    """

    name: str
    choices: Options
    options: Options
    settings: RunSettings

    @property
    def identity(self) -> dict[str, Any]:
        """What its trials are trials of, as JSON: they are still good while this is the same."""
        values = self.settings.model_dump(mode="json")
        return {key: value for key, value in values.items() if key not in _NO_IDENTITY}

    def with_seed(self, seed: int) -> "Configuration":
        """Return the same with another seed."""
        return replace(self, settings=self.settings.model_copy(update={"seed": seed}))


@dataclass(frozen=True)
class Pace:
    """In how many `rounds` a budget is spent; the others are those of `SearchPlan`."""

    rounds: int
    growth: float = 1.0
    short_turns: bool = False


USUAL_PACE = Pace(rounds=12)
"""So that eleven degrees of freedom are left to the scatter of a ratio from round to round:
Student's interval is then 12 % wider than with the scatter known."""


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep is asked for. `content`: that of the file. `keep` is best for a race."""

    configurations: Sequence[Configuration]
    content: Mapping[str, Any]
    keep: Keep = "all"
    seed: int | None = None
    pace: Pace = USUAL_PACE

    @property
    def budget_s(self) -> float:
        """The measured seconds of all configurations together, at most."""
        return sum(one.settings.budget for one in self.configurations)


def read_file(path: Path) -> Mapping[str, Any]:
    """Return the content of a YAML file; raises RequestError when it cannot be read."""
    import yaml  # only sweeps need it

    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise RequestError(f"{path}: more than {_MOST_BYTES >> 20} MiB: this is no sweep")
        content = yaml.safe_load(text)
        json.dumps(content)  # no dates, no sets, nothing that contains itself
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise RequestError(f"{path}: {_yaml_fault(error)}") from None
    if not isinstance(content, dict):
        raise RequestError(f"{path}: expected sections such as base: and grid:")
    return content


def _yaml_fault(error: Exception) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None:
        return f"not the YAML of a sweep ({shown(str(error).splitlines()[0])})"
    return f"line {mark.line + 1}: {problem or 'not YAML'}"


def make_plan(
    content: Mapping[str, Any], folder: Path, environment: Mapping[str, str]
) -> SweepPlan:
    """Return the plan of a file's content; results go to a folder of each name in `folder`.

    Raises RequestError, one line that names the section, for whatever is wrong.
    """
    for section in content:
        if section not in _SECTIONS:
            near = nearest(str(section), list(_SECTIONS))
            raise RequestError(
                f"unknown section '{shown(str(section))}'{near}; there are: {', '.join(_SECTIONS)}"
            )
    keep = content.get("keep", "all")
    if keep not in ("all", "best"):
        raise RequestError(f"keep {shown(str(keep))}: expected all or best")
    base = dict(_mapping(content.get("base"), "base"))
    seed = base.pop("seed", None)
    _check_names(base, "base")
    choices = _choices(content)
    made: dict[str, Configuration] = {}
    for own in choices:
        name = _free_name(own, made)
        options = {**base, **own}
        output = folder / name / RESULTS
        settings = make_run_settings(options, {"output": output}, environment, _named(own))
        made[name] = Configuration(name, own, options, settings)
    return SweepPlan(tuple(made.values()), content, keep, _checked_seed(seed))


def make_run_settings(
    options: Options, more: Mapping[str, Any], environment: Mapping[str, str], where: str
) -> RunSettings:
    """Return the settings that a configuration's options make, with more of their own."""
    given = {_FIELDS.get(name, name): value for name, value in options.items()}
    given = {name: _as_setting(name, value) for name, value in given.items()}
    try:
        return make_settings(RunSettings, {**given, **more}, environment)
    except RequestError as error:
        raise RequestError(f"{where}: {error}") from None


def _checked_seed(seed: Any) -> int | None:
    if seed is None or (isinstance(seed, int) and 0 <= seed < 2**63):
        return seed
    raise RequestError(f"base: seed {shown(str(seed))}: expected a whole number from 0 on")


def _as_setting(name: str, value: Any) -> Any:
    """Return an option's value as settings take it: one of a list may stand for the list."""
    if name in _LISTS:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(","))
        return tuple(value) if isinstance(value, list) else (value,)
    if isinstance(value, dict):
        return {key: _text(one) for key, one in value.items()}
    return value


def _choices(content: Mapping[str, Any]) -> list[Options]:
    """Return the options of each configuration beyond the base, each combination once."""
    grid = {
        name: values if isinstance(values, list) else [values]
        for name, values in _mapping(content.get("grid"), "grid").items()
    }
    _check_names(grid, "grid")
    for name, values in grid.items():
        if not values:
            raise RequestError(f"grid: {name} has no values")
    if math.prod(len(values) for values in grid.values()) > _MOST_CONFIGURATIONS:
        raise RequestError(f"grid: more than {_MOST_CONFIGURATIONS:,} combinations")
    further, excluded = (_mappings(content.get(name), name) for name in ("include", "exclude"))
    combined = [dict(zip(grid, one, strict=True)) for one in itertools.product(*grid.values())]
    if not grid and further:
        combined = []
    kept = [one for one in combined if not any(_matches(one, out) for out in excluded)]
    unique: list[Options] = []
    for one in (*kept, *further):
        if one not in unique:
            unique.append(one)
    if not unique:
        raise RequestError("nothing to measure: exclude leaves no configuration")
    return unique


def _matches(options: Options, pattern: Options) -> bool:
    return all(name in options and options[name] == value for name, value in pattern.items())


def _mapping(value: Any, section: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise RequestError(f"{section}: expected options such as batch_size: ...")
    return value


def _mappings(value: Any, section: str) -> list[Options]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise RequestError(f"{section}: expected a list such as [{{batch_size: 16}}]")
    found = [_mapping(one, section) for one in value]
    for one in found:
        if not one:
            raise RequestError(f"{section}: an entry without options")
        _check_names(one, section)
    return found


def _check_names(options: Iterable[str], section: str) -> None:
    known = [name for name in _option_names() if name not in _SWEEPS_OWN]
    for name in options:
        if name in _SWEEPS_OWN:
            raise RequestError(f"{section}: {name} is the sweep's own")
        if name not in known:
            near = nearest(name, known)
            raise RequestError(f"{section}: no option '{shown(name)}' of run{near}")


def _option_names() -> list[str]:
    settings = {field: option for option, field in _FIELDS.items()}
    return [settings.get(name, name) for name in RunSettings.model_fields]


def _free_name(choices: Options, taken: Mapping[str, object]) -> str:
    """Return the name of a configuration, which no other has although letters were replaced."""
    text = _named(choices)
    name = re.sub(r"[^A-Za-z0-9_.,=+:-]", "_", text)
    digest = hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()[:8]
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}-{digest}"
    return f"{name}-{digest}" if name in taken else name


def _named(choices: Options) -> str:
    return ",".join(f"{name}={_text(value)}" for name, value in choices.items()) or "base"


def _text(value: Any) -> str:
    """Return a value as names and backends have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "+".join(_text(one) for one in value)
    if isinstance(value, dict):
        return "+".join(f"{key}={_text(one)}" for key, one in value.items())
    return str(value)
