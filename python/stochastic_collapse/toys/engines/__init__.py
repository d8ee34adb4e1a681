"""The engines that simulate a toy run, in the order in which `auto` tries them (docs/architecture.md#engines)."""

from __future__ import annotations

from pathlib import Path

from .base import Availability, Engine, OnProgress, Progress, Report
from .julia import JuliaEngine
from .juliacall import JuliaCallEngine
from .torch_ import TorchEngine

ENGINES = ("juliacall", "julia", "torch")


def all_engines(julia: str | Path | None = None, problem: str | None = None) -> list[Engine]:
    """One of each, in the order of ENGINES, to simulate `problem` if they need to know what.

    `julia` is the program that the engine of this name starts.
    """
    return [JuliaCallEngine(), JuliaEngine(julia), TorchEngine(problem)]


__all__ = [
    "ENGINES",
    "Availability",
    "Engine",
    "JuliaCallEngine",
    "JuliaEngine",
    "OnProgress",
    "Progress",
    "Report",
    "TorchEngine",
    "all_engines",
]
