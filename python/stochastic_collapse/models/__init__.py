"""The built-in networks by name."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..config import MLPSettings, ModelSettings, ResNet18Settings, VGG16Settings
from ..errors import InputError
from . import mlp, resnet, vgg
from .resize import resize

__all__ = ["NAMES", "build_model", "network_like", "resize"]

NAMES = ("mlp", "vgg16", "resnet18")


def build_model(settings: ModelSettings, image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """A freshly initialized network for images of `image_shape` (channels, height, width).

    Raises `InputError` where the images are too small for the network.
    """
    match settings:
        case MLPSettings():
            return mlp.MLP(math.prod(image_shape), settings.widths, num_classes, settings.activation)
        case VGG16Settings():
            smallest = 2 ** len(vgg.POOL_AFTER)
            if min(image_shape[1:]) < smallest:
                found = " × ".join(map(str, image_shape[1:]))
                raise InputError(f"model vgg16 needs images of at least {smallest} × {smallest} pixels, found {found}")
            return vgg.VGG16(
                image_shape, num_classes, settings.activation, settings.batch_norm, settings.dropout, settings.width
            )
        case ResNet18Settings():
            return resnet.ResNet18(image_shape[0], num_classes, settings.activation, settings.width)


_LIKE = {"mlp": mlp.like, "vgg16": vgg.like, "resnet18": resnet.like}


def network_like(name: str, weights: Mapping[str, Tensor]) -> tuple[nn.Module, Tensor]:
    """The built-in network `name` with these weights, each layer as wide as they are, and two images that it takes.

    What weights do not tell (activation, dropout, whether images are square) is as by default. Raises `InputError`
    where they are not those of such a network.
    """
    try:
        model, image_shape = _LIKE[name](weights)
        parameters = {key for key, _ in model.named_parameters()}
        missing = sorted(parameters - set(weights))
    except (KeyError, IndexError) as error:
        missing = [str(error.args[0]) if isinstance(error, KeyError) else "fc1.weight"]
    if missing:
        there = ", ".join([*weights][:4]) or "none"
        raise InputError(f"these weights are not a {name}: no {missing[0]!r} among {there}, …")
    resize(model, {key: value for key, value in weights.items() if key in model.state_dict()})
    return model, torch.zeros(2, *image_shape)
