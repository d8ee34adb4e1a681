"""Every training configuration that is shipped validates and trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from stochastic_collapse import load_config, train
from stochastic_collapse.config import TrainConfig, read_settings
from stochastic_collapse.resources import shipped
from stochastic_collapse.sweeps import load_sweep

CONFIGS = sorted(
    p for folder in ("digits", "cifar10", "cifar100") for p in (shipped("configs") / folder).glob("*.yaml")
)
SWEEPS = sorted((shipped("configs") / "sweeps").glob("*.yaml"))
SHAPES = {"digits": (1, 8, 8), "cifar10": (3, 32, 32), "cifar100": (3, 32, 32)}
CLASSES = {"digits": 10, "cifar10": 10, "cifar100": 100}


def two_steps_at_reduced_width(config: TrainConfig) -> TrainConfig:
    """On synthetic data of the dataset's shape, so that no download is needed."""
    settings = config.model_dump(mode="json")
    name = config.data.name
    settings["data"] = {
        "name": "synthetic",
        "shape": SHAPES[name],
        "num_classes": CLASSES[name],
        "train_size": 512,
        "test_size": 64,
        "label_noise": config.data.label_noise,
    }
    if config.model.name != "mlp":
        settings["model"]["width"] = 0.05
    return TrainConfig.model_validate({**settings, "max_steps": 2, "from": None, "device": "cpu"})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_trains_two_steps(path: Path) -> None:
    result = train(two_steps_at_reduced_width(load_config(path)))
    assert result.steps == 2
    assert not result.collapse.empty


SIZES = [(path, size) for path in SWEEPS for size in read_settings(path).values["sizes"]]


@pytest.mark.parametrize(("path", "size"), SIZES, ids=[f"{path.stem}-{size}" for path, size in SIZES])
def test_each_experiment_of_a_sweep_trains_two_steps(path: Path, size: str) -> None:
    runs = load_sweep(path, size).runs
    first = {run.experiment: run for run in reversed(runs)}
    for run in first.values():
        assert train(two_steps_at_reduced_width(run.config)).steps == 2


def test_every_figure_of_sweeps_has_its_file() -> None:
    figures = {"learning_rate", "label_noise", "batch_size", "learning_rate_drop"}
    assert {path.stem for path in SWEEPS} == {*figures, "noise_search"}


def test_digits_collapse_by_their_noise() -> None:
    """Neurons merge, and none of the twin's that has no gradient noise; 8,000 of the 25,000 steps show which way."""
    shorter = ["max_steps=8000", "eval_every=0", "collapse.every=0", "checkpoint_every=0", "device=cpu"]
    noisy, quiet = (
        train(load_config("configs/digits/mlp_gelu_noise.yaml", [*twin, *shorter]))
        for twin in ([], ["gradient_noise=none"])
    )
    assert list(quiet.collapse["fraction_independent"]) == [1]
    assert noisy.collapse["fraction_independent"].item() < 0.95
    assert noisy.eval_accuracy > quiet.eval_accuracy - 0.05
