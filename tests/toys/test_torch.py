"""The engine torch: its steps against the equations, its numbers through interruptions, and its kernel for GPUs."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from stochastic_collapse import ToyConfig, ToyRun, load_toy, simulate_toy
from stochastic_collapse.toys import ToyDirectory
from stochastic_collapse.toys.engines import TorchEngine, all_engines, torch_, torch_steps
from stochastic_collapse.toys.problems import SGD_PROBLEMS, data_of, spec_of

from .helpers import wait_for

Make = Callable[..., ToyConfig]
Start = Callable[..., "subprocess.Popen[str]"]
Array = NDArray[np.float64]


def fresh(config: ToyConfig, out: Path) -> ToyRun:
    return simulate_toy(config, "torch", out=out)


# --- steps ----------------------------------------------------------------------------------------------------------


def step_by_the_equations(w: Array, data: dict[str, Array], dt: float, eta: float, zeta: float, db: Array) -> Array:
    """A step of docs/definitions.md#single-neuron, term by term; `w` (2, B), the noise `db` (m, B) of variance dt."""
    x, y, m = data["x"][:, None], data["y"][:, None], len(data["x"])
    w1, w2 = w
    phi = np.tanh(w1 * x)
    slope = 1 - phi**2
    residual = w2 * phi - y
    root = np.sqrt(eta) * zeta / np.sqrt(m)
    dw1 = -(residual * w2 * slope * x).mean(0) * dt + root * w2 * (slope * x * db).sum(0)
    dw2 = -(residual * phi).mean(0) * dt + root * (phi * db).sum(0)
    return np.stack([w1 + dw1, w2 + dw2])


STATES = np.array([[0.3, -1.2, 2.0, 1e-6, 0.0, -7.5, 30.0], [1.0, 0.7, -0.4, 2e-6, 0.5, 0.1, 2.0]])


@pytest.mark.parametrize("method", ["direct", "tabulated"])
def test_a_step_has_the_drift_and_covariance_of_the_equations(method: str, neuron: Make) -> None:
    """Without noise against the equations; with it, the covariance of the two normals against the m-dimensional one."""
    config = neuron(f"method={method}", "problem.points=30", "problem.zeta=1.3", "dt=0.02")
    data, eta, dt = data_of(config), 1.7, 0.02
    make = torch_steps.prepare(spec_of(config), data)
    amplitude = torch_steps.amplitude(spec_of(config), eta, 30)

    def step(normals: Array) -> Array:
        state = torch.from_numpy(STATES[:, None, :].copy())
        make(state)(torch.from_numpy(amplitude * normals[:, None, :]))
        return state.numpy()[:, 0]

    zeros = np.zeros_like(STATES)
    drift = step_by_the_equations(STATES, data, dt, eta, 1.3, np.zeros((30, 1)))
    scale = np.abs(STATES).max(0)
    assert np.all(np.abs(step(zeros) - drift) <= 2e-8 * scale)
    first, second = zeros.copy(), zeros.copy()
    first[0], second[1] = 1, 1
    columns = np.stack([step(first) - drift, step(second) - drift])  # what each of the two normals does
    covariance = np.einsum("kib,kjb->ijb", columns, columns)
    basis = np.sqrt(dt) * np.eye(30)[:, :, None] * np.ones(STATES.shape[1])
    each = np.stack([step_by_the_equations(STATES, data, dt, eta, 1.3, b) - drift for b in basis.transpose(1, 0, 2)])
    expected = np.einsum("kib,kjb->ijb", each, each)
    norm = np.abs(expected).max((0, 1))
    assert np.all(np.abs(covariance - expected) <= 1e-6 * norm + 1e-30)


def test_the_table_is_as_good_near_the_origin(neuron: Make) -> None:
    """A collapsed neuron decays for ever, so its steps must be right relative to itself."""
    config = neuron("problem.points=30")
    tiny = np.array([[1e-12, 3e-25, -1e-40], [2e-12, -1e-25, 5e-40]])[:, None, :]
    states = []
    for method in ("direct", "tabulated"):
        state = torch.from_numpy(tiny.copy())
        stepper = torch_steps.prepare({**spec_of(config), "method": method}, data_of(config))(state)
        for _ in range(50):
            stepper(torch.full_like(state, 0.1))
        states.append(state.numpy())
    assert np.allclose(states[0], states[1], rtol=1e-5, atol=0)


def test_the_wells_step(well: Make) -> None:
    theta = torch.tensor([[[0.5, -2.0, 1e-20]]], dtype=torch.float64)
    normals = torch.tensor([[[1.0, -0.5, 2.0]]], dtype=torch.float64)
    expected = theta + theta * ((1.5 - theta**2) * 0.01 + 0.3 * normals)
    torch_steps.prepare(spec_of(well()), {})(theta)(0.3 * normals)
    assert torch.allclose(theta, expected, rtol=1e-14, atol=0)
    assert torch_steps.amplitude(spec_of(well()), 2.5, 0) == pytest.approx(2.5 * 0.1)


# --- runs -----------------------------------------------------------------------------------------------------------


def test_noise_levels_start_as_the_settings_say(neuron: Make, well: Make, tmp_path: Path) -> None:
    start = fresh(neuron("trajectories=5000", "snapshots=[0]"), tmp_path / "a").state[:, 0]
    assert start.std() == pytest.approx(0.001, rel=0.02)
    assert np.corrcoef(start[0, :, 0], start[1, :, 0])[0, 1] == pytest.approx(0, abs=0.05)
    assert fresh(well("trajectories=5000", "snapshots=[0]"), tmp_path / "b").state.std() == pytest.approx(2, rel=0.03)


def test_the_seed_decides(neuron: Make, tmp_path: Path) -> None:
    runs = [fresh(neuron(f"seed={seed}"), tmp_path / str(k)).state for k, seed in enumerate((1, 1, 2))]
    assert np.array_equal(runs[0], runs[1])
    assert not np.any(runs[0] == runs[2])


def test_neither_threads_nor_places_of_snapshots_matter(
    neuron: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_, "_BATCH", 100)  # two levels at a time
    config = neuron("noise={start: 0, stop: 4, count: 9}", "trajectories=50", "snapshots=[0, 13, 100]")
    before, states = torch.get_num_threads(), list[Array]()
    for threads in (1, 8):
        torch.set_num_threads(threads)
        try:
            run = fresh(config, tmp_path / str(threads))
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        assert run.provenance["threads"] == threads
        states.append(run.state)
    assert np.array_equal(states[0], states[1])
    dense = fresh(neuron(*_overrides(config), "snapshots={start: 0, stop: 100, count: 101}"), tmp_path / "dense")
    assert np.array_equal(dense.state[:, [0, 13, 100]], states[0])


def _overrides(config: ToyConfig) -> list[str]:
    return [f"{key}={value}" for key, value in config.model_dump(mode="json").items()]


def test_a_level_larger_than_a_batch_is_simulated_in_blocks(
    neuron: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_, "_BATCH", 40)
    run = fresh(neuron("trajectories=100"), tmp_path / "run")
    assert np.isfinite(run.state).all()
    assert len(np.unique(run.state[:, 0])) == 600  # no two blocks or levels have the same numbers


def test_noise_free_trajectories_follow_the_gradient(neuron: Make, tmp_path: Path) -> None:
    run = fresh(neuron("noise=0", "problem.init_std=0.5", "snapshots=[0, 20000]"), tmp_path / "run")
    w1, w2 = run.state[0, -1].T
    residual = w2 * np.tanh(np.outer(run.data["x"], w1)) - run.data["y"][:, None]
    assert np.all((residual**2).mean(0) < 0.05)


def test_collapsed_trajectories_end_at_zero(well: Make, tmp_path: Path) -> None:
    """Beyond the smallest normal number there is only 0, so that no time is lost in subnormal ones."""
    run = fresh(well("noise=10", "problem.init_std=0.001", "snapshots=[0, 8000]"), tmp_path / "run")
    assert np.all(run.state[0, -1] == 0)


def test_divergence_is_reported(well: Make, tmp_path: Path) -> None:
    news: list[str] = []
    config = well("dt=3", "noise=1", "problem.init_std=9")
    run = simulate_toy(config, "torch", out=tmp_path / "run", report=news.append)
    assert not np.isfinite(run.state[0, -1]).all()
    assert any("of 6 trajectories diverged; dt = 3.0 may be too large" in line for line in news)


def test_a_tabulated_neuron_may_diverge(neuron: Make, tmp_path: Path) -> None:
    config = neuron("dt=1e200", "noise=9", "problem.init_std=9", "snapshots=[0, 20]")
    news: list[str] = []
    simulate_toy(config, "torch", out=tmp_path / "run", report=news.append)
    assert any("diverged" in line for line in news)


# --- interruptions --------------------------------------------------------------------------------------------------

LONG = ("noise={start: 0, stop: 4, count: 16}", "trajectories=4000", "snapshots=[0, 100, 500]")


def test_killed_at_half_it_continues_and_ends_the_same(neuron: Make, start_sc: Start, tmp_path: Path) -> None:
    config = neuron(*LONG)
    directory = ToyDirectory.of(config)
    sc = start_sc(config, "--engine", "torch")
    wait_for(lambda: directory.levels_done() >= 4)
    sc.kill()
    sc.wait()
    assert not directory.is_finished
    news: list[str] = []
    run = simulate_toy(config, "torch", report=news.append)
    assert any("continues after" in line for line in news)
    assert np.array_equal(run.state, fresh(config, tmp_path / "straight").state)


def test_a_killed_recursion_continues_and_ends_the_same(student: Make, start_sc: Start, tmp_path: Path) -> None:
    shape = ("problem.points=64", "problem.inputs=64", "problem.outputs=64", "trajectories=256")
    config = student(*shape, "noise={start: 0, stop: 9, count: 8}", "snapshots=[0, 100, 1000]")
    directory = ToyDirectory.of(config)
    sc = start_sc(config, "--engine", "torch")
    wait_for(lambda: directory.levels_done() >= 2)
    sc.kill()
    sc.wait()
    assert not directory.is_finished
    news: list[str] = []
    simulate_toy(config, "torch", report=news.append)
    assert any("continues after" in line for line in news)
    fresh(config, tmp_path / "straight")
    assert (directory.path / "state.npy").read_bytes() == (tmp_path / "straight" / "state.npy").read_bytes()


def test_ctrl_c_keeps_finished_levels(neuron: Make, start_sc: Start) -> None:
    config = neuron(*LONG)
    directory = ToyDirectory.of(config)
    sc = start_sc(config, "--engine", "torch")
    wait_for(lambda: directory.levels_done() >= 4)
    sc.send_signal(signal.SIGINT)
    _, err = sc.communicate(timeout=10)
    assert sc.returncode == 130
    assert "noise levels are finished; the same command continues" in err.splitlines()[-1]
    assert 4 <= directory.levels_done() < 16


def test_recursions_do_not_depend_on_the_places_of_snapshots_or_on_threads(
    student: Make, general: Make, neurons: Make, tmp_path: Path
) -> None:
    before = torch.get_num_threads()
    for name, make in (("student", student), ("general", general), ("neurons", neurons)):
        sparse = fresh(make("snapshots=[0, 13, 40]"), tmp_path / f"{name}-sparse")
        torch.set_num_threads(4)
        try:
            dense = fresh(make("snapshots={start: 0, stop: 40, count: 41}"), tmp_path / f"{name}-dense")
        finally:
            torch.set_num_threads(before)
        assert np.array_equal(dense.state[:, [0, 13, 40]], sparse.state)
        assert sparse.time.tolist() == [0, 13, 40]
        other = fresh(make("snapshots=[0, 13, 40]", "seed=9"), tmp_path / f"{name}-other")
        assert not np.array_equal(other.state[:2, 2], sparse.state[:2, 2])


@pytest.mark.cuda
def test_recursions_on_a_gpu_are_those_on_the_cpu(
    student: Make, general: Make, neurons: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their random numbers are drawn on the CPU, and they calculate in float64."""
    assert "cuda" in TorchEngine("two-neurons").stream
    for name, make in (("student", student), ("general", general), ("neurons", neurons)):
        on_gpu = fresh(make(), tmp_path / f"{name}-gpu")
        with monkeypatch.context() as patch:
            patch.setattr(torch.cuda, "is_available", lambda: False)
            on_cpu = fresh(make(), tmp_path / f"{name}-cpu")
        assert on_gpu.provenance["device"] == "cuda"
        assert np.allclose(on_gpu.state, on_cpu.state, rtol=1e-9, atol=1e-12)


def test_an_error_in_a_thread_is_raised(neuron: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, *rest: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(torch_.TorchRun, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        simulate_toy(neuron(), "torch")


# --- the kernel -----------------------------------------------------------------------------------------------------

WITHOUT_TRITON = importlib.util.find_spec("triton") is None
needs_triton = pytest.mark.skipif(WITHOUT_TRITON, reason="triton is not installed (pip install triton)")

INTERPRETED = """
import sys
from pathlib import Path
from stochastic_collapse.toys import ToyDirectory
from stochastic_collapse.toys.engines import torch_, torch_kernel, triton_kernel

triton_kernel.BLOCK = 4096  # few programs, for the interpreter takes its time for each
for path in sys.argv[1:]:
    directory = ToyDirectory(Path(path))
    run = torch_.TorchRun(directory, directory.spec(), lambda progress: None, print, lambda: False)
    torch_kernel.in_a_kernel(run, device="cpu")
    run.finish({"engine": "torch"})
"""


def interpreted(out: Path, *configs: ToyConfig) -> list[ToyRun]:
    """The whole way of CUDA runs, with Triton's interpreter in place of a GPU."""
    places = [out / f"interpreted{k}" for k in range(len(configs))]
    for place, config in zip(places, configs, strict=True):
        ToyDirectory(place).prepare(config)
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", INTERPRETED, *map(str, places)], env=environment, check=True, timeout=120)
    return [load_toy(place) for place in places]


@needs_triton
def test_the_kernels_drift_is_the_direct_one(neuron: Make, tmp_path: Path) -> None:
    """Without noise, in float32, over a wide range and near 0 relative to itself."""
    shared = ("noise=[0, 0]", "problem.points=30", "trajectories=500", "snapshots=[0, 1]")
    config = neuron("problem.init_std=2", *shared)
    data = {name: torch.from_numpy(values) for name, values in data_of(config).items()}
    direct, zero = (
        torch_steps.Neuron(data["x"], data["y"], spec_of(config)["dt"]),
        torch.zeros(1000, dtype=torch.float64),
    )
    runs = interpreted(tmp_path, config, neuron("problem.init_std=1e-20", *shared))
    for run, tolerance in zip(runs, (2e-6, 1e-25), strict=True):
        start, end = run.state.transpose(1, 3, 0, 2).reshape(2, 2, 1000)
        w1, w2 = torch.from_numpy(start)
        expected = torch.stack(direct.step(w1, w2, zero, zero)).numpy()
        assert np.abs(start).max() > 1e4 * tolerance
        assert np.abs(end - expected).max() < tolerance


@needs_triton
def test_the_kernels_statistics_agree(neuron: Make, well: Make, tmp_path: Path) -> None:
    """Two-sample tests on ‖w‖ and |θ| against the CPU's float64; of 5 at p < 1e-4 each, one in 2,000 would be false."""
    shared = ("problem.init_std=0.3", "trajectories=1000")
    configs = [
        neuron("noise=[1, 2, 4]", "dt=0.05", "snapshots=[0, 20, 40]", *shared),
        well("noise=[1, 2]", "dt=0.02", "snapshots=[0, 49, 100]", *shared),
    ]
    for k, (run, config) in enumerate(zip(interpreted(tmp_path, *configs), configs, strict=True)):
        assert_agree(run, fresh(config, tmp_path / f"cpu{k}"))


def assert_agree(one: ToyRun, other: ToyRun) -> None:
    for k in range(len(one.noise)):
        a, b = (np.linalg.norm(run.state[k, -1], axis=-1) for run in (one, other))
        assert ks_2samp(a, b).pvalue > 1e-4


COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from stochastic_collapse.toys.engines import triton_kernel

types = dict.fromkeys(triton_kernel._advance.arg_names, "i32")
types |= dict.fromkeys(["drift", "mu"], "fp32") | dict.fromkeys(["state", "amplitude", "x", "y"], "*fp32")
for neuron in True, False:
    constants = {"NEURON": neuron, "POINTS": 32, "UNROLLED": 8, "LANES": 128}
    source = ASTSource(triton_kernel._advance, types | dict.fromkeys(constants, "constexpr"), constants)
    for capability in 80, 90:
        target = GPUTarget("cuda", capability, 32)
        print(len(triton.compile(source, target=target, options={"enable_fp_fusion": True}).asm["cubin"]))
"""


@needs_triton
def test_the_kernel_compiles_for_gpus(tmp_path: Path) -> None:
    """To machine code of two generations, with the compiler that Triton brings, for which no GPU is needed."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COMPILED], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 4
    assert min(map(int, done.stdout.split())) > 1000


@pytest.mark.cuda
def test_on_a_gpu(neuron: Make, well: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same two-sample tests on a real device; one in 2,000 false."""
    assert "cuda" in TorchEngine().stream, "a CUDA device, but no Triton"
    shared = ("problem.init_std=0.3", "trajectories=5000")
    configs = [
        neuron("noise=[1, 2, 4]", "snapshots=[0, 500]", *shared),
        well("noise=[1, 2.5]", "snapshots=[0, 500]", *shared),
    ]
    for number, config in enumerate(configs):
        on_gpu = fresh(config, tmp_path / f"gpu{number}")
        with monkeypatch.context() as patch:
            patch.setattr(torch.cuda, "is_available", lambda: False)
            on_cpu = fresh(config, tmp_path / f"cpu{number}")
        assert on_gpu.provenance["device"] != on_cpu.provenance["device"]
        assert_agree(on_gpu, on_cpu)


def test_a_gpu_without_triton_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *a: "H100")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "triton" else name)
    for problem in (None, "single-neuron", "quartic-well"):
        state = TorchEngine(problem).availability()
        assert state.details["device"] == "cpu"
        assert "(not on H100, for which SDEs need Triton: pip install triton)" in state.reason
        assert TorchEngine(problem).stream == "torch cpu"


@pytest.mark.parametrize("problem", SGD_PROBLEMS)
def test_a_gpu_without_triton_computes_recursions(problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *a: "H100")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "triton" else name)
    (engine,) = (engine for engine in all_engines(problem=problem) if engine.name == "torch")
    state = engine.availability()
    assert state.reason.endswith(" on H100")
    assert state.details["device"] == "cuda"
    assert state.details["gpu"] == "H100"
    assert engine.stream == "torch cuda"
