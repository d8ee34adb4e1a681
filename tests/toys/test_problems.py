"""Settings of toy simulations: what they become, and one clear line for each mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stochastic_collapse import ToyConfig, load_toys
from stochastic_collapse.config import dump_yaml, json_schema
from stochastic_collapse.errors import InputError
from stochastic_collapse.resources import shipped
from stochastic_collapse.toys.problems import data_of, spec_of, toy_identity

Make = Callable[..., ToyConfig]


def test_the_spec_is_what_engines_are_promised(neuron: Make, well: Make) -> None:
    assert spec_of(neuron("seed=7")) == {
        "format": 1,
        "problem": "single-neuron",
        "method": "tabulated",
        "seed": 7,
        "dt": 0.01,
        "trajectories": 6,
        "noise": [0.5, 2.0, 4.0],
        "snapshots": [0, 5, 20],
        "parameters": {"activation": "tanh", "zeta": 1.0, "init_std": 0.001},
    }
    spec = spec_of(well())
    assert (spec["problem"], spec["method"]) == ("quartic-well", "direct")
    assert spec["parameters"] == {"mu": 1.5, "init_std": 2.0}


def test_ranges_have_both_ends(neuron: Make) -> None:
    config = neuron("noise=[0, {start: 1, stop: 2, count: 3}, 4]", "snapshots={start: 0, stop: 100000, count: 100}")
    assert config.noise == (0, 1, 1.5, 2, 4)
    assert config.snapshots[:3] == (0, 1010, 2020)
    assert config.snapshots[-1] == 100_000


def test_data_are_those_of_the_paper(neuron: Make) -> None:
    data = data_of(neuron("problem.points=20000", "problem.target_noise=0.1"))
    assert abs(data["x"].mean()) < 0.03
    assert data["x"].std() == pytest.approx(1, abs=0.02)
    assert (data["y"] - data["x"]).std() == pytest.approx(0.1, abs=0.002)
    assert np.corrcoef(data["y"] - data["x"], data["x"])[0, 1] == pytest.approx(0, abs=0.03)
    assert np.array_equal(data["x"], data_of(neuron("problem.points=20000"))["x"])
    assert not np.array_equal(data_of(neuron())["x"], data_of(neuron("seed=2"))["x"])


def test_identity_is_of_what_matters(neuron: Make, well: Make) -> None:
    same = [
        neuron(),
        neuron("name=other"),
        neuron("method=tabulated"),
        neuron("noise=[0.5, {start: 2, stop: 4, count: 2}]"),
    ]
    assert len(set(map(toy_identity, same))) == 1
    changed = ["seed=2", "dt=0.02", "trajectories=7", "noise=[0.5]", "snapshots=[0, 5]", "method=direct"]
    changed += [f"problem.{p}" for p in ("zeta=2", "init_std=1", "points=9", "target_noise=0.2", "activation=sine")]
    assert len({toy_identity(c) for c in (neuron(), well(), *map(neuron, changed))}) == len(changed) + 2


def test_settings_read_back(neuron: Make, tmp_path: Path) -> None:
    (tmp_path / "written.yaml").write_text(dump_yaml(neuron()))
    assert load_toys(tmp_path / "written.yaml") == [neuron()]
    assert json_schema(ToyConfig)["title"] == "ToyConfig"


@pytest.mark.parametrize("file", sorted((shipped("configs") / "toys").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_configurations_load(file: Path) -> None:
    assert [c.name.replace("-", "_").startswith(file.stem) for c in load_toys(file)]


def test_fig2_is_the_papers_work() -> None:
    (config,) = load_toys("configs/toys/fig2.yaml")
    assert (len(config.noise), config.trajectories, config.snapshots[-1], len(config.snapshots)) == (
        50,
        1000,
        100_000,
        100,
    )
    noise = np.array(config.noise)
    assert [(noise <= 1).sum(), ((noise >= 1.05) & (noise <= 2.5)).sum(), (noise >= 2.6).sum()] == [5, 40, 5]


def test_fig1_is_the_papers_work() -> None:
    paths, collapse = load_toys("configs/toys/fig1.yaml")
    assert (paths.name, collapse.name) == ("fig1-paths", "fig1-collapse")
    assert (paths.noise, paths.trajectories, paths.snapshots[-1]) == ((0.1, 1, 2.5), 50, 10_000)
    assert spec_of(paths)["dt"] == 25 / 10_000
    assert (len(collapse.noise), collapse.noise[-1], collapse.trajectories) == (100, 3, 1000)
    assert collapse.snapshots == (0, 10_000, 20_000, 40_000, 80_000)


def test_fig5_is_the_papers_work() -> None:
    (config,) = load_toys("configs/toys/fig5.yaml")
    spec, data = spec_of(config), data_of(config)
    assert spec["noise"] == [0, 5, 10, 15, 20]
    assert (spec["lr"], spec["trajectories"], spec["parameters"]) == ([3] * 5, 256, {"points": 1024, "init": [1, 1]})
    assert spec["snapshots"][-1] == 60_001
    assert 50_000 in spec["snapshots"]
    assert (data["rate"][:50_000] == 1).all()
    assert data["rate"][50_000:] == pytest.approx(0.1)
    assert (len(data["s_star"]), len(data["rate"])) == (64, 60_001)
    assert np.linalg.svd(data["teacher"], compute_uv=False)[:9] == pytest.approx([*np.linspace(1, 0.5, 8), 0])


def test_the_general_form_is_the_papers_work() -> None:
    (config,) = load_toys("configs/toys/fig5_general.yaml")
    spec, data = spec_of(config), data_of(config)
    assert spec["noise"] == [1, 2, 4, 8, 16, 1024]
    assert 3 * data["rate"][:10_000] == pytest.approx(3e-4 * np.arange(1, 10_001))
    assert np.unique(data["rate"][10_000:].round(12)).tolist() == [0.01, 0.1, 1]
    assert np.flatnonzero(np.diff(data["rate"][10_000:])).tolist() == [39_999, 42_999]
    assert len(data["rate"]) == 100_001
    assert (data["x"].shape, data["y"].shape, data["v"].shape, data["u"].shape) == ((1024, 64),) * 2 + ((64, 64),) * 2
    assert (data["x"].min() >= 0) & (data["x"].max() <= 1 / 8)
    assert (data["v"].min() >= 0) & (data["v"].max() <= 0.5)


def test_two_neurons_are_the_papers_work() -> None:
    (config,) = load_toys("configs/toys/two_neurons.yaml")
    spec = spec_of(config)
    settings = set(zip(spec["lr"], spec["noise"], strict=True))
    assert settings == {(lr, 0.1) for lr in (0.1, 0.2, 0.3, 0.4, 0.5)} | {(0.1, s) for s in (0, 0.1, 0.2, 0.4, 0.8)}
    assert (len(spec["lr"]), spec["trajectories"], spec["snapshots"][-1]) == (9, 8, 10_001)
    assert spec["parameters"] == {"momentum": 0.9, "w_in": [1, 0.6], "w_out": [-0.6, -0.4]}
    assert len(data_of(config)["x"]) == 8


def test_the_identity_of_recursions_is_of_what_matters(student: Make) -> None:
    assert toy_identity(student()) == toy_identity(student("name=other", "lr=[0.64, 0.64, 0.64]"))
    changed = ["lr=1", "schedule={name: multistep, milestones: [10]}", "seed=2", "noise=[0, 3, 11]"]
    changed += [f"problem.{p}" for p in ("points=65", "init=[1, 2]", "target_noise=0", "teacher=[1]", "inputs=7")]
    assert len({toy_identity(c) for c in (student(), *map(student, changed))}) == len(changed) + 1


# --- ensembles ------------------------------------------------------------------------------------------------------

ENSEMBLES = """\
name: two
problem: {name: quartic-well}
dt: 0.01
ensembles:
  few: {noise: 1, trajectories: 2, snapshots: 10}
  many:
    noise: [1, 2]
    trajectories: 20
    snapshots: [0, 10]
"""


def test_ensembles_share_the_settings_beside_them(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(ENSEMBLES)
    few, many = load_toys(tmp_path / "two.yaml", ["seed=5", "ensembles.many.trajectories=30"])
    assert (few.name, few.seed, few.noise, few.snapshots, few.trajectories) == ("two-few", 5, (1,), (10,), 2)
    assert (many.name, many.seed, many.noise, many.trajectories) == ("two-many", 5, (1, 2), 30)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["ensembles.many.noise=[-1]"], "override 'ensembles.many.noise=[-1]': ensembles.many.noise.0: .*, found -1"),
        (["ensembles.many.nois=1"], "ensembles.many.nois: unknown setting; did you mean 'noise'"),
        (["dt=0"], "override 'dt=0': dt: input should be greater than 0, found 0"),
        (["trajectories=3"], "override 'trajectories=3': trajectories: set for ensemble 'few' too; write it once"),
        (["ensembles={}"], "ensembles: expected names, each with settings below it"),
        (["ensembles=[1]"], "ensembles: expected names, each with settings below it"),
        (["ensembles.few=3"], "ensembles: expected names, each with settings below it"),
        (["ensembles.many.snapshots=[9, 5]"], "ensembles.many: snapshots must increase, found 9 before 5"),
        (["problem=3"], "override 'problem=3': problem: expected settings such as problem.name=single-neuron, found 3"),
    ],
)
def test_mistakes_in_ensembles(tmp_path: Path, overrides: list[str], message: str) -> None:
    (tmp_path / "two.yaml").write_text(ENSEMBLES)
    with pytest.raises(InputError, match=message.replace("[", r"\[").replace("{", r"\{")):
        load_toys(tmp_path / "two.yaml", overrides)


def test_mistakes_in_ensembles_have_their_line(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(ENSEMBLES.replace("trajectories: 20", "trajectories: 0"))
    with pytest.raises(InputError, match=r"two.yaml:8: ensembles.many.trajectories: .* equal to 1, found 0"):
        load_toys(tmp_path / "two.yaml")


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("noise=[]", "noise: expected one number or more"),
        ("noise=[-0.5]", "noise.0: input should be greater than or equal to 0, found -0.5"),
        ("noise=[.nan]", "noise.0: input should be a finite number"),
        ("noise=many", "noise: expected numbers or ranges such as {start: 0, stop: 1, count: 5}, found 'many'"),
        ("noise={start: 0, stop: 1}", "noise: a range has the keys start, stop and count, found start, stop"),
        ("noise={start: 0, stop: 1, count: 2.5}", "noise: count of a range is an integer of 1 or more, found 2.5"),
        ("noise={start: 0, stop: .inf, count: 2}", "noise: start, stop and count of a range are finite numbers"),
        ("snapshots=[0, 10, 10]", "snapshots must increase, found 10 before 10"),
        ("snapshots=[0.5]", "snapshots.0: .*integer.*found 0.5"),
        ("snapshots=[true]", "snapshots: expected numbers or ranges"),
        ("dt=-1", "dt: input should be greater than 0, found -1"),
        ("trajectories=0", "trajectories: input should be greater than or equal to 1, found 0"),
        ("seed=-1", "seed: input should be greater than or equal to 0, found -1"),
        ("method=fast", "method: input should be 'auto', 'tabulated' or 'direct', found 'fast'"),
        (
            "problem.name=neuron",
            "problem.name: expected one of single-neuron, quartic-well, teacher-student, .*, found 'neuron'",
        ),
        ("problem=3", "problem: expected settings such as problem.name=single-neuron, found 3"),
        ("problem.mu=1", "problem.mu: unknown setting"),
        ("problem.activation=3", "problem.activation: input should be a valid string, found 3"),
        ("nois=1", "nois: unknown setting; did you mean 'noise'"),
    ],
)
def test_each_mistake_is_one_line_that_names_the_setting(neuron: Make, override: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        neuron(override)
    assert len(str(caught.value).splitlines()) == 1
    assert caught.match(message.replace("[", r"\[").replace("{", r"\{"))


def test_the_well_has_no_table(well: Make) -> None:
    with pytest.raises(InputError, match="method: tabulated is for the single neuron"):
        well("method=tabulated")


def test_the_problem_asked_for_must_be_the_files(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(ENSEMBLES)
    assert load_toys(tmp_path / "two.yaml", problem="quartic-well") == load_toys(tmp_path / "two.yaml")
    with pytest.raises(InputError, match=r"two.yaml:2: problem.name: is 'quartic-well', but 'single-neuron' was asked"):
        load_toys(tmp_path / "two.yaml", problem="single-neuron")
    with pytest.raises(InputError, match=r"problem: expected one of single-neuron, quartic-well, .*, found 'neuron'"):
        load_toys(tmp_path / "two.yaml", problem="neuron")


def test_a_file_may_leave_the_problem_out(tmp_path: Path) -> None:
    (tmp_path / "bare.yaml").write_text("{name: bare, dt: 0.1, noise: 1, trajectories: 1, snapshots: 1}")
    (config,) = load_toys(tmp_path / "bare.yaml", problem="quartic-well")
    assert config.problem.name == "quartic-well"
    with pytest.raises(InputError, match=r"problem.name: missing; expected one of single-neuron, quartic-well"):
        load_toys(tmp_path / "bare.yaml")
