"""What figures are drawn from, and how to make it: training runs, sweeps and toy runs of shipped settings.

The module of a figure declares `NEEDS`: for each size, the best first, what it is drawn from. Runs are found by their
settings in `runs_root()`; what is finished there is never made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from stochastic_collapse.config import load_config
from stochastic_collapse.runs import RunDirectory, runs_root
from stochastic_collapse.sweeps import Sweep as SweepPlan
from stochastic_collapse.sweeps import SweepDirectory, load_sweep, make_executor, run_sweep
from stochastic_collapse.toys import ToyDirectory, load_toys
from stochastic_collapse.toys.simulation import simulate_all

Report = Callable[[str], None]
"""Called with one line of news for the user."""

SIZES = ("paper", "quick")
"""The best first."""


_OWN_COMMAND = ("teacher-student", "two-neurons")
"""Toy problems whose command has their name."""


@dataclass(frozen=True)
class Means:
    """By what missing runs are made."""

    engine: str = "auto"
    """Of the toy runs."""
    executor: str = "local"
    """Of the sweeps."""
    report: Report = lambda line: None


class Account(NamedTuple):
    """What finished runs took."""

    runs: int
    seconds: float
    """Of computing, summed over processes that ran side by side."""
    how: str
    """Engine or device, and versions."""


class Need(Protocol):
    """Runs that one command makes."""

    @property
    def command(self) -> str: ...

    def settings(self) -> list[str]:
        """The shipped settings files behind the runs."""

    def is_finished(self) -> bool:
        """Whether all runs are."""

    def make(self, means: Means) -> list[str]:
        """Make what is missing, and continue what was interrupted. Returns a line for each run of several that failed.

        Ctrl-C and SIGTERM raise `Interrupted`; where nothing can be made, a `StochasticCollapseError` says why.
        """

    def account(self) -> Account:
        """Of the runs that are finished."""


Needs = Mapping[str, tuple[Any, ...]]
"""By size, what a figure is drawn from, all of one kind."""


@dataclass(frozen=True)
class Training:
    """One training run."""

    file: str

    @property
    def command(self) -> str:
        return f"sc train -f {self.file}"

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory.of(load_config(self.file))

    def settings(self) -> list[str]:
        return [self.file]

    def is_finished(self) -> bool:
        return self.directory.status().get("state") == "finished"

    def make(self, means: Means) -> list[str]:
        from stochastic_collapse.training import train  # imports torch

        train(load_config(self.file), report=means.report)
        return []

    def account(self) -> Account:
        return _account([self.directory] if self.is_finished() else [])


@dataclass(frozen=True)
class Sweep:
    """One size of a sweep."""

    name: str
    setting: str
    """Dotted name of the setting that it varies, by which a user's own sweep is recognized."""
    size: str

    @classmethod
    def sizes(cls, *sweeps: tuple[str, str]) -> dict[str, tuple[Sweep, ...]]:
        """The `NEEDS` of a figure that is drawn from sweeps of these names over these settings, in all sizes."""
        return {size: tuple(cls(name, setting, size) for name, setting in sweeps) for size in SIZES}

    @property
    def file(self) -> str:
        return f"configs/sweeps/{self.name.replace('-', '_')}.yaml"

    @property
    def command(self) -> str:
        return f"sc sweep -f {self.file} --size {self.size}"

    @property
    def directory(self) -> SweepDirectory:
        return SweepDirectory(runs_root() / "sweeps" / f"{self.name}-{self.size}")

    def _plan(self) -> SweepPlan:
        return load_sweep(self.file, self.size)

    def settings(self) -> list[str]:
        return [self.file, *dict.fromkeys(run.base for run in self._plan().runs)]

    def is_finished(self) -> bool:
        if not self.directory.exists:
            return False
        recorded = self.directory.runs()
        asked_for = {run.directory.path.resolve() for run in self._plan().runs}
        # A record from before the file was changed is of other runs.
        same = {run.directory.path.resolve() for run in recorded} == asked_for
        return same and all(run.is_finished for run in recorded)

    def make(self, means: Means) -> list[str]:
        plan = self._plan()
        result = run_sweep(plan, make_executor(means.executor, plan, report=means.report), report=means.report)
        return [f"{title}: {error}" for title, error in result.failures.items()]

    def account(self) -> Account:
        runs = self.directory.runs() if self.directory.exists else []
        return _account([run.directory for run in runs if run.is_finished])


@dataclass(frozen=True)
class Toy:
    """The simulations of one settings file of a toy problem."""

    problem: str
    file: str

    @property
    def command(self) -> str:
        verb = self.problem if self.problem in _OWN_COMMAND else f"simulate-toy {self.problem}"
        return f"sc {verb} -f {self.file}"

    def directories(self) -> list[ToyDirectory]:
        return [ToyDirectory.of(config) for config in load_toys(self.file, (), self.problem)]

    def settings(self) -> list[str]:
        return [self.file]

    def is_finished(self) -> bool:
        return all(directory.is_finished for directory in self.directories())

    def make(self, means: Means) -> list[str]:
        simulate_all(load_toys(self.file, (), self.problem), means.engine, report=means.report)
        return []

    def account(self) -> Account:
        made = [directory.provenance() for directory in self.directories() if directory.is_finished]
        return Account(len(made), sum(float(one["seconds"]) for one in made), _several(map(_engine, made)))


def _account(directories: Iterable[RunDirectory]) -> Account:
    """Of training runs. Replicates that trained as one program have its seconds each, which count once."""
    seconds: dict[Path, float] = {}
    how = []
    runs = 0
    for directory in directories:
        status = directory.status()
        program = directory.path.parent if directory.config().stackable else directory.path
        seconds[program] = max(seconds.get(program, 0.0), float(status["seconds"]))
        versions = status.get("versions", {})
        device = status.get("execution", {}).get("device", "")
        how.append(" ".join(filter(None, ("torch", versions.get("torch"), f"on {device}" if device else ""))))
        runs += 1
    return Account(runs, sum(seconds.values()), _several(how))


def _engine(provenance: Mapping[str, Any]) -> str:
    """Such as ``engine julia, 2 threads``."""
    threads = provenance.get("threads")
    return f"engine {provenance['engine']}" + (f", {threads} thread{'s' * (threads != 1)}" if threads else "")


def _several(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))
