"""Closed forms against numerical integration, and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from stochastic_collapse.theory import (
    quartic_well_density,
    quartic_well_exponent,
    quartic_well_threshold,
    single_neuron_exponents,
    single_neuron_threshold,
)


@pytest.mark.parametrize("mu", [0.5, 1.5])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 0.9])  # of the threshold: the density diverges at 0 from 0.71 on
def test_density_is_normalized_and_stationary(mu: float, share: float) -> None:
    zeta = share * quartic_well_threshold(mu)

    def density(theta: float) -> float:
        return float(quartic_well_density(theta, mu, zeta))

    # θ = u^10 tames the divergence at 0.
    mass, _ = quad(lambda u: 10 * u**9 * density(u**10), 0, 8**0.1, limit=500)
    assert 2 * mass == pytest.approx(1, abs=1e-6)
    for theta in (0.3, 1.0, 1.7):  # no probability current: (μθ − θ³) p = (ζ²θ² p)'/2
        h = 1e-5
        flow = [(zeta * t) ** 2 / 2 * density(t) for t in (theta - h, theta + h)]
        drift = (mu * theta - theta**3) * density(theta)
        assert (flow[1] - flow[0]) / (2 * h) == pytest.approx(drift, rel=1e-5, abs=1e-12)


def test_density_at_its_limits() -> None:
    theta = np.array([-1.0, 0.0, 1.0])
    assert quartic_well_density(theta, 1.5, 1.0)[1] == 0  # two humps
    assert quartic_well_density(0, 1.0, 1.0) == pytest.approx(1 / np.sqrt(np.pi))  # a Gaussian
    assert np.array_equal(quartic_well_density(theta, 1.5, 1.6), quartic_well_density(-theta, 1.5, 1.6))
    assert quartic_well_density(0, 1.5, 1.6) == np.inf
    for zeta in (np.sqrt(3) + 1e-12, 2.5, 100.0):  # no density: all mass at 0
        assert quartic_well_density(theta, 1.5, zeta).tolist() == [0, np.inf, 0]
    assert quartic_well_density([-1, 0, 1], 1.0, 0).tolist() == [np.inf, 0, np.inf]


def test_density_broadcasts() -> None:
    theta, zeta = np.linspace(-2, 2, 7), np.array([[0.5], [1.0], [2.0]])
    table = quartic_well_density(theta, 1.5, zeta)
    assert table.shape == (3, 7)
    assert table[1, 2] == quartic_well_density(theta[2], 1.5, 1.0)


def test_the_wells_exponent_changes_sign_at_the_threshold() -> None:
    for mu in (0.1, 1.5, 4.0):
        assert quartic_well_exponent(mu, quartic_well_threshold(mu)) == pytest.approx(0, abs=1e-15)
    assert quartic_well_exponent(1.5, [0, 1, 2]).tolist() == [1.5, 1, -0.5]


def test_the_neurons_exponent_changes_sign_at_the_threshold() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(32)
    y = 0.7 * x + 0.1 * rng.standard_normal(32)
    for zeta, slope in ((1.0, 1.0), (2.0, 1.0), (1.0, 0.5)):
        eta = 2 * single_neuron_threshold(x, y) / (zeta**2 * slope)  # ηζ²φ'(0)/2 at the threshold
        plus, minus = single_neuron_exponents(x, y, [eta, 0.0], zeta, slope)
        assert plus[0] == pytest.approx(0, abs=1e-14)
        assert plus[1] == pytest.approx(slope * (x @ y) / 32)
        assert minus[1] == -plus[1]
        assert np.all(minus < plus)
    assert single_neuron_threshold(x, 3 * x) == pytest.approx(3)
