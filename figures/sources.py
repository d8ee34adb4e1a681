"""Where figures find the runs and sweeps they are drawn from: those that the user names, or the shipped ones.

Only finished runs are drawn. What is missing is reported in one line, with the command that makes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stochastic_collapse.errors import InputError
from stochastic_collapse.runs import RunDirectory, find_runs, runs_root
from stochastic_collapse.sweeps import SweepDirectory, SweptRun
from stochastic_collapse.toys import ToyRun, load_toy

from .needs import SIZES, Needs, Report, Sweep, Toy, Training

_NAMED = 4  # of the runs that are missing; the others are counted


def find(figure: str, needs: Needs, paths: Sequence[str], report: Report) -> Any:
    """What the figure's `load` takes: the finished runs among `paths`, or without paths those of `needs`.

    Raises `InputError` where nothing is finished that could be drawn.
    """
    kind = type(next(iter(needs.values()))[0])
    look: Any = {Training: trained, Sweep: swept, Toy: simulated}[kind]
    return look(figure, needs, paths, report)


# --- training runs --------------------------------------------------------------------------------------------------


def trained(figure: str, needs: Needs, paths: Sequence[str], report: Report) -> list[RunDirectory]:
    """The finished runs in `paths`; without paths, those of the first size in `needs` that has any.

    Raises `InputError` where there is no finished run.
    """
    if paths:
        runs = find_runs(paths)
        missing = [f"{run} ({run.status()['state']})" for run in runs if not _is_finished(run)]
    else:
        sizes: list[tuple[Training, ...]] = list(needs.values())
        there = (of_size for of_size in sizes if any(need.is_finished() for need in of_size))
        wanted = next(there, sizes[-1])
        runs = [need.directory for need in wanted]
        missing = [need.command for need in wanted if not need.is_finished()]
    finished = [run for run in runs if _is_finished(run)]
    line = f"figure {figure}: not finished: {'; '.join(missing)}"
    if not finished:
        raise InputError(line)
    if not paths:
        report(f"figure {figure}: from {', '.join(map(str, finished))}")
    if missing:
        report(line)
    return finished


def _is_finished(run: RunDirectory) -> bool:
    return run.status().get("state") == "finished"


# --- toy runs -------------------------------------------------------------------------------------------------------


def simulated(figure: str, needs: Needs, paths: Sequence[str], report: Report) -> list[ToyRun]:
    """Those of `paths` that are of the figure's problem; without paths, those of the first size that has some.

    Raises `InputError` where there are none.
    """
    toys: list[Toy] = [toy for of_size in needs.values() for toy in of_size]
    if paths:
        runs = [load_toy(path) for path in paths]
        chosen = [run for run in runs if run.spec["problem"] == toys[0].problem]
        if not chosen:
            found = ", ".join(f"{run.directory} (a run of {run.spec['problem']})" for run in runs)
            raise InputError(f"figure {figure} is drawn from runs of {toys[0].problem}, found only {found}")
        return chosen
    sizes: list[tuple[Toy, ...]] = list(needs.values())
    for of_size in sizes:
        there = [toy for toy in of_size if toy.is_finished()]
        for toy in there:
            report(f"figure {figure}: from {', '.join(map(str, toy.directories()))}, the runs of {toy.file}")
        if there:
            if missing := [toy.command for toy in of_size if toy not in there]:
                report(f"figure {figure}: not simulated yet: {'; '.join(missing)}")
            return [directory.load() for toy in there for directory in toy.directories()]
    raise InputError(f"figure {figure}: not simulated yet in {runs_root()}; run: {toys[-1].command}")


# --- sweeps ---------------------------------------------------------------------------------------------------------


def swept(figure: str, needs: Needs, paths: Sequence[str], report: Report) -> list[list[SweptRun]]:
    """The finished runs for each of the figure's sweeps: of the sweep directories `paths`, else of the shipped ones.

    Of a shipped sweep's sizes that one counts, the best first, of which a run is finished. Raises `InputError` where a
    path holds no sweep, and where there is no finished run at all.
    """
    sweeps: list[tuple[Sweep, ...]] = list(zip(*needs.values(), strict=True))
    """For each sweep, its sizes."""
    named = [SweepDirectory(Path(path)) for path in paths]
    settings = [list(dict.fromkeys(sweep.setting for sweep in sizes)) for sizes in sweeps]
    directories = [
        _varying(of_sweep, named) if paths else _best(sizes) for of_sweep, sizes in zip(settings, sweeps, strict=True)
    ]
    used = list(dict.fromkeys(directory for of_sweep in directories for directory in of_sweep))
    size = next((size for size in SIZES if any(d.path.name.endswith(f"-{size}") for d in used)), SIZES[-1])
    absent = [
        next((sweep for sweep in sizes if sweep.size == size), sizes[-1])
        for sizes, of_sweep in zip(sweeps, directories, strict=True)
        if not of_sweep
    ]
    missing = [f"a sweep over {sweep.setting} ({sweep.command})" for sweep in absent]
    shipped = {sweep.directory.path.name: sweep.command for sizes in sweeps for sweep in sizes}
    missing += [line for directory in used if (line := _unfinished(directory, shipped))]
    wanted = " or ".join(setting for of_sweep in settings for setting in of_sweep)
    missing += [
        f"a sweep over {wanted} in {directory}, which is not drawn" for directory in named if directory not in used
    ]
    finished = [_finished(of_sweep) for of_sweep in directories]
    line = f"figure {figure}: missing: {'; '.join(missing)}"
    if not any(finished):
        raise InputError(line)
    report(f"figure {figure}: from {', '.join(map(str, used))}")
    if missing:
        report(line)
    return finished


def _best(sizes: Iterable[Sweep]) -> list[SweepDirectory]:
    """The directory of the first size of which a run is finished, else of which there is a record; or none."""
    there = [sweep.directory for sweep in sizes if sweep.directory.exists]
    return sorted(there, key=lambda directory: not any(run.is_finished for run in directory.runs()))[:1]


def _varying(settings: Collection[str], directories: Sequence[SweepDirectory]) -> list[SweepDirectory]:
    """Those of `directories` that vary one of the settings."""
    return [d for d in directories if any(run.varied.keys() & settings for run in d.runs())]


def _finished(directories: Sequence[SweepDirectory]) -> list[SweptRun]:
    """Each run once, though several sweeps may share it."""
    runs = {(run.experiment, run.directory.path): run for directory in directories for run in directory.runs()}
    return [run for run in runs.values() if run.is_finished]


def _unfinished(directory: SweepDirectory, shipped: Mapping[str, str]) -> str:
    """The runs that are not finished and the command that trains them; empty where there are none.

    `shipped` are the commands of the shipped sweeps, by the names of their directories.
    """
    runs = [run for run in directory.runs() if not run.is_finished]
    if not runs:
        return ""
    command = shipped.get(directory.path.resolve().name, "the same sc sweep continues it")
    if all(_state(run) == "diverged" for run in runs):
        command = "no command continues what diverged"
    more = f" and {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
    return f"{', '.join(map(_title, runs[:_NAMED]))}{more} of {directory} ({command})"


def _title(run: SweptRun) -> str:
    values = [f"{_short(key)} {value}" for key, value in run.varied.items()]
    return f"{' '.join([run.experiment, *values])} #{run.replicate} {_state(run)}"


def _state(run: SweptRun) -> str:
    return str(run.directory.status().get("state", "not trained"))


def by_network(runs: Sequence[SweptRun], setting: str) -> dict[str, list[SweptRun]]:
    """The runs that vary `setting`, by network: by experiment, and by other settings that it varies independently.

    A setting that goes with `setting`, as in a zipped list, makes no network of its own.
    """
    networks: dict[str, list[SweptRun]] = {}
    for run in (run for run in runs if setting in run.varied):
        alike = [other for other in runs if other.experiment == run.experiment and setting in other.varied]
        same = [other for other in alike if other.varied[setting] == run.varied[setting]]
        free = [key for key in run.varied if len({str(other.varied.get(key)) for other in same}) > 1]
        label = ", ".join([run.experiment, *(f"{_short(key)} {run.varied[key]}" for key in free)])
        networks.setdefault(label, []).append(run)
    return networks


def _short(setting: str) -> str:
    return setting.rpartition(".")[2]
