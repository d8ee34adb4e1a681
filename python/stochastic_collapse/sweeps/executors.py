"""What an executor is: a place where the runs of a sweep are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from .plan import PlannedRun


class Task(Protocol):
    """One portion of a sweep's runs being trained."""

    def ended(self) -> bool:
        """Whether it has ended, however; found out without waiting."""

    def error(self) -> str | None:
        """Of a task that has ended: what failed, or None."""

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
    *,
    logs: Path,
    jobs: int | None = None,
    address: str | None = None,
    cpus_per_run: float = 1,
    gpus_per_run: float = 0,
) -> Executor:
    """The executor of that name: local (`logs`, `jobs`) or ray (the others); see their classes."""
    if name == "local":
        from .local import LocalExecutor

        return LocalExecutor(logs, jobs)
    from .ray_ import RayExecutor

    return RayExecutor(address, cpus_per_run=cpus_per_run, gpus_per_run=gpus_per_run)
