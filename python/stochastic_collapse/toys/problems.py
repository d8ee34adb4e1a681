"""The toy problems: their settings, their data, and the description that every engine reads (DESIGN §3, §5)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from ..config import Count, NonNegative, Positive, Settings, read_settings
from ..errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Activation:
    """An activation function φ with φ(0) = 0, as far as Python needs to know it: for pictures and the torch engine."""

    function: Callable[[Array], Array]
    slope: float
    """φ'(0)."""


ACTIVATIONS = {"tanh": Activation(np.tanh, 1.0)}
"""By the names that a spec uses. Julia knows more if its users add more."""


# --- settings -------------------------------------------------------------------------------------------------------


class SingleNeuronSettings(Settings):
    """ŷ = w2 φ(w1 x) trained with gradient noise; the noise level is η (Figure 2)."""

    name: Literal["single-neuron"]
    activation: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")] = "tanh"
    """tanh, or one that was added to the Julia package."""
    zeta: NonNegative = 1.0
    """Standard deviation of the label noise."""
    init_std: NonNegative = 0.001
    """Standard deviation of w1 and w2 at the start."""
    points: Positive = 32
    """Number m of data points, x ~ N(0, 1)."""
    target_noise: NonNegative = 0.1
    """Targets are y = x + target_noise·N(0, 1)."""


class QuarticWellSettings(Settings):
    """dθ = −(θ³ − μθ) dt + ζ θ dB; the noise level is ζ (Figure 1)."""

    name: Literal["quartic-well"]
    mu: Annotated[float, Field(gt=0)] = 1.5
    """Curvature of the well: its minima are at ±√μ."""
    init_std: NonNegative = 2.0
    """Standard deviation of θ at the start."""


ProblemSettings = Annotated[SingleNeuronSettings | QuarticWellSettings, Field(discriminator="name")]
PROBLEMS = ("single-neuron", "quartic-well")

_RANGE = {"start", "stop", "count"}
_GRID_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"start": {"type": "number"}, "stop": {"type": "number"}, "count": {"type": "integer", "minimum": 1}},
    "required": sorted(_RANGE),
    "additionalProperties": False,
}
_GRID_SCHEMA = {
    "anyOf": [
        {"type": "number"},
        _GRID_SCHEMA,
        {"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "number"}, _GRID_SCHEMA]}},
    ]
}


def _grid(value: Any) -> tuple[Any, ...]:
    """Numbers, and ranges {start, stop, count} with both ends, as numbers."""
    numbers: list[Any] = []
    for part in _parts(value):
        if isinstance(part, Mapping):
            numbers.extend(_range(part))
        elif isinstance(part, int | float) and not isinstance(part, bool):
            numbers.append(part)
        else:
            raise ValueError(f"expected numbers or ranges such as {{start: 0, stop: 1, count: 5}}, found {part!r}")
    if not numbers:
        raise ValueError("expected one number or more")
    return tuple(numbers)


def _step_grid(value: Any) -> tuple[Any, ...]:
    """The same for numbers of steps; a range gives the nearest whole numbers."""
    whole: list[Any] = []
    for part in _parts(value):
        whole.extend(map(round, _range(part)) if isinstance(part, Mapping) else [part])
    return _grid(whole)


def _parts(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _range(part: Mapping[Any, Any]) -> list[float]:
    if set(part) != _RANGE:
        raise ValueError(f"a range has the keys start, stop and count, found {', '.join(map(str, part)) or 'none'}")
    if any(isinstance(n, bool) or not isinstance(n, int | float) or not math.isfinite(n) for n in part.values()):
        raise ValueError(f"start, stop and count of a range are finite numbers, found {dict(part)}")
    if not isinstance(part["count"], int) or part["count"] < 1:
        raise ValueError(f"count of a range is an integer of 1 or more, found {part['count']!r}")
    return np.linspace(part["start"], part["stop"], part["count"]).tolist()


class ToyConfig(Settings):
    """All settings of one toy simulation: a problem, a grid of noise levels, an ensemble of trajectories."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    """Name of the experiment: letters, digits, '.', '_' and '-'; the first part of the run directory's name."""
    seed: Count = 1
    problem: ProblemSettings
    method: Literal["auto", "tabulated", "direct"] = "auto"
    """How a step is computed (DESIGN §5); auto: tabulated for the single neuron, direct for the well."""
    dt: Annotated[float, Field(gt=0)]
    """Time step of Euler–Maruyama."""
    noise: Annotated[tuple[NonNegative, ...], BeforeValidator(_grid), WithJsonSchema(_GRID_SCHEMA)]
    """Noise levels: η of the single neuron, ζ of the well. Numbers, and ranges {start, stop, count} with both ends."""
    trajectories: Positive
    """Trajectories of each noise level."""
    snapshots: Annotated[tuple[Count, ...], BeforeValidator(_step_grid), WithJsonSchema(_GRID_SCHEMA)]
    """Steps after which the states are kept, increasing; the last ends the run. Written as `noise` is."""

    @model_validator(mode="after")
    def _increasing(self) -> ToyConfig:
        for a, b in zip(self.snapshots, self.snapshots[1:], strict=False):
            if a >= b:
                raise ValueError(f"snapshots must increase, found {a} before {b}")
        return self

    @model_validator(mode="after")
    def _method_exists(self) -> ToyConfig:
        if self.method == "tabulated" and isinstance(self.problem, QuarticWellSettings):
            raise ValueError("method: tabulated is for the single neuron; the quartic well needs no table")
        return self


def load_toys(file: str | Path | None, overrides: Sequence[str] = (), problem: str | None = None) -> list[ToyConfig]:
    """The simulations that a YAML file and overrides describe; `file` as for `load_config`.

    A file describes one simulation, or under `ensembles` several, by name, which share the settings beside it; the
    simulation's name is then that of the file and that of the ensemble, joined by a dash. `problem` is the name of
    the problem, for a file that leaves it out; it must agree with one that does not. Raises `InputError` with one
    line per mistake.
    """
    if problem is not None and problem not in PROBLEMS:
        raise InputError(f"problem: expected one of {', '.join(PROBLEMS)}, found {problem!r}")
    written = read_settings(file, overrides)
    shared = dict(written.values)
    shared["problem"] = _named(shared.get("problem", {}), problem, written.place(["problem", "name"]))
    if "ensembles" not in shared:
        return [written.check(ToyConfig, shared)]
    ensembles = shared.pop("ensembles")
    if not isinstance(ensembles, dict) or not ensembles or not all(isinstance(e, dict) for e in ensembles.values()):
        raise InputError(f"{written.place(['ensembles'])}ensembles: expected names, each with settings below it")
    configs = []
    for name, settings in ensembles.items():
        if twice := sorted(set(settings) & set(shared)):
            raise InputError(
                f"{written.place([twice[0]])}{twice[0]}: set for ensemble {name!r} too; "
                f"write it once, as {twice[0]} or as ensembles.{name}.{twice[0]}"
            )
        homes = {key: ("ensembles", str(name)) for key in settings}
        values = {**shared, **settings}
        if isinstance(shared.get("name"), str):
            values["name"] = f"{shared['name']}-{name}"
        configs.append(written.check(ToyConfig, values, homes))
    return configs


def _named(settings: Any, problem: str | None, place: str) -> Any:
    """`settings` of the problem, with its name."""
    if problem is None or not isinstance(settings, dict):
        return settings
    there = settings.get("name", problem)
    if there != problem:
        raise InputError(f"{place}problem.name: is {there!r}, but {problem!r} was asked for")
    return {**settings, "name": problem}


# --- what the engines get -------------------------------------------------------------------------------------------


def spec_of(config: ToyConfig) -> dict[str, Any]:
    """The content of spec.toml: everything an engine needs to know, beside the data."""
    problem = config.problem
    neuron = isinstance(problem, SingleNeuronSettings)
    method = config.method if config.method != "auto" else "tabulated" if neuron else "direct"
    parameters = problem.model_dump(exclude={"name", "points", "target_noise"})
    return {
        "format": 1,
        "problem": problem.name,
        "method": method,
        "seed": config.seed,
        "dt": config.dt,
        "trajectories": config.trajectories,
        "noise": list(config.noise),
        "snapshots": list(config.snapshots),
        "parameters": parameters,
    }


def data_of(config: ToyConfig) -> dict[str, Array]:
    """The problem's data by name: x and y, each (m,), of the single neuron; none of the well."""
    problem = config.problem
    if not isinstance(problem, SingleNeuronSettings):
        return {}
    x, noise = np.random.default_rng(config.seed).standard_normal((2, problem.points))
    return {"x": x, "y": x + problem.target_noise * noise}


def toy_identity(config: ToyConfig) -> str:
    """First 12 hexadecimal digits of the SHA-256 of everything that the result depends on."""
    content: dict[str, Any] = {"spec": spec_of(config)}
    if isinstance(config.problem, SingleNeuronSettings):
        content["data"] = {"points": config.problem.points, "target_noise": config.problem.target_noise}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
