"""Closed forms against numerical integration, and against each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.special import gammainc

from stochastic_collapse.errors import InputError
from stochastic_collapse.theory import (
    attractivity_1d,
    origin_exponent,
    quartic_well_density,
    quartic_well_exponent,
    quartic_well_threshold,
    single_neuron_exponents,
    single_neuron_threshold,
    student_threshold,
    teacher_student_bounds,
    teacher_student_growth,
    teacher_student_threshold,
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


def test_density_where_numbers_end() -> None:
    root = np.sqrt(1.5)  # its square is not 1.5
    assert quartic_well_density([-root, 0, root, 1], 1.5, 0).tolist() == [np.inf, 0, np.inf, 0]
    mu = np.linspace(0.1, 7, 100)
    assert np.all(quartic_well_density(0, mu, quartic_well_threshold(mu)) == np.inf)
    assert np.all(quartic_well_density(1, mu, quartic_well_threshold(mu)) == 0)
    assert quartic_well_density([], 1.5, 1.0).shape == (0,)
    for zeta in (0.0, 1e-9, 0.1, 1.0, 2.0):
        density = quartic_well_density([-np.inf, np.inf, 1e200, np.nan], 1.5, zeta)
        assert np.array_equal(density, [0, 0, 0, np.nan], equal_nan=True)
    for zeta in (1e-17, 1e-160, 1e-200, 5e-324):  # narrower than the distance between floating-point numbers
        assert quartic_well_density([-root, 0, 1e-300, root, 2], 1.5, zeta).tolist() == [np.inf, 0, 0, np.inf, 0]
    for zeta in (1e-160, 1.0, 1e200):
        assert quartic_well_density([0, 1], 0, zeta).tolist() == [np.inf, 0]
    assert quartic_well_density([0, 1], 1.0, 1e200).tolist() == [np.inf, 0]


@pytest.mark.parametrize("zeta", [1e-2, 1e-4, 1e-6])
def test_density_of_a_narrow_well_is_a_gaussian(zeta: float) -> None:
    """Of variance ζ²/4 about √(μ − ζ²), up to terms of the order of ζ; half of the mass is in the other well."""
    offset = np.linspace(-2, 2, 9)
    density = quartic_well_density(np.sqrt(1.5 - zeta**2) + offset * zeta / 2, 1.5, zeta)
    gaussian = np.exp(-(offset**2) / 2) / (zeta / 2) / np.sqrt(2 * np.pi) / 2
    assert density == pytest.approx(gaussian, rel=2 * zeta + 1e-7)


def test_density_is_continuous_where_its_form_changes() -> None:
    theta, zeta = np.linspace(0.5, 2, 7), np.sqrt(1.5 / 32.5)
    below, above = (quartic_well_density(theta, 1.5, zeta * (1 + change)) for change in (1e-13, -1e-13))
    assert below == pytest.approx(above, rel=1e-10)


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


def test_of_anticorrelated_data_the_other_mode_has_the_threshold() -> None:
    x = np.array([-1.0, 0.5, 1.5])
    assert single_neuron_threshold(x, -0.8 * x) == pytest.approx(-0.8)
    plus, minus = single_neuron_exponents(x, -0.8 * x, [0, 1.59, 1.61])  # η/2 on both sides of 0.8
    assert np.all(plus < 0)
    assert (minus > 0).tolist() == [True, True, False]


# --- attractivity ---------------------------------------------------------------------------------------------------


def test_attractivity_is_what_ito_takes_from_log_theta() -> None:
    """d log|θ| has the drift −L'(θ)/θ − D(θ)/θ²: of L = −cosh θ + θ⁴ and D = 3 sin²θ, near 0."""
    theta = 1e-4
    drift = np.sinh(theta) / theta - 4 * theta**2 - 3 * (np.sin(theta) / theta) ** 2
    assert attractivity_1d(-1, 2 * 3) == pytest.approx(-drift, rel=1e-6)


def test_attractivity_has_the_sign_of_the_wells_threshold() -> None:
    mu, zeta = np.array([[0.1], [1.5], [4.0]]), np.linspace(0, 4, 41)
    alpha = attractivity_1d(-mu, zeta**2)
    assert alpha.shape == (3, 41)
    assert np.array_equal(alpha > 0, zeta**2 / 2 - mu > 0)
    off = np.abs(zeta - quartic_well_threshold(mu)) > 1e-9
    assert np.array_equal((alpha > 0)[off], (zeta > quartic_well_threshold(mu))[off])
    assert np.allclose(alpha, -quartic_well_exponent(mu, zeta), rtol=0, atol=1e-15)


# --- teacher–student ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1.3, 0.01, 0.0, -0.01, -0.7])
def test_growth_solves_its_differential_equation(limit: float) -> None:
    times = np.linspace(0, 20, 9)
    solution = solve_ivp(lambda t, s: 2 * s * (limit - s), (0, 20), [0.4], t_eval=times, rtol=1e-10, atol=1e-13)
    assert teacher_student_growth(limit, times, 0.4) == pytest.approx(solution.y[0], rel=1e-7)


def test_growth_at_its_limits() -> None:
    assert teacher_student_growth(1.3, 1e6, [0, 1e-9, 5]).tolist() == [0, pytest.approx(1.3), pytest.approx(1.3)]
    assert teacher_student_growth([0, -1], 1e6, 2) == pytest.approx([1 / 2e6, 0], abs=1e-9)
    assert teacher_student_growth(1e-12, 3, 2) == pytest.approx(teacher_student_growth(0, 3, 2), rel=1e-9)
    assert teacher_student_growth(0.5, 0, 2) == 2


def test_bounds_enclose_what_noise_leaves() -> None:
    s_star, sigma = np.array([0.2, 0.6, 1.3]), np.array([[0.0], [10.0], [20.0]])
    lower, upper = teacher_student_bounds(s_star, 3 / 1024, sigma, [[1e4]], 1.0)
    assert lower.shape == upper.shape == (3, 3)
    shrunk = s_star - teacher_student_threshold(3 / 1024, sigma)
    assert lower == pytest.approx(np.maximum(shrunk, 0), abs=1e-3)
    assert np.array_equal(lower[0], upper[0])
    assert upper == pytest.approx(np.broadcast_to(s_star, (3, 3)))


def test_the_lower_law_bounds_the_average_over_time_but_not_each_time() -> None:
    """By the SDE's solution ŝ = d/dt log(1 + 2 s0 ∫ exp(2(s* − ησ²/2)τ + 2σ√η B) dτ)/2, the paths at random."""
    s_star, eta, sigma, s0, trajectories = 1.0, 0.3 / 1024, 20.0, 0.05, 40_000
    times = np.linspace(0, 10_000 * eta, 301)
    rng, dt = np.random.default_rng(0), times[1]
    exponent, factor, integral = np.zeros(trajectories), np.ones(trajectories), np.zeros(trajectories)
    means, lower, upper = [s0], *teacher_student_bounds(s_star, eta, sigma, times, s0)
    for _ in times[1:]:
        exponent += 2 * (s_star - eta * sigma**2 / 2) * dt + 2 * sigma * np.sqrt(eta * dt) * rng.standard_normal(
            trajectories
        )
        before, factor = factor, np.exp(exponent)
        integral += dt * (before + factor) / 2
        values = s0 * factor / (1 + 2 * s0 * integral)
        means.append(values.mean())
    error = values.std() / np.sqrt(trajectories)
    assert means[-1] == pytest.approx(0.867, abs=5 * error)
    assert lower[-1] == pytest.approx(0.8784, abs=1e-4)
    assert means[-1] < lower[-1] - 3 * error
    assert means[60] > 1.03 * upper[60]  # step 2,000
    assert np.mean(means) > np.mean(lower)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_the_lower_bounds_limit_is_the_mean_of_the_stationary_density(share: float) -> None:
    """A mode is a quartic well of μ = s* and ζ = σ√η, and ŝ = θ²."""
    s_star, eta = 1.2, 0.003
    sigma = np.sqrt(share * 2 * s_star / eta)
    zeta = sigma * np.sqrt(eta)

    def integrand(u: float) -> float:  # θ = u^10
        return float(u**20 * quartic_well_density(u**10, s_star, zeta) * 10 * u**9)

    mean = 2 * quad(integrand, 0, 9**0.1, limit=500)[0]
    assert mean == pytest.approx(s_star - teacher_student_threshold(eta, sigma), abs=1e-6)
    assert mean == pytest.approx(teacher_student_bounds(s_star, eta, sigma, 1e4, 1)[0], abs=1e-6)
    assert zeta < quartic_well_threshold(s_star)


# --- students -------------------------------------------------------------------------------------------------------


def test_the_students_threshold_is_that_of_the_single_neuron() -> None:
    """With ζ² = σ²/N; at it the exponent of the mode that grows is 0."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(16)
    for y in (0.4 * x + 0.1 * rng.standard_normal(16), -0.7 * x):
        sigma = student_threshold(x, y, [0.01, 0.2], slope=0.5)
        exponents = single_neuron_exponents(x, y, [0.01, 0.2], sigma / np.sqrt(16), 0.5)
        assert np.maximum(*exponents) == pytest.approx(0, abs=1e-14)


def test_slopes_of_rectified_students_die_at_their_thresholds() -> None:
    """SGD of 100 students of 4 neurons on slopes 1 and −0.4, from weights that are large enough to learn both.

    Means over time have the limit of the linear mode, s* − ησ²/2N (within 0.03: three standard errors of about 0.01).
    Below the threshold the share of slopes under 1e-3 is that of the well's stationary density, where ŝN/(ησ²) is
    Gamma-distributed (within four standard deviations of a binomial, and 0.02 for the length of the steps); above, 1.
    """
    rng = np.random.default_rng(0)
    points, eta, slopes = 16, 0.02, np.array([1.0, 0.4])
    x = rng.standard_normal(points)
    halves = np.stack([np.maximum(x, 0), np.maximum(-x, 0)])
    y = slopes @ halves
    sigma_1, sigma_2 = (float(student_threshold(half, y, eta)) for half in halves)
    assert [sigma_1, sigma_2] == pytest.approx(np.sqrt(2 * points * slopes / eta))
    assert teacher_student_threshold(eta / points, [sigma_1, sigma_2]) == pytest.approx(slopes)
    for sigma in (0.5 * sigma_2, 1.2 * sigma_2, 1.2 * sigma_1):
        w, v = np.tile([0.5, 0.3, -0.5, -0.3], (100, 1)), np.full((100, 4), 0.5)
        means, steps = np.zeros(2), 30_000
        for step in range(steps):
            outputs = np.stack([(v * np.maximum(w, 0)).sum(axis=1), (v * np.maximum(-w, 0)).sum(axis=1)], axis=1)
            residual = outputs @ halves - y - sigma * rng.standard_normal((100, points))
            pull = residual @ halves.T / points
            pull = np.where(w > 0, pull[:, :1], -pull[:, 1:])
            w, v = w - eta * v * pull, v - eta * w * pull
            if step >= steps // 2:
                means += outputs.mean(axis=0) / (steps // 2)
        limits = np.maximum(slopes - teacher_student_threshold(eta / points, sigma), 0)
        assert means == pytest.approx(limits, abs=0.03)
        dead = np.mean(np.abs(outputs) < 1e-3, axis=0)
        for share, slope, limit in zip(dead, slopes, limits, strict=True):
            unit = eta * sigma**2 / points
            expected = gammainc(slope / unit - 0.5, 1e-3 / unit) if limit else 1.0
            assert share == pytest.approx(expected, abs=0.02 + 4 * np.sqrt(expected * (1 - expected) / 100))


def test_where_noise_makes_a_neuron_grow() -> None:
    """Closed at d = 1, 2, 4 (s² averages to 1/3 there, and 1/4 is left); large d: y² ≈ s² ≈ 1/d, so 1/2 at least."""
    assert [origin_exponent(d) for d in (1, 2, 4)] == pytest.approx([-0.5, 0, 0.25], abs=1e-12)

    def density(y: float, d: int) -> float:
        return float((1 - y**2) ** (-(d + 1) / 2) * np.exp(-(d - 1) / (2 * (1 - y**2))))

    for d in (3, 5, 8):
        mass, square = (quad(lambda y, n=n, d=d: y**n * density(y, d), -1, 1)[0] for n in (0, 2))
        assert origin_exponent(d) == pytest.approx((d - 2) / 2 * square / mass, rel=1e-7)


@pytest.mark.parametrize("inputs", [2, 4])
def test_the_exponent_of_the_origin_is_that_of_the_linear_equation(inputs: int) -> None:
    """Itô's products (1 + A) of 400 neurons, c dt = 0.004 a step over a time of 80/c: a standard error below 0.004;
    four of them are allowed, and so is the bias of the steps."""
    rng, step, steps = np.random.default_rng(2), 0.004, 20_000
    z = rng.standard_normal((400, inputs + 1))
    grown = np.zeros(400)
    for n in range(steps):
        noise = np.sqrt(step) * rng.standard_normal((400, inputs))
        z = np.concatenate(
            [z[:, :-1] + z[:, -1:] * noise, z[:, -1:] + (z[:, :-1] * noise).sum(axis=1, keepdims=True)], axis=1
        )
        norm = np.linalg.norm(z, axis=1, keepdims=True)
        z /= norm
        if n >= steps // 10:
            grown += np.log(norm[:, 0])
    rates = grown / (0.9 * steps * step)
    assert rates.std() / 20 < 0.004
    assert rates.mean() == pytest.approx(origin_exponent(inputs), abs=0.02)


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attractivity_1d(1, -1), "diffusion_curvature: expected numbers ≥ 0, found -1"),
        (lambda: attractivity_1d(np.nan, 1), "loss_curvature: expected finite numbers, found nan"),
        (lambda: quartic_well_threshold([1, -2]), "mu: expected numbers ≥ 0, found -2"),
        (lambda: quartic_well_exponent(1, -1), "zeta: expected numbers ≥ 0"),
        (lambda: quartic_well_density("x", 1, 1), "theta: expected real numbers, found 'x'"),
        (lambda: quartic_well_density(0, -1, 1), "mu: expected numbers ≥ 0"),
        (lambda: single_neuron_threshold([1, 2], [1]), r"x, y: expected two lists .* found shapes \(2,\), \(1,\)"),
        (lambda: single_neuron_threshold([0, 0], [1, 2]), "x not all 0"),
        (lambda: single_neuron_exponents([1], [1], np.inf), "eta: expected finite numbers, found inf"),
        (lambda: student_threshold([1, 2], [1, 2], 0), "eta: expected numbers > 0, found 0"),
        (lambda: student_threshold([1, 2], [1, 2], 1, -1), "slope: expected numbers > 0, found -1"),
        (lambda: student_threshold([1, 2], [1], 1), r"x, y: expected two lists"),
        (lambda: origin_exponent(0), "inputs: expected a whole number of 1 or more, found 0"),
        (lambda: teacher_student_threshold(-1, 1), "eta: expected numbers ≥ 0"),
        (lambda: teacher_student_growth(1, -1, 1), "t: expected numbers ≥ 0"),
        (lambda: teacher_student_bounds(-0.1, 1, 1, 1, 1), "s_star: expected numbers ≥ 0"),
        (lambda: attractivity_1d(1j, 1), "loss_curvature: expected real numbers, found 1j"),
        (lambda: quartic_well_threshold(np.array([1, 2j])), "mu: expected real numbers, found array"),
        (lambda: quartic_well_exponent("1.5", 1), "mu: expected real numbers, found '1.5'"),
        (lambda: quartic_well_exponent(np.array([["a", "b"], ["c", "d"]]), 1), r"mu: .* array\(\[\['a', 'b'\], \['c'"),
        (lambda: teacher_student_threshold(["1"] * 100, 1), r"eta: expected real numbers, found \['1', .*\.\.\.$"),
        (lambda: teacher_student_growth(np.array(None), 1, 1), r"limit: expected real numbers, found array\(None"),
        (lambda: teacher_student_growth(10**400, 1, 1), "limit: expected real numbers, found 1000"),
        (lambda: single_neuron_exponents([1, 2], [[1], [1, 2]], 1), "y: expected real numbers"),
        (lambda: attractivity_1d([1, 2], [1, 2, 3]), r"loss_curvature, diffusion_curvature: .* found \(2,\), \(3,\)"),
        (lambda: quartic_well_exponent([1, 2], [1, 2, 3]), "mu, zeta: expected shapes that broadcast, found"),
        (lambda: quartic_well_density([1, 2], [1, 2, 3], 1), r"theta, mu, zeta: .* found \(2,\), \(3,\), \(\)"),
        (lambda: single_neuron_exponents([1], [1], [1, 2], [1, 2, 3]), "eta, zeta, slope: expected shapes"),
        (lambda: teacher_student_threshold([1, 2], [1, 2, 3]), "eta, sigma: expected shapes"),
        (lambda: teacher_student_growth([1, 2], [1, 2, 3], 1), "limit, t, s0: expected shapes"),
        (lambda: teacher_student_bounds([1, 2], 1, 1, [1, 2, 3], 1), "s_star, eta, sigma, t, s0: expected shapes"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1
