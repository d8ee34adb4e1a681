"""What an executor is: a place where the runs of a sweep are trained, a task for each portion of them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from .plan import PlannedRun


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
