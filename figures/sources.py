"""Where figures find the runs and sweeps they are drawn from: those that the user names, or the shipped ones.

Only finished runs are drawn. What is missing is reported in one line, with the command that makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stochastic_collapse.config import load_config
from stochastic_collapse.errors import InputError
from stochastic_collapse.runs import RunDirectory, find_runs, runs_root
from stochastic_collapse.sweeps import SweepDirectory, SweptRun

Report = Callable[[str], None]

SIZES = ("paper", "quick")
"""Of the shipped sweeps, the best first."""

_NAMED = 4  # of the runs that are missing; the others are counted


# --- training runs --------------------------------------------------------------------------------------------------


def trained(figure: str, configs: Sequence[Sequence[str]], paths: Sequence[str], report: Report) -> list[RunDirectory]:
    """The finished runs in `paths`; without paths, those of the first of `configs` that has any.

    `configs` are groups of settings files that are drawn together, the best first. Raises `InputError` where there is
    no finished run.
    """
    if paths:
        runs = find_runs(paths)
        missing = [f"{run} ({run.status()['state']})" for run in runs if not _is_finished(run)]
    else:
        group = next((files for files in configs if any(_is_finished(_run_of(file)) for file in files)), configs[-1])
        runs = [_run_of(file) for file in group]
        missing = [f"sc train -f {file}" for file in group if not _is_finished(_run_of(file))]
    finished = [run for run in runs if _is_finished(run)]
    line = f"figure {figure}: not finished: {'; '.join(missing)}"
    if not finished:
        raise InputError(line)
    if not paths:
        report(f"figure {figure}: from {', '.join(map(str, finished))}")
    if missing:
        report(line)
    return finished


def _run_of(file: str) -> RunDirectory:
    return RunDirectory.of(load_config(file))


def _is_finished(run: RunDirectory) -> bool:
    return run.status().get("state") == "finished"


# --- sweeps ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sweep:
    """A sweep that a figure is drawn from."""

    name: str
    """That of the shipped one."""
    setting: str
    """Dotted name of the setting that it varies, by which a user's own sweep is recognized."""

    def command(self, size: str) -> str:
        """The command that trains the shipped one."""
        return f"sc sweep -f configs/sweeps/{self.name.replace('-', '_')}.yaml --size {size}"

    def shipped(self) -> list[SweepDirectory]:
        """The directory of the best size of which a run is finished, else of which there is a record; or none."""
        there = [d for size in SIZES if (d := SweepDirectory(runs_root() / "sweeps" / f"{self.name}-{size}")).exists]
        return sorted(there, key=lambda directory: not any(run.is_finished for run in directory.runs()))[:1]

    def among(self, directories: Sequence[SweepDirectory]) -> list[SweepDirectory]:
        """Those that vary the setting."""
        return [d for d in directories if any(self.setting in run.varied for run in d.runs())]


def swept(figure: str, sweeps: Sequence[Sweep], paths: Sequence[str], report: Report) -> list[list[SweptRun]]:
    """The finished runs for each of `sweeps`: of the sweep directories `paths`, else of the shipped sweeps.

    Raises `InputError` where a path holds no sweep, and where there is no finished run at all.
    """
    named = [SweepDirectory(Path(path)) for path in paths]
    directories = [sweep.among(named) if paths else sweep.shipped() for sweep in sweeps]
    used = list(dict.fromkeys(directory for of_sweep in directories for directory in of_sweep))
    size = next((size for size in SIZES if any(d.path.name.endswith(f"-{size}") for d in used)), SIZES[-1])
    absent = [sweep for sweep, of_sweep in zip(sweeps, directories, strict=True) if not of_sweep]
    missing = [f"a sweep over {sweep.setting} ({sweep.command(size)})" for sweep in absent]
    missing += [line for directory in used if (line := _unfinished(directory, sweeps))]
    wanted = " or ".join(sweep.setting for sweep in sweeps)
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


def _finished(directories: Sequence[SweepDirectory]) -> list[SweptRun]:
    """Each run once, though several sweeps may share it."""
    runs = {(run.experiment, run.directory.path): run for directory in directories for run in directory.runs()}
    return [run for run in runs.values() if run.is_finished]


def _unfinished(directory: SweepDirectory, sweeps: Sequence[Sweep]) -> str:
    """The runs that are not finished and the command that trains them; empty where there are none."""
    runs = [run for run in directory.runs() if not run.is_finished]
    if not runs:
        return ""
    shipped = {f"{sweep.name}-{size}": sweep.command(size) for sweep in sweeps for size in SIZES}
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
