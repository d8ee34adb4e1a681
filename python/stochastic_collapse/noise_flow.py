"""How fast label noise draws the neurons of a trained student together, from its weights alone (`approach_rates`).

**Model.** A student f(x) = Σ_j v_j φ(w_j·x) learns by SGD on Σ(f − y − σξ)²/(2N), all N points at each step, ξ new each
time. In the time t = η̂·steps, η̂ = η/(1 − momentum), and with the residual r = f − y, dθ = −Σ_n ∇f_n dR_n/N where
dR_n = r_n dt − √η̂ σ dB_n. Beside the origin of a neuron, or where two neurons agree, a displacement u obeys the linear
equation du = −Σ_n ∇²f_n u dR_n/N.

**The other weights follow the noise.** df = −(K/N) dR with K = JJᵀ, J (N, P) the derivatives of f. So where K has an
eigenvalue k, R = −(N/k) r is no Brownian motion: it is bounded, and E[R dR] = −½ η̂σ² dt since R² is stationary. A
fluctuation of this kind neither draws u in nor drives it away to first order; to second order it leaves

    du/dt = −M u,   M = Σ_n r̄_n ∇²f_n/N + (κ/2N²) Σ_n ((∇²f_n)² + ∇³f_n[∇f_n]),   κ = η̂σ²                    (1)

the Hessian of Σ r̄_n f_n/N + (κ/4N²) Σ‖∇f_n‖²: label noise descends ‖∇f‖² where the loss is flat (Blanc et al. 2020;
Damian, Ma, Lee 2021; Li, Wang, Arora 2022). The mean residual r̄ holds f where it is: r̄ = −(κ/2N) K⁻¹ J Σ_n ∇²f_n ∇f_n.

**What does not follow in time.** In the directions of K that relax more slowly than u does, at a rate k/N below κ/N,
the residual is what it is, and the noise is white: these add κ/N² (⟨u, H u⟩² − ½ ‖H u‖²) for unit u, H the ∇²f of
such a direction (formula (2) of `collapse.attraction`, which takes all noise to be white).

**Limits.** η̂ times the rate, times the memory 1/(1 − momentum) of the steps, must be small. The present r̄ is that of
weights that fluctuate: averages over snapshots are sharper than one. Measured for GELU students of 32 neurons, 4 inputs
and 32 points (teachers of 2 neurons, η 0.1, momentum 0.9, σ 0.3, steps 4,000–8,000, 11 snapshots, 8 pairs and 2 neurons
of 4 students; 13 draws of all of it): measured rates 0.06 ± 0.04 in units of κ/N, predicted ones 5 % below in the
mean (up to 17 %), errors 0.01 to 0.04, correlation 0.75 to 0.97. From one snapshot the errors are two to three times
as large. With few neurons left (σ 0.5, from 4,000 steps on) rates are 0.02 and the correlation is 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError

_Array = NDArray[np.float64]


def approach_rates(
    x: ArrayLike,
    y: ArrayLike,
    neurons: ArrayLike,
    places: Sequence[tuple[int, ...]],
    eta: float,
    sigma: float,
    activation: Literal["gelu", "tanh"] = "gelu",
) -> _Array:
    """(places,) the rates at which log distance falls, per unit of the time η̂·steps: formula (1) of this module.

    `x` (N, d), `y` (N,): the points; inputs that are always 1 make biases. `neurons` (h, d + 1): incoming weights and
    the outgoing one of each neuron. A place is the neuron (i,) beside the origin, or the pair (i, j); the rate is that
    along its present displacement. `eta`: effective learning rate lr/(1 − momentum); `sigma`: label noise of a step.
    Raises `InputError` for shapes that do not fit, numbers out of range, and where a displacement is zero.
    """
    x, y, neurons = (np.asarray(values, dtype=float) for values in (x, y, neurons))
    _check(x, y, neurons, eta, sigma, activation)
    network = _Network(x, y, neurons, eta * sigma**2, activation)
    return np.array([network.rate(_members(place, neurons)) for place in places])


class _Network:
    """What all places of a student share: the directions of K, which of them follow the noise, and the residual."""

    def __init__(self, x: _Array, y: _Array, neurons: _Array, kappa: float, activation: str) -> None:
        self.x, self.kappa, self.derivatives = x, kappa, _DERIVATIVES[activation]
        w, v = neurons[:, :-1], neurons[:, -1:]
        f0, f1, f2, _ = self.derivatives(w @ x.T)  # (h, N)
        squares = (x**2).sum(axis=1)
        jacobian = np.concatenate([(v * f1)[..., None] * x, f0[..., None]], axis=-1)  # (h, N, d + 1)
        slope = np.concatenate([(v**2 * f1 * f2 * squares + f0 * f1) @ x, (v * f1**2) @ squares[:, None]], axis=1)
        k, self.directions = np.linalg.eigh(np.einsum("hnp,hmp->nm", jacobian, jacobian))
        self.follows = k > kappa
        along = self.directions.T @ np.einsum("hnp,hp->n", jacobian, slope)
        held = -kappa / (2 * len(x)) * along / np.where(self.follows, k, 1.0)
        left = self.directions.T @ ((v * f0).sum(axis=0) - y)
        self.residual = self.directions @ np.where(self.follows, held, left)

    def rate(self, members: _Array) -> float:
        """Of one neuron (1, d + 1) or of a pair (2, d + 1)."""
        pair = len(members) == 2
        centre = members.mean(axis=0) if pair else np.zeros_like(members[0])
        s = members[0] - (members[1] if pair else centre)
        s = s / np.linalg.norm(s)
        x, points, v = self.x, len(self.x), centre[-1]
        f0, f1, f2, f3 = self.derivatives(x @ centre[:-1])
        p = x @ s[:-1]
        hessian_s = np.concatenate([(v * f2 * p + f1 * s[-1])[:, None] * x, (f1 * p)[:, None]], axis=1)  # ∇²f_n s
        s_hessian_s = v * f2 * p**2 + 2 * f1 * s[-1] * p
        followed = self.directions[:, self.follows]
        projector = followed @ followed.T
        in_w, in_v = (projector * (x @ x.T)) @ (v * f1), projector @ f0  # ∇f, as far as it is followed
        third = (v * f3 * p + 2 * f2 * s[-1]) * p * in_w + f2 * p**2 * in_v
        power = ((self.directions.T @ hessian_s) ** 2).sum(axis=1) / 2
        white = (self.directions.T @ s_hessian_s) ** 2 - power
        noise = np.where(self.follows, power, white).sum() + third.sum() / 2
        return float(self.residual @ s_hessian_s / points + self.kappa / points**2 * noise)


def _gelu(z: _Array) -> tuple[_Array, ...]:
    from scipy.special import ndtr

    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return z * ndtr(z), ndtr(z) + z * density, (2 - z**2) * density, (z**2 - 4) * z * density


def _tanh(z: _Array) -> tuple[_Array, ...]:
    t = np.tanh(z)
    return t, 1 - t**2, -2 * t * (1 - t**2), (6 * t**2 - 2) * (1 - t**2)


_DERIVATIVES = {"gelu": _gelu, "tanh": _tanh}
"""φ and its first three derivatives."""


# --- input ----------------------------------------------------------------------------------------------------------


def _check(x: _Array, y: _Array, neurons: _Array, eta: float, sigma: float, activation: str) -> None:
    if x.ndim != 2 or y.shape != x.shape[:1] or neurons.ndim != 2 or neurons.shape[1] != x.shape[1] + 1 or not x.size:
        found = ", ".join(str(array.shape) for array in (x, y, neurons))
        raise InputError(f"x, y, neurons: expected shapes (N, d), (N,) and (h, d + 1), found {found}")
    for name, array in (("x", x), ("y", y), ("neurons", neurons)):
        if not np.isfinite(array).all():
            raise InputError(f"{name}: expected finite numbers, found {array[~np.isfinite(array)][0]}")
    for name, value in (("eta", eta), ("sigma", sigma)):
        if not 0 < value < np.inf:
            raise InputError(f"{name}: expected a number above 0, found {value}")
    if activation not in _DERIVATIVES:
        raise InputError(f"activation: expected one of {', '.join(_DERIVATIVES)}, found {activation!r}")


def _members(place: tuple[int, ...], neurons: _Array) -> _Array:
    if len(place) not in (1, 2) or not all(0 <= i < len(neurons) for i in place):
        raise InputError(f"places: expected (i,) or (i, j) of numbers below {len(neurons)}, found {place}")
    members = neurons[list(place)]
    if not (members[0] - (members[1] if len(place) == 2 else 0)).any():
        raise InputError(f"places: the displacement of {place} is zero, so it has no rate")
    return members
