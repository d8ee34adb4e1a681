"""The toy figures from small made-up runs: what is drawn is what the runs say."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from numpy.typing import NDArray
from stochastic_collapse.figures import fig1, fig2, fig5, style, two_neurons

from stochastic_collapse import ToyRun
from stochastic_collapse.errors import InputError
from stochastic_collapse.theory import teacher_student_growth

X = np.array([-1.0, 0.5, 1.5])


def run(problem: str, noise: list[float], state: Any, times: list[float], **parameters: Any) -> ToyRun:
    state = np.asarray(state, float)
    spec = {"problem": problem, "parameters": parameters, "trajectories": state.shape[2]}
    data = {"x": X, "y": 0.8 * X} if problem == "single-neuron" else {}
    return ToyRun(Path(problem), spec, {"engine": "none"}, np.array(times), np.array(noise), state, data)


def neuron(shares: NDArray[np.float64], times: list[float], trajectories: int = 10) -> ToyRun:
    """Of the trajectories at level k and snapshot s the share `shares[k, s]` is collapsed."""
    collapsed = np.arange(trajectories) < np.round(trajectories * shares[..., None])
    state = np.where(collapsed, 1e-3, 1.0)[..., None] * np.ones(2)
    noise = np.linspace(0, 4, len(shares)).tolist()
    return run("single-neuron", noise, state, times, activation="tanh", zeta=1.0, init_std=1e-3)


def well(noise: list[float], state: Any, times: list[float]) -> ToyRun:
    return run("quartic-well", noise, state, times, mu=1.5, init_std=2.0)


def curves(panel: Axes) -> dict[str, list[float]]:
    return {str(line.get_label()): np.asarray(line.get_ydata(), float).tolist() for line in panel.get_lines()}


def vertical(panel: Axes) -> list[float]:
    """Where the dashed vertical lines stand."""
    return [float(np.asarray(line.get_xdata())[0]) for line in panel.get_lines() if line.get_linestyle() == "--"]


def test_fig2_draws_probabilities_at_their_true_times() -> None:
    times = [0.0, 10.101, 20.202, 101.01, 303.0303, 1000.0]
    shares = np.linspace(0, 1, 5)[:, None] * np.linspace(1, 0.5, 6)
    with style.paper():
        figure = fig2.draw(fig2.load([neuron(shares, times)]))
    left, right = figure.axes
    drawn = curves(right)
    for s, label in ((1, "t = 10.1"), (2, "t = 20.2"), (3, "t = 101"), (4, "t = 303"), (5, "t = 1000")):
        assert drawn[label] == pytest.approx(np.round(10 * shares[:, s]) / 10)
    assert np.asarray(right.get_lines()[0].get_xdata()).tolist() == [0, 0.5, 1, 1.5, 2]  # η/2
    assert vertical(right) == pytest.approx([0.8])
    assert [t.get_text() for t in left.get_legend().get_texts()] == [
        "0.00",
        "0.50",
        "1.00",
    ]  # nearest to 0.2, 0.68, 1.2


def test_bands_are_wilsons() -> None:
    with style.paper():
        figure = fig2.draw(fig2.load([neuron(np.full((3, 2), 0.5), [0.0, 1.0], trajectories=100)]))
    band = figure.axes[1].collections[-1].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(0.4038, abs=1e-4)  # 50 of 100
    assert band[:, 1].max() == pytest.approx(0.5962, abs=1e-4)


def test_fig1_draws_trajectories_densities_and_probabilities() -> None:
    times = [0.0, 25.0, 200.0]
    paths = well([0.1, 2.5], np.arange(2 * 3 * 4).reshape(2, 3, 4, 1) / 10, times)
    state = np.ones((4, 3, 10, 1))
    state[3, 2, :7] = 1e-16
    collapse = well([0, 1, 2, 3], state, times)
    with style.paper():
        figure = fig1.draw(fig1.load([collapse, paths]))
    *above, below = figure.axes
    assert [panel.get_title(loc="left") for panel in above] == ["ζ = 0.1", "", "ζ = 2.5", ""]
    assert np.asarray(above[0].get_lines()[3].get_ydata()).tolist() == [0.3, 0.7, 1.1]
    assert len(above[1].get_lines()) == 1  # the stationary density
    assert len(above[3].get_lines()) == 0  # which a collapsed one has not
    assert [text.get_text() for text in above[3].texts] == ["all of it\nat θ = 0"]
    assert curves(below)["t = 200"] == pytest.approx([0, 0, 0, 0.7])
    assert curves(below)["t = 0"] == pytest.approx([0, 0, 0, 0])
    assert vertical(below) == pytest.approx([np.sqrt(3)])


def test_what_cannot_be_drawn() -> None:
    one = neuron(np.zeros((3, 2)), [0.0, 1.0])
    with pytest.raises(InputError, match="drawn from one run of single-neuron, found single-neuron, single-neuron"):
        fig2.load([one, one])
    one.spec["parameters"]["activation"] = "sine"
    with pytest.raises(InputError, match=r"no φ'\(0\) known of the activation 'sine'"):
        fig2.load([one])
    few = well([1.0], np.zeros((1, 2, 2, 1)), [0.0, 1.0])
    with pytest.raises(InputError, match="drawn from two runs of quartic-well, trajectories and collapse, found none"):
        fig1.load([])
    other = well([1.0, 2.0], np.zeros((2, 2, 2, 1)), [0.0, 1.0])
    other.spec["parameters"]["mu"] = 1.0
    with pytest.raises(InputError, match="differ in mu"):
        fig1.load([few, other])


# --- teacher–student ------------------------------------------------------------------------------------------------

STEPS = [0, 10, 20, 25, 30]


def student(rate: list[float] | None = None) -> ToyRun:
    """Two modes, two noise levels, three seeds; ŝ = 1, then 0.5, 1, 1.5 by seed for the first mode, 0 for the other."""
    state = np.ones((2, 5, 3, 4))
    state[:, 1:, :, 0] = [0.5, 1, 1.5]  # u of the first mode
    state[:, 1:, :, 1] = 0
    spec = {"problem": "teacher-student", "lr": [0.5, 1.0], "trajectories": 3}
    spec["parameters"] = {"points": 10, "init": [1.0, 1.0]}
    data = {"s_star": np.array([1.2, 0.1]), "teacher": np.diag([0.9, 0.0])}
    data["rate"] = np.array(rate if rate is not None else [1.0] * 20 + [0.1] * 10)
    return ToyRun(Path("student"), spec, {}, np.array(STEPS, float), np.array([0.0, 4.0]), state, data)


def test_fig5_has_means_errors_losses_and_laws() -> None:
    results = fig5.load([student()])
    assert (results.before.step, results.after.step) == (20, 30)
    assert results.before.mean == pytest.approx(np.array([[1, 0], [1, 0]]))
    assert results.before.error == pytest.approx(np.array([[0.5 / np.sqrt(3), 0]] * 2))
    assert results.thresholds == pytest.approx([0, 0.1 * 16 / 2])
    assert results.before.upper[1] == pytest.approx(teacher_student_growth([1.2, 0.1], 0.1 * 20, 1.0))
    assert results.before.lower[1] == pytest.approx(teacher_student_growth([0.4, -0.7], 0.1 * 20, 1.0))
    # After the drop of the rate, each seed from where it was.
    each = teacher_student_growth(1.2 - 0.08, 0.01 * 10, [0.5, 1, 1.5])
    assert results.after.lower[1] == pytest.approx([each.mean(), 0])
    training, error = results.losses["training"]
    assert training[0, 0] == pytest.approx((0.2**2 + 0.9**2) / 2)
    assert training[0, 1] == pytest.approx(np.mean([0.7**2, 0.2**2, 0.3**2]) / 2 + 0.1**2 / 2)
    assert error[0, 1] == pytest.approx(np.std([0.7**2 / 2, 0.2**2 / 2, 0.3**2 / 2], ddof=1) / np.sqrt(3))
    assert results.losses["test"][0][0, 0] == pytest.approx((0.1**2 + 1) / 2)


def test_fig5_draws_them() -> None:
    with style.paper():
        figure = fig5.draw(fig5.load([student()]))
    training, test, before, after = figure.axes
    assert curves(training)["σ = 0"][0] == pytest.approx((0.2**2 + 0.9**2) / 2)
    assert [panel.get_ylabel() for panel in (training, test)] == [
        "excess training loss Σ(ŝ − s*)²/2",
        "test loss ‖Ŵ − W‖²/2",
    ]
    assert before.get_title(loc="left") == "step 20, before the learning rate drops"
    assert after.get_title(loc="left") == "step 30, at the end"
    names = [[text.get_text() for text in panel.get_legend().get_texts()] for panel in (before, after)]
    assert names[0][1:3] == ["lower bound", "upper bound"]
    assert names[1][1:3] == ["growth towards s* − ησ²/2", "growth towards s*"]  # which bounds nothing so soon
    points = before.containers[1].lines[0]
    assert np.asarray(points.get_xdata()).tolist() == [1.2, 0.1]
    assert np.asarray(points.get_ydata()).tolist() == [1, 0]


def test_fig5_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(InputError, match="drawn from one run of teacher-student, found none"):
        fig5.load([])
    with pytest.raises(InputError, match="student: expected a constant learning rate with one drop at most"):
        fig5.load([student([0.5] * 10 + [1.0] * 20)])
    with pytest.raises(InputError, match="one drop at most"):
        fig5.load([student([1.0] * 10 + [0.5] * 10 + [0.1] * 10)])
    constant = fig5.load([student([1.0] * 30)])
    assert constant.before.step == constant.after.step == 30
    for step in (5, 22):  # before and after the first snapshot that is not the start
        with pytest.raises(InputError, match=f"student: the learning rate drops at step {step}; simulate with {step} "):
            fig5.load([student([1.0] * step + [0.1] * (30 - step))])
    with pytest.raises(InputError, match="student: has no steps, only the start"):
        fig5.load([student([])])


@pytest.mark.parametrize("init", [[0.01, 3.0], [1.0, -1.0], [-1.0, -1.0], [0.0, 0.0]])
def test_fig5_is_of_modes_that_start_with_equal_factors(init: list[float]) -> None:
    run = student()
    run.spec["parameters"]["init"] = init
    with pytest.raises(InputError, match=r"figure fig5: student: theory is of modes that start at u = v > 0, found"):
        fig5.load([run])


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e200])  # whose square is infinite
@pytest.mark.filterwarnings("error")
def test_fig5_names_the_run_that_diverged(value: float) -> None:
    run = student()
    run.state[1, 3, 2] = value
    with pytest.raises(InputError, match="figure fig5: student: students diverged at σ = 4; simulate with a smaller"):
        fig5.load([run])


# --- two neurons ----------------------------------------------------------------------------------------------------


def test_two_neurons_draws_weights_and_distances() -> None:
    state = np.zeros((4, 2, 3, 8))
    state[..., :4] = [1, 0.6, -0.6, -0.4]
    state[2, 1, :, :4] = 0.5  # merged
    spec = {"problem": "two-neurons", "lr": [0.1, 0.2, 0.3, 0.1], "trajectories": 3}
    run = ToyRun(Path("neurons"), spec, {}, np.array([0.0, 9.0]), np.array([0.1, 0.1, 0.1, 0.8]), state, {})
    with style.paper():
        figure = two_neurons.draw(two_neurons.load([run]))
    weights, rates, noise = figure.axes
    assert weights.get_title(loc="left") == "learning rate 0.2, σ = 0.1"
    assert curves(weights)["second neuron, in"] == [0.6, 0.6]
    assert curves(weights)["first neuron, out"] == [-0.6, -0.6]
    assert list(curves(rates)) == ["0.1", "0.2", "0.3"]
    assert curves(rates)["0.2"] == pytest.approx([0.4**2 + 0.2**2] * 2)
    assert curves(rates)["0.3"] == pytest.approx([0.2, two_neurons.LEAST])
    assert list(curves(noise)) == ["0.1", "0.8"]
    assert rates.get_ylabel() == noise.get_ylabel() == "max(‖w₁ − w₂‖², 1e-16)"
    with pytest.raises(InputError, match="drawn from one run of two-neurons, found neurons, neurons"):
        two_neurons.load([run, run])
    with pytest.raises(InputError, match="figure two-neurons: neurons: has no steps, only the start"):
        two_neurons.load([dataclasses.replace(run, time=np.zeros(1), state=state[:, :1])])


def test_numbers_are_short() -> None:
    assert [style.number(v) for v in (0, 10.101, 101.01, 303.0303, 1000)] == ["0", "10.1", "101", "303", "1000"]
