"""The twins of a run: what they change, where they are found, what they cost, and what is said of mistakes."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stochastic_collapse import train
from stochastic_collapse.cli import run as sc
from stochastic_collapse.config import TrainConfig, identity, load_config
from stochastic_collapse.errors import InputError
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.sweeps import (
    THE_RUN,
    Cost,
    SweepDirectory,
    control_runs,
    controls_of_file,
    controls_of_runs,
    costs,
    load_sweep,
)
from stochastic_collapse.sweeps.controls import CONTROLS, twins

Tiny = Callable[..., TrainConfig]
Write = Callable[..., Path]

NOISY = ("data.label_noise=0.25", "loss=mse", "data.target_noise=0.1")


def changed(config: TrainConfig, twin: TrainConfig) -> dict[str, Any]:
    """The settings of `twin` that are not those of `config`, by their dotted names."""

    def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        found = {}
        for key, value in settings.items():
            found.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
        return found

    before, after = (flat(one.model_dump(mode="json")) for one in (config, twin))
    return {key: value for key, value in after.items() if before[key] != value}


def twin_of(config: TrainConfig, file: Path, control: str, *overrides: str, **how: Any) -> dict[str, Any]:
    ((name, changes),) = twins(config, [control], **how).changes.items()
    assert name == control or "average" in how
    return changed(config, load_config(file, [*overrides, *changes]))


def scaled(factor: float) -> dict[str, Any]:
    """The tiny run's numbers of steps."""
    steps = {
        "max_steps": 40,
        "schedule.warmup_steps": 5,
        "eval_every": 10,
        "log_every": 5,
        "checkpoint_every": 15,
        "collapse.every": 20,
    }
    return {key: max(1, round(factor * n)) for key, n in steps.items()}


@pytest.mark.parametrize(
    ("control", "changes"),
    [
        ("no-noise", {"gradient_noise": "none"}),
        ("isotropic", {"gradient_noise": "isotropic"}),
        ("larger-batch-steps", {"batch_size": 32}),
        ("larger-batch-epochs", {"batch_size": 32, **scaled(1 / 4)}),
        ("smaller-batch-steps", {"batch_size": 2}),
        ("smaller-batch-epochs", {"batch_size": 2, **scaled(4)}),
        ("no-label-noise", {"data.label_noise": 0.0, "data.target_noise": 0.0}),
        ("no-weight-decay", {"optimizer.weight_decay": 0.0}),
        ("lower-rate", {"optimizer.lr": 0.0125, **scaled(4)}),
    ],
)
def test_a_twin_differs_in_one_thing(tiny: Tiny, tiny_file: Path, control: str, changes: dict[str, Any]) -> None:
    assert twin_of(tiny(*NOISY), tiny_file, control, *NOISY) == changes


def test_every_control_is_tested() -> None:
    (mark,) = (mark for mark in test_a_twin_differs_in_one_thing.pytestmark if mark.name == "parametrize")
    assert [control for control, _ in mark.args[1]] == list(CONTROLS)


def test_a_batch_is_at_least_one_and_at_most_the_set(tiny: Tiny, tiny_file: Path) -> None:
    assert twin_of(tiny(), tiny_file, "smaller-batch-steps", factor=100) == {"batch_size": 1}
    assert twin_of(tiny(), tiny_file, "larger-batch-steps", factor=100) == {"batch_size": 60}
    epochs = twin_of(tiny(), tiny_file, "larger-batch-epochs", factor=100)
    assert (epochs["batch_size"], epochs["max_steps"]) == (60, round(40 * 8 / 60))


def test_milestones_are_scaled_and_increase(tiny: Tiny, tiny_file: Path) -> None:
    schedule = "schedule={name: multistep, milestones: [2, 3, 30]}"
    rate = twin_of(tiny(schedule), tiny_file, "lower-rate", schedule)
    assert rate["schedule.milestones"] == [8, 12, 120]
    epochs = twin_of(tiny(schedule), tiny_file, "larger-batch-epochs", schedule)
    assert epochs["schedule.milestones"] == [1, 2, 8]  # 0.5 and 0.75 of a step are not two steps


def test_what_is_only_measured_at_the_end_stays_so(tiny: Tiny, tiny_file: Path) -> None:
    rare = ("eval_every=0", "checkpoint_every=0", "collapse.every=0", "schedule.warmup_steps=0")
    assert twin_of(tiny(*rare), tiny_file, "lower-rate", *rare) == {
        "optimizer.lr": 0.0125,
        "max_steps": 160,
        "log_every": 20,
    }


def test_networks_of_images_take_the_set_in_passes() -> None:
    vgg = load_config("configs/cifar10/vgg16_gelu.yaml")
    batch = vgg.batch_size
    assert twins(vgg, ["no-noise"]).changes["no-noise"] == ("gradient_noise=none", f"micro_batch={batch}")
    assert "crops, flips stay random" in twins(vgg, ["no-noise"]).notes[0]
    assert twins(vgg, ["no-noise"], average=4).changes == {
        "noise/4": (f"batch_size={4 * int(batch)}", f"micro_batch={batch}")
    }


REFUSED = [
    ("no-label-noise", (), "it has no label noise to remove"),
    ("no-weight-decay", ("optimizer.weight_decay=0",), "it has no weight decay to remove"),
    ("smaller-batch-steps", ("batch_size=1",), "a batch of 1 cannot be divided by 4"),
    ("larger-batch-epochs", ("batch_size=60",), "a batch of 60 is the whole training set"),
    ("larger-batch-steps", ("batch_size=full",), "its batch is the whole training set; take a run with batches"),
    ("no-noise", ("gradient_noise=none",), "it has no gradient noise"),
    ("no-noise", ("batch_size=full",), "it has no gradient noise"),
    ("isotropic", ("gradient_noise=isotropic",), "its gradient noise is isotropic already"),
    (
        "smaller-batch-steps",
        ("gradient_noise=none",),
        "it has no gradient noise, so that its batch size changes nothing",
    ),
]


@pytest.mark.parametrize(("control", "overrides", "why"), REFUSED)
def test_a_control_without_sense_is_refused_by_name_and_left_out_of_all(
    tiny_file: Path, tiny: Tiny, control: str, overrides: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sc(["control", "-f", str(tiny_file), *overrides, "--only", control, "--dry-run"]) == 2
    line = f"control {control} makes no sense for tiny: {why}"
    assert capsys.readouterr() == ("", f"sc: {line}\n")
    found = twins(tiny(*overrides), ["all"])
    assert control not in found.changes
    assert line in found.notes


def test_a_full_batch_with_label_noise_has_noise_to_leave_out(tiny: Tiny, tiny_file: Path) -> None:
    noisy = ("batch_size=full", "data.label_noise=0.2")
    assert twin_of(tiny(*noisy), tiny_file, "no-noise", *noisy) == {"gradient_noise": "none"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["control"], "a run needed: RUN, or its settings with -f FILE"),
        (["control", "/nowhere"], "/nowhere: no such run directory"),
        (["control", "-f", "TINY", "--only", "noise"], "no control 'noise'; there are no-noise, isotropic, larger-"),
        (["control", "-f", "TINY", "--factor", "1"], "1.0 is not in the range x>1"),
        (["control", "-f", "TINY", "--average", "8"], "8 batches of 8 are more than its 60 training examples"),
        (["control", "-f", "TINY", "--average", "4", "--only", "isotropic"], "which is not asked for"),
        (["control", "-f", "TINY", "--replicates", "2", "replicate=1"], "either 2 replicates or replicate=1"),
        (["control", "-f", "TINY", "--only", "lower-rate", "--executor", "ray", "--jobs", "2"], "option of the other"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], says: str, tiny_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_name = ["--only", "no-noise"] if "--average" in arguments and "--only" not in arguments else []
    assert sc([str(tiny_file) if a == "TINY" else a for a in [*arguments, *by_name]]) == 2
    out, err = capsys.readouterr()
    assert says in err.splitlines()[-1]
    assert out == ""


# --- which runs -----------------------------------------------------------------------------------------------------


def test_twins_are_found_from_the_file_as_from_the_run(tiny: Tiny, tiny_file: Path) -> None:
    train(tiny("optimizer.lr=0.1", "replicate=1"))
    of_file = controls_of_file(str(tiny_file), ["optimizer.lr=0.1", "replicate=1"])
    run = RunDirectory.of(tiny("optimizer.lr=0.1", "replicate=1"))
    for path in (run.path, run.path.parent):
        (of_run,) = controls_of_runs([path])
        assert [one.directory for one in of_run.sweep.runs] == [one.directory for one in of_file.sweep.runs]
        assert of_run.sweep.name == f"control-tiny-{identity(tiny('optimizer.lr=0.1'))}" == of_file.sweep.name
    assert {one.config.replicate for one in of_file.sweep.runs} == {1}
    assert of_file.sweep.runs[0].directory == run
    (more,) = controls_of_runs([run.path], ["lower-rate"], replicates=3)
    assert [(one.experiment, one.config.replicate) for one in more.sweep.runs] == [
        (name, k) for name in (THE_RUN, "lower-rate") for k in (0, 1, 2)
    ]


def test_the_commands_reproduce_the_twins(tiny: Tiny, tiny_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tiny())
    (one,) = controls_of_runs([RunDirectory.of(tiny()).path])
    capsys.readouterr()
    for run in one.sweep.runs:
        words = shlex.split(run.command)
        assert words[:2] == ["sc", "train"]
        assert sc([*words[1:], "--print-config", "--json"]) == 0
        assert TrainConfig.model_validate(json.loads(capsys.readouterr().out)) == run.config


def test_a_run_that_lies_elsewhere_must_be_finished(tiny: Tiny, tmp_path: Path) -> None:
    train(tiny(), out=tmp_path / "here")
    (one,) = controls_of_runs([tmp_path / "here"], ["lower-rate"])
    assert [run.directory.path for run in one.sweep.runs] == [
        tmp_path / "here",
        RunDirectory.of(one.sweep.runs[1].config).path,
    ]
    RunDirectory(tmp_path / "here").write_status("interrupted", 20, 1.0)
    with pytest.raises(InputError, match=r"here: not finished, and not where its settings say .*; finish it first: sc"):
        controls_of_runs([tmp_path / "here"])


def test_twins_of_a_fine_tuned_run_keep_its_origin(tiny: Tiny, tmp_path: Path) -> None:
    train(tiny())
    origin = RunDirectory.of(tiny()).path
    tuned = train(tiny(f"from.run={origin}", "from.step=30", "max_steps=5")).directory
    (one,) = controls_of_runs([tuned], ["no-weight-decay"])
    run, twin = one.sweep.runs
    assert run.directory.path == tuned
    assert twin.config.origin == run.config.origin is not None
    assert twin.command.startswith("sc finetune -f ")
    shutil.rmtree(origin.parent)  # the identity of the origin is written down
    assert controls_of_runs([tuned], ["no-weight-decay"])[0].sweep.runs[1].directory == twin.directory


def test_the_record_keeps_other_twins_and_other_replicates_of_the_same(tiny_file: Path) -> None:
    def recorded(*only: str, **how: Any) -> list[tuple[str, int]]:
        sweep = controls_of_file(str(tiny_file), (), only, **how).sweep
        directory = SweepDirectory(sweep.directory)
        directory.write_record(sweep.runs, grows=sweep.grows)
        return sorted((run.experiment, run.replicate) for run in directory.runs() if run.experiment != THE_RUN)

    recorded("lower-rate", replicates=2)
    assert recorded("no-noise") == [("lower-rate", 0), ("lower-rate", 1), ("no-noise", 0)]
    assert recorded("lower-rate") == [("lower-rate", 0), ("lower-rate", 1), ("no-noise", 0)]
    assert recorded("lower-rate", factor=2) == [("lower-rate", 0), ("no-noise", 0)]  # not beside those of factor 4


# --- cost -----------------------------------------------------------------------------------------------------------


def test_costs_are_steps_examples_and_what_is_left(tiny: Tiny, tiny_file: Path, tmp_path: Path) -> None:
    names = ["no-noise", "isotropic", "smaller-batch-epochs", "lower-rate"]
    plan = controls_of_file(str(tiny_file), (), names, replicates=2).sweep
    found = {cost.experiment: cost for cost in costs(plan)}
    assert not (tmp_path / "runs").exists()  # measured without a trace
    assert {name: (c.steps, c.examples, c.relative, c.left) for name, c in found.items()} == {
        THE_RUN: (40, 8, 1, 2),
        "no-noise": (40, 60, 7.5, 2),
        "isotropic": (40, 68, 8.5, 2),
        "smaller-batch-epochs": (160, 2, 1, 2),
        "lower-rate": (160, 8, 4, 2),
    }
    assert all(c.is_measured and 0 < c.seconds < 60 for c in found.values())
    train(tiny())
    train(tiny("replicate=1"))
    cost = costs(plan)[0]
    assert (cost.left, cost.seconds) == (0, 0)
    assert cost.summary() == "the run: 40 steps of 8 examples, 1 × the run's; nothing left to train"


def test_a_step_that_is_slow_is_not_taken(tiny_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[TrainConfig] = []

    def seconds(configs: list[TrainConfig]) -> float:
        timed.extend(configs)
        return 0.2  # of the run: a step of 60 examples, not of 8, takes more than a second

    monkeypatch.setattr("stochastic_collapse.sweeps.cost._seconds_per_step", seconds)
    run, twin = costs(controls_of_file(str(tiny_file), (), ["no-noise"]).sweep)
    assert {config.gradient_noise for config in timed} == {"sampled"}
    assert (run.is_measured, twin.is_measured) == (True, False)
    assert twin.seconds == pytest.approx(40 * 0.2 * 60 / 8)
    assert twin.summary() == (
        "no-noise: 40 steps of 60 examples, 7.5 × the run's; about 0:01:00 here for 1 replicate, by its number of "
        "examples"
    )
    assert isinstance(twin, Cost)


# --- in a sweep -----------------------------------------------------------------------------------------------------

CONTROLLED = """
name: controlled
replicates: 2
experiments:
  mlp:
    base: tiny.yaml
    grid: {optimizer.lr: [0.01, 0.1]}
    controls: CONTROLS
"""


def test_a_sweep_trains_the_twins_of_each_of_its_runs(sweep_file: Write, tiny_file: Path) -> None:
    sweep = load_sweep(sweep_file(CONTROLLED.replace("CONTROLS", "[no-noise, lower-rate]")))
    assert [(run.experiment, run.varied["optimizer.lr"], run.config.replicate) for run in sweep.runs] == [
        (name, lr, k) for lr in (0.01, 0.1) for name in ("mlp", "mlp:no-noise", "mlp:lower-rate") for k in (0, 1)
    ]
    alone = controls_of_file(str(tiny_file), ["optimizer.lr=0.1"], ["no-noise"], replicates=2).sweep.runs
    assert [run.directory for run in alone] == [run.directory for run in sweep.runs[6:10]]
    every = load_sweep(sweep_file(CONTROLLED.replace("CONTROLS", "all")))
    assert {run.experiment for run in every.runs} == {"mlp", *(f"mlp:{c}" for c in CONTROLS if c != "no-label-noise")}


@pytest.mark.parametrize(
    ("controls", "says"),
    [
        ("[no-label-noise]", "experiment mlp: control no-label-noise makes no sense for tiny: it has no label noise"),
        ("[noise]", "sweep.yaml:8: experiments.mlp.controls.0: input should be 'no-noise', 'isotropic', 'larger-"),
    ],
)
def test_a_sweep_with_a_control_without_sense_is_refused(sweep_file: Write, controls: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        load_sweep(sweep_file(CONTROLLED.replace("CONTROLS", controls)))
    assert says in str(error.value)
    assert len(str(error.value).splitlines()) == 1


# --- from end to end ------------------------------------------------------------------------------------------------


def test_control_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["max_steps=20", "eval_every=10", "schedule.warmup_steps=0", "checkpoint_every=0", "device=cpu"]
    call = ["control", "-f", "configs/digits/mlp_gelu.yaml", *settings, "--only", "no-noise,isotropic", "--jobs", "1"]
    assert sc([*call, "--status", "--json"]) == 0
    (plan,) = json.loads(capsys.readouterr().out)["controls"]
    assert [(run["experiment"], run["state"]) for run in plan["runs"]] == [
        (name, "waiting") for name in (THE_RUN, "no-noise", "isotropic")
    ]
    assert sc([*call, "--json"]) == 0
    out, err = capsys.readouterr()
    assert "no-noise: 20 steps of 1,437 examples, 44.9 × the run's; about " in err
    (result,) = json.loads(out)["controls"]
    assert (result["trained"], result["failures"]) == (3, {})
    assert [(twin["name"], twin["replicates"]) for twin in result["twins"]] == [
        (THE_RUN, 1),
        ("no-noise", 1),
        ("isotropic", 1),
    ]
    assert result["sentence"].startswith("Nothing has collapsed in the run (0 of its 256 neurons; 1 replicate; ")
    assert sc(call) == 0
    out, err = capsys.readouterr()
    assert "3 of 3 runs finished, 0 of them now" in out
    assert err == ""  # nothing to train, so that no cost is said
    assert result["sentence"] in out.replace("\n", " ")
    run = plan["runs"][0]["run"]
    assert sc(["control", run, "--only", "no-noise"]) == 0  # from the run, with the twins of the earlier call
    again = capsys.readouterr().out
    assert again.splitlines()[1:] == out.splitlines()[1:]
    title, swept = control_runs([run])
    assert [one.experiment for one in swept] == [THE_RUN, "no-noise", "isotropic"]
    assert SweepDirectory(Path(result["sweep"])).table_path.is_file()
    assert title in result["sweep"]
