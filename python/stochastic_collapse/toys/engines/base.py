"""What an engine is: a way to turn a prepared toy directory into a finished one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..directory import ToyDirectory

Report = Callable[[str], None]
"""Called with one line of news for the user."""


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    levels_done: int
    levels: int
    steps_done: int
    """Steps of single trajectories, here and below."""
    steps: int


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Availability:
    """Whether an engine can run on this machine."""

    available: bool
    reason: str
    """Why, or why not; one line, as the next."""
    advice: str = ""
    """How to make it available."""
    details: dict[str, Any] = field(default_factory=dict)
    """Versions, threads, devices."""

    def explain(self) -> str:
        """Reason and advice in one line."""
        return f"{self.reason}; {self.advice}" if self.advice else self.reason


class Engine(Protocol):
    """Runs toy simulations, each engine those of all problems."""

    @property
    def name(self) -> str: ...

    @property
    def stream(self) -> str:
        """Which random numbers it uses; results of engines with the same stream are the same."""

    def availability(self) -> Availability:
        """Found out within seconds, without running anything for long."""

    def run(self, directory: ToyDirectory, on_progress: OnProgress, report: Report) -> None:
        """Turn a prepared directory into a finished one, starting from the noise levels that are there.

        Ctrl-C and SIGTERM raise `Interrupted`, finished noise levels kept. Raises `EngineUnavailable` where the engine
        turns out not to start, `EngineFailed` where it breaks off, and `InputError` for settings it cannot do.
        """
