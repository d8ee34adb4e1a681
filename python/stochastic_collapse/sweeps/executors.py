"""What an executor is: a place where the runs of a sweep are trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from ..errors import InputError
from .directory import SweepDirectory
from .plan import PlannedRun, Sweep


class Outcome(NamedTuple):
    """How a task ended."""

    error: str | None
    """What failed, or None; a line for each run that did."""
    trained: int
    """Runs that it trained, and did not find finished."""


class Task(Protocol):
    """One portion of a sweep's runs being trained."""

    def outcome(self) -> Outcome | None:
        """How it ended, found out without waiting; None while it has not."""

    def stop(self) -> None:
        """Have it save its checkpoints and end."""

    def kill(self) -> None:
        """End it at once."""


class Executor(Protocol):
    """Trains portions of runs, several at a time."""

    @property
    def capacity(self) -> int | None:
        """How many tasks to start at a time; None: all, it has a queue of its own."""

    def start(self, runs: tuple[PlannedRun, ...]) -> Task:
        """Begin to train replicates of one run, or one run."""

    def close(self) -> None:
        """Free what it holds; its tasks have ended."""


def make_executor(
    name: str,
    sweep: Sweep,
    *,
    jobs: int | None = None,
    address: str | None = None,
    cpus_per_run: float | None = None,
    gpus_per_run: float | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Executor:
    """The executor of that name for `sweep`: local (`jobs`) or ray (the others); see their classes.

    Raises `InputError` for options of the other one.
    """
    foreign: dict[str, Any] = {"address": address, "cpus_per_run": cpus_per_run, "gpus_per_run": gpus_per_run}
    if name != "local":
        foreign = {"jobs": jobs}
    if given := [option for option, value in foreign.items() if value is not None]:
        raise InputError(f"executor {name}: --{given[0].replace('_', '-')} is an option of the other executor")
    if name == "local":
        from .local import LocalExecutor

        return LocalExecutor(SweepDirectory(sweep.directory).logs, len(sweep.together()), jobs)
    from .ray_ import RayExecutor

    return RayExecutor(address, cpus_per_run=cpus_per_run or 1, gpus_per_run=gpus_per_run, report=report)
