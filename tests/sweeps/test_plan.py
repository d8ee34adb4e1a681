"""From a sweep's file to its runs, and what is said of mistakes."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from stochastic_collapse.cli import run as sc
from stochastic_collapse.config import load_config
from stochastic_collapse.errors import InputError
from stochastic_collapse.resources import shipped
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.sweeps import load_sweep

Write = Callable[..., Path]


def test_a_grid_times_replicates(sweep_file: Write, tiny_file: Path) -> None:
    sweep = load_sweep(sweep_file())
    assert [(run.varied, run.config.replicate) for run in sweep.runs] == [
        ({"optimizer.lr": lr}, k) for lr in (0.01, 0.1) for k in (0, 1)
    ]
    alone = load_config(tiny_file, ["max_steps=30", "optimizer.lr=0.1", "replicate=1"])
    assert sweep.runs[3].config == alone
    assert sweep.runs[3].directory == RunDirectory.of(alone)
    assert sweep.name == "rates"


def test_zip_goes_in_step_and_grid_over_all(sweep_file: Write) -> None:
    text = """
name: both
experiments:
  mlp:
    base: tiny.yaml
    zip: {batch_size: [4, 8], optimizer.lr: [0.1, 0.2]}
    grid: {data.label_noise: [0, 0.5], schedule.warmup_steps: [0, 3]}
"""
    runs = load_sweep(sweep_file(text)).runs
    found = [
        (
            run.config.batch_size,
            run.config.optimizer.lr,
            run.config.data.label_noise,
            run.config.schedule.warmup_steps,
        )
        for run in runs
    ]
    assert found == [(b, lr, s, w) for b, lr in ((4, 0.1), (8, 0.2)) for s in (0, 0.5) for w in (0, 3)]


def test_sizes_replace_what_stands_beside_them(sweep_file: Write) -> None:
    text = """
name: sized
replicates: 3
experiments: {mlp: {base: tiny.yaml}}
sizes:
  quick: {replicates: 1}
  paper: {experiments: {mlp: {base: tiny.yaml, settings: {max_steps: 77}}}}
"""
    file = sweep_file(text)
    assert [run.config.max_steps for run in load_sweep(file, "quick").runs] == [40]
    assert [run.config.max_steps for run in load_sweep(file, "paper").runs] == [77] * 3
    assert load_sweep(file).name == "sized-quick"
    assert len(load_sweep(file, replicates=2).runs) == 2


DROP = """
name: drop
replicates: 2
experiments:
  high: {{base: tiny.yaml, settings: {{checkpoint_every: 10}}}}
  low:
    base: tiny.yaml
    from: {origin}
    settings: {{max_steps: 5, optimizer.lr: 0.001}}
    grid: {{from.step: {steps}}}
"""


def test_an_experiment_starts_from_another(sweep_file: Write) -> None:
    sweep = load_sweep(sweep_file(DROP.format(origin="high", steps=[10, 40])))
    high, low = sweep.runs[:2], sweep.runs[2:]
    assert [run.origin for run in low] == [high[0].directory, high[1].directory] * 2
    assert {run.config.origin.step for run in low if run.config.origin} == {10, 40}
    assert len({run.directory.path.parent for run in low}) == 2  # the step is part of the identity


def test_portions_are_replicates_where_they_train_as_one(sweep_file: Write) -> None:
    assert [len(portion) for portion in load_sweep(sweep_file()).together()] == [2, 2]
    clipped = load_sweep(sweep_file(), overrides=["optimizer.gradient_clip=1"])
    assert [len(portion) for portion in clipped.together()] == [1] * 4


def test_a_run_that_two_experiments_share_is_one(sweep_file: Write) -> None:
    text = """
name: shared
experiments:
  a: {base: tiny.yaml, grid: {data.label_noise: [0, 0.1]}}
  b: {base: tiny.yaml, grid: {optimizer.lr: [0.05, 0.1]}}
"""
    sweep = load_sweep(sweep_file(text))
    assert len(sweep.runs) == 4
    assert len(sweep.together()) == 3


def test_the_command_of_a_run_is_the_run(sweep_file: Write, capsys: pytest.CaptureFixture[str]) -> None:
    file = sweep_file()
    assert sc(["sweep", "-f", str(file), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("waiting: sc train -f ") for line in lines)
    assert sc(shlex.split(lines[2])[2:]) == 0
    capsys.readouterr()
    assert sc(["sweep", "-f", str(file), "--dry-run"]) == 0
    states = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert states == ["waiting", "waiting", "finished", "waiting"]


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        ("name: x\nexperiments: {}\n", [], "sweep.yaml:2: experiments: dictionary should have at least 1 item"),
        ("name: x\nexperiments:\n  a: {base: tiny.yaml, grids: 1}\n", [], "unknown setting; did you mean 'grid'"),
        ("name: x\nexperiments:\n  a: {base: none.yaml}\n", [], "experiment a: none.yaml: no such file"),
        (
            "name: x\nexperiments:\n  a: {base: tiny.yaml, grid: {optimizer.lrr: [1]}}\n",
            [],
            "sweep.yaml: experiment a: override 'optimizer.lrr=1': optimizer.lrr: unknown setting; did you mean 'lr'",
        ),
        (
            "name: x\nexperiments:\n  a: {base: tiny.yaml, zip: {seed: [1, 2], batch_size: [3]}}\n",
            [],
            "zip needs lists of one length, found 1, 2",
        ),
        (
            "name: x\nexperiments:\n  a: {base: tiny.yaml, grid: {seed: [1]}, settings: {seed: 2}}\n",
            [],
            "seed stands in more than one of settings, grid and zip",
        ),
        (
            "name: x\nexperiments:\n  a: {base: tiny.yaml, grid: {optimizer.lr: [1]}}\n",
            ["optimizer={name: sgd, lr: 1}"],
            "experiment a: optimizer.lr is set by the sweep for each run, so it cannot be set for all",
        ),
        (
            "name: x\nexperiments:\n  a: {base: tiny.yaml, grid: {optimizer: [{name: sgd, lr: 1}]}}\n",
            ["optimizer.lr=2"],
            "experiment a: optimizer is set by the sweep for each run, so it cannot be set for all",
        ),
        (
            "name: x\nexperiments:\n  a: {base: tiny.yaml, grid: {replicate: [0, 1]}}\n",
            [],
            "sweep.yaml:3: experiments.a: replicate is the sweep's to set; say how many beside experiments",
        ),
        (
            "name: x\nexperiments:\n  a: {base: tiny.yaml}\n  b: {base: tiny.yaml, from: a, settings: {from.run: x}}\n",
            [],
            "experiments.b: from.run follows from `from`; leave it out",
        ),
        (
            "name: x\nexperiments:\n  a: {base: tiny.yaml, settings: {seed: 2020-01-01}}\n",
            [],
            "experiment a: override 'seed=\"2020-01-01\"': seed: input should be a valid integer",
        ),
        (
            "name: x\nexperiments: {a: }\n",
            [],
            "sweep.yaml:2: experiments.a: expected settings such as experiments.a.base",
        ),
        ("name: x\nsizes: {1: {replicates: 2}}\n", [], "sweep.yaml:2: sizes: expected a name for each size"),
        (DROP.format(origin="hihg", steps=[10]), [], "experiment low: from: no experiment 'hihg'; there are high, low"),
        (DROP.format(origin="low", steps=[10]), [], "from: experiment 'low' does not stand before this one"),
        (DROP.format(origin="high", steps=[7]), [], "7 is no checkpoint of experiment 'high'; it saves every 10 of 40"),
        ("name: x\nsizes: [1]\n", [], "sweep.yaml:2: sizes: expected a name for each size"),
    ],
)
def test_mistakes(sweep_file: Write, text: str, overrides: list[str], message: str) -> None:
    with pytest.raises(InputError) as raised:
        load_sweep(sweep_file(text), overrides=overrides)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_runs_in_a_folder_of_any_name(sweep_file: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A path is no YAML: '#', ': ' and quotes in it are parts of it."""
    monkeypatch.setenv("SC_RUNS", str(tmp_path / "r # 1: 'x'"))
    sweep = load_sweep(sweep_file(DROP.format(origin="high", steps=[10])))
    origin = sweep.runs[2].config.origin
    assert origin is not None
    assert origin.run == str(tmp_path / "r # 1: 'x'" / sweep.runs[0].directory.path.parent.name)


def test_an_unknown_size(sweep_file: Write) -> None:
    with pytest.raises(InputError, match=r"sweep.yaml: no size 'huge'; it has no sizes"):
        load_sweep(sweep_file(), "huge")


def test_the_example_in_the_documentation(sweep_file: Write) -> None:
    text = (shipped("configs").parent / "docs" / "how-to" / "gpu-and-cluster.md").read_text()
    example = text.split("name: mine\n")[1].split("```")[0]
    sweep = load_sweep(sweep_file(f"name: mine\n{example}"))
    assert {name: sum(run.experiment == name for run in sweep.runs) for name in ("small", "wide", "wide-tuned")} == {
        "small": 12,
        "wide": 3,
        "wide-tuned": 6,
    }
