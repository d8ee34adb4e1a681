"""Linear teacher–student: data, steps against plain loops with the same noise, laws, and what theory predicts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import chisquare

from stochastic_collapse import ToyConfig, ToyRun, simulate_toy
from stochastic_collapse.errors import InputError
from stochastic_collapse.theory import teacher_student_bounds, teacher_student_growth, teacher_student_threshold
from stochastic_collapse.toys import learned_values, losses
from stochastic_collapse.toys.engines import torch_sgd
from stochastic_collapse.toys.problems import data_of, spec_of

from .helpers import find_julia, need

Make = Callable[..., ToyConfig]
Simulate = Callable[[ToyConfig, str], ToyRun]
Array = NDArray[np.float64]


@pytest.fixture(params=["torch", "julia", "juliacall"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine that is available."""
    need(request.param)
    return str(request.param)


@pytest.fixture
def simulate(tmp_path: Path) -> Simulate:
    numbers = itertools.count()
    return lambda config, engine: simulate_toy(config, engine, julia=find_julia(), out=tmp_path / f"run{next(numbers)}")


def run_by_hand(equations: torch_sgd.Recursion, steps: int, trajectories: int) -> tuple[Array, Array, Array]:
    """The state before and after some steps, each (levels, trajectories, D), and what was drawn for them."""
    levels = range(len(equations.spec["noise"]))
    streams = [np.random.default_rng([7, k]) for k in levels]
    state = equations.start(streams, range(trajectories))
    before = state.numpy().transpose(1, 2, 0).copy()
    drawn = np.zeros((len(levels), steps, equations.draws, trajectories))
    for k, stream in enumerate(streams):
        equations.draw(k, stream, drawn[k])
    step = equations.stepper(state, levels, range(trajectories))
    for at in range(steps):
        step(torch.from_numpy(drawn[:, at].swapaxes(0, 1)), at)
    return before, state.numpy().transpose(1, 2, 0), drawn


# --- diagonal form --------------------------------------------------------------------------------------------------


def test_without_noise_the_data_are_the_teacher(student: Make) -> None:
    data = data_of(student("problem.target_noise=0", "problem.inputs=12"))
    assert data["s_star"] == pytest.approx([1.2, 0.8, 0, 0, 0], abs=1e-14)
    assert np.diagonal(data["teacher"]) == pytest.approx(data["s_star"], abs=1e-14)


def test_the_data_are_those_of_the_paper(student: Make) -> None:
    """Singular values of W + E, the entries of E having the variance 0.5²/m; the teacher has its own."""
    shape = ("problem.points=200", "problem.inputs=150", "problem.outputs=100", "problem.teacher=[0.5, 3]")
    data = data_of(student(*shape))
    assert np.linalg.svd(data["teacher"], compute_uv=False)[:3] == pytest.approx([3, 0.5, 0], abs=1e-12)
    noise = (data["s_star"] ** 2).sum() - 3**2 - 0.5**2
    assert noise == pytest.approx(0.25 / 100 * 150 * 100, rel=0.07)  # 5 standard errors, W·E included
    assert data["s_star"][0] == pytest.approx(np.sqrt((9 + 0.25) * (9 + 0.25 * 1.5)) / 3, rel=0.03)  # BBP 2005


def test_steps_are_those_of_the_plain_loop(student: Make) -> None:
    config = student(
        "lr=[0.64, 6.4, 1.28]", "problem.init=[0.7, -1.1]", "snapshots=[0, 40]",
        "schedule={name: multistep, warmup_steps: 5, milestones: [20, 30], gamma: 0.3}",
    )  # fmt: skip
    equations = torch_sgd.TeacherStudent(spec_of(config), data_of(config))
    _, found, drawn = run_by_hand(equations, 40, 3)
    s_star = data_of(config)["s_star"]
    for level, lr in enumerate([0.64, 6.4, 1.28]):
        for trajectory in range(3):
            for mode in range(5):
                u, v = 0.7, -1.1
                for t in range(40):
                    eta = lr * ((t + 1) / 5 if t < 5 else 0.3 ** ((t >= 20) + (t >= 30))) / 64
                    r = u * v - s_star[mode] + drawn[level, t, mode, trajectory]
                    u, v = u - eta * r * v, v - eta * r * u
                assert found[level, trajectory, mode] == pytest.approx(u, rel=1e-10)
                assert found[level, trajectory, 5 + mode] == pytest.approx(v, rel=1e-10)
    assert drawn[0].std() == 0
    assert drawn[2].std() == pytest.approx(12, rel=0.15)  # 600 normals: 5 standard errors


def test_without_noise_u2_minus_v2_is_conserved(student: Make, simulate: Simulate) -> None:
    """Each step multiplies it by 1 − (ηr)², so that with a hundredth of η a hundredth of it is lost."""
    lost = []
    for lr, steps in ((6.4, 200), (0.064, 20_000)):
        run = simulate(student("noise=0", f"lr={lr}", f"snapshots=[0, {steps}]", "problem.init=[1.6, 0.4]"), "torch")
        u, v = run.state[0, :, 0, :5], run.state[0, :, 0, 5:]
        difference = u**2 - v**2
        assert np.abs(u[1] * v[1] - u[0] * v[0]).min() > 0.05  # it has learned
        lost.append(1 - difference[1] / difference[0])
    assert np.all(lost[0] > 1e-4)
    assert lost[1] == pytest.approx(lost[0] / 100, rel=0.2)


def test_without_noise_modes_grow_by_the_law(student: Make, engine: str, simulate: Simulate) -> None:
    """So the time scale is t = η·steps with a rate of 2 s*; half of it would be off by 0.3."""
    config = student("noise=0", "lr=0.064", "snapshots=[0, 500, 1000, 2000]")
    run = simulate(config, engine)
    for s, time in enumerate(run.time):
        law = teacher_student_growth(run.data["s_star"], 0.001 * time, 1.0)
        assert learned_values(run, s)[0, 0] == pytest.approx(law, abs=5e-4)
    halved = teacher_student_growth(run.data["s_star"], 0.0005 * run.time[2], 1.0)
    assert np.abs(learned_values(run, 2)[0, 0] - halved).max() > 0.1


# η = 3/256, at t = 146 as in the paper's experiment at step 50,000
LATE = (
    "problem.points=256", "problem.inputs=16", "problem.outputs=16", "problem.teacher=[0.5, 0.75, 1]", "lr=3",
    "noise=[0, 5, 10]", "trajectories=256", "snapshots=[0, 12500]", "seed=2",
)  # fmt: skip


def test_means_lie_within_the_bounds(student: Make, engine: str, simulate: Simulate) -> None:
    """Of every mode and σ, within 3 standard errors; false alarms: about 4 % (30 modes near a bound, one-sided).

    A mode near its threshold has a law so skewed that the error estimated from 256 seeds is too small; so the error is
    at least that of the stationary law, √(ησ² (s* − ησ²/2)/256). What steps of size η differ from the law is allowed
    for: without noise both bounds are one, and the error is 0.
    """
    run = simulate(student(*LATE), engine)
    eta, s_star = 3 / 256, run.data["s_star"]
    values = learned_values(run, -1)
    died = 0
    for k, sigma in enumerate(run.noise):
        lower, upper = teacher_student_bounds(s_star, eta, sigma, eta * 12500, 1.0)
        threshold = teacher_student_threshold(eta, sigma)
        mean, error = values[k].mean(axis=0), values[k].std(axis=0, ddof=1) / 16
        stationary = np.sqrt(eta * sigma**2 * np.maximum(s_star - threshold, 0) / 256)
        error = 3 * np.maximum(error, stationary) + 0.01 * eta * upper
        assert np.all(lower - error <= mean)
        assert np.all(mean <= upper + error)
        below = s_star < 0.9 * threshold
        died += below.sum()
        assert np.all(np.median(values[k], axis=0)[below] < 0.03)
        assert np.all((np.median(values[k], axis=0) > 0.1 * s_star)[s_star > 2.5 * threshold])
    assert died >= 5


def test_no_steps_leave_the_start(student: Make, engine: str, simulate: Simulate) -> None:
    run = simulate(student("snapshots=[0]", "problem.init=[0.5, 2]"), engine)
    assert run.state.shape == (3, 1, 6, 10)
    assert np.all(run.state[..., :5] == 0.5)
    assert np.all(run.state[..., 5:] == 2)


def test_losses_are_those_of_the_matrices(student: Make, simulate: Simulate) -> None:
    """Ŵ = P diag(ŝ) Qᵀ against W and against XᵀY, all in the basis of P and Q."""
    run = simulate(student("problem.init=[0.5, 1]"), "torch")
    found, data = losses(run), data_of(student("problem.init=[0.5, 1]"))
    for s in range(3):
        values = learned_values(run, s)
        assert found["training"][:, s] == pytest.approx(0.5 * ((values - data["s_star"]) ** 2).sum(-1))
        for k in range(3):
            for n in range(6):
                student_matrix = np.zeros((6, 5))
                np.fill_diagonal(student_matrix, values[k, n])
                expected = 0.5 * ((student_matrix - data["teacher"]) ** 2).sum()
                assert found["test"][k, s, n] == pytest.approx(expected)


def test_other_runs_have_no_learned_values(neurons: Make, simulate: Simulate) -> None:
    with pytest.raises(InputError, match="is a run of two-neurons, expected teacher-student"):
        losses(simulate(neurons(), "torch"))


# --- general form ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[1, 4, 32], [32, 7, 3, 32, 31], [32], [2]])
def test_general_steps_are_those_of_the_plain_loop(general: Make, sizes: list[int]) -> None:
    config = general(f"noise={sizes}", "schedule={name: constant, warmup_steps: 3}", "lr=2")
    data = data_of(config)
    _, found, drawn = run_by_hand(torch_sgd.TeacherStudentGeneral(spec_of(config), data), 12, 2)
    for level, size in enumerate(sizes):
        for trajectory in range(2):
            v, u = data["v"].copy(), data["u"].copy()
            for t in range(12):
                chosen = list(range(32)) if size == 32 else drawn[level, t, :size, trajectory].astype(int)
                dv, du = np.zeros_like(v), np.zeros_like(u)
                for i in chosen:
                    residual = data["x"][i] @ v @ u - data["y"][i]
                    dv += np.outer(data["x"][i], u @ residual)
                    du += np.outer(data["x"][i] @ v, residual)
                lr = 2 * min(1, (t + 1) / 3)
                v, u = v - lr * dv / size, u - lr * du / size
            assert found[level, trajectory] == pytest.approx(
                np.concatenate([v.ravel(), u.ravel()]), rel=1e-9, abs=1e-12
            )


@pytest.mark.parametrize("size", [1, 3, 5])
def test_mini_batches_are_without_repetition_and_fair(general: Make, size: int) -> None:
    """All subsets of 6 examples equally often, by χ² at p > 1e-4 with a fixed seed."""
    config = general(f"noise={size}", "problem.points=6")
    equations = torch_sgd.TeacherStudentGeneral(spec_of(config), data_of(config))
    out = np.zeros((3000, size, 4))
    equations.draw(0, np.random.default_rng(1), out)
    subsets = np.sort(out, axis=1).transpose(0, 2, 1).reshape(-1, size)
    assert np.all(np.diff(subsets, axis=1) > 0)
    _, counts = np.unique(subsets, axis=0, return_counts=True)
    assert len(counts) == {1: 6, 3: 20, 5: 6}[size]
    assert chisquare(counts).pvalue > 1e-4


def test_full_batches_conserve_the_balance_of_the_factors(general: Make, simulate: Simulate) -> None:
    """Gradient flow conserves VᵀV − U Uᵀ; gradient descent loses of the order of lr² a step, so of lr in a time."""
    lost = []
    for lr, steps in ((0.1, 200), (0.01, 2000)):
        run = simulate(general("noise=32", f"lr={lr}", f"snapshots=[0, {steps}]", "trajectories=1"), "torch")
        v, u = run.state[0, :, 0, :25].reshape(2, 5, 5), run.state[0, :, 0, 25:].reshape(2, 5, 4)
        balance = v.swapaxes(1, 2) @ v - u @ u.swapaxes(1, 2)
        lost.append(np.abs(balance[1] - balance[0]).max())
        assert np.abs(v[1] @ u[1] - v[0] @ u[0]).max() > 0.1
    assert lost[1] < 0.15 * lost[0]
    assert lost[0] < 0.05


def test_trajectories_differ_by_their_mini_batches_only(general: Make, simulate: Simulate) -> None:
    run = simulate(general(), "torch")
    assert np.all(run.state[:, 0] == run.state[0, 0, 0])
    assert not np.any(run.state[:2, 2, 0] == run.state[:2, 2, 1])
    assert np.array_equal(run.state[2, :, 0], run.state[2, :, 1])


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "override", "message"),
    [
        ("student", "lr=[1, 2]", "lr: expected one number, or as many as noise has (3), found 2"),
        ("student", "lr=0", "lr.0: input should be greater than 0, found 0"),
        ("student", "dt=1", "dt: unknown setting"),
        (
            "student",
            "problem.teacher={start: 1, stop: 2, count: 6}",
            "6 singular values are more than inputs 6 and outputs 5",
        ),
        ("student", "problem.points=5", "points: 5 are too few for 6 orthonormal columns"),
        ("student", "problem.init=[1]", "problem.init"),
        ("student", "schedule.name=steps", "schedule.name: expected one of constant, multistep, cosine, linear"),
        ("general", "noise=[0, 4]", "noise: mini-batch sizes are whole numbers from 1 to points, found 0"),
        ("general", "noise=[2.5]", "found 2.5"),
        ("general", "noise=[33]", "found 33"),
        ("neurons", "problem.momentum=1", "problem.momentum: input should be less than 1, found 1"),
        ("neurons", "noise=[1, 2]", "lr: expected one number, or as many as noise has (2), found 3"),
    ],
)
def test_each_mistake_is_one_line(kind: str, override: str, message: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(InputError) as caught:
        request.getfixturevalue(kind)(override)
    assert len(str(caught.value).splitlines()) == 1
    assert message in str(caught.value)


def test_one_learning_rate_or_one_noise_level_is_for_all(student: Make) -> None:
    assert spec_of(student())["lr"] == [0.64] * 3
    spec = spec_of(student("noise=2", "lr=[1, 2]"))
    assert (spec["lr"], spec["noise"]) == ([1, 2], [2, 2])


def test_the_schedule_is_the_trainings(student: Make) -> None:
    rate = data_of(student("schedule={name: multistep, warmup_steps: 4, milestones: [10], gamma: 0.1}"))["rate"]
    assert rate == pytest.approx([0.25, 0.5, 0.75, *[1] * 7, *[0.1] * 10])


def test_divergence_is_reported(student: Make, tmp_path: Path) -> None:
    news: list[str] = []
    run = simulate_toy(student("lr=1e4"), "torch", out=tmp_path / "run", report=news.append)
    assert not np.isfinite(run.state[2, -1]).all()
    assert any("noise level 12.0: 6 of 6 trajectories diverged; lr = 10000.0 may be too large" in line for line in news)
