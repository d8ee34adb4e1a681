"""The two SDEs: the single neuron of Figure 2 and the quartic well of Figure 1 (docs/definitions.md#toy-problems)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ..config import NonNegative, Positive, PositiveReal, Settings
from .arrays import Array


class SingleNeuronSettings(Settings):
    """ŷ = w2 φ(w1 x) trained with gradient noise; the noise level is η (Figure 2)."""

    name: Literal["single-neuron"]
    activation: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")] = "tanh"
    """tanh, or one that was added to the Julia package."""
    zeta: NonNegative = 1.0
    """Standard deviation of the label noise."""
    init_std: NonNegative = 0.001
    """Standard deviation of w1 and w2 at the start."""
    points: Positive = 32
    """Number m of data points, x ~ N(0, 1)."""
    target_noise: NonNegative = 0.1
    """Targets are y = x + target_noise·N(0, 1)."""

    def parameters(self) -> dict[str, Any]:
        """What engines need to know beside the data."""
        return self.model_dump(exclude={"name", "points", "target_noise"})

    def data(self, seed: int) -> dict[str, Array]:
        """x and y, each (m,)."""
        x, noise = np.random.default_rng(seed).standard_normal((2, self.points))
        return {"x": x, "y": x + self.target_noise * noise}


class QuarticWellSettings(Settings):
    """dθ = −(θ³ − μθ) dt + ζ θ dB; the noise level is ζ (Figure 1)."""

    name: Literal["quartic-well"]
    mu: PositiveReal = 1.5
    """Curvature of the well: its minima are at ±√μ."""
    init_std: NonNegative = 2.0
    """Standard deviation of θ at the start."""

    def parameters(self) -> dict[str, Any]:
        """What engines need to know."""
        return self.model_dump(exclude={"name"})

    def data(self, seed: int) -> dict[str, Array]:
        """The well has none."""
        return {}
