"""A run and its twins as a sweep, ``$SC_RUNS/sweeps/control-<name>-<hash12>``: what `sc control` trains."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from ..config import TrainConfig, identity, load_config
from ..errors import InputError
from ..provenance import located
from ..runs import RunDirectory, find_runs
from .controls import ALL, CONTROLS, FACTOR, twins
from .directory import SweepDirectory, SweptRun, swept
from .plan import PlannedRun, Sweep

THE_RUN = "the run"
"""The experiment of the set that is no twin."""


class ControlSet(NamedTuple):
    """A run, in one or several replicates, and its twins."""

    sweep: Sweep
    notes: list[str]
    """A line about each control that is left out, and about what stays random."""

    @property
    def title(self) -> str:
        """The run's, as its directory has it."""
        return experiment_of(self.sweep.runs[0].config)


class _Subject(NamedTuple):
    """The run whose twins are asked for."""

    base: str
    overrides: tuple[str, ...]
    config: TrainConfig
    replicates: list[int]
    there: dict[int, RunDirectory]
    """The directories of those replicates that were given by one."""


def experiment_of(config: TrainConfig) -> str:
    """``<name>-<hash12>`` of a run."""
    return f"{config.name}-{identity(config)}"


def controls_of_file(
    file: str | None,
    overrides: Sequence[str] = (),
    only: Collection[str] = (ALL,),
    *,
    replicates: int | None = None,
    factor: float = FACTOR,
    average: int | None = None,
) -> ControlSet:
    """The run of a settings file, trained or not, with its twins; see `controls_of_runs`."""
    config = load_config(file, overrides)
    if replicates is not None and config.replicate:
        raise InputError(f"{config.name}: give either {replicates} replicates or replicate={config.replicate}")
    numbers = [config.replicate] if replicates is None else list(range(replicates))
    kept = tuple(override for override in overrides if override.partition("=")[0] != "replicate")
    return _set(_Subject(str(file), kept, config, numbers, {}), only, factor, average)


def controls_of_runs(
    paths: Sequence[str | Path],
    only: Collection[str] = (ALL,),
    *,
    replicates: int | None = None,
    factor: float = FACTOR,
    average: int | None = None,
) -> list[ControlSet]:
    """For each experiment in `paths`, run directories or those of several replicates, its runs and their twins.

    A replicate's twin is the same replicate. `only` names controls, or is ALL, those that make sense; `replicates` asks
    for the replicates 0 to N-1 too, of the run as of its twins. For `factor` and `average` see `controls.twins`. Raises
    `InputError` where a path holds no run, or a control that is wanted by name makes no sense.
    """
    subjects: dict[str, _Subject] = {}
    for run in find_runs(paths):
        config = run.config()
        new = _Subject(str(run.path / "config.yaml"), (), config, list(range(replicates or 0)), {})
        subject = subjects.setdefault(experiment_of(config), new)
        subject.there[config.replicate] = run
        if config.replicate not in subject.replicates:
            subject.replicates.append(config.replicate)
    return [_set(subject, only, factor, average) for subject in subjects.values()]


def control_runs(paths: Sequence[str | Path]) -> tuple[str, list[SweptRun]]:
    """``<name>-<hash12>`` of the one experiment in `paths`, and its runs and twins, whether trained or not.

    Those that `sc control` wrote down; before it did, the twins of its default settings, which a sweep may have
    trained. Raises `InputError` where `paths` hold several experiments, or none.
    """
    sets = controls_of_runs(paths)
    if len(sets) > 1:
        raise InputError(f"{', '.join(one.title for one in sets)}: several experiments; name the runs of one")
    sweep = sets[0].sweep
    directory = SweepDirectory(sweep.directory)
    return sets[0].title, directory.runs() if directory.exists else swept(sweep.runs)


def _set(subject: _Subject, only: Collection[str], factor: float, average: int | None) -> ControlSet:
    if unknown := [name for name in only if name not in (*CONTROLS, ALL)]:
        raise InputError(f"no control {unknown[0]!r}; there are {', '.join((*CONTROLS, ALL))}")
    changes, notes = twins(subject.config, only, factor=factor, average=average)
    runs = []
    for name, changed in {THE_RUN: (), **changes}.items():
        overrides = (*subject.overrides, *changed)
        config = load_config(subject.base, overrides)
        for k in sorted(subject.replicates):
            replicate = located(config.model_copy(update={"replicate": k}))
            place = _place(subject.there[k], replicate) if name == THE_RUN and k in subject.there else None
            runs.append(PlannedRun(name, {}, replicate, subject.base, overrides, None, place))
    return ControlSet(Sweep(f"control-{experiment_of(runs[0].config)}", tuple(runs), grows=True), notes)


def _place(run: RunDirectory, config: TrainConfig) -> RunDirectory | None:
    """None where the run lies where its settings say; else it cannot be trained from here, and must be finished."""
    if run.path.resolve() == RunDirectory.of(config).path.resolve():
        return None
    if run.status().get("state") != "finished":
        raise InputError(
            f"{run}: not finished, and not where its settings say ({RunDirectory.of(config)}); finish it first: "
            f"sc train -f {run.path / 'config.yaml'} --out {run}"
        )
    return run
