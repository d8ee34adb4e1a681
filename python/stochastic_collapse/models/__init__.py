"""The built-in networks by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..config import ModelSettings
from ..errors import InputError
from .registry import NETWORKS, ImageShape, built_in
from .resize import resize

__all__ = ["NETWORKS", "build_model", "network_like", "resize"]


def build_model(settings: ModelSettings, image_shape: ImageShape, num_classes: int) -> nn.Module:
    """A freshly initialized network for images of `image_shape` (channels, height, width).

    Raises `InputError` where the images are too small for the network.
    """
    return built_in(settings.name).build(settings, image_shape, num_classes)


def network_like(name: str, weights: Mapping[str, Tensor]) -> tuple[nn.Module, Tensor]:
    """The built-in network `name` with these weights, each layer as wide as they are, and two images that it takes.

    What weights do not tell (activation, dropout, whether images are square) is as by default. Raises `InputError`
    where there is no such network, and where they are not those of one.
    """
    network = built_in(name)
    try:
        model, image_shape = network.like(weights)
        parameters = {key for key, _ in model.named_parameters()}
        missing = sorted(parameters - set(weights))
    except (KeyError, IndexError) as error:
        missing = [str(error.args[0]) if isinstance(error, KeyError) else "fc1.weight"]
    if missing:
        there = ", ".join([*weights][:4]) or "none"
        raise InputError(f"these weights are not a {name}: no {missing[0]!r} among {there}, …")
    resize(model, {key: value for key, value in weights.items() if key in model.state_dict()})
    return model, torch.zeros(2, *image_shape)
