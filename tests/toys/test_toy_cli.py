"""`sc simulate-toy`, `sc doctor` and the toy figures as their users meet them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stochastic_collapse import ToyConfig, cli, load_toy
from stochastic_collapse.toys.problems import PROBLEMS

Make = Callable[..., ToyConfig]

SMALL = """\
name: small
problem: {name: quartic-well}
dt: 0.01
ensembles:
  paths: {noise: [0.1, 2.5], trajectories: 3, snapshots: {start: 0, stop: 20, count: 21}}
  collapse: {noise: {start: 0, stop: 3, count: 5}, trajectories: 10, snapshots: [0, 20]}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def sc(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = cli.run([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_each_ensemble_is_a_run(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = sc(capsys, "simulate-toy", "quartic-well", "-f", small, "--engine", "torch")
    assert status == 0
    first, second = out.splitlines()
    assert first.startswith(f"{tmp_path}/runs/small-paths-")
    assert "5 noise levels × 10 trajectories × 20 steps in" in second
    assert second.endswith("with the engine torch")
    assert err.startswith("engine torch (torch ")


def test_json_is_one_object(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("simulate-toy", "quartic-well", "-f", small, "--engine", "torch", "--out", tmp_path / "here", "--json")
    status, out, _ = sc(capsys, *arguments)
    assert status == 0
    runs = json.loads(out)["runs"]
    assert [run["run"] for run in runs] == [f"{tmp_path}/here/small-paths", f"{tmp_path}/here/small-collapse"]
    assert runs[0]["shape"] == [2, 21, 3, 1]
    assert runs[0]["provenance"]["engine"] == "torch"
    assert load_toy(tmp_path / "here/small-collapse").spec == runs[1]["spec"]
    status, out, err = sc(capsys, *arguments)
    assert status == 0
    assert json.loads(out)["runs"] == runs
    assert err.count("already finished, by the engine torch") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate-toy"], "Missing argument 'PROBLEM'"),
        (["simulate-toy", "quartic-well"], "settings needed: -f FILE"),
        (
            ["simulate-toy", "well", "dt=1"],
            "sc: problem: expected one of single-neuron, quartic-well, teacher-student, ",
        ),
        (["simulate-toy", "single-neuron", "-f", "SMALL"], "problem.name: is 'quartic-well', but 'single-neuron' was"),
        (["simulate-toy", "quartic-well", "-f", "SMALL", "--engine", "cuda"], "sc: engine: expected auto, juliacall"),
        (["simulate-toy", "quartic-well", "-f", "SMALL", "ensembles.paths.dt=0"], "ensembles.paths.dt"),
        (
            ["simulate-toy", "quartic-well", "-f", "SMALL", "--engine", "julia", "--julia", "/no/julia"],
            "sc: engine julia: --julia /no/julia is no executable file; install Julia 1.10 or newer",
        ),
        (["simulate-toy", "quartic-well", "-f", "none.yaml"], "sc: none.yaml: no such file"),
        (["figures", "fig1"], "sc: figure fig1: not simulated yet in "),
        (["figures", "fig2"], "run: sc simulate-toy single-neuron -f configs/toys/fig2_quick.yaml"),
        (["teacher-student"], "settings needed: -f FILE, such as -f configs/toys/fig5_quick.yaml"),
        (
            ["teacher-student", "-f", "configs/toys/two_neurons.yaml"],
            "problem.name: is 'two-neurons', but 'teacher-student' or 'teacher-student-general' was asked for",
        ),
        (["two-neurons", "-f", "configs/toys/two_neurons.yaml", "lr=[1, 2]"], "lr: expected one number, or as many as"),
        (["two-neurons", "-f", "configs/toys/two_neurons.yaml", "dt=1"], "dt: unknown setting"),
        (["figures", "fig5"], "run: sc teacher-student -f configs/toys/fig5_quick.yaml"),
        (["figures", "two-neurons"], "run: sc two-neurons -f configs/toys/two_neurons.yaml"),
        (["figures", "fig1", "nowhere"], "sc: nowhere: no toy run here"),
    ],
)
def test_each_mistake_is_one_line_and_status_2(
    arguments: list[str], message: str, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = sc(capsys, *[str(small) if a == "SMALL" else a for a in arguments])
    assert status == 2
    assert out == ""
    assert message in err.splitlines()[-1]


def test_verbose_shows_the_log_of_the_engine(
    neuron: Make, fake_julia: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE", "error")
    overrides = [f"{key}={value}" for key, value in neuron().model_dump(mode="json").items()]
    arguments = ["simulate-toy", "single-neuron", *overrides, "--engine", "julia", "--julia", fake_julia]
    status, _, err = sc(capsys, *arguments)
    assert status == 2
    assert err.splitlines()[-1] == "sc: engine julia: spec.toml: dt = -1, expected a number > 0"
    assert "[1] somewhere" not in err
    _, _, err = sc(capsys, *arguments, "--verbose")
    assert "[1] somewhere" in err


def test_doctor(fake_julia: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", "/no/julia")
    status, out, _ = sc(capsys, "doctor", "--julia", fake_julia)
    assert status == 0
    assert "engine juliacall: not available: of PYTHON_JULIACALL_EXE" in out
    assert f"engine julia: available: Julia 1.11.0 at {fake_julia}" in out
    assert "auto takes: julia" in out
    status, out, _ = sc(capsys, "doctor", "--julia", fake_julia, "--json")
    assert json.loads(out)["auto"] == "julia"


def test_help_needs_neither_torch_nor_pydantic() -> None:
    script = (
        "import sys; from stochastic_collapse.cli import run; run(['simulate-toy', '--help']); "
        "sys.exit(str({'torch', 'pydantic', 'juliacall'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"
    assert "sc simulate-toy single-neuron -f configs/toys/fig2_quick.yaml" in done.stdout


STUDENT = """\
name: few
problem: {name: teacher-student, points: 64, inputs: 6, outputs: 5, teacher: [0.8, 1.2]}
lr: 0.64
schedule: {name: multistep, milestones: [30]}
noise: [0, 3, 12]
trajectories: 4
snapshots: [0, 15, 30, 40]
"""


def test_teacher_student_from_settings_to_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "few.yaml").write_text(STUDENT)
    arguments = ("teacher-student", "-f", tmp_path / "few.yaml", "--engine", "torch", "--out", tmp_path / "run")
    status, out, err = sc(capsys, *arguments, "--json")
    assert status == 0
    (run,) = json.loads(out)["runs"]
    assert (run["shape"], run["spec"]["lr"]) == ([3, 4, 4, 10], [0.64] * 3)
    assert err.startswith("engine torch (torch ")
    status, out, err = sc(capsys, *arguments)
    assert (status, err) == (0, f"{tmp_path}/run: already finished, by the engine torch\n")
    assert "3 noise levels × 4 trajectories × 40 steps in" in out
    status, out, _ = sc(capsys, "figures", "fig5", tmp_path / "run")
    assert status == 0
    assert Path(out.splitlines()[0]).read_bytes()[1:4] == b"PNG"


def test_the_general_form_is_a_teacher_student_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ("trajectories=2", "snapshots=[0, 20]", "schedule.milestones=[15]", "schedule.warmup_steps=10")
    status, out, _ = sc(capsys, "teacher-student", "-f", "configs/toys/fig5_general_quick.yaml", *few)
    assert status == 0
    assert "3 noise levels × 2 trajectories × 20 steps" in out
    status, _, err = sc(capsys, "figures", "fig5", out.partition(":")[0])
    assert status == 2
    assert err.startswith("sc: figure fig5 is drawn from runs of teacher-student, found only ")
    assert err.endswith(" (a run of teacher-student-general)\n")


def test_two_neurons_from_settings_to_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("two-neurons", "-f", "configs/toys/two_neurons.yaml", "snapshots=[0, 20, 40]", "trajectories=2")
    status, out, _ = sc(capsys, *arguments, "--out", tmp_path / "run", "--json")
    assert status == 0
    assert json.loads(out)["runs"][0]["shape"] == [9, 3, 2, 8]
    status, out, _ = sc(capsys, "figures", "two-neurons", tmp_path / "run", "--out", tmp_path)
    assert status == 0
    assert out.splitlines() == [f"{tmp_path}/two-neurons.png", f"{tmp_path}/two-neurons.pdf"]


def test_help_names_every_problem(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = sc(capsys, "simulate-toy", "--help")
    assert all(problem in out for problem in PROBLEMS)


@pytest.mark.filterwarnings("error")
def test_runs_without_steps_are_no_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, config, figure in (("teacher-student", "fig5", "fig5"), ("two-neurons", "two_neurons", "two-neurons")):
        few = ("trajectories=1", "snapshots=[0]", "--engine", "torch", "--out", tmp_path / figure)
        assert sc(capsys, command, "-f", f"configs/toys/{config}.yaml", *few)[0] == 0
        status, _, err = sc(capsys, "figures", figure, tmp_path / figure)
        assert (status, err) == (2, f"sc: figure {figure}: {tmp_path / figure}: has no steps, only the start\n")


def test_the_shipped_settings_are_not_wide() -> None:
    for file in Path("configs/toys").glob("*.yaml"):
        assert max(map(len, file.read_text(encoding="utf-8").splitlines())) <= 120


def test_figures_of_runs_named(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sc(capsys, "simulate-toy", "quartic-well", "-f", small, "--engine", "torch", "--out", tmp_path / "a")[0] == 0
    paths, collapse = tmp_path / "a/small-paths", tmp_path / "a/small-collapse"
    status, out, _ = sc(capsys, "figures", "fig1", collapse, paths, "--out", tmp_path / "drawn")
    assert status == 0
    assert out.splitlines() == [f"{tmp_path}/drawn/fig1.png", f"{tmp_path}/drawn/fig1.pdf"]
    status, _, err = sc(capsys, "figures", "fig2", paths)
    assert (status, err) == (
        2,
        f"sc: figure fig2 is drawn from runs of single-neuron, found only {paths} (a run of quartic-well)\n",
    )


def test_figures_take_the_papers_run_if_it_is_there_else_the_quick_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stochastic_collapse.figures import fig2
    from stochastic_collapse.figures.needs import Toy

    for name in ("paper", "quick"):
        (tmp_path / f"{name}.yaml").write_text(
            f"{{name: {name}, problem: {{name: single-neuron}}, dt: 0.1, noise: [0, 1, 3], trajectories: 4, "
            "snapshots: {start: 0, stop: 30, count: 7}}"
        )
    needs = {name: (Toy("single-neuron", str(tmp_path / f"{name}.yaml")),) for name in ("paper", "quick")}
    monkeypatch.setattr(fig2, "NEEDS", needs)
    for name in ("quick", "paper"):
        arguments = ("simulate-toy", "single-neuron", "-f", tmp_path / f"{name}.yaml", "--engine", "torch")
        assert sc(capsys, *arguments)[0] == 0
        status, out, err = sc(capsys, "figures", "fig2")
        assert status == 0
        assert f"figure fig2: from {tmp_path}/runs/{name}-" in err
        assert out.splitlines()[0] == f"{tmp_path}/runs/figures/fig2.png"
        assert np.frombuffer(Path(out.splitlines()[0]).read_bytes()[:8], np.uint8)[1:4].tobytes() == b"PNG"
