"""The networks: shapes, initialization, and the symmetry that their layers of neurons claim."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from stochastic_collapse.config import MLPSettings, ModelSettings, ResNetSettings, VGGSettings
from stochastic_collapse.errors import InputError
from stochastic_collapse.models import build_model, network_like
from stochastic_collapse.task import Task

NETWORKS: dict[str, tuple[ModelSettings, tuple[int, int, int]]] = {
    "mlp": (MLPSettings(name="mlp", widths=(7, 5, 6)), (1, 4, 4)),
    "mlp-relu": (MLPSettings(name="mlp", widths=(7,), activation="relu"), (1, 4, 4)),
    "vgg16": (VGGSettings(name="vgg16", width=0.1), (3, 32, 32)),
    "vgg16-bn-relu": (VGGSettings(name="vgg16", width=0.1, batch_norm=True, activation="relu"), (3, 32, 32)),
    "vgg16-large-images": (VGGSettings(name="vgg16", width=0.1), (3, 64, 96)),
    "resnet18": (ResNetSettings(name="resnet18", width=0.1), (3, 32, 32)),
    "resnet18-relu": (ResNetSettings(name="resnet18", width=0.07, activation="relu"), (3, 16, 16)),
}


def network(name: str, num_classes: int = 10) -> tuple[nn.Module, torch.Tensor]:
    """A network with random biases and normalization statistics, in evaluation mode, and random images."""
    settings, shape = NETWORKS[name]
    torch.manual_seed(0)
    model = build_model(settings, Task(shape, num_classes)).double().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 2)
                module.running_mean.normal_()  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            if getattr(module, "bias", None) is not None:
                module.bias.normal_()  # type: ignore[operator]
    return model, torch.randn(4, *shape, dtype=torch.float64)


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_have_a_column_per_class(name: str) -> None:
    model, images = network(name, num_classes=13)
    assert model(images).shape == (4, 13)


def test_vgg16_has_the_published_shape() -> None:
    model = build_model(VGGSettings(name="vgg16"), Task((3, 32, 32), 10))
    assert sum(p.numel() for p in model.parameters()) == 15_245_130  # 13 convolutions, 512–512–10 head


def test_resnet18_has_the_published_shape() -> None:
    model = build_model(ResNetSettings(name="resnet18"), Task((3, 32, 32), 100))
    # torchvision's ResNet-18 for 100 classes (11,227,812) with a 3 × 3 in place of the 7 × 7 stem.
    assert sum(p.numel() for p in model.parameters()) == 11_227_812 - 64 * 3 * (49 - 9)


@pytest.mark.parametrize("settings", [s for s, _ in NETWORKS.values()])
def test_initialization_is_kaiming_normal_with_zero_biases(settings: ModelSettings) -> None:
    settings = settings.model_copy(update={"width": 0.5} if settings.name != "mlp" else {"widths": (300, 200)})
    torch.manual_seed(0)
    for module in build_model(settings, Task((3, 32, 32), 10)).modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            weight = module.weight
            deviation = math.sqrt(2 / weight[0].numel())
            tolerance = 5 / math.sqrt(2 * weight.numel())  # 5 standard errors: false alarms below 1e-6 a layer
            assert weight.std().item() == pytest.approx(deviation, rel=tolerance)
            assert module.bias is None or not module.bias.any()


def test_dropout_acts_in_training_only() -> None:
    model = build_model(VGGSettings(name="vgg16", width=0.1, dropout=0.5), Task((3, 32, 32), 10))
    images = torch.randn(2, 3, 32, 32)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


def test_too_small_images_are_refused() -> None:
    with pytest.raises(InputError, match="vgg16 needs images of at least 32 × 32 pixels, found 8 × 8"):
        build_model(VGGSettings(name="vgg16"), Task((1, 8, 8), 10))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_like_given_weights_computes_the_same(name: str) -> None:
    model, images = network(name)
    found, image = network_like(NETWORKS[name][0].name, model.state_dict())
    assert {key: value.shape for key, value in found.state_dict().items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }
    assert found.double().eval()(image.double()).shape == (2, 10)
    if "relu" not in name and name != "vgg16-large-images":  # activations and places are not told by weights
        torch.testing.assert_close(found(images), model(images))


@pytest.mark.parametrize("wrong", [{}, {"a.weight": torch.ones(2, 2)}])
@pytest.mark.parametrize("name", ["mlp", "vgg16", "resnet18"])
def test_weights_of_another_network_are_refused(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"not a {name}"):
        network_like(name, wrong)
