"""Toy run directories: what is in them, and what is said of one that is not as it should be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tomlkit

from stochastic_collapse import ToyConfig, ToyRun, load_toy, simulate_toy
from stochastic_collapse.errors import InputError
from stochastic_collapse.toys import ToyDirectory
from stochastic_collapse.toys.engines import TorchEngine
from stochastic_collapse.toys.problems import data_of, spec_of

Make = Callable[..., ToyConfig]


@pytest.fixture
def finished(neuron: Make) -> ToyRun:
    return simulate_toy(neuron(), "torch")


@pytest.mark.parametrize(("per_step", "said"), [(2382.46, "2382.5 ns"), (28.4, "28.4 ns"), (0.0524, "0.052 ns")])
def test_the_summary_says_the_speed_of_a_cpu_and_of_a_gpu(finished: ToyRun, per_step: float, said: str) -> None:
    provenance = {**finished.provenance, "seconds": 1e-9 * per_step * finished.provenance["steps"]}
    assert f"({said} per trajectory-step)" in dataclasses.replace(finished, provenance=provenance).summary()


def test_inputs_are_written_as_promised(neuron: Make, well: Make, tmp_path: Path) -> None:
    directory = ToyDirectory(tmp_path / "here")
    directory.prepare(neuron("dt=1e-5"))
    directory.prepare(neuron("dt=1e-5"))
    spec = tomlkit.parse((tmp_path / "here/spec.toml").read_text()).unwrap()
    assert spec == spec_of(neuron("dt=1e-5"))
    for name, values in data_of(neuron()).items():
        written = np.load(tmp_path / f"here/{name}.npy")
        assert written.dtype == np.float64
        assert np.array_equal(written, values)
    ToyDirectory(tmp_path / "well").prepare(well())
    assert [path.name for path in (tmp_path / "well").iterdir()] == ["spec.toml"]


def test_another_simulation_is_refused(neuron: Make, tmp_path: Path) -> None:
    directory = ToyDirectory(tmp_path / "here")
    directory.prepare(neuron())
    with pytest.raises(
        InputError, match=r"here: holds another simulation \(differs in dt, noise\); choose another --out"
    ):
        directory.prepare(neuron("dt=1", "noise=1"))
    with pytest.raises(InputError, match=r"differs in y\)"):
        directory.prepare(neuron("problem.target_noise=0.5"))
    with pytest.raises(InputError, match=r"differs in x, y\)"):
        directory.prepare(neuron("problem.points=9"))


def test_a_recursions_inputs_are_written_as_promised(student: Make, tmp_path: Path) -> None:
    directory = ToyDirectory(tmp_path / "here")
    directory.prepare(student())
    directory.prepare(student())
    assert directory.spec() == spec_of(student())
    assert {name: values.shape for name, values in directory.data().items()} == {
        "s_star": (5,),
        "teacher": (6, 5),
        "rate": (20,),
    }
    with pytest.raises(InputError, match=r"differs in s_star, teacher\)"):
        directory.prepare(student("problem.inputs=4"))
    with pytest.raises(InputError, match=r"differs in rate\)"):
        directory.prepare(student("schedule.name=linear"))


def test_a_finished_run_is_read_back(finished: ToyRun, neuron: Make) -> None:
    run = load_toy(finished.directory)
    assert finished.directory.name.startswith("neuron-")
    assert run.spec == spec_of(neuron())
    assert np.array_equal(run.time, [0, 0.05, 0.2])
    assert np.array_equal(run.noise, [0.5, 2, 4])
    assert run.state.shape == (3, 3, 6, 2)
    assert np.array_equal(run.data["x"], data_of(neuron())["x"])
    record = {
        "engine",
        "chosen",
        "torch",
        "python",
        "package",
        "threads",
        "seconds",
        "steps",
        "cpu",
        "device",
        "inputs",
    }
    assert set(run.provenance) == record
    assert run.provenance["steps"] == 3 * 6 * 20
    assert "3 noise levels × 6 trajectories × 20 steps in" in run.summary()
    single = dataclasses.replace(run, state=run.state[:1, :, :1], spec={**run.spec, "snapshots": [0, 1]})
    assert "1 noise level × 1 trajectory × 1 step in" in single.summary()


def test_probability_within_counts_trajectories(finished: ToyRun) -> None:
    norms = np.sqrt((finished.state**2).sum(-1))
    radius = float(np.median(norms[0, 2]))
    expected = [[np.mean(norms[k, s] < radius) for s in range(3)] for k in range(3)]
    assert np.array_equal(finished.probability_within(radius), expected)
    assert finished.probability_within(radius)[0, 2] == 0.5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("spec.toml", None, "no toy run here: expected a directory with spec.toml"),
        ("spec.toml", b"dt = ", "spec.toml: cannot be read"),
        ("spec.toml", b"\xff", "spec.toml: cannot be read"),
        ("state.npy", None, r"not finished \(0 of 3 noise levels\)"),
        ("state.npy", b"nothing", "state.npy: cannot be read"),
        ("time.npy", None, "time.npy: cannot be read"),
    ],
)
def test_a_broken_run_is_one_line(finished: ToyRun, name: str, content: bytes | None, message: str) -> None:
    if content is None:
        (finished.directory / name).unlink()
    else:
        (finished.directory / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_toy(finished.directory)
    assert len(str(caught.value).splitlines()) == 1


def test_arrays_must_fit_the_spec(finished: ToyRun) -> None:
    np.save(finished.directory / "noise.npy", np.zeros(2))
    with pytest.raises(InputError, match=r"state.npy has the shape \(3, 3, 6, 2\), and spec.toml says \(3, 3, 6\)"):
        load_toy(finished.directory)
    np.save(finished.directory / "noise.npy", np.zeros(3, np.float32))
    with pytest.raises(InputError, match="holds float32 values, expected float64"):
        load_toy(finished.directory)


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no toy run here"):
        load_toy(tmp_path / "nowhere")


def test_a_directory_of_other_things_is_not_touched(neuron: Make, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "work").mkdir(parents=True)
    with pytest.raises(InputError, match=r"is not empty and holds no run \(work, …\)"):
        simulate_toy(neuron(), "torch", out=home)
    assert not (home / "spec.toml").exists()
    (home / "work").rmdir()
    (home / "x.npy").touch()  # of a call that was killed before it wrote spec.toml
    assert simulate_toy(neuron(), "torch", out=home).state.shape == (3, 3, 6, 2)


def test_seconds_are_those_of_all_calls(neuron: Make, tmp_path: Path) -> None:
    directory = ToyDirectory(tmp_path / "run")
    directory.prepare(neuron())
    directory.write_stream("torch cpu")
    directory.write_seconds(1000.0)
    if TorchEngine().stream != "torch cpu":
        pytest.skip("the torch engine runs on a GPU here")
    assert simulate_toy(neuron(), "torch", out=directory.path).provenance["seconds"] > 1000
