"""The toy problems by name, the settings of a simulation, and the description that every engine reads.

A problem is an SDE, solved by Euler–Maruyama, or a recursion of SGD, computed as it stands.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import Field, model_validator

from ..config import ConstantSchedule, Count, Positive, PositiveReal, ScheduleSettings, Settings, Written, read_settings
from ..errors import InputError
from ..schedule import learning_rate
from .arrays import Array
from .grids import Grid, PositiveGrid, StepGrid
from .sde import QuarticWellSettings, SingleNeuronSettings
from .students import StudentsSettings
from .teacher_student import TeacherStudentGeneralSettings, TeacherStudentSettings
from .two_neurons import TwoNeuronsSettings


@dataclass(frozen=True)
class Activation:
    """An activation function φ with φ(0) = 0, as far as Python needs to know it: for pictures and the torch engine."""

    function: Callable[[Array], Array]
    slope: float
    """φ'(0)."""


ACTIVATIONS = {"tanh": Activation(np.tanh, 1.0)}
"""By the names that a spec uses. Julia knows more if its users add more."""


# --- settings -------------------------------------------------------------------------------------------------------

SDEProblem = SingleNeuronSettings | QuarticWellSettings
SGDProblem = TeacherStudentSettings | TeacherStudentGeneralSettings | TwoNeuronsSettings | StudentsSettings


class ToyConfig(Settings):
    """What the settings of all toy simulations have: a problem, a grid of noise levels, an ensemble of trajectories."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    """Name of the experiment: letters, digits, '.', '_' and '-'; the first part of the run directory's name."""
    seed: Count = 1
    """Of the data and of all trajectories."""
    problem: Annotated[SDEProblem | SGDProblem, Field(discriminator="name")]
    """What is simulated; its name may be left to the command line."""
    noise: Grid
    """Noise levels, one number or more, of the meaning that the problem gives them. Numbers, and ranges {start, stop,
    count} with both ends."""
    trajectories: Positive
    """Trajectories of each noise level."""
    snapshots: StepGrid
    """Steps after which the states are kept, increasing; the last ends the run. Written as `noise` is."""

    @model_validator(mode="after")
    def _increasing(self) -> ToyConfig:
        for a, b in zip(self.snapshots, self.snapshots[1:], strict=False):
            if a >= b:
                raise ValueError(f"snapshots must increase, found {a} before {b}")
        return self

    def notes(self) -> list[str]:
        """A line about each setting that has no effect, though it was meant to."""
        return []


class SDEConfig(ToyConfig):
    """All settings of an ensemble of solutions of a stochastic differential equation."""

    problem: Annotated[SDEProblem, Field(discriminator="name")]
    """The equation; its name may be left to the command line."""
    method: Literal["auto", "tabulated", "direct"] = "auto"
    """How a step is computed; auto: tabulated for the single neuron, if its activation is odd or even,
    direct for the well."""
    dt: PositiveReal
    """Time step of Euler–Maruyama."""

    @model_validator(mode="after")
    def _method_exists(self) -> SDEConfig:
        if self.method == "tabulated" and isinstance(self.problem, QuarticWellSettings):
            raise ValueError("method: tabulated is for the single neuron; the quartic well needs no table")
        return self


class SGDConfig(ToyConfig):
    """All settings of an ensemble of runs of SGD, `trajectories` of them with random numbers of their own."""

    problem: Annotated[SGDProblem, Field(discriminator="name")]
    """The model that SGD trains; its name may be left to the command line."""
    lr: PositiveGrid
    """Learning rate after warm-up: one number, or one for each noise level. One noise level is repeated likewise."""
    schedule: ScheduleSettings = ConstantSchedule(name="constant")
    """Over the steps up to the last snapshot."""

    def notes(self) -> list[str]:
        steps, milestones = self.snapshots[-1], getattr(self.schedule, "milestones", ())
        late = [milestone for milestone in milestones if milestone >= steps]
        return [f"the rate does not drop at step {late[0]}, since the run ends at step {steps}"] if late else []

    @model_validator(mode="after")
    def _levels_match(self) -> SGDConfig:
        rates, levels = len(self.lr), len(self.noise)
        if rates != levels and min(rates, levels) > 1:
            raise ValueError(f"lr: expected one number, or as many as noise has ({levels}), found {rates}")
        return self

    @model_validator(mode="after")
    def _teachers_share(self) -> SGDConfig:
        if isinstance(self.problem, StudentsSettings) and self.trajectories % self.problem.teachers:
            raise ValueError(
                f"trajectories: {self.trajectories} students cannot be shared out evenly among "
                f"{self.problem.teachers} teachers; expected a multiple"
            )
        return self

    @model_validator(mode="after")
    def _batches_exist(self) -> SGDConfig:
        if isinstance(self.problem, TeacherStudentGeneralSettings):
            for size in self.noise:
                if size not in range(1, self.problem.points + 1):
                    raise ValueError(f"noise: mini-batch sizes are whole numbers from 1 to points, found {size:g}")
        return self


def _names(union: Any) -> list[str]:
    return [name for kind in get_args(union) for name in get_args(kind.model_fields["name"].annotation)]


KINDS: dict[str, type[ToyConfig]] = {
    **dict.fromkeys(_names(SDEProblem), SDEConfig),
    **dict.fromkeys(_names(SGDProblem), SGDConfig),
}
"""The kind of settings that a problem has, by its name."""

PROBLEMS = tuple(KINDS)
SGD_PROBLEMS = tuple(name for name, kind in KINDS.items() if kind is SGDConfig)


def load_toys(
    file: str | Path | None, overrides: Sequence[str] = (), problem: str | Sequence[str] | None = None
) -> list[ToyConfig]:
    """The simulations that a YAML file and overrides describe; `file` as for `load_config`.

    A file describes one simulation, or under `ensembles` several, by name, which share the settings beside it and may
    add to the problem's; the simulation's name is then that of the file and that of the ensemble, joined by a dash.
    `problem` is the name of the problem, for a file that leaves it out; it must agree with one that does not. Of
    several names the file's must be one, and the first is for a file without. Raises `InputError` with one line per
    mistake.
    """
    wanted = [problem] if isinstance(problem, str) else list(problem or ())
    for name in wanted:
        if name not in PROBLEMS:
            raise InputError(f"problem: expected one of {', '.join(PROBLEMS)}, found {name!r}")
    written = read_settings(file, overrides)
    shared = dict(written.values)
    settings = shared.get("problem", {})
    if not isinstance(settings, dict):
        such = wanted[0] if wanted else PROBLEMS[0]
        place = written.place(["problem"])
        raise InputError(f"{place}problem: expected settings such as problem.name={such}, found {settings!r}")
    name = _name(settings, wanted, written.place(["problem", "name"]))
    shared["problem"], kind = {**settings, "name": name}, KINDS[name]
    if "ensembles" not in shared:
        return [written.check(kind, shared)]
    ensembles = shared.pop("ensembles")
    if not isinstance(ensembles, dict) or not ensembles or not all(isinstance(e, dict) for e in ensembles.values()):
        raise InputError(f"{written.place(['ensembles'])}ensembles: expected names, each with settings below it")
    configs = []
    for name, settings in ensembles.items():
        homes: dict[str, Sequence[str]] = {}
        values = _merged(shared, settings, written, str(name), homes)
        if isinstance(shared.get("name"), str):
            values["name"] = f"{shared['name']}-{name}"
        configs.append(written.check(kind, values, homes))
    return configs


def _merged(
    shared: dict[str, Any],
    own: dict[str, Any],
    written: Written,
    ensemble: str,
    homes: dict[str, Sequence[str]],
    keys: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The settings below `keys` that all ensembles share, and an ensemble's own; those in neither twice.

    `homes` gets the dotted keys of the ensemble's own settings.
    """
    values = dict(shared)
    for key, value in own.items():
        place = (*keys, str(key))
        if isinstance(value, dict) and isinstance(shared.get(key), dict):
            values[key] = _merged(shared[key], value, written, ensemble, homes, place)
            continue
        dotted = ".".join(place)
        if key in shared:
            raise InputError(
                f"{written.place(place)}{dotted}: set for ensemble {ensemble!r} too; "
                f"write it once, as {dotted} or as ensembles.{ensemble}.{dotted}"
            )
        values[key] = value
        homes[dotted] = ("ensembles", ensemble)
    return values


def _name(settings: dict[str, Any], wanted: Sequence[str], place: str) -> str:
    """The name of the problem with these settings."""
    if "name" not in settings and wanted:
        return wanted[0]
    name = settings.get("name")
    if name is None:
        raise InputError(f"{place}problem.name: missing; expected one of {', '.join(PROBLEMS)}")
    if name not in PROBLEMS:
        near = difflib.get_close_matches(str(name), PROBLEMS, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"{place}problem.name: expected one of {', '.join(PROBLEMS)}, found {name!r}{hint}")
    if wanted and name not in wanted:
        asked = " or ".join(map(repr, wanted))
        raise InputError(f"{place}problem.name: is {name!r}, but {asked} was asked for")
    return str(name)


# --- what the engines get -------------------------------------------------------------------------------------------


def spec_of(config: ToyConfig) -> dict[str, Any]:
    """The content of spec.toml: everything an engine needs to know, beside the data.

    An SDE has a time step `dt`, a recursion of SGD the learning rates `lr` after warm-up, one for each noise level.
    """
    levels = list(config.noise)
    if isinstance(config, SDEConfig):
        problem = config.problem
        tabulated = isinstance(problem, SingleNeuronSettings) and problem.activation not in ("gelu", "relu")
        method = config.method if config.method != "auto" else "tabulated" if tabulated else "direct"
        step: dict[str, Any] = {"dt": config.dt}
    else:
        assert isinstance(config, SGDConfig)
        method, count = "direct", max(len(config.lr), len(levels))
        step = {"lr": list(config.lr) * (count // len(config.lr))}
        levels *= count // len(levels)
    return {
        "format": 1,
        "problem": config.problem.name,
        "method": method,
        "seed": config.seed,
        **step,
        "trajectories": config.trajectories,
        "noise": levels,
        "snapshots": list(config.snapshots),
        "parameters": config.problem.parameters(),
    }


def data_of(config: ToyConfig) -> dict[str, Array]:
    """The problem's data by name; of a recursion of SGD also rate (steps,), what `lr` is multiplied by at a step."""
    data = config.problem.data(config.seed)
    if isinstance(config.problem, StudentsSettings):
        data["start"] = config.problem.start(config.seed, config.trajectories)
    if isinstance(config, SGDConfig):
        steps = config.snapshots[-1]
        data["rate"] = np.array([learning_rate(config.schedule, 1.0, step, steps) for step in range(steps)])
    return data


def toy_identity(config: ToyConfig) -> str:
    """First 12 hexadecimal digits of the SHA-256 of everything that the result depends on."""
    content: dict[str, Any] = {"spec": spec_of(config)}
    if isinstance(config.problem, SingleNeuronSettings):
        content["data"] = {"points": config.problem.points, "target_noise": config.problem.target_noise}
    if isinstance(config, SGDConfig):
        content["data"] = config.model_dump(mode="json", include={"problem", "schedule"})
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
