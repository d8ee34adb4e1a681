"""Closed forms for the toy problems: thresholds, exponents, stationary densities, growth laws (NumPy only).

Arguments broadcast like NumPy's, and so do results; scalars give scalars. Bad input raises `InputError`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError

# --- one dimension: dθ = −L'(θ) dt + √(2 D(θ)) dB with L'(0) = D(0) = D'(0) = 0 -----------------------------------


def attractivity_1d(loss_curvature: ArrayLike, diffusion_curvature: ArrayLike) -> Any:
    """α = L''(0) + D''(0)/2: the invariant set θ = 0 attracts where it is positive, and repels where it is negative.

    −α is the rate at which log|θ| grows near 0, where θ is a geometric Brownian motion: with D ≈ D''θ²/2 the noise is
    √D'' θ dB, and Itô's correction takes D''/2 from the drift. So noise can make a maximum of the loss attract. (The
    paper's condition of stochastic attractivity, in one dimension; Section 4.)
    `loss_curvature`: L''(0); `diffusion_curvature`: D''(0), which is ≥ 0 since D is. Raises `InputError` if it is not.
    """
    curvature = _finite("loss_curvature", loss_curvature)
    return (curvature + _nonnegative("diffusion_curvature", diffusion_curvature) / 2)[()]


# --- quartic well: dθ = −(θ³ − μθ) dt + ζ θ dB (the paper's Figure 1) --------------------------------------------


def quartic_well_threshold(mu: ArrayLike) -> Any:
    """The noise ζ = √(2μ) from which on every trajectory collapses to 0: ζ² > 2μ (the paper's Figure 1); μ ≥ 0."""
    return np.sqrt(2 * _nonnegative("mu", mu))


def quartic_well_exponent(mu: ArrayLike, zeta: ArrayLike) -> Any:
    """Lyapunov exponent μ − ζ²/2, the rate at which log|θ| grows near 0: there θ is a geometric Brownian motion.

    It is −`attractivity_1d`(−μ, ζ²) (the paper's Figure 1); ζ ≥ 0.
    """
    return (_finite("mu", mu) - _nonnegative("zeta", zeta) ** 2 / 2)[()]


def quartic_well_density(theta: ArrayLike, mu: ArrayLike, zeta: ArrayLike) -> Any:
    """Stationary probability density at θ: p(θ) = |θ|^a exp(−θ²/ζ²) / (ζ^(a+1) Γ((a+1)/2)), a = 2μ/ζ² − 2.

    It solves the stationary Fokker–Planck equation (the paper's Figure 1) and is normalized over both wells. From
    ζ² = 2μ on no such density exists, all mass sits at 0: the value is 0, and infinite at θ = 0. At ζ = 0 the mass
    sits likewise at θ = ±√μ. μ and ζ must be ≥ 0.
    """
    t, m, z = np.broadcast_arrays(_real("theta", theta), _nonnegative("mu", mu), _nonnegative("zeta", zeta))
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
    x, y = _data(x, y)
    return float(x @ y / (x @ x))


def single_neuron_exponents(
    x: ArrayLike, y: ArrayLike, eta: ArrayLike, zeta: ArrayLike = 1.0, slope: ArrayLike = 1.0
) -> tuple[Any, Any]:
    """Rates (λ₊, λ₋) at which log|w1 + w2| and log|w1 − w2| grow near the origin, each of the shape of `eta`.

    λ± = ±φ'(0) Σxy/m − ηζ²φ'(0)² Σx²/(2m): both modes are geometric Brownian motions there (proof of Theorem 5.1).
    `x`, `y`: the data, (m,); `eta` ≥ 0 and `zeta` ≥ 0: learning rate and label noise; `slope`: φ'(0).
    """
    x, y = _data(x, y)
    slope = _finite("slope", slope)
    drift = slope * (x @ y) / len(x)
    loss = _nonnegative("eta", eta) * _nonnegative("zeta", zeta) ** 2 * slope**2 * (x @ x) / (2 * len(x))
    return (drift - loss)[()], (-drift - loss)[()]


# --- linear teacher–student, one mode: ŝ = u v against s*, label noise σ, learning rate η (the paper's Figure 5) ---


def teacher_student_threshold(eta: ArrayLike, sigma: ArrayLike) -> Any:
    """ησ²/2: what label noise takes from every singular value, and below which s* dies (the paper's Figure 5).

    With u = v each is the quartic well of μ = s* and ζ = σ√η, so this is its condition ζ² > 2μ. η is the learning rate
    per step, lr/N in the experiment, σ the standard deviation of the noise of a step; both ≥ 0.
    """
    return (_nonnegative("eta", eta) * _nonnegative("sigma", sigma) ** 2 / 2)[()]


def teacher_student_growth(limit: ArrayLike, t: ArrayLike, s0: ArrayLike) -> Any:
    """Logistic growth ds/dt = 2 s (limit − s) from s(0) = s0 ≥ 0 to time t ≥ 0; t is η times the number of steps.

    The 2 is there because both factors learn: with u = v, d(uv)/dt = 2 uv (s* − uv). (Saxe et al. 2014, and the paper's
    Figure 5, whose published curves have another time scale; simulation without noise agrees with this one.) To a
    limit ≤ 0 it is a decay, s0/(1 + 2 s0 t) at limit 0.
    """
    limit, t, s0 = np.broadcast_arrays(_finite("limit", limit), _nonnegative("t", t), _nonnegative("s0", s0))
    exponent = -2 * limit * t
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        gathered = np.where(limit == 0, 2 * t, -np.expm1(exponent) / limit)  # ∫ 2 exp(−2 limit τ) dτ up to t
        return np.where(s0 == 0, 0.0, s0 / (np.exp(exponent) + s0 * gathered))[()]


def teacher_student_bounds(
    s_star: ArrayLike, eta: ArrayLike, sigma: ArrayLike, t: ArrayLike, s0: ArrayLike
) -> tuple[Any, Any]:
    """Bounds (lower, upper) of the mean of ŝ at time t = η·steps: growth towards s* − ησ²/2 and towards s*.

    The growth laws of the paper's Figure 5. What holds of the mean of the SDE dŝ = 2ŝ (s* + ησ²/2 − ŝ) dt + 2σ√η ŝ dB,
    which follows from SGD with u = v by Itô's formula: it tends to max(0, s* − ησ²/2), the limit of the lower law,
    since d E log ŝ = 2 (s* − ησ²/2 − E ŝ) dt; and averaged over [0, t] it is never below the lower law, by Jensen's
    inequality, ŝ being d/dt log(1 + 2 s0 ∫ exp(2(s* − ησ²/2)τ + 2σ√η B) dτ)/2. The upper law bounds it from some time
    on, not from the start: ησ²/2 of the first drift is on top of it (σ = 20: by 6 % up to step 100).
    `s_star` ≥ 0: the singular value; `eta`, `sigma`: as for `teacher_student_threshold`; `s0` ≥ 0: ŝ at time 0.
    """
    s_star = _nonnegative("s_star", s_star)
    lower = teacher_student_growth(s_star - teacher_student_threshold(eta, sigma), t, s0)
    upper = teacher_student_growth(s_star, t, s0)
    return lower, (upper + np.zeros_like(lower))[()]


# --- input ----------------------------------------------------------------------------------------------------------

_Array = NDArray[np.float64]


def _real(name: str, values: ArrayLike) -> _Array:
    try:
        return np.asarray(values, float)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected numbers, found {values!r}") from None


def _finite(name: str, values: ArrayLike) -> _Array:
    array = _real(name, values)
    if not np.isfinite(array).all():
        raise InputError(f"{name}: expected finite numbers, found {array[~np.isfinite(array)][0]}")
    return array


def _nonnegative(name: str, values: ArrayLike) -> _Array:
    array = _finite(name, values)
    if (array < 0).any():
        raise InputError(f"{name}: expected numbers ≥ 0, found {array[array < 0][0]}")
    return array


def _data(x: ArrayLike, y: ArrayLike) -> tuple[_Array, _Array]:
    x, y = _finite("x", x), _finite("y", y)
    if x.ndim != 1 or x.shape != y.shape or not x.any():
        raise InputError(f"x, y: expected two lists of as many numbers, x not all 0, found shapes {x.shape}, {y.shape}")
    return x, y
