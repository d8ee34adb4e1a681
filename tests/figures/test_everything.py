"""`sc figures --all` and figures/regenerate.py from beginning to end, on settings that take seconds.

In a folder that has its own configs/, these come before the shipped ones of the same names.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stochastic_collapse.figures import SHIPPED, fig2, fig5, needs
from stochastic_collapse.figures.everything import regenerate
from stochastic_collapse.figures.needs import SIZES, Means, Need, Sweep, Toy, Training
from stochastic_collapse.figures.records import read_records

from stochastic_collapse.cli import run
from stochastic_collapse.config import find_config, load_config
from stochastic_collapse.errors import InputError, Interrupted
from stochastic_collapse.runs import RunDirectory

CHECKOUT = Path(__file__).resolve().parents[2]

MLP = """
name: digits-mlp
model: {name: mlp, widths: [8, 6]}
data: {name: synthetic, train_size: 60, test_size: 30, shape: [1, 4, 4], num_classes: 3}
batch_size: 8
max_steps: 40
optimizer: {name: sgd, lr: 0.05}
eval_every: 10
log_every: 5
checkpoint_every: 20
collapse: {every: 20}
device: cpu
"""
SWEEP = """
name: {name}
sizes:
  quick: {{experiments: {{digits: {{base: configs/digits/mlp_gelu.yaml, grid: {grid}}}}}}}
"""
FILES = {
    "digits/mlp_gelu.yaml": MLP,
    "sweeps/learning_rate.yaml": SWEEP.format(name="learning-rate", grid="{optimizer.lr: [0.01, 0.05]}"),
    "sweeps/label_noise.yaml": SWEEP.format(name="label-noise", grid="{data.label_noise: [0, 0.4]}"),
    "sweeps/batch_size.yaml": SWEEP.format(name="batch-size", grid="{batch_size: [4, 8]}"),
    "sweeps/learning_rate_drop.yaml": """
name: learning-rate-drop
replicates: 2
sizes:
  quick:
    experiments:
      digits: {base: configs/digits/mlp_gelu.yaml}
      digits-drop:
        base: configs/digits/mlp_gelu.yaml
        from: digits
        settings: {optimizer.lr: 0.01, max_steps: 20}
        grid: {from.step: [20, 40]}
""",
    "toys/fig1.yaml": """
name: fig1
problem: {name: quartic-well}
dt: 0.01
ensembles:
  paths: {noise: [0.1, 2.5], trajectories: 4, snapshots: [0, 10, 20]}
  collapse: {noise: [0, 1, 2, 3], trajectories: 4, snapshots: [0, 20]}
""",
    "toys/fig2_quick.yaml": """
{name: fig2, problem: {name: single-neuron}, dt: 0.1, noise: [0, 1, 3, 4], trajectories: 4, snapshots: [0, 15, 30]}
""",
    "toys/fig5_quick.yaml": """
name: fig5
problem: {name: teacher-student, points: 32, inputs: 4, outputs: 4, teacher: [1], target_noise: 0.5}
lr: 1
schedule: {name: multistep, milestones: [20], gamma: 0.1}
noise: [0, 1]
trajectories: 3
snapshots: [0, 10, 20, 30]
""",
    "toys/students.yaml": """
name: students
problem: {name: students, inputs: 2, points: 8, teacher: 1, widths: [4], activation: gelu, momentum: 0.9}
lr: 0.05
trajectories: 2
ensembles:
  labels: {noise: [0, 0.1, 0.3], snapshots: [0, 10, 20]}
  weight-decay: {problem: {weight_decay: 0.01}, noise: 0, snapshots: [0, 20]}
""",
    "toys/students_threshold.yaml": """
name: students-threshold
problem: {name: students, inputs: 1, points: 8, teacher: 1, widths: [4], activation: relu, momentum: 0}
lr: 0.02
noise: [0, 15]
trajectories: 2
snapshots: [0, 10, 20]
""",
    "toys/two_neurons.yaml": """
name: two-neurons
problem: {name: two-neurons}
lr: [0.1, 0.2, 0.1]
noise: [0.1, 0.1, 0]
trajectories: 2
snapshots: [0, 10, 20]
""",
}


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, whose configs/ are small."""
    for name, text in FILES.items():
        path = tmp_path / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SC_JULIA", "/nowhere")
    return tmp_path


@pytest.fixture
def environment() -> dict[str, str]:
    """Of a script of this checkout."""
    return {**os.environ, "PYTHONPATH": str(CHECKOUT / "python")}


def test_everything_from_nothing_then_nothing_again(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["figures", "--all", "--from", "made", "--out", "drawn", "--engine", "torch", "--json"]
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert answer["page"] == "drawn/index.html"
    assert [figure["name"] for figure in answer["figures"]] == list(SHIPPED)
    for figure in answer["figures"]:
        assert figure["pictures"] == [f"{figure['name']}.png", f"{figure['name']}.pdf"]
        assert all((small / "drawn" / picture).stat().st_size > 1000 for picture in figure["pictures"])
        assert (figure["size"], figure["problems"]) == ("quick", [])
        assert len(figure["sources"]) == len(SHIPPED[figure["name"]].NEEDS["quick"])
        assert all(source["seconds"] > 0 for source in figure["sources"])
        assert figure["drawing_seconds"] > 0
        assert figure["messages"]
    assert [source["runs"] for figure in answer["figures"] for source in figure["sources"]] == [
        *(2, 2, 1),
        2,
        1,
        1,
        2,
        2,
        2,
        1,
        6,
        1,
    ]
    assert answer["figures"][5]["sources"][0]["command"] in err
    page = (small / "drawn" / "index.html").read_text()
    assert [page.index(f'<section id="{name}">') for name in SHIPPED]
    assert "sc sweep -f configs/sweeps/learning_rate_drop.yaml --size quick" in page
    assert not (small / "runs").exists()  # $SC_RUNS; --from was in its place

    made = {path: path.stat().st_mtime_ns for path in (small / "made").rglob("*") if path.is_file()}
    assert run(arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in (small / "made").rglob("*") if path.is_file()} == made
    again = json.loads(capsys.readouterr().out)
    assert [figure["messages"] for figure in again["figures"]] == [figure["messages"] for figure in answer["figures"]]


def test_calls_for_some_figures_add_to_one_page(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for only in ("two-neurons", "fig2,fig1"):
        assert run(["figures", "--all", "--only", only, "--engine", "torch"]) == 0
    out, err = capsys.readouterr()
    folder = small / "runs" / "figures"
    assert [Path(line.partition(" (")[0]).name for line in out.splitlines() if ".png" in line] == [
        "two-neurons.png",
        "fig1.png",
        "fig2.png",
    ]
    assert [record.name for record in read_records(folder, SHIPPED)] == ["fig1", "fig2", "two-neurons"]
    page = (folder / "index.html").read_text()
    assert page.count("<section") == 3
    assert str(folder / "index.html") in out.splitlines()
    assert "does not hold: fig2: " in out  # of four trajectories
    assert "figure fig2: sc simulate-toy single-neuron -f configs/toys/fig2_quick.yaml" in err


def test_a_figure_that_fails_does_not_stop_the_others(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small / "configs/toys/fig2_quick.yaml"
    path.write_text(path.read_text().replace("dt: 0.1", "dt: -1"))

    def broken(results: object) -> None:
        raise ZeroDivisionError("by mistake")

    monkeypatch.setattr(fig5, "draw", broken)
    assert run(["figures", "--all", "--only", "fig2,fig5,two-neurons", "--engine", "torch"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "two-neurons.png" in lines[0]
    assert lines[-2].startswith("failed: fig2: configs/toys/fig2_quick.yaml:2: dt: ")
    assert lines[-1] == "failed: fig5: ZeroDivisionError: by mistake"
    page = (small / "runs/figures/index.html").read_text()
    assert page.count("Not drawn.") == 2
    assert "ZeroDivisionError: by mistake" in page


def test_a_run_that_fails_is_named_and_the_others_are_drawn(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = small / "configs/sweeps/learning_rate.yaml"
    path.write_text(path.read_text().replace("0.05", "1e9"))
    assert run(["figures", "--all", "--only", "fig4"]) == 1
    out = capsys.readouterr().out
    assert "fig4.png" in out
    assert "failed: fig4: digits lr 1000000000.0 #0: " in out
    assert "diverged" in out


def test_needs_fail_one_by_one(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_executor = needs.make_executor

    def make(name: str, plan: Any, **options: Any) -> Any:
        if plan.name == "learning-rate-quick":
            raise InputError("no room here")
        return make_executor(name, plan, **options)

    monkeypatch.setattr(needs, "make_executor", make)
    assert run(["figures", "--all", "--only", "fig4"]) == 1
    out, _ = capsys.readouterr()
    assert "fig4.png" in out
    assert "failed: fig4: no room here" in out
    (record,) = read_records(small / "runs/figures", ["fig4"])
    assert [source.runs for source in record.sources] == [0, 2]
    page = (small / "runs/figures/index.html").read_text()
    assert "no room here" in page
    assert "0 runs, 0.0 s" in page


def test_the_executor_is_the_sweeps(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def make(name: str, *_: object, **__: object) -> None:
        raise InputError(f"no {name} here")

    monkeypatch.setattr(needs, "make_executor", make)
    assert run(["figures", "--all", "--only", "fig6", "--executor", "ray"]) == 1
    assert "failed: fig6: no ray here" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--all", "--only", "fig7"], "figure: expected students, students-theory, fig1, "),
        (["--all", "--only", ""], "figure: expected students, students-theory, fig1, "),
        (["--all", "--size", "huge"], "'huge' is not one of 'quick', 'paper'"),
        (["--all", "--engine", "fortran"], "engine: expected auto, juliacall, julia, torch, found 'fortran'"),
        (["--all", "--executor", "slurm"], "'slurm' is not one of 'local', 'ray'"),
        (["--all", "--from", "configs/toys/fig1.yaml"], "configs/toys/fig1.yaml: no folder of runs"),
        (["--all", "--out", "configs/toys/fig1.yaml"], "configs/toys/fig1.yaml: no folder to draw into"),
        (["--all", "fig4"], "--all draws all figures; name some with --only, not 'fig4'"),
        (["fig4", "--size", "quick"], "go with --all"),
        (["fig4", "--only", "fig4"], "go with --all"),
        ([], "a figure needed"),
    ],
)
def test_mistakes(arguments: list[str], says: str, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["figures", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert not (small / "runs").exists()


def test_sizes_are_checked_in_python_too() -> None:
    with pytest.raises(InputError, match="size: expected paper, quick, found 'tiny'"):
        regenerate("tiny")
    with pytest.raises(InputError, match="executor: expected local, ray, found 'slurm'"):
        regenerate(executor="slurm")


def test_runs_root_is_given_back(monkeypatch: pytest.MonkeyPatch, small: Path) -> None:
    seen = []

    def make(self: Toy, means: Means) -> list[str]:
        seen.append(os.environ["SC_RUNS"])
        raise Interrupted("as by Ctrl-C")

    monkeypatch.setattr(Toy, "make", make)
    for before in ("elsewhere", None):
        if before is None:
            monkeypatch.delenv("SC_RUNS")
        else:
            monkeypatch.setenv("SC_RUNS", before)
        with pytest.raises(Interrupted):
            regenerate(only=["fig2"], runs=small / "made")
        assert os.environ.get("SC_RUNS") == before
    assert seen == [str(small / "made")] * 2


def test_the_script_is_interrupted_and_goes_on(small: Path, environment: dict[str, str]) -> None:
    path = small / "configs/digits/mlp_gelu.yaml"
    path.write_text(
        MLP.replace("max_steps: 40", "max_steps: 3000").replace("checkpoint_every: 20", "checkpoint_every: 0")
    )
    command = [sys.executable, str(CHECKOUT / "figures/regenerate.py"), "--only", "fig3,fig2", "--out", "drawn"]
    command += ["--engine", "torch"]
    directory = RunDirectory.of(load_config("configs/digits/mlp_gelu.yaml"))
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        while directory.status().get("step", 0) == 0 and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in err
    assert (small / "drawn/fig2.png").is_file()
    assert not (small / "drawn/fig3.png").exists()
    assert "fig3" not in (small / "drawn/index.html").read_text()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=240)
    assert "continues at step" in done.stderr
    assert "fig2: sc simulate-toy" not in done.stderr
    assert (small / "drawn/fig3.png").is_file()
    assert done.stdout.splitlines()[-1] == "drawn/index.html" or "does not hold" in done.stdout


def test_the_script_writes_beside_itself_unless_told(small: Path, environment: dict[str, str]) -> None:
    script = small / "checkout/figures/regenerate.py"
    script.parent.mkdir(parents=True)
    script.write_text((CHECKOUT / "figures/regenerate.py").read_text())
    command = [sys.executable, str(script), "--only", "fig1", "--engine", "torch"]
    subprocess.run(command, env=environment, capture_output=True, check=True, timeout=240)
    assert (script.parent / "out/index.html").is_file()
    (small / "checkout/figures/fractions.py").write_text("raise SystemExit(9)")  # as ours hides Python's
    help_ = subprocess.run([*command, "--help"], env=environment, capture_output=True, text=True, check=True)
    assert "--from RUNS" in help_.stdout


# --- needs ----------------------------------------------------------------------------------------------------------


def test_every_figure_has_both_sizes_and_their_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")  # where the shipped configurations are found
    for module in SHIPPED.values():
        assert tuple(module.NEEDS) == SIZES
        assert set(module.DIFFERENCES) == set(SIZES)
        for of_size in module.NEEDS.values():
            assert len({type(need) for need in of_size}) == 1
            for need in of_size:
                assert all(find_config(file).is_file() for file in need.settings())
                assert need.settings()[0] in need.command


def test_a_sweep_is_finished_when_all_runs_of_its_file_are(small: Path, store: Any) -> None:
    sweep = Sweep("learning-rate", "optimizer.lr", "quick")
    assert not sweep.is_finished()
    assert sweep.make(Means()) == []
    assert sweep.is_finished()
    path = small / "configs/sweeps/learning_rate.yaml"
    path.write_text(path.read_text().replace("0.05", "0.05, 0.1"))
    assert not sweep.is_finished()  # the record is of fewer runs
    store(load_config("configs/digits/mlp_gelu.yaml", ["optimizer.lr=0.1"]), {})
    assert not sweep.is_finished()
    assert sweep.make(Means()) == []  # nothing to train
    assert sweep.is_finished()


def test_replicates_of_one_program_count_once(plan: Callable[..., Any], store: Any, write_sweep: Any) -> None:
    runs = [plan("digits", {"optimizer.lr": rate}, k) for rate in (0.1, 0.2) for k in range(3)]
    for run_ in runs:
        store(run_.config, {}).write_status("finished", 40, 5.0 + run_.config.replicate, versions={"torch": "2"})
    write_sweep("learning-rate-quick", runs)
    account = Sweep("learning-rate", "optimizer.lr", "quick").account()
    assert account == (6, 14.0, "torch 2")


@pytest.mark.parametrize("need", [Training("configs/digits/mlp_gelu.yaml"), *fig2.NEEDS["quick"]])
def test_one_run_is_made_once(need: Need) -> None:
    lines: list[str] = []
    assert not need.is_finished()
    assert need.make(Means("torch", report=lines.append)) == []
    assert need.is_finished()
    runs, seconds, how = need.account()
    assert runs == 1
    assert seconds > 0
    assert "torch" in how
