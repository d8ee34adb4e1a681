"""Every training configuration that is shipped validates and trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from stochastic_collapse import load_config, train
from stochastic_collapse.resources import shipped

CONFIGS = sorted(
    p for folder in ("digits", "cifar10", "cifar100") for p in (shipped("configs") / folder).glob("*.yaml")
)
SHAPES = {"digits": "[1, 8, 8]", "cifar10": "[3, 32, 32]", "cifar100": "[3, 32, 32]"}
CLASSES = {"digits": 10, "cifar10": 10, "cifar100": 100}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_trains_two_steps_at_reduced_width(path: Path, tmp_path: Path) -> None:
    """On synthetic data of the dataset's shape, so that no download is needed."""
    config = load_config(path)
    data = config.data.name
    synthetic = f"name: synthetic, shape: {SHAPES[data]}, num_classes: {CLASSES[data]}, train_size: 512, test_size: 64"
    reduced = [] if config.model.name == "mlp" else ["model.width=0.05"]
    result = train(load_config(path, [f"data={{{synthetic}}}", "max_steps=2", "device=cpu", *reduced]))
    assert result.steps == 2
    assert len(result.collapse) > 1


def test_digits_shows_the_collapse() -> None:
    """DESIGN §5: at the large learning rate neurons vanish and merge, at the small one none do, at equal accuracy.

    8,000 steps suffice for the sign of the effect; `make demo` runs all 20,000.
    """
    shorter = ["max_steps=8000", "eval_every=0", "collapse.every=0", "checkpoint_every=0", "device=cpu"]
    small, large = (
        train(load_config("configs/digits/mlp_gelu.yaml", [f"optimizer.lr={lr}", *shorter])) for lr in (0.01, 0.1)
    )
    assert list(small.collapse["fraction_independent"]) == [1, 1]
    assert (large.collapse["fraction_independent"] < 0.95).all()
    assert abs(small.eval_accuracy - large.eval_accuracy) < 0.02
