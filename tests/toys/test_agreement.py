"""Across the border: every engine that is available gives the same distributions, and those of theory.

Seeds are fixed, so a test that passes keeps passing; false alarms are what another seed or stream would risk.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import fisher_exact, ks_2samp

from stochastic_collapse import ToyConfig, ToyRun, simulate_toy
from stochastic_collapse.errors import InputError
from stochastic_collapse.theory import quartic_well_exponent, single_neuron_exponents
from stochastic_collapse.toys import ToyDirectory, learned_values
from stochastic_collapse.toys.engines import ENGINES

from .helpers import find_julia, need, wait_for

Make = Callable[..., ToyConfig]
Run = Callable[..., ToyRun]
Start = Callable[..., "subprocess.Popen[str]"]

EPSILON = 0.01
PAIRS = [("torch", "julia"), ("torch", "juliacall")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Simulate settings with an engine, once for all tests of this module."""

    @functools.cache
    def run(config: ToyConfig, engine: str) -> ToyRun:
        need(engine)
        return simulate_toy(config, engine, julia=find_julia(), out=tmp_path_factory.mktemp("run") / engine)

    return run


def assert_same_distribution(one: ToyRun, other: ToyRun) -> None:
    """‖state‖ at the last snapshot by Kolmogorov and Smirnov, P(‖state‖ < ε) by Fisher, each at p > 1e-4."""
    n = one.spec["trajectories"]
    for k in range(len(one.noise)):
        a, b = (np.linalg.norm(run.state[k, -1], axis=-1) for run in (one, other))
        assert ks_2samp(a, b).pvalue > 1e-4
        inside = [int((norms < EPSILON).sum()) for norms in (a, b)]
        assert fisher_exact([inside, [n - i for i in inside]]).pvalue > 1e-4


@pytest.mark.parametrize(("one", "other"), PAIRS)
@pytest.mark.parametrize("method", ["tabulated", "direct"])
def test_the_neurons_distribution(one: str, other: str, method: str, neuron: Make, runs: Run) -> None:
    """At three noise levels, below, at and above the threshold; false alarms: 6e-4 for a pair and method."""
    config = neuron(
        "noise=[1, 2, 3]", "trajectories=1000", "problem.points=32", "problem.init_std=0.1",
        "snapshots=[0, 500]", f"method={method}",
    )  # fmt: skip
    assert_same_distribution(runs(config, one), runs(config, other))


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_the_wells_distribution(one: str, other: str, well: Make, runs: Run) -> None:
    """At three noise levels; false alarms: 6e-4."""
    config = well("noise=[0.5, 1.7, 2.5]", "trajectories=1000", "dt=0.0025", "snapshots=[0, 2000]")
    assert_same_distribution(runs(config, one), runs(config, other))


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_the_students_distribution(one: str, other: str, student: Make, runs: Run) -> None:
    """ŝ of every mode at two noise levels, before and after a drop of the rate; false alarms: 2e-3."""
    config = student(
        "noise=[3, 12]", "trajectories=500", "snapshots=[0, 300, 600]",
        "schedule={name: multistep, milestones: [300]}",
    )  # fmt: skip
    first, second = runs(config, one), runs(config, other)
    assert np.array_equal(first.time, second.time)
    for s in (1, 2):
        a, b = learned_values(first, s), learned_values(second, s)
        for k, mode in np.ndindex(2, 5):
            assert ks_2samp(a[k, :, mode], b[k, :, mode]).pvalue > 1e-4


@pytest.mark.parametrize("engine", ENGINES)
def test_far_from_the_threshold_theory_decides(engine: str, neuron: Make, runs: Run) -> None:
    """ηζ²φ'(0)/2 = 0.1 and 3 against Σxy/Σx² ≈ 1: none is at the origin any more, or nearly all are."""
    config = neuron(
        "noise=[0.2, 6]", "trajectories=200", "problem.points=32", "problem.init_std=0.1", "snapshots=[0, 3000]"
    )
    run = runs(config, engine)
    below, above = run.probability_within(EPSILON)[:, -1]
    assert below == 0
    assert above > 0.95
    assert run.time.tolist() == [0, 30]


@pytest.mark.parametrize("engine", ENGINES)
def test_exponents_near_the_origin(engine: str, neuron: Make, runs: Run) -> None:
    """Mean growth of log|w1 ± w2| against λ±, within 3 standard errors; false alarms: 2 · 3 · 0.3 %."""
    config = neuron(
        "noise=[0.5, 1, 3]", "trajectories=2000", "problem.points=32", "problem.init_std=1e-8", "dt=0.001",
        "snapshots=[0, 2000]",
    )  # fmt: skip
    run = runs(config, engine)
    theory = single_neuron_exponents(run.data["x"], run.data["y"], run.noise)
    w1, w2 = np.moveaxis(run.state, -1, 0)
    for mode, rates in zip((w1 + w2, w1 - w2), theory, strict=True):
        growth = np.log(np.abs(mode[:, 1] / mode[:, 0])) / run.time[-1]
        error = growth.std(axis=-1, ddof=1) / np.sqrt(2000)
        assert np.all(np.abs(growth.mean(axis=-1) - rates) < 3 * error)


@pytest.mark.parametrize("engine", ENGINES)
def test_exponents_of_the_well(engine: str, well: Make, runs: Run) -> None:
    """Mean growth of log|θ| near 0 against μ − ζ²/2, within 3 standard errors; false alarms: 3 · 0.3 %."""
    config = well(
        "noise=[0.5, 1.7, 2.5]", "trajectories=2000", "problem.init_std=1e-8", "dt=0.0005", "snapshots=[0, 2000]"
    )
    run = runs(config, engine)
    growth = np.log(np.abs(run.state[:, 1, :, 0] / run.state[:, 0, :, 0])) / run.time[-1]
    error = growth.std(axis=-1, ddof=1) / np.sqrt(2000)
    assert np.all(np.abs(growth.mean(axis=-1) - quartic_well_exponent(1.5, run.noise)) < 3 * error)


# --- the real Julia ---------------------------------------------------------------------------------------------------

LONG = ("noise={start: 0, stop: 4, count: 16}", "trajectories=400", "snapshots=[0, 3000, 6000]")


def test_julia_killed_at_half_continues_and_ends_the_same(
    julia: str, neuron: Make, start_sc: Start, tmp_path: Path
) -> None:
    config = neuron(*LONG)
    directory = ToyDirectory.of(config)
    sc = start_sc(config, "--engine", "julia", "--julia", julia)
    wait_for(lambda: directory.levels_done() >= 4)
    sc.kill()
    sc.wait()
    assert not directory.is_finished
    news: list[str] = []
    run = simulate_toy(config, "julia", julia=julia, report=news.append)
    assert any("continues after" in line for line in news)
    straight = simulate_toy(config, "julia", julia=julia, out=tmp_path / "straight")
    assert np.array_equal(run.state, straight.state)


def test_a_julia_recursion_killed_at_half_continues_and_ends_the_same(
    julia: str, student: Make, start_sc: Start, tmp_path: Path
) -> None:
    config = student("noise={start: 0, stop: 9, count: 8}", "trajectories=500", "snapshots=[0, 10000]")
    directory = ToyDirectory.of(config)
    sc = start_sc(config, "--engine", "julia", "--julia", julia)
    wait_for(lambda: directory.levels_done() >= 2)
    sc.kill()
    sc.wait()
    assert not directory.is_finished
    simulate_toy(config, "julia", julia=julia)
    simulate_toy(config, "julia", julia=julia, out=tmp_path / "straight")
    assert (directory.path / "state.npy").read_bytes() == (tmp_path / "straight" / "state.npy").read_bytes()


@pytest.mark.parametrize("moment", ["while it starts", "while it runs"])
def test_julia_is_interrupted(moment: str, julia: str, neuron: Make, start_sc: Start) -> None:
    config = neuron(*LONG, "snapshots=[0, 1000000]")
    directory = ToyDirectory.of(config)
    sc = start_sc(config, "--engine", "julia", "--julia", julia)
    wait_for(lambda: len(processes_on(directory)) == 2)  # the guard and Julia
    if moment == "while it runs":
        wait_for(directory.levels.exists)
    sc.send_signal(signal.SIGINT)
    _, err = sc.communicate(timeout=15)
    assert sc.returncode == 130
    assert err.splitlines()[-1].endswith("interrupted, 0 noise levels are finished; the same command continues")
    assert not processes_on(directory)


def processes_on(directory: ToyDirectory) -> list[int]:
    """Processes that have `directory` on their command line."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(directory).encode() in place.read_bytes().split(b"\0"):
                found.append(int(place.parent.name))
    return found


def test_julia_explains_what_python_cannot_know(julia: str, neuron: Make) -> None:
    with pytest.raises(
        InputError, match=r"^engine julia: spec.toml: parameters.activation .*sine.* expected one of gelu"
    ):
        simulate_toy(neuron("problem.activation=sine"), "julia", julia=julia)
