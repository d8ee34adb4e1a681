"""Nanoseconds per step of the toy problems: every engine there is beside a plain loop, in turns, in one run.

    python benchmarks/toys.py [--steps 10000] [--repeats 3] [--julia PATH] [--out FOLDER]

- Figure 2's SDE, per step of a trajectory, 50 noise levels × 1,000 trajectories of configs/toys/fig2.yaml; the direct
  form takes 1/20 of the steps. The plain loop is what a tutorial writes: all trajectories of a noise level in one NumPy
  array, m Brownian motions, m activations.
- Figure 5's linear students, per step of a mode, 5 noise levels × 256 seeds × 64 modes of configs/toys/fig5.yaml. The
  plain loop is the published one, in NumPy: a seed after the other, its 64 modes in one array.
- The two neurons, per step of a network, 9 settings × 8 seeds of configs/toys/two_neurons.yaml. The plain loop is the
  published one: a PyTorch module and torch.optim.SGD, a network after the other.
- Nonlinear students, per multiply-add of a step, 4 noise levels × 16 students of the labels of
  configs/toys/students.yaml. The multiply-adds of a step are those of its products of matrices, for each of B examples:
  forward, and backward to a layer's weights, the weights of every matrix, and backward to what goes into a layer, those
  of every matrix but the first; 32 × (2 × 160 + 32) there. Activations, noise and momenta are not counted, but take
  their time. The plain loop is a tutorial's: a PyTorch module and torch.optim.SGD, a student after the other.

Plain loops take fewer steps, since they are so much slower. `wall` is what the engine itself measured, from reading the
inputs to the last file, `per core` that times its threads, `whole call` the rate with start-up and all.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from records import Figure, Results, chosen, parser
from stochastic_collapse import ToyConfig, load_toys, simulate_toy
from stochastic_collapse.toys.engines import all_engines
from stochastic_collapse.toys.problems import data_of, spec_of
from stochastic_collapse.toys.students import StudentsSettings

SLOWER = 20


@dataclass(frozen=True)
class Case:
    """One way to compute one problem; the last of a problem's cases is its plain loop."""

    problem: str
    name: str
    size: str
    measure: Callable[[], dict[str, float]]
    """Nanoseconds per step: wall, per core, and of the whole call."""


def settings(file: str, steps: int, *overrides: str, ensemble: str | None = None) -> ToyConfig:
    """Of the file, or of its `ensemble`."""
    home = f"ensembles.{ensemble}." if ensemble else ""
    configs = load_toys(f"configs/toys/{file}.yaml", [f"{home}snapshots=[0, {steps}]", *overrides])
    return next(config for config in configs if config.name.endswith(ensemble or ""))


def measure_engine(config: ToyConfig, engine: str, julia: str | None, width: int = 1) -> dict[str, float]:
    """`width`: how many of the steps that are counted a trajectory takes at once."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run = simulate_toy(config, engine, julia=julia, out=folder)
        whole = 1e9 * (time.perf_counter() - start) / run.provenance["steps"]
    threads = 1 if "gpu" in run.provenance else int(run.provenance["threads"])
    wall = run.nanoseconds_per_step
    return {"wall": wall / width, "per_core": wall * threads / width, "whole_call": whole / width}


def timed(loop: Callable[[], None], steps: int) -> dict[str, float]:
    start = time.perf_counter()
    loop()
    wall = 1e9 * (time.perf_counter() - start) / steps
    return {"wall": wall, "per_core": wall, "whole_call": wall}


# --- plain loops ----------------------------------------------------------------------------------------------------


def plain_neuron(config: ToyConfig) -> dict[str, float]:
    spec, data = spec_of(config), data_of(config)
    x, y, dt, m, steps = data["x"], data["y"], spec["dt"], len(data["x"]), config.snapshots[-1]
    rng = np.random.default_rng(config.seed)

    def loop() -> None:
        for eta in config.noise:
            w1, w2 = 1e-3 * rng.standard_normal((2, config.trajectories, 1))
            for _ in range(steps):
                db = np.sqrt(dt) * rng.standard_normal((config.trajectories, m))
                phi = np.tanh(w1 * x)
                slope = (1 - phi**2) * x
                residual = w2 * phi - y
                dw1 = -(residual * w2 * slope).mean(1) * dt + np.sqrt(eta / m) * (w2 * slope * db).sum(1)
                dw2 = -(residual * phi).mean(1) * dt + np.sqrt(eta / m) * (phi * db).sum(1)
                w1, w2 = w1 + dw1[:, None], w2 + dw2[:, None]

    return timed(loop, len(config.noise) * config.trajectories * steps)


def plain_students(config: ToyConfig) -> dict[str, float]:
    spec, s_star = spec_of(config), data_of(config)["s_star"]
    steps, points = config.snapshots[-1], spec["parameters"]["points"]
    rng = np.random.default_rng(config.seed)

    def loop() -> None:
        for sigma, lr in zip(spec["noise"], spec["lr"], strict=True):
            for _ in range(config.trajectories):
                u, v = np.ones_like(s_star), np.ones_like(s_star)
                for _ in range(steps):
                    residual = u * v - s_star + sigma * rng.standard_normal(len(s_star))
                    du, dv = residual * v / points, residual * u / points
                    u, v = u - lr * du, v - lr * dv

    return timed(loop, len(config.noise) * config.trajectories * steps * len(s_star))


def plain_two_neurons(config: ToyConfig) -> dict[str, float]:
    spec = spec_of(config)
    x, y = (torch.from_numpy(data_of(config)[name]).float()[:, None] for name in ("x", "y"))
    steps = config.snapshots[-1]

    def loop() -> None:
        for sigma, lr in zip(spec["noise"], spec["lr"], strict=True):
            for _ in range(config.trajectories):
                linear, out = torch.nn.Linear(1, 2, bias=False), torch.nn.Linear(2, 1, bias=False)
                linear.weight.data = torch.tensor([[1.0], [0.6]])
                out.weight.data = torch.tensor([[-0.6, -0.4]])
                plain_sgd(torch.nn.Sequential(linear, torch.nn.GELU(), out), x, y, lr, sigma, steps)

    return on_one_thread(loop, len(spec["noise"]) * config.trajectories * steps)


def plain_nonlinear_students(config: ToyConfig) -> dict[str, float]:
    """All students are of the first teacher."""
    spec, data, problem = spec_of(config), data_of(config), students_of(config)
    x, y = torch.from_numpy(data["x"][0]).float(), torch.from_numpy(data["y"][0]).float()[:, None]
    (width,), steps = problem.widths, config.snapshots[-1]

    def loop() -> None:
        for sigma, lr in zip(spec["noise"], spec["lr"], strict=True):
            for start in data["start"]:
                linear, out = torch.nn.Linear(problem.inputs, width, bias=False), torch.nn.Linear(width, 1, bias=False)
                model = torch.nn.Sequential(linear, torch.nn.GELU(), out)
                torch.nn.utils.vector_to_parameters(torch.from_numpy(start).float(), model.parameters())
                plain_sgd(model, x, y, lr, sigma, steps)

    return on_one_thread(loop, len(spec["noise"]) * config.trajectories * steps * multiply_adds(config))


def plain_sgd(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, lr: float, sigma: float, steps: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = 0.5 * ((model(x) - y - sigma * torch.randn(len(x), 1)) ** 2).mean()
        loss.backward()
        optimizer.step()


def on_one_thread(loop: Callable[[], None], steps: int) -> dict[str, float]:
    """So small are the operations that two threads would only wait for each other: it takes twice as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return timed(loop, steps)
    finally:
        torch.set_num_threads(threads)


def students_of(config: ToyConfig) -> StudentsSettings:
    assert isinstance(config.problem, StudentsSettings)
    return config.problem


def multiply_adds(config: ToyConfig) -> int:
    """Of a step of a student, as defined above."""
    first, *others = (layer.inputs * layer.outputs for layer in students_of(config).layers)
    return int(spec_of(config)["parameters"]["batch"] * (2 * first + 3 * sum(others)))


# --- all of them ----------------------------------------------------------------------------------------------------


def cases(steps: int, julia: str | None) -> list[Case]:
    """Of each problem the engines that are here and can do it, then the plain loop."""
    few = max(1, steps // SLOWER)
    neuron, students = settings("fig2", few), settings("fig5", few, "trajectories=4")
    pairs = settings("two_neurons", few, "trajectories=1")
    labels = settings("students", steps, ensemble="labels")
    single = ("ensembles.labels.trajectories=1", "problem.teachers=1")
    one = settings("students", few, *single, ensemble="labels")
    size = multiply_adds(labels)
    return [
        *of_engines(settings("fig2", steps, "method=tabulated"), julia, ", tabulated"),
        *of_engines(settings("fig2", few, "method=direct"), julia, ", direct"),
        Case(neuron.problem.name, "NumPy, direct", size_of(neuron), lambda: plain_neuron(neuron)),
        *of_engines(settings("fig5", steps), julia, width=64),
        Case(students.problem.name, "NumPy", size_of(students, 64), lambda: plain_students(students)),
        *of_engines(settings("two_neurons", steps), julia),
        Case(pairs.problem.name, "PyTorch", size_of(pairs), lambda: plain_two_neurons(pairs)),
        *of_engines(labels, julia, width=size),
        Case(one.problem.name, "PyTorch", size_of(one, size), lambda: plain_nonlinear_students(one)),
    ]


def of_engines(config: ToyConfig, julia: str | None, label: str = "", width: int = 1) -> Iterator[Case]:
    for engine in all_engines(julia):
        if engine.availability().available:
            measure = partial(measure_engine, config, engine.name, julia, width)
            yield Case(config.problem.name, engine.name + label, size_of(config, width), measure)


def size_of(config: ToyConfig, width: int = 1) -> str:
    numbers = [
        len(spec_of(config)["noise"]),
        config.trajectories,
        *([width] if width > 1 else []),
        config.snapshots[-1],
    ]
    return " × ".join(map(str, numbers))


STEPS = {
    "single-neuron": ("Figure 2's SDE, per step of a trajectory", "ns"),
    "teacher-student": ("Figure 5's linear students, per step of a mode", "ns"),
    "two-neurons": ("two neurons, per step of a network", "ns"),
    "students": ("nonlinear students, per multiply-add of a step", "ns"),
}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--steps", type=int, default=10_000, help="steps of the engines, but for direct forms")
    arguments.add_argument("--problem", default=",".join(STEPS))
    arguments.add_argument("--julia", help="the program of the engine julia")
    options = arguments.parse_args()
    problems = chosen(arguments, options.problem, list(STEPS), "--problem")
    wanted = [case for case in cases(options.steps, options.julia) if case.problem in problems]
    times: list[list[dict[str, float]]] = [[] for _ in wanted]
    for _ in range(options.repeats):
        for case, taken in zip(wanted, times, strict=True):
            taken.append(case.measure())
    results = Results(options.out)
    walls = [[one["wall"] for one in taken] for taken in times]
    plain = {case.problem: (case.name, statistics.median(wall)) for case, wall in zip(wanted, walls, strict=True)}
    for case, wall in zip(wanted, walls, strict=True):
        name, its = plain[case.problem]
        if case.name == name:
            continue
        title, unit = STEPS[case.problem]
        results.add(
            Figure.of(
                f"toys/{case.problem}/{case.name.replace(', ', '-')}",
                f"{title}, {case.name}, {case.size} steps",
                wall,
                unit,
                alternative=f"{name} loop",
                alternative_value=its,
                ratio=its / statistics.median(wall),
            )
        )
    for engine in all_engines(options.julia):
        if not (state := engine.availability()).available:
            print(f"{engine.name} not measured: {state.reason}")


if __name__ == "__main__":
    main()
