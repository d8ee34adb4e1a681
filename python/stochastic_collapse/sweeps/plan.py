"""From a sweep's file to the runs that it asks for (`sc sweep --dry-run` shows them).

A sweep is one or several experiments. Each takes the settings of a base file, changes some for all of its runs, and
varies others: `grid` over all combinations, `zip` over lists in step. Its runs are plain training runs, found by
their settings, wherever and by whomever they were trained.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from ..config import Positive, Settings, TrainConfig, load_config, read_settings
from ..errors import InputError
from ..origin import planned
from ..provenance import located
from ..runs import RunDirectory, runs_root
from .controls import Controls, twins

Values = Annotated[tuple[Any, ...], Field(min_length=1)]


class ExperimentSettings(Settings):
    """One experiment of a sweep; all keys are those of a training run's settings, dotted (optimizer.lr)."""

    base: str
    """Settings file: a path, a file beside the sweep's, or a shipped configuration's."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Changes for all runs."""
    grid: dict[str, Values] = Field(default_factory=dict)
    """Values of each setting; all combinations are trained."""
    zipped: dict[str, Values] = Field(default_factory=dict, alias="zip")
    """Values of settings that vary together: lists of one length."""
    origin: Annotated[str | None, Field(alias="from")] = None
    """Fine-tuning: an experiment before this one; replicate k starts from its replicate k at from.step."""
    controls: Controls = ()
    """Twins of each run, trained beside it as experiments `<name>:<control>`; all: those that make sense for it."""

    @model_validator(mode="after")
    def _one_length(self) -> ExperimentSettings:
        lengths = {len(values) for values in self.zipped.values()}
        if len(lengths) > 1:
            raise ValueError(f"zip needs lists of one length, found {', '.join(map(str, sorted(lengths)))}")
        keys = [*self.settings, *self.grid, *self.zipped]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"{key} stands in more than one of settings, grid and zip")
            if key == "replicate":
                raise ValueError("replicate is the sweep's to set; say how many beside experiments (replicates: 4)")
            if key == "from.run" and self.origin is not None:
                raise ValueError("from.run follows from `from`; leave it out")
        return self


class SweepSettings(Settings):
    """What a sweep's file says, one size of it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    """Name of the sweep: letters, digits, '.', '_' and '-'."""
    replicates: Positive = 1
    """Repetitions of each run with other seeds."""
    experiments: Annotated[dict[str, ExperimentSettings], Field(min_length=1)]
    """The experiments by name."""


@dataclass(frozen=True)
class PlannedRun:
    """A run that a sweep asks for."""

    experiment: str
    varied: Mapping[str, Any]
    """Values of the settings that its experiment varies, by their dotted names."""
    config: TrainConfig
    base: str
    overrides: tuple[str, ...]
    """What makes `base` the settings of this run, as on the command line."""
    origin: RunDirectory | None
    """The sweep's run that has to be finished before."""
    place: RunDirectory | None = None
    """Where it lies, finished, if that is not where its settings say."""

    @cached_property
    def directory(self) -> RunDirectory:
        return self.place or RunDirectory.of(self.config)

    @property
    def experiment_path(self) -> Path:
        """The directory that holds the run's replicates."""
        return self.directory.path.parent.resolve()

    @property
    def command(self) -> str:
        """The command that trains this run alone."""
        verb = "train" if self.config.origin is None else "finetune"
        return shlex.join(["sc", verb, "-f", self.base, *self.overrides, f"replicate={self.config.replicate}"])

    @property
    def title(self) -> str:
        """Short name: the experiment, what it varies, and the replicate."""
        values = [f"{key.rpartition('.')[2]} {value}" for key, value in self.varied.items()]
        return " ".join([self.experiment, *values, f"#{self.config.replicate}"])


@dataclass(frozen=True)
class Sweep:
    """All runs of a sweep, an experiment's origin before it."""

    name: str
    """With the size, and a hash where overrides made other runs of it."""
    runs: tuple[PlannedRun, ...]
    grows: bool = False
    """Whether its record and its table keep the runs of earlier calls that are none of these."""

    @property
    def directory(self) -> Path:
        """Where its results lie, ``$SC_RUNS/sweeps/<name>-<size>``; the runs are in their own directories."""
        return runs_root() / "sweeps" / self.name

    @property
    def identity(self) -> str:
        """First 6 hexadecimal digits of the SHA-256 of the names of its runs' directories."""
        names = ["/".join(run.directory.path.parts[-2:]) for run in self.runs]
        return hashlib.sha256("\n".join(names).encode()).hexdigest()[:6]

    def together(self) -> list[tuple[PlannedRun, ...]]:
        """The runs in portions of which each is one process's work: replicates where they train as one program."""
        portions: dict[Path, list[PlannedRun]] = {}
        for path, run in {run.directory.path: run for run in self.runs}.items():  # two experiments may share a run
            portions.setdefault(path.parent if run.config.stackable else path, []).append(run)
        return [tuple(portion) for portion in portions.values()]


def load_sweep(
    file: str | Path, size: str | None = None, overrides: Sequence[str] = (), *, replicates: int | None = None
) -> Sweep:
    """The sweep in a YAML file.

    `size` is one of the file's `sizes` (default: the first), whose keys replace those beside `sizes`. `overrides` such
    as ``"device=cpu"`` hold for all runs, `replicates` replaces the file's; where they make other runs of it, the sweep
    has another name, so that its results do not replace the file's. Raises `InputError` with a line per
    mistake, also for mistakes in the settings of a run, which are all made here.
    """
    written = read_settings(file)
    values = dict(written.values)
    sizes = values.pop("sizes", {})
    if not isinstance(sizes, Mapping) or not all(
        isinstance(name, str) and isinstance(part, Mapping) for name, part in sizes.items()
    ):
        raise InputError(f"{written.place(['sizes'])}sizes: expected a name for each size, and its settings below")
    if sizes:
        size = size or next(iter(sizes))
    if size is not None and size not in sizes:
        raise InputError(f"{written.path}: no size {size!r}; it has {', '.join(sizes) or 'no sizes'}")
    of_size = sizes[size] if size is not None else {}
    settings = written.check(SweepSettings, {**values, **of_size}, {key: ("sizes", str(size), key) for key in of_size})
    name = "-".join(filter(None, (settings.name, size)))
    changed = settings.model_copy(update={"replicates": replicates or settings.replicates})
    sweep = Sweep(name, tuple(_all_runs(changed, written.path, overrides)))
    if (overrides or replicates is not None) and sweep.identity != _identity_without(settings, written.path):
        sweep = Sweep(f"{name}-{sweep.identity}", sweep.runs)
    return sweep


def _identity_without(settings: SweepSettings, file: Path | None) -> str | None:
    """Identity of the file's sweep as it stands; None where it needs the overrides to be one."""
    try:
        return Sweep("", tuple(_all_runs(settings, file, ()))).identity
    except InputError:
        return None


def _all_runs(settings: SweepSettings, file: Path | None, overrides: Sequence[str]) -> list[PlannedRun]:
    runs: list[PlannedRun] = []
    for name, experiment in settings.experiments.items():
        try:
            runs += _runs(name, experiment, settings, runs, file, overrides)
        except InputError as error:
            place = f"{file}: experiment {name}"
            raise InputError("\n".join(f"{place}: {line}" for line in str(error).splitlines())) from None
    return runs


def _runs(
    name: str,
    experiment: ExperimentSettings,
    sweep: SweepSettings,
    before: Sequence[PlannedRun],
    file: Path | None,
    overrides: Sequence[str],
) -> list[PlannedRun]:
    beside = (file.parent if file is not None else Path()) / experiment.base
    base = str(beside) if beside.is_file() and not Path(experiment.base).is_file() else experiment.base
    given = {override.partition("=")[0] for override in overrides}
    taken = {*experiment.grid, *experiment.zipped, "replicate", *(["from.run"] if experiment.origin else [])}
    if clash := {key for key in taken if any(_overlap(key, other) for other in given)}:
        raise InputError(f"{min(clash)} is set by the sweep for each run, so it cannot be set for all")
    sources = _sources(experiment.origin, sweep, before) if experiment.origin is not None else []
    origin = [f"from.run={json.dumps(str(source.experiment_path))}" for source in sources[:1]]
    runs = []
    for varied in _points(experiment):
        settings = {**experiment.settings, **varied}
        assigned = [f"{key}={json.dumps(value, default=str)}" for key, value in settings.items()]
        written = (*assigned, *overrides, *origin)
        changes = twins(load_config(base, written), experiment.controls).changes
        for title, changed in {name: (), **{f"{name}:{twin}": change for twin, change in changes.items()}}.items():
            own = (*written, *changed)
            config = load_config(base, own)
            if sources:
                _check_step(config, sources[0])
                config = planned(config, sources[0].config)
            for k in range(sweep.replicates):
                replicate = located(config.model_copy(update={"replicate": k}))
                source = sources[k].directory if sources else None
                runs.append(PlannedRun(title, varied, replicate, base, own, source))
    return runs


def _overlap(a: str, b: str) -> bool:
    """Whether one of two dotted keys is, or holds, the other."""
    return f"{a}.".startswith(f"{b}.") or f"{b}.".startswith(f"{a}.")


def _points(experiment: ExperimentSettings) -> list[dict[str, Any]]:
    """The values of the varied settings, in the order in which the file has them."""
    grid = [dict(zip(experiment.grid, values, strict=True)) for values in itertools.product(*experiment.grid.values())]
    rows = zip(*experiment.zipped.values(), strict=True) if experiment.zipped else [()]
    zipped = [dict(zip(experiment.zipped, values, strict=True)) for values in rows]
    return [{**a, **b} for a, b in itertools.product(zipped, grid)]


def _sources(origin: str, sweep: SweepSettings, before: Sequence[PlannedRun]) -> list[PlannedRun]:
    """The runs of the experiment `origin`, one for each replicate."""
    if origin not in sweep.experiments:
        raise InputError(f"from: no experiment {origin!r}; there are {', '.join(sweep.experiments)}")
    sources = [run for run in before if run.experiment == origin]
    if len(sources) != sweep.replicates:
        what = "varies settings" if sources else "does not stand before this one"
        raise InputError(f"from: experiment {origin!r} {what}; expected one before this one that varies none")
    return sources


def _check_step(config: TrainConfig, source: PlannedRun) -> None:
    """Whether the source will have saved what this run starts from."""
    step = config.origin.step if config.origin is not None else None
    every, last = source.config.checkpoint_every, source.config.max_steps
    if step is None or step > last or (step != last and not (every and step and step % every == 0)):
        found = "is missing" if step is None else f"{step} is no checkpoint of experiment {source.experiment!r}"
        raise InputError(f"from.step: {found}; it saves every {every} of {last} steps")
