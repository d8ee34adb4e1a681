"""Weights from a file into a network: those that people publish, and ours."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stochastic_collapse import train
from stochastic_collapse.config import TrainConfig, VGGSettings
from stochastic_collapse.models import build_model
from stochastic_collapse.networks.loading import load_weights
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.task import Task
from stochastic_collapse.weights import read

from ..weights.networks import same


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return dict(build_model(VGGSettings(name="vgg16", width=0.05), Task((3, 32, 32), 10)).state_dict())


def saved(content: Any, tmp_path: Path) -> Path:
    torch.save(content, tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        lambda w: {"model": w, "step": 3},
        lambda w: {"state": {"model": {f"module.{k}": v for k, v in w.items()}}},
        lambda w: {"state.model": {f"module.{k}": v for k, v in w.items()}},
        lambda w: {"state_dict": {f"module._orig_mod.{k}": v for k, v in w.items()}},
        # What else MosaicML Composer writes beside the weights: generators as NumPy arrays, times.
        lambda w: {
            "state": {"model": {f"module.{k}": v for k, v in w.items()}, "timestamp": datetime.timedelta(seconds=1)},
            "rng": [{"numpy": np.random.default_rng(0).bit_generator.state, "array": np.arange(3)}],
        },
    ],
)
def test_wrappings(weights: dict[str, torch.Tensor], tmp_path: Path, wrap: Any) -> None:
    network = build_model(VGGSettings(name="vgg16", width=0.05), Task((3, 32, 32), 10))
    load_weights(network, read(saved(wrap(weights), tmp_path)), "vgg16")
    assert same(network.state_dict(), weights)


def test_the_published_batch_normalized_vgg16_has_our_names(tmp_path: Path) -> None:
    settings = VGGSettings(name="vgg16", width=0.05, batch_norm=True)
    ours = dict(build_model(settings, Task((3, 32, 32), 10)).state_dict())
    heads = {"fc14": "fc.0", "fc15": "fc1.0", "fc16": "fc2.0"}

    def published(name: str) -> str:
        module, _, kind = name.rpartition(".")
        if module in heads:
            return f"module.{heads[module]}.{kind}"
        part, number = (0, module[4:]) if module.startswith("conv") else (1, module[2:])
        return f"module.layer{number}.{part}.{kind}"

    path = saved({"state": {"model": {published(k): v for k, v in ours.items()}}}, tmp_path)
    network = build_model(settings, Task((3, 32, 32), 10))
    load_weights(network, read(path), "vgg16")
    assert same(network.state_dict(), ours)


def test_a_training_starts_from_a_folder_of_transformers_under_its_older_names(
    tiny: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """transformers writes a ViT's weights under other names than its modules have."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    config = transformers.ViTConfig(**sizes, image_size=4, patch_size=2, num_channels=1, num_labels=3)
    torch.manual_seed(5)
    model = transformers.ViTForImageClassification(config)
    model.save_pretrained(tmp_path / "vit")
    said: list[str] = []
    settings = f'model={{name: "transformers:{tmp_path / "vit"}", weights: {tmp_path / "vit"}}}'
    result = train(tiny(settings, "optimizer.lr=1e-12", "max_steps=1"), report=said.append)
    assert said[0].startswith(f"tiny: starts from {tmp_path / 'vit'}")
    trained = torch.load(RunDirectory(result.directory).checkpoint(1), weights_only=True)["model"]
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(trained[name], tensor, rtol=1e-5, atol=1e-6)
