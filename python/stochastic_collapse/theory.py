"""Closed forms for the toy problems: thresholds, exponents, stationary densities (NumPy only, vectorized)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# --- quartic well: dθ = −(θ³ − μθ) dt + ζ θ dB (the paper's Figure 1) --------------------------------------------


def quartic_well_threshold(mu: ArrayLike) -> Any:
    """The noise ζ = √(2μ) from which on every trajectory collapses to 0: ζ² > 2μ (the paper's Figure 1)."""
    return np.sqrt(2 * np.asarray(mu, float))


def quartic_well_exponent(mu: ArrayLike, zeta: ArrayLike) -> Any:
    """Rate μ − ζ²/2 at which log|θ| grows near 0: there θ is a geometric Brownian motion."""
    return np.asarray(mu, float) - np.asarray(zeta, float) ** 2 / 2


def quartic_well_density(theta: ArrayLike, mu: ArrayLike, zeta: ArrayLike) -> Any:
    """Stationary probability density at θ: p(θ) = |θ|^a exp(−θ²/ζ²) / (ζ^(a+1) Γ((a+1)/2)), a = 2μ/ζ² − 2.

    It solves the stationary Fokker–Planck equation (the paper's Figure 1) and is normalized over both wells. From
    ζ² = 2μ on no such density exists, all mass sits at 0: the value is 0, and infinite at θ = 0. At ζ = 0 the mass
    sits likewise at θ = ±√μ. Arguments broadcast; μ and ζ must be ≥ 0.
    """
    t, m, z = np.broadcast_arrays(np.asarray(theta, float), np.asarray(mu, float), np.asarray(zeta, float))
    with np.errstate(divide="ignore", invalid="ignore"):
        a = 2 * m / z**2 - 2
        normalizable = (a > -1) & np.isfinite(a)
        order = np.where(normalizable, a + 1, 1.0)
        power = np.where(a == 0, 0.0, a * np.log(np.abs(t)))  # 0 log 0 is 0 here
        log_density = power - t**2 / z**2 - order * np.log(z) - np.vectorize(math.lgamma)(order / 2)
        point_mass = np.where(t**2 == np.where(z > 0, 0.0, m), np.inf, 0.0)
        return np.where(normalizable, np.exp(log_density), point_mass)[()]


# --- single neuron: ŷ = w2 φ(w1 x) with φ(0) = 0 (the paper's Figure 2) -----------------------------------------


def single_neuron_threshold(x: ArrayLike, y: ArrayLike) -> float:
    """Σxy/Σx²: the origin attracts if and only if ηζ²φ'(0)/2 exceeds it (Theorem 5.1). `x`, `y`: the data, (m,)."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    return float(x @ y / (x @ x))


def single_neuron_exponents(
    x: ArrayLike, y: ArrayLike, eta: ArrayLike, zeta: ArrayLike = 1.0, slope: ArrayLike = 1.0
) -> tuple[Any, Any]:
    """Rates (λ₊, λ₋) at which log|w1 + w2| and log|w1 − w2| grow near the origin, each of the shape of `eta`.

    λ± = ±φ'(0) Σxy/m − ηζ²φ'(0)² Σx²/(2m): both modes are geometric Brownian motions there (proof of Theorem 5.1).
    `x`, `y`: the data, (m,); `slope`: φ'(0).
    """
    x, y, slope = np.asarray(x, float), np.asarray(y, float), np.asarray(slope, float)
    drift = slope * (x @ y) / len(x)
    loss = np.asarray(eta, float) * np.asarray(zeta, float) ** 2 * slope**2 * (x @ x) / (2 * len(x))
    return drift - loss, -drift - loss
