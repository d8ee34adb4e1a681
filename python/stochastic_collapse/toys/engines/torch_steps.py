"""Euler–Maruyama steps of the toy SDEs in PyTorch on the CPU, float64, for a batch of trajectories at once.

The equations are those of docs/definitions.md#single-neuron. With t_i = φ(w1 x_i) and s_i = φ'(w1 x_i) x_i, the m
Brownian motions enter a step of the neuron only as (Σ s dB, Σ t dB): two normals of covariance [Σs² Σts; Σts Σt²] =
L Lᵀ. The drift needs Σys, Σyt, and Σts = L11 L21, Σt² = L21² + L22². So five sums are all that a step needs to know of
the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array
from .torch_equations import Equations, Stepper

SUMS = 5  # Σys, Σyt, L11, L21, L22

RANGE = 8.0  # of |w1| × root mean square of x that the table covers; Figure 2 stays below 4
CELLS = 1 << 15  # interpolation on a line in so many is right to 1e-7

_DIRECT = 1024  # trajectories that take the direct step at once, for all data points in the cache


MakeStepper = Callable[[Tensor], Stepper]
"""Makes the stepper of a state (D, levels, trajectories)."""


class SDE(Equations):
    """What the SDEs have in common."""

    def __init__(self, spec: dict[str, Any], data: dict[str, Array]) -> None:
        super().__init__(spec)
        self.points = len(data.get("x", ()))
        self.dimension = self.draws = 2 if self.points else 1
        self.make_stepper = prepare(spec, data)

    def start(self, streams: Sequence[np.random.Generator], trajectories: range) -> Tensor:
        starts = [stream.standard_normal((self.dimension, len(trajectories))) for stream in streams]
        return torch.from_numpy(self.spec["parameters"]["init_std"] * np.stack(starts, axis=1))

    def amplitude(self, level: int) -> float:
        return amplitude(self.spec, self.spec["noise"][level], self.points)

    def stepper(self, state: Tensor, levels: Sequence[int], trajectories: range) -> Stepper:
        return self.make_stepper(state)


def prepare(spec: dict[str, Any], data: dict[str, Array]) -> MakeStepper:
    """What makes the steppers of a simulation."""
    if spec["problem"] == "quartic-well":
        return partial(WellStepper, spec["parameters"]["mu"], spec["dt"])
    neuron = Neuron(torch.from_numpy(data["x"]), torch.from_numpy(data["y"]), spec["dt"])
    return partial(TabulatedStepper, neuron, make_table(neuron)) if spec["method"] == "tabulated" else neuron.stepper


def amplitude(spec: dict[str, Any], noise: float, points: int) -> float:
    """What the normals of a step are multiplied by: ζ√dt for the well, ζ√(η dt/m) for the neuron with m `points`."""
    if spec["problem"] == "quartic-well":
        return noise * math.sqrt(spec["dt"])
    return float(spec["parameters"]["zeta"]) * math.sqrt(noise * spec["dt"] / points)


class WellStepper:
    """θ ← θ + θ ((μ − θ²) dt + ζ √dt ξ)."""

    def __init__(self, mu: float, dt: float, state: Tensor) -> None:
        self.mu_dt, self.dt = mu * dt, dt
        self.theta = state[0]
        self.rate = torch.empty_like(self.theta)

    def __call__(self, normals: Tensor, at: int = 0, /) -> None:
        torch.mul(self.theta, self.theta, out=self.rate)
        self.rate.mul_(-self.dt).add_(self.mu_dt).add_(normals[0]).mul_(self.theta)
        self.theta.add_(self.rate)


class Neuron:
    """The single neuron with φ = tanh: its data, each (m,), and its step straight from them."""

    def __init__(self, x: Tensor, y: Tensor, dt: float) -> None:
        self.x, self.y, self.drift = x, y, dt / len(x)

    def sums(self, w1: Tensor) -> Tensor:
        """The five SUMS at each of `w1`, (5, B).

        L22 is the norm of what is left of t beyond s (Gram–Schmidt): √(Σt² − L21²) would lose all digits near w1 = 0,
        where t and s are nearly parallel.
        """
        t = torch.tanh(w1[:, None] * self.x)
        s = (1 - t * t) * self.x
        ss = (s * s).sum(1)
        slope = (t * s).sum(1) / ss.clamp(min=torch.finfo(torch.float64).tiny)
        root = ss.sqrt()
        rest = (t - slope[:, None] * s).square().sum(1).sqrt()
        return torch.stack([s @ self.y, t @ self.y, root, slope * root, torch.copysign(rest, w1)])

    def step(self, w1: Tensor, w2: Tensor, n1: Tensor, n2: Tensor) -> tuple[Tensor, Tensor]:
        """(w1, w2) one step later; all (B,)."""
        ys, yt, l11, l21, l22 = self.sums(w1)
        a1, a2 = n1 - self.drift * w2 * l21, n2 - self.drift * w2 * l22
        return w1 + w2 * (self.drift * ys + l11 * a1), w2 + self.drift * yt + l21 * a1 + l22 * a2

    def stepper(self, state: Tensor) -> Stepper:
        """The direct form: m activations a step."""

        def step(normals: Tensor, at: int = 0, /) -> None:
            parts = zip(state.flatten(1).split(_DIRECT, 1), normals.flatten(1).split(_DIRECT, 1), strict=True)
            for (w1, w2), (n1, n2) in parts:
                w1[:], w2[:] = self.step(w1, w2, n1, n2)

        return step


def make_table(neuron: Neuron) -> Tensor:
    """What a tabulated step interpolates, (CELLS, 10); row i is for |w1| · rms(x)/RANGE in [i, i + 1)/CELLS.

    φ = tanh being odd, Σys, Σyt/w1, L11, L21/w1, L22/w1 are even smooth functions of w1, the first two here times
    dt/m. A row has their values at its left end, then the differences to its right end.
    """
    nodes = torch.arange(CELLS + 1, dtype=torch.float64) / _cells_per_unit(neuron)
    nodes[0] = 1e-8 * nodes[1]  # the limit at 0, to the last bit
    sums = neuron.sums(nodes)
    sums[[1, 3, 4]] /= nodes
    sums[:2] *= neuron.drift
    return torch.cat([sums[:, :-1], sums.diff()]).T.contiguous()


def _cells_per_unit(neuron: Neuron) -> float:
    return CELLS * (float(neuron.x.square().mean().sqrt()) or 1.0) / RANGE


class TabulatedStepper:
    """The neuron's step by a table, without an activation, a sum over data, or a root.

    A trajectory beyond the end of the table takes the direct step.
    """

    def __init__(self, neuron: Neuron, table: Tensor, state: Tensor) -> None:
        self.neuron, self.table, self.cells_per_unit = neuron, table, _cells_per_unit(neuron)
        batch = state[0].numel()
        self.flat = state.view(2, batch)
        self.place = torch.empty(batch, dtype=torch.float64)
        self.cell = torch.empty(batch, dtype=torch.int64)
        self.rows = torch.empty(batch, 2 * SUMS, dtype=torch.float64)
        self.sums = torch.empty(SUMS, batch, dtype=torch.float64)
        # Views are made once: the operations on a batch are so short that making them would count.
        self.left, self.difference = self.rows[:, :SUMS].T, self.rows[:, SUMS:].T
        self.w1, self.w2 = state
        self.product, self.a1, self.a2 = (torch.empty_like(self.w1) for _ in range(3))
        self.shaped = self.sums.view(SUMS, *self.w1.shape).unbind()

    def __call__(self, normals: Tensor, at: int = 0, /) -> None:
        place, w1, w2, a1, a2 = self.place, self.w1, self.w2, self.a1, self.a2
        torch.abs(self.flat[0], out=place).mul_(self.cells_per_unit)
        far = None
        if not float(place.max()) < CELLS:  # a state beyond the table, or one that is not a number
            far = ~(place < CELLS)
            beyond = self.neuron.step(*self.flat[:, far], *normals.flatten(1)[:, far])
            place[far] = 0
        self.cell.copy_(place)
        torch.index_select(self.table, 0, self.cell, out=self.rows)
        torch.addcmul(self.left, place.frac_(), self.difference, out=self.sums)
        ys, yt, l11, l21, l22 = self.shaped
        torch.mul(w1, w2, out=self.product)
        torch.addcmul(normals[0], self.product, l21, value=-self.neuron.drift, out=a1)
        torch.addcmul(normals[1], self.product, l22, value=-self.neuron.drift, out=a2)
        ys.addcmul_(l11, a1).mul_(w2)
        yt.addcmul_(l21, a1).addcmul_(l22, a2).mul_(w1)
        w1.add_(ys)
        w2.add_(yt)
        if far is not None:
            self.flat[0, far], self.flat[1, far] = beyond
