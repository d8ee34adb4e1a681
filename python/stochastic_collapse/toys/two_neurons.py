"""Two neurons trained with label noise, which become copies of one another (the paper's supplement)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..config import Fraction, Positive, Settings
from .arrays import Array


class TwoNeuronsSettings(Settings):
    """f(x) = Σ w_out GELU(w_in x) over two neurons; loss Σ(f − y − σξ)²/(2N), ξ new each step; the noise level is σ."""

    name: Literal["two-neurons"]
    points: Positive = 8
    """Number N of data points, x ~ N(0, 1) and y ~ N(0, 1)."""
    momentum: Fraction = 0.9
    """Of SGD."""
    w_in: tuple[float, float] = (1.0, 0.6)
    """Incoming weights at the start, one for each neuron."""
    w_out: tuple[float, float] = (-0.6, -0.4)
    """Outgoing weights at the start."""

    def parameters(self) -> dict[str, Any]:
        """What engines need to know beside the data."""
        return {"momentum": self.momentum, "w_in": list(self.w_in), "w_out": list(self.w_out)}

    def data(self, seed: int) -> dict[str, Array]:
        """x and y, each (N,)."""
        x, y = np.random.default_rng(seed).standard_normal((2, self.points))
        return {"x": x, "y": y}
