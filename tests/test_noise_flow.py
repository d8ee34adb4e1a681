"""Rates of approach against the Hessian they stand for, and against students in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr

from stochastic_collapse.errors import InputError
from stochastic_collapse.noise_flow import approach_rates

Array = NDArray[np.float64]


def gelu(z: Array) -> Array:
    return np.asarray(z * ndtr(z))


PHI: dict[Any, Callable[[Array], Array]] = {"gelu": gelu, "tanh": np.tanh}


def outputs(phi: Callable[[Array], Array], x: Array, neurons: Array) -> Array:
    """(N,)"""
    return np.asarray(phi(x @ neurons[:, :-1].T) @ neurons[:, -1])


def slopes(phi: Callable[[Array], Array], x: Array, neurons: Array) -> Array:
    """(N, P) by central differences."""
    flat, h = neurons.ravel(), 1e-5
    steps = [(flat + h * e, flat - h * e) for e in np.eye(flat.size)]
    return np.stack(
        [
            (outputs(phi, x, a.reshape(neurons.shape)) - outputs(phi, x, b.reshape(neurons.shape))) / (2 * h)
            for a, b in steps
        ],
        axis=1,
    )


@pytest.mark.parametrize("activation", ["gelu", "tanh"])
def test_rates_are_the_curvature_of_what_label_noise_descends(activation: Any) -> None:
    """Of Σ r̄ f/N + (κ/4N²) Σ‖∇f‖², by differences, in a student that follows all noise: 40 weights, 6 points.

    r̄ is the residual that leaves f where it is: J times the slope of that potential is zero.
    """
    rng, phi = np.random.default_rng(0), PHI[activation]
    x, y, neurons = rng.standard_normal((6, 3)), rng.standard_normal(6), rng.standard_normal((10, 4))
    eta, sigma = 0.1, 0.1
    kappa = eta * sigma**2
    places = [(0, 1), (4, 2), (3,)]
    rates = approach_rates(x, y, neurons, places, eta, sigma, activation)

    def penalty(n: Array) -> float:
        return float(kappa / (4 * 36) * (slopes(phi, x, n) ** 2).sum())

    jacobian = slopes(phi, x, neurons)
    assert np.linalg.eigvalsh(jacobian @ jacobian.T)[0] > kappa
    h, flat = 1e-4, neurons.ravel()
    descent = np.array(
        [penalty((flat + h * e).reshape(10, 4)) - penalty((flat - h * e).reshape(10, 4)) for e in np.eye(40)]
    ) / (2 * h)
    held = -6 * np.linalg.solve(jacobian @ jacobian.T, jacobian @ descent)

    def potential(n: Array) -> float:
        return float(held @ outputs(phi, x, n)) / 6 + penalty(n)

    for place, rate in zip(places, rates, strict=True):
        members = list(place)
        centre = neurons[members].mean(axis=0) * (len(place) == 2)
        s = neurons[members[0]] - (neurons[members[1]] if len(place) == 2 else 0)
        s /= np.linalg.norm(s)
        signs = np.array([[1.0], [-1.0]])[: len(place)] / np.sqrt(len(place))  # a unit displacement of all weights
        h = 1e-2
        # The potential of the neurons of the place alone: the others are as they were.
        around = [potential(np.stack([centre] * len(place)) + step * signs * s) for step in (-h, 0, h)]
        assert rate == pytest.approx((around[0] - 2 * around[1] + around[2]) / h**2, rel=2e-3, abs=1e-4 * kappa)


def test_beside_the_origin_it_is_a_closed_form() -> None:
    """ησ²φ'(0)²/2N² (Σ (w·x)² + v² Σ‖x‖²) for a unit displacement, less twice φ'(0) v Σ r̄ (w·x)/N.

    One neuron learns one point; r̄ follows from φ = z and its derivatives at large z, where GELU is the identity.
    """
    x, w, v = np.array([[2.0]]), 4.0, 3.0
    neurons = np.array([[w, v], [0.01, 0.0], [0.0, 0.01], [0.01, 0.01]])
    eta, sigma = 0.1, 1.0
    kappa = eta * sigma**2
    residual = -kappa / 2 * (2 * w * v * x[0, 0] ** 3) / (x[0, 0] ** 2 * (w**2 + v**2))
    noise = kappa * 0.25 / 2 * 4
    expected = [noise, noise, noise + 2 * 0.5 * 0.5 * residual * 2]
    assert approach_rates(x, [v * w * 2], neurons, [(1,), (2,), (3,)], eta, sigma) == pytest.approx(expected, rel=1e-3)


def test_students_approach_at_these_rates() -> None:
    """4 students of 32 neurons in 8,000 steps of SGD with momentum, label noise 0.3; 8 pairs and 2 neurons of each.

    Over the second half, in units of κ/N, where measured rates are 0.06 ± 0.04. The limits are those that 13 draws of
    teacher, points, students and noise all kept: correlation 0.75 to 0.97, error 0.01 to 0.041, means within 17 %.
    """
    rng = np.random.default_rng(0)
    inputs, points, lr, momentum, sigma, every = 4, 32, 0.1, 0.9, 0.3, 400
    teacher, a = rng.standard_normal((2, inputs)), rng.standard_normal(2)
    x = rng.standard_normal((points, inputs))
    y = gelu(x @ teacher.T) @ a
    y /= y.std()
    w, v = rng.standard_normal((4, 32, inputs)) / np.sqrt(inputs), rng.standard_normal((4, 32)) / np.sqrt(32)
    velocity_w, velocity_v, snapshots = np.zeros_like(w), np.zeros_like(v), []
    for step in range(8001):
        if step >= 4000 and step % every == 0:
            snapshots.append(np.concatenate([w, v[..., None]], axis=-1))
        z = w @ x.T
        share = ndtr(z)
        phi, slope = z * share, share + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        residual = (v[:, None] @ phi)[:, 0] - y - sigma * rng.standard_normal((4, points))
        pull = residual[:, None] / points
        velocity_w = momentum * velocity_w + v[..., None] * ((slope * pull) @ x)
        velocity_v = momentum * velocity_v + (phi * pull).sum(axis=-1)
        w, v = w - lr * velocity_w, v - lr * velocity_v
    eta = lr / (1 - momentum)
    measured, predicted = [], []
    for student in range(4):
        path = np.stack(snapshots)[:, student]
        norms = np.linalg.norm(path, axis=-1)
        distance = np.linalg.norm(path[:, :, None] - path[:, None], axis=-1)
        relative = distance[0] / np.hypot(norms[0][:, None], norms[0])
        couples: list[tuple[int, ...]] = []
        for i, j in sorted(zip(*np.triu_indices(32, 1), strict=True), key=lambda pair: float(relative[pair])):
            taken = {k for couple in couples for k in couple}
            if len(couples) < 8 and not {i, j} & taken and min(norms[0][[i, j]]) > 0.1 * norms[0].max():
                couples.append((int(i), int(j)))
        places = [*couples, *((int(i),) for i in norms[0].argsort()[:2])]
        rates = np.mean([approach_rates(x, y, neurons, places, eta, sigma) for neurons in path], axis=0)
        for place, rate in zip(places, rates, strict=True):
            ends = distance[[0, -1], place[0], place[1]] if len(place) == 2 else norms[[0, -1], place[0]]
            measured.append(np.log(ends[0] / ends[1]) / (4000 * eta))
            predicted.append(rate)
    unit = eta * sigma**2 / points
    true, rates = np.array(measured) / unit, np.array(predicted) / unit
    assert np.corrcoef(true, rates)[0, 1] > 0.7
    assert np.sqrt(np.mean((true - rates) ** 2)) < 0.045
    assert rates.mean() == pytest.approx(true.mean(), rel=0.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": [1.0]}, r"x, y, neurons: expected shapes .* found \(2, 1\), \(1,\), \(3, 2\)"),
        ({"neurons": [[np.nan, 1]]}, "neurons: expected finite numbers, found nan"),
        ({"eta": 0}, "eta: expected a number above 0, found 0"),
        ({"sigma": -1}, "sigma: expected a number above 0, found -1"),
        ({"activation": "relu"}, "activation: expected one of gelu, tanh, found 'relu'"),
        ({"places": [(0, 1, 2)]}, r"places: expected \(i,\) or \(i, j\) of numbers below 3, found \(0, 1, 2\)"),
        ({"places": [(3,)]}, "places: expected .* below 3"),
        ({"places": [(0, 1)]}, r"the displacement of \(0, 1\) is zero"),
        ({"places": [(2,)]}, r"the displacement of \(2,\) is zero"),
    ],
)
def test_bad_input_is_one_line(change: dict[str, Any], message: str) -> None:
    arguments = {"x": [[1.0], [2.0]], "y": [1.0, 2.0], "neurons": [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]}
    with pytest.raises(InputError, match=message) as caught:
        approach_rates(**{**arguments, "places": [(0,)], "eta": 1, "sigma": 1, **change})
    assert len(str(caught.value).splitlines()) == 1
