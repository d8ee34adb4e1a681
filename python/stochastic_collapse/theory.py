"""Closed forms for the toy problems: thresholds, exponents, stationary densities, growth laws (NumPy only).

Arguments broadcast like NumPy's, and so do results; scalars give scalars. Bad input raises `InputError`.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError

_Array = NDArray[np.float64]
_Rule = Literal["any", "finite", "≥ 0", "> 0"]

# --- one dimension: dθ = −L'(θ) dt + √(2 D(θ)) dB with L'(0) = D(0) = D'(0) = 0 -----------------------------------


def attractivity_1d(loss_curvature: ArrayLike, diffusion_curvature: ArrayLike) -> Any:
    """α = L''(0) + D''(0)/2: the invariant set θ = 0 attracts where it is positive, and repels where it is negative.

    −α is the rate at which log|θ| grows near 0, where θ is a geometric Brownian motion: with D ≈ D''θ²/2 the noise is
    √D'' θ dB, and Itô's correction takes D''/2 from the drift. So noise can make a maximum of the loss attract. (The
    paper's condition of stochastic attractivity, in one dimension; Section 4.)
    `loss_curvature`: L''(0); `diffusion_curvature`: D''(0), which is ≥ 0 since D is. Raises `InputError` if it is not.
    """
    loss, diffusion = _checked(
        loss_curvature=(loss_curvature, "finite"), diffusion_curvature=(diffusion_curvature, "≥ 0")
    )
    return (loss + diffusion / 2)[()]


# --- quartic well: dθ = −(θ³ − μθ) dt + ζ θ dB (the paper's Figure 1) --------------------------------------------


def quartic_well_threshold(mu: ArrayLike) -> Any:
    """The noise ζ = √(2μ) from which on every trajectory collapses to 0: ζ² > 2μ (the paper's Figure 1); μ ≥ 0."""
    (m,) = _checked(mu=(mu, "≥ 0"))
    return np.sqrt(2 * m)[()]


def quartic_well_exponent(mu: ArrayLike, zeta: ArrayLike) -> Any:
    """Lyapunov exponent μ − ζ²/2, the rate at which log|θ| grows near 0: there θ is a geometric Brownian motion.

    It is −`attractivity_1d`(−μ, ζ²) (the paper's Figure 1); ζ ≥ 0.
    """
    m, z = _checked(mu=(mu, "finite"), zeta=(zeta, "≥ 0"))
    return (m - z**2 / 2)[()]


def quartic_well_density(theta: ArrayLike, mu: ArrayLike, zeta: ArrayLike) -> Any:
    """Stationary probability density at θ: p(θ) = |θ|^a exp(−θ²/ζ²) / (ζ^(a+1) Γ((a+1)/2)), a = 2μ/ζ² − 2.

    It solves the stationary Fokker–Planck equation (the paper's Figure 1) and is normalized over both wells. From
    ζ² = 2μ on no such density exists, all mass sits at 0: the value is 0, and infinite at θ = 0. At ζ = 0 the mass
    sits likewise at θ = ±√μ, and so it does where ζ is too small, against √μ, for floating-point numbers to tell. μ and
    ζ must be ≥ 0.
    """
    t, m, z = _checked(theta=(theta, "any"), mu=(mu, "≥ 0"), zeta=(zeta, "≥ 0"))
    with np.errstate(all="ignore"):
        far = np.abs(t) > _FAR
        t = np.where(far, 0.0, np.abs(t))
        well = np.sqrt(m)
        at_wells = z <= np.finfo(float).eps * well
        at_zero = ~at_wells & (z >= np.sqrt(2 * m))
        k = (well / z) ** 2 - 0.5  # (a + 1)/2, above 0 where there is a density
        k = np.where(at_wells | at_zero, 1.0, np.maximum(k, np.finfo(float).tiny))
        log_density = np.where(k < _STIRLING_FROM, _log_density(t, z, k), _log_density_of_deep_wells(t, m, z, k))
        density = np.where(far, 0.0, np.exp(log_density))
        point_mass = np.where(~far & (t == np.where(at_zero, 0.0, well)), np.inf, np.where(np.isnan(t), np.nan, 0.0))
        return np.where(at_wells | at_zero, point_mass, density)[()]


_FAR = 1e160  # no density is above 0 there whose μ is a floating-point number
_STIRLING_FROM = 32


def _log_density(t: _Array, z: _Array, k: _Array) -> _Array:
    """As it stands."""
    power = np.where(k == 0.5, 0.0, (2 * k - 1) * np.log(t))  # 0 log 0 is 0 here
    return np.asarray(power - (t / z) ** 2 - 2 * k * np.log(z) - np.vectorize(math.lgamma, otypes=[float])(k))


def _log_density_of_deep_wells(t: _Array, m: _Array, z: _Array, k: _Array) -> _Array:
    """For large k, where the terms of the other form are huge and cancel.

    With q = θ²/(kζ²) and Stirling's series r(k) it is −log ζ − log(2π)/2 − r(k) − (k − ½) (q − 1 − log q) − (q − 1)/2.
    """
    squared = m - z**2 / 2  # kζ²
    centre = np.sqrt(squared)
    d = np.maximum((t - centre) * (t + centre) / squared, -1)  # q − 1
    series = (1 / 12 - (1 / 360 - 1 / (1260 * k**2)) / k**2) / k
    return np.asarray(-np.log(z) - math.log(2 * math.pi) / 2 - series - (k - 0.5) * (d - np.log1p(d)) - d / 2)


# --- single neuron: ŷ = w2 φ(w1 x) with φ(0) = 0 (the paper's Figure 2) -----------------------------------------


def single_neuron_threshold(x: ArrayLike, y: ArrayLike) -> float:
    """Σxy/Σx²: with φ'(0) > 0 and Σxy ≥ 0 the origin attracts if and only if ηζ²φ'(0)/2 exceeds it (Theorem 5.1).

    Where Σxy < 0 it is the other mode, w1 − w2, that noise has to hold (λ₋ of `single_neuron_exponents`), so that
    ηζ²φ'(0)/2 must exceed |Σxy|/Σx², the absolute value of what this returns. `x`, `y`: the data, (m,).
    """
    x, y = _data(x, y)
    return float(x @ y / (x @ x))


def single_neuron_exponents(
    x: ArrayLike, y: ArrayLike, eta: ArrayLike, zeta: ArrayLike = 1.0, slope: ArrayLike = 1.0
) -> tuple[Any, Any]:
    """Rates (λ₊, λ₋) at which log|w1 + w2| and log|w1 − w2| grow near the origin, each of the shape that `eta`, `zeta`
    and `slope` broadcast to.

    λ± = ±φ'(0) Σxy/m − ηζ²φ'(0)² Σx²/(2m): both modes are geometric Brownian motions there (proof of Theorem 5.1).
    `x`, `y`: the data, (m,); `eta` ≥ 0 and `zeta` ≥ 0: learning rate and label noise; `slope`: φ'(0).
    """
    x, y = _data(x, y)
    eta, zeta, slope = _checked(eta=(eta, "≥ 0"), zeta=(zeta, "≥ 0"), slope=(slope, "finite"))
    drift = slope * (x @ y) / len(x)
    loss = eta * zeta**2 * slope**2 * (x @ x) / (2 * len(x))
    return (drift - loss)[()], (-drift - loss)[()]


# --- linear teacher–student, one mode: ŝ = u v against s*, label noise σ, learning rate η (the paper's Figure 5) ---


def teacher_student_threshold(eta: ArrayLike, sigma: ArrayLike) -> Any:
    """ησ²/2: what label noise takes from every singular value, and below which s* dies (the paper's Figure 5).

    With u = v each is the quartic well of μ = s* and ζ = σ√η, so this is its condition ζ² > 2μ. η is the learning rate
    per step, lr/N in the experiment, σ the standard deviation of the noise of a step; both ≥ 0.
    """
    eta, sigma = _checked(eta=(eta, "≥ 0"), sigma=(sigma, "≥ 0"))
    return (eta * sigma**2 / 2)[()]


def teacher_student_growth(limit: ArrayLike, t: ArrayLike, s0: ArrayLike) -> Any:
    """Logistic growth ds/dt = 2 s (limit − s) from s(0) = s0 ≥ 0 to time t ≥ 0; t is η times the number of steps.

    The 2 is there because both factors learn: with u = v, d(uv)/dt = 2 uv (s* − uv). (Saxe et al. 2014, and the paper's
    Figure 5, whose published curves have another time scale; simulation without noise agrees with this one.) To a
    limit ≤ 0 it is a decay, s0/(1 + 2 s0 t) at limit 0.
    """
    limit, t, s0 = _checked(limit=(limit, "finite"), t=(t, "≥ 0"), s0=(s0, "≥ 0"))
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
    since d E log ŝ = 2 (s* − ησ²/2 − E ŝ) dt; and averaged over [0, t] it is never below the average of the lower law,
    by Jensen's inequality, ŝ being d/dt log(1 + 2 s0 ∫ exp(2(s* − ησ²/2)τ + 2σ√η B) dτ)/2.

    So `lower` holds for the average over [0, t] and in the stationary state; it is not a pointwise bound at finite time
    when noise is not small (s* = 1, η = 0.3/1024, σ = 20, s0 = 0.05: at step 10,000 the mean is 0.867, `lower` 0.878).
    `upper` bounds the mean from some time on, and may be exceeded before: ησ²/2 of the first drift is on top of it
    (in the same setting by 5 % at step 2,000; with η = 3/1024 and s0 = 1 by 6 % up to step 100).
    `s_star` ≥ 0: the singular value; `eta`, `sigma`: as for `teacher_student_threshold`; `s0` ≥ 0: ŝ at time 0.
    """
    s_star, eta, sigma, t, s0 = _checked(
        s_star=(s_star, "≥ 0"), eta=(eta, "≥ 0"), sigma=(sigma, "≥ 0"), t=(t, "≥ 0"), s0=(s0, "≥ 0")
    )
    lower = teacher_student_growth(s_star - teacher_student_threshold(eta, sigma), t, s0)
    return lower, teacher_student_growth(s_star, t, s0)


# --- a student's neuron near the origin: f ≈ φ'(0) v (w·x), all N points in a step, label noise σ ------------------


def student_threshold(x: ArrayLike, y: ArrayLike, eta: ArrayLike, slope: ArrayLike = 1.0) -> Any:
    """The label noise σ of a step from which on a neuron of one input dies: σ² = 2N |Σxy|/(φ'(0) η Σx²).

    With w = ±v its log grows at the rate φ'(0) |Σxy|/N − ησ²φ'(0)² Σx²/(2N²): Theorem 5.1 (`single_neuron_threshold`)
    with ζ² = σ²/N. `x`, `y`: the N points, (N,), with y less what other neurons contribute, and x = 0 where this one is
    silent; `eta`: effective learning rate lr/(1 − momentum), above 0; `slope`: φ'(0), above 0.

    Rectified students of one input are such neurons at any size: those of w > 0 see x > 0 only, those of w < 0 the
    rest. There a teacher is two slopes a, and each dies at its σ = √(2N|a|/η), where `teacher_student_threshold` of η/N
    and σ is |a|. (With momentum the rate times the memory η/(1 − momentum) must be small: slopes 0.4 and 1 of 32
    points die at a σ about 5 % lower at lr 0.002 and momentum 0.9, and at lr 0.02 and momentum 0.9 it fails.)
    """
    x, y = _data(x, y)
    eta, slope = _checked(eta=(eta, "> 0"), slope=(slope, "> 0"))
    return np.sqrt(2 * len(x) * abs(single_neuron_threshold(x, y)) / (slope * eta))[()]


def origin_exponent(inputs: int) -> float:
    """Rate at which label noise alone makes the log of a neuron of d inputs grow, in units of c = ησ²φ'(0)²/N.

    For isotropic inputs, Σ xxᵀ = N, and noise that no other neuron follows: dw = √c v dB, dv = √c w·dB. With y = v/|w|,
    dy = √c (1 − y²) dB − c (y + (d − 3) y³/2) dt, whose stationary density is proportional to
    (1 − y²)^(−(d+1)/2) exp(−(d−1)/(2(1 − y²))), and d log|w| has the mean c (d − 2) y²/2 (Furstenberg–Khasminskii; y² =
    s²/(1 + s²) makes it a Gaussian average over s ~ N(0, 1/(d − 1))).

    −1/2 at d = 1, where y = ±1; 0 at d = 2; above 0 for more, where noise across w drives the neuron from the origin
    faster than noise along it draws it in: no label noise makes the origin attract. (In simulations a signal only adds
    to it.) Neurons vanish there nevertheless where others follow the noise (`noise_flow`). `inputs`: d ≥ 1.
    """
    if not isinstance(inputs, int) or inputs < 1:
        raise InputError(f"inputs: expected a whole number of 1 or more, found {inputs!r}")
    if inputs == 1:
        return -0.5
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    square = nodes**2 / (inputs - 1)
    density = weights * (1 + square) ** ((inputs - 2) / 2)
    return float((inputs - 2) / 2 * (density @ (square / (1 + square))) / density.sum())


# --- input ----------------------------------------------------------------------------------------------------------


def _checked(**arguments: tuple[ArrayLike, _Rule]) -> list[_Array]:
    """Values, each with what is asked of it, as arrays of one shape. `InputError`, one line that names the argument."""
    arrays = {name: _array(name, values, rule) for name, (values, rule) in arguments.items()}
    try:
        return list(np.broadcast_arrays(*arrays.values()))
    except ValueError:
        shapes = ", ".join(str(array.shape) for array in arrays.values())
        raise InputError(f"{', '.join(arrays)}: expected shapes that broadcast, found {shapes}") from None


def _array(name: str, values: ArrayLike, rule: _Rule) -> _Array:
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf" and not (array.size and all(isinstance(v, Real) for v in array.flat)):
            raise TypeError  # complex numbers and strings among them, which NumPy would convert
        array = array.astype(float)
    except (TypeError, ValueError, OverflowError):
        shown = " ".join(repr(values).split())
        found = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise InputError(f"{name}: expected real numbers, found {found}") from None
    if rule != "any" and not np.isfinite(array).all():
        raise InputError(f"{name}: expected finite numbers, found {array[~np.isfinite(array)][0]}")
    if rule == "≥ 0" and (array < 0).any():
        raise InputError(f"{name}: expected numbers ≥ 0, found {array[array < 0][0]}")
    if rule == "> 0" and (array <= 0).any():
        raise InputError(f"{name}: expected numbers > 0, found {array[array <= 0][0]}")
    return array


def _data(x: ArrayLike, y: ArrayLike) -> tuple[_Array, _Array]:
    x, y = _array("x", x, "finite"), _array("y", y, "finite")
    if x.ndim != 1 or x.shape != y.shape or not x.any():
        raise InputError(f"x, y: expected two lists of as many numbers, x not all 0, found shapes {x.shape}, {y.shape}")
    return x, y
