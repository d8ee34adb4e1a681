"""What the torch engine needs to know of a problem to simulate it step by step, in batches of trajectories."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from ..arrays import Array


class Stepper(Protocol):
    """Advances the trajectories of one batch in place; belongs to one thread."""

    def __call__(self, drawn: Tensor, at: int = 0, /) -> None:
        """Take step number `at`, counted from 0. `drawn`: what `Equations.draw` gave for it."""


class Equations(ABC):
    """A problem: how it starts, what it draws at a step, and how it takes one."""

    dimension: int
    """D, the numbers of a state as it is saved."""
    draws: int
    """Random numbers of a step of a trajectory."""
    width = 1
    """How many numbers one operation advances per trajectory: more of them make smaller batches."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec

    @abstractmethod
    def start(self, streams: Sequence[np.random.Generator], trajectories: range) -> Tensor:
        """The first state (working D, levels, trajectories), float64, drawn from a stream for each level."""

    def amplitude(self, level: int) -> float:
        """What the normals of a noise level are multiplied by."""
        return float(self.spec["noise"][level])

    def draw(self, level: int, stream: np.random.Generator, out: Array) -> None:
        """Fill `out` (steps, draws, trajectories): normals, times their amplitude."""
        stream.standard_normal(out=out)
        out *= self.amplitude(level)

    @abstractmethod
    def stepper(self, state: Tensor, levels: Sequence[int], trajectories: range) -> Stepper:
        """What advances `state` (working D, levels, trajectories), on its device."""

    def check(self, state: Tensor, levels: Sequence[int], trajectories: range, at: int) -> None:  # noqa: B027
        """Raise `InputError` if `state` after `at` steps makes no sense; here all does."""

    def observe(self, state: Tensor, trajectories: range) -> Tensor:
        """What is saved of a state, (D, levels, trajectories)."""
        return state


def normals_of(seed: int, level: int, block: int) -> np.random.Generator:
    """The stream of random numbers of a block of trajectories of a noise level."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(level, block))))
