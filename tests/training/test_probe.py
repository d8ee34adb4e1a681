"""The attractivity of a run's checkpoints, under the run's own training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from stochastic_collapse import attractivity, cli, train
from stochastic_collapse.config import TrainConfig
from stochastic_collapse.data.dataset import first
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.data.examples import Examples
from stochastic_collapse.data.loader import BatchLoader
from stochastic_collapse.errors import InputError
from stochastic_collapse.models import build_model
from stochastic_collapse.runs import ATTRACTIVITY, RunDirectory
from stochastic_collapse.training import probe_run

Tiny = Callable[..., TrainConfig]


@pytest.fixture
def few_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the leading direction a rough one, where the test is not about its value."""
    monkeypatch.setattr("stochastic_collapse.training.probe._DIRECTIONS", 2)


def test_a_run_is_probed_with_its_own_settings(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny("schedule.name=multistep", "schedule.milestones=[20]", "data.label_noise=0.2")
    run = RunDirectory(train(config, out=tmp_path / "run").directory)
    found = probe_run(run, neurons=1, examples=24)

    dataset = load_dataset(config.data)
    batch = BatchLoader(Examples.of(config.data, dataset, device=torch.device("cpu")), 24, seed=3).next()
    model = build_model(config.model, dataset.task)
    model.load_state_dict(torch.load(run.checkpoint(40), weights_only=True)["model"])
    expected = attractivity(
        model,
        first(batch.inputs),
        batch.targets,
        lr=0.005,  # after the milestone
        batch_size=8,
        momentum=0.9,
        weight_decay=5e-4,
        neurons=1,
        pairs=1,
        steps=50,
    )
    assert list(found.columns) == list(ATTRACTIVITY)
    assert set(found["step"]) == {40}
    pd.testing.assert_frame_equal(found.drop(columns="step"), expected)


def test_rows_of_other_steps_are_kept_and_those_of_a_step_replaced(tiny: Tiny, few_directions: None) -> None:
    run = RunDirectory(train(tiny()).directory)
    probe_run(run, [30], neurons=1, examples=10)
    probe_run(run, [15, 40], neurons=1, examples=10)
    probe_run(run, [30], neurons=2, examples=10)
    table = run.attractivity()
    assert table.groupby("step").size().to_dict() == {15: 8, 30: 16, 40: 8}
    assert table["step"].is_monotonic_increasing


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_where_the_schedule_has_ended_the_run_the_step_and_the_way_out_are_named(
    tiny: Tiny, few_directions: None, schedule: str
) -> None:
    run = RunDirectory(train(tiny(f"schedule.name={schedule}")).directory)
    expected = (
        rf"{run}: at step 40 the learning rate is 0, .*; name other checkpoints with --steps \(there are 15, 30\)"
    )
    with pytest.raises(InputError, match=expected):
        probe_run(run, neurons=1, examples=10)
    with pytest.raises(InputError, match=expected):
        probe_run(run, "all", neurons=1, examples=10)
    assert set(run.attractivity()["step"]) == {15, 30}  # what was measured before is kept


def test_target_noise_and_convolutions(tiny: Tiny, few_directions: None) -> None:
    noisy = tiny("loss=mse", "data.target_noise=0.5")
    assert len(probe_run(RunDirectory(train(noisy).directory), neurons=1, examples=10)) == 8
    vgg = tiny("model={name:\tvgg16,\twidth:\t0.04}", "data.shape=[3,32,32]", "max_steps=1", "batch_size=4")
    table = probe_run(RunDirectory(train(vgg).directory), neurons=1, examples=2)
    assert set(table["layer"]) == {*(f"conv{k}" for k in range(1, 14)), "fc14", "fc15"}


@pytest.mark.parametrize("option", ["--neurons=0", "--examples=1"])
def test_nothing_to_examine_is_bad_usage(option: str) -> None:
    result = CliRunner().invoke(cli.cli, ["analyze", "runs", "--attractivity", option])
    assert result.exit_code == 2
    assert f"Invalid value for '{option[:-2]}'" in result.output


def test_what_the_theory_does_not_cover_is_refused(tiny: Tiny) -> None:
    adam = tiny("optimizer={name:\tadam,\tlr:\t0.05}", "max_steps=2")
    with pytest.raises(InputError, match="a theory of SGD, and this run's optimizer is adam"):
        probe_run(RunDirectory(train(adam).directory))
    run = RunDirectory(train(tiny("max_steps=2")).directory)
    with pytest.raises(InputError, match="no checkpoint of step 7"):
        probe_run(run, [7])
    with pytest.raises(InputError, match="neurons: expected 1 or more, found 0"):
        probe_run(run, neurons=0)
    with pytest.raises(InputError, match="examples: expected 2 or more, found 1"):
        probe_run(run, examples=1)
    assert not (run.path / "attractivity.csv").exists()
