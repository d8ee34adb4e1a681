"""Nonlinear students: steps against torch.optim.SGD with autograd, engines against each other, and what they show."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stochastic_collapse import ToyConfig, load_toys, simulate_toy
from stochastic_collapse.errors import EngineUnavailable, InputError
from stochastic_collapse.terminal import print_students
from stochastic_collapse.toys import ToyDirectory, before_drop, errors, independent_neurons, neurons, summarize
from stochastic_collapse.toys.engines import torch_students
from stochastic_collapse.toys.problems import data_of, spec_of
from stochastic_collapse.toys.students import StudentsSettings

from .helpers import in_one_julia

Make = Callable[..., ToyConfig]

KINDS = {
    "gelu": [],
    "relu": ["problem.activation=relu"],
    "deep": ["problem.widths=[4, 6, 3]", "problem.activation=tanh", "problem.biases=true"],
    "linear, one input": ["problem.activation=linear", "problem.inputs=1", "problem.weight_decay=0.01"],
    "mini-batches": ["problem.batch_size=4", "problem.biases=true"],
}
MODULES: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU, "relu": nn.ReLU, "tanh": nn.Tanh, "linear": nn.Identity,
}  # fmt: skip


def module_of(problem: StudentsSettings, weights: np.ndarray) -> nn.Sequential:
    """The network in PyTorch's own terms."""
    widths = [problem.inputs, *problem.widths, 1]
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=problem.biases), MODULES[problem.activation]()]
    model = nn.Sequential(*layers[:-1]).double()
    nn.utils.vector_to_parameters(torch.from_numpy(weights.copy()), model.parameters())
    return model


def jacobian(model: nn.Module, x: Tensor) -> Tensor:
    """(examples, P) by autograd."""
    parameters = list(model.parameters())
    rows = [torch.autograd.grad(f, parameters, retain_graph=True) for f in model(x)[:, 0]]
    return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])


@pytest.mark.parametrize("noise", ["label", "isotropic", "frozen"])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_those_of_torchs_optimizer(students: Make, kind: str, noise: str) -> None:
    """One network after the other, with the noise that the batched steps drew, to 1e-10."""
    schedule = "schedule={name: multistep, milestones: [6]}"
    config = students(f"problem.gradient_noise={noise}", schedule, "snapshots=[0, 12]", *KINDS[kind])
    problem = config.problem
    assert isinstance(problem, StudentsSettings)
    spec, data = spec_of(config), data_of(config)
    equations = torch_students.Students(spec, data)
    streams, here = [np.random.default_rng([5, k]) for k in range(2)], range(1, 4)
    state = equations.start(streams, here)
    drawn = np.zeros((2, 12, equations.draws, 3))
    for k, stream in enumerate(streams):
        equations.draw(k, stream, drawn[k])
    step = equations.stepper(state, range(2), here)
    for at in range(12):
        step(torch.from_numpy(drawn[:, at].swapaxes(0, 1)), at)
    seen = equations.observe(state, here)
    for k in range(2):
        for place, trajectory in enumerate(here):
            teacher = trajectory // 2
            x, y, x_test, y_test = (torch.from_numpy(data[n][teacher]) for n in ("x", "y", "x_test", "y_test"))
            model = module_of(problem, data["start"][trajectory])
            parameters = list(model.parameters())
            optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=problem.weight_decay)
            first = jacobian(model, x)
            for at in range(12):
                numbers = torch.from_numpy(drawn[k, at, :, place])
                chosen = numbers[equations.normals :].long() if problem.batch_size != "full" else torch.arange(len(x))
                size, normals = len(chosen), numbers[: equations.normals]
                assert len(set(chosen.tolist())) == size
                optimizer.param_groups[0]["lr"] = 0.1 if at < 6 else 0.01
                optimizer.zero_grad()
                residual = model(x[chosen])[:, 0] - y[chosen]
                if noise == "label":
                    residual = residual - normals
                added = torch.zeros(equations.weights)
                if noise == "frozen":
                    added = -first[chosen].T @ normals / size
                if noise == "isotropic":
                    added = jacobian(model, x[chosen]).norm() / np.sqrt(equations.weights) / size * normals
                (residual.square().sum() / (2 * size)).backward()
                for parameter, more in zip(parameters, _like(added, parameters), strict=True):
                    assert parameter.grad is not None
                    parameter.grad += more
                optimizer.step()
            final = torch.cat([p.detach().flatten() for p in parameters])
            assert seen[:-2, k, place].numpy() == pytest.approx(final.numpy(), rel=1e-10, abs=1e-12)
            error = [float((model(x)[:, 0] - y).square().mean().detach()) for x, y in ((x, y), (x_test, y_test))]
            assert seen[-2:, k, place].numpy() == pytest.approx(error, rel=1e-9)


def _like(flat: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    return [part.view_as(p) for part, p in zip(flat.split([p.numel() for p in parameters]), parameters, strict=True)]


NOISES = ("label", "isotropic", "frozen")


def test_engines_agree_where_there_is_no_noise(students: Make, julia: str, tmp_path: Path) -> None:
    configs = [
        students("noise=0", f"problem.gradient_noise={noise}", "snapshots=[0, 3, 100]", *settings)
        for noise in NOISES
        for kind, settings in KINDS.items()
        if kind != "mini-batches"
    ]
    for k, (config, run) in enumerate(zip(configs, in_one_julia(julia, configs, tmp_path), strict=True)):
        other = simulate_toy(config, "torch", out=tmp_path / f"torch{k}")
        assert np.abs(run.state - other.state).max() < 1e-10, config
        assert np.array_equal(run.state[0, 0, :, :-2], data_of(config)["start"])


def test_engines_agree_in_distribution(students: Make, julia: str, tmp_path: Path) -> None:
    """Paired by their start, 264 means of 1,500 students: 5.5 standard errors have a false-alarm rate of 1e-5."""
    configs = [
        students(
            "noise=[0.3, 0.6]", "trajectories=1500", "problem.teachers=1", "lr=0.02", "snapshots=[0, 20]",
            f"problem.gradient_noise={noise}", f"problem.batch_size={batch}",
        )
        for noise in NOISES
        for batch in ("full", "4")
    ]  # fmt: skip
    for k, (config, run) in enumerate(zip(configs, in_one_julia(julia, configs, tmp_path), strict=True)):
        ends = run.state[:, 1], simulate_toy(config, "torch", out=tmp_path / f"torch{k}").state[:, 1]
        difference = ends[0] - ends[1]
        errors_of_mean = difference.std(axis=1) / np.sqrt(difference.shape[1])
        assert np.abs(difference.mean(axis=1) / errors_of_mean).max() < 5.5, config
        start = data_of(config)["start"]
        spreads = [(end[:, :, :-2] - start).std() for end in ends]  # of all weights together: 66,000 numbers
        assert spreads[0] == pytest.approx(spreads[1], rel=0.05), config


def test_teachers_and_starts_do_not_depend_on_how_many_there_are(students: Make) -> None:
    few, many = (data_of(students(*more)) for more in ([], ["problem.teachers=3", "trajectories=9"]))
    assert np.array_equal(few["x"], many["x"][:2])
    assert np.array_equal(few["start"][:2], many["start"][:2])
    assert np.array_equal(few["start"][2:], many["start"][3:5])
    assert few["y_test"].std(axis=1) == pytest.approx([1, 1])
    w, a = few["teacher"][1, :, :-1], few["teacher"][1, :, -1]
    expected = torch.nn.functional.gelu(torch.from_numpy(few["x"][1] @ w.T)).numpy() @ a
    assert few["y"][1] == pytest.approx(expected)


def test_label_noise_collapses_students_and_nothing_else_here_does(julia: str, tmp_path: Path) -> None:
    """The experiment of configs/toys/students.yaml with eight students: without noise, 30 or so of 32 neurons stay."""
    changed = {"trajectories": "8", "noise": "[0, 1]", "snapshots": "[0, 20000, 25000]"}
    settings = [f"ensembles.labels.{key}={value}" for key, value in changed.items()]
    wanted = ("students-labels", "students-isotropic", "students-weight-decay")
    configs = [config for config in load_toys("configs/toys/students.yaml", settings) if config.name in wanted]
    runs = dict(zip((c.name for c in configs), in_one_julia(julia, configs, tmp_path), strict=True))
    counts = {name: independent_neurons(run)[:, -1].mean(axis=1) for name, run in runs.items()}
    assert counts["students-labels"][0] >= 29
    assert counts["students-labels"][1] <= 6
    assert counts["students-isotropic"][0] >= 29
    assert counts["students-weight-decay"][0] <= 6
    error = errors(runs["students-labels"])["test"]
    assert np.median(error[1, 2]) < np.median(error[1, 1]) / 3  # the drop of the rate
    assert np.allclose(errors(runs["students-labels"], noisy=True)["test"][1], error[1] + 1)


def test_neurons_are_rows_of_incoming_bias_and_outgoing(students: Make, tmp_path: Path) -> None:
    config = students(*KINDS["deep"], "snapshots=[0, 1]")
    run = simulate_toy(config, "torch", out=tmp_path / "run")
    assert isinstance(config.problem, StudentsSettings)
    model = module_of(config.problem, run.state[1, 1, 3, :-2])
    below, above = model[2], model[4]
    assert isinstance(below, nn.Linear)
    assert isinstance(above, nn.Linear)
    expected = torch.cat([below.weight, below.bias[:, None], above.weight.T], dim=1).detach().numpy()
    assert np.array_equal(neurons(run, 1)[1, 1, 3], expected)
    assert independent_neurons(run, 1).shape == (2, 2, 4)
    with pytest.raises(InputError, match="has no hidden layer 3, expected 0 to 2"):
        neurons(run, 3)


def test_results_of_other_problems_are_refused(student: Make, tmp_path: Path) -> None:
    run = simulate_toy(student("snapshots=[0, 1]"), "torch", out=tmp_path / "run")
    for read in (errors, neurons, independent_neurons):
        with pytest.raises(InputError, match="is a run of teacher-student, expected students"):
            read(run)


@pytest.mark.parametrize("engine", ["julia", "torch"])
def test_a_step_that_explodes_is_named(
    students: Make, julia: str, tmp_path: Path, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError) as caught:
        simulate_toy(students("lr=[0.1, 40]", "snapshots=[0, 500]"), engine, julia=julia, out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    message = (
        r"lr = 40.0 is too large: at noise level 0.4 the weights of trajectory \d exploded by step \d+; try lr = 10"
    )
    caught.match(message)
    assert not (tmp_path / "run").exists()  # another rate may be tried in the same place


def test_what_an_earlier_call_finished_outlives_a_bad_one(students: Make, tmp_path: Path) -> None:
    """A run that is half done, by another engine say, is not thrown away where it is called with one that fails."""
    config = students("lr=[0.1, 40]", "snapshots=[0, 500]")
    ToyDirectory(tmp_path / "run").prepare(config)
    with pytest.raises(InputError, match="exploded"):
        simulate_toy(config, "torch", out=tmp_path / "run")
    assert (tmp_path / "run/spec.toml").is_file()


def test_an_engine_that_is_not_there_leaves_nothing(students: Make, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable):
        simulate_toy(students(), "julia", julia="/no/such/julia", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_drop_that_the_run_does_not_reach_is_noted(students: Make, tmp_path: Path) -> None:
    notes: list[str] = []
    for place, milestones in (("late", "[10, 20]"), ("reached", "[10]")):
        config = students(f"schedule={{name: multistep, milestones: {milestones}}}")
        simulate_toy(config, "torch", out=tmp_path / place, report=notes.append)
    assert [note for note in notes if "drop" in note] == [
        "students: the rate does not drop at step 20, since the run ends at step 20"
    ]


def test_the_table_has_columns_before_the_drop_where_there_is_one(
    students: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ["problem.teachers=1", "trajectories=2"]
    for place, more in (("drop", ["schedule={name: multistep, milestones: [10]}"]), ("none", one)):
        run = simulate_toy(students(*more), "torch", out=tmp_path / place)
        print_students(summarize(run), drops=before_drop(run) < len(run.time) - 1)
        shown = capsys.readouterr().out
        assert shown.startswith("before the rate drops, and at the end" if place == "drop" else "at the end")
        assert "nan" not in shown
    assert shown.count("± –") == 2  # of one teacher there is no spread over teachers


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("problem.points=0", "problem.points: input should be greater than or equal to 1, found 0"),
        ("problem.widths=[0]", "problem.widths.0: input should be greater than or equal to 1, found 0"),
        ("problem.widths=[]", "problem.widths: "),
        ("problem.widths=[true]", "problem.widths.0: input should be a number, found True"),
        ("problem.points=true", "problem.points: input should be a number, found True"),
        ("problem.batch_size=true", "problem.batch_size: expected a whole number of 1 or more, or 'full', found True"),
        ("problem.weight_decay=-0.1", "problem.weight_decay: input should be greater than or equal to 0, found -0.1"),
        ("problem.teachers=0", "problem.teachers: input should be greater than or equal to 1, found 0"),
        ("problem.gradient_noise=null", "problem.gradient_noise: input should be 'label', 'isotropic' or 'frozen'"),
        ("noise=.inf", "noise.0: input should be a finite number, found inf"),
        ("problem.teacher=0", "problem.teacher: input should be greater than or equal to 1, found 0"),
        ("problem.batch_size=10", "problem: batch_size: 10 are more than the 9 points; expected 'full'"),
        ("problem.test_points=1", "problem.test_points: input should be greater than or equal to 2, found 1"),
        ("problem.gradient_noise=labels", "problem.gradient_noise: input should be 'label', 'isotropic' or 'frozen'"),
        ("problem.momentum=1", "problem.momentum: input should be less than 1, found 1"),
        ("noise=[-0.5]", "noise.0: input should be greater than or equal to 0, found -0.5"),
        ("noise=[.nan]", "noise.0: input should be a finite number, found nan"),
        (
            "trajectories=5",
            "trajectories: 5 students cannot be shared out evenly among 2 teachers; expected a multiple",
        ),
    ],
)
def test_bad_settings_are_one_line(students: Make, override: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        students(override)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
