"""What a name in `model.name` stands for: one entry for each source of networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from . import mlp, resnet, vgg

ImageShape = tuple[int, int, int]
"""Channels, height, width."""


@dataclass(frozen=True)
class BuiltIn:
    """A network that the package brings."""

    build: Callable[[Any, ImageShape, int], nn.Module]
    """From its settings, the shape of an image and the number of classes; raises `InputError` for images too small."""
    like: Callable[[Mapping[str, Tensor]], tuple[nn.Module, ImageShape]]
    """From a state dict a network of the same layers, and the shape of an image that it takes."""
    renamed: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict
    """A state dict with our names, from one that may have those of the published code."""


NETWORKS: Mapping[str, BuiltIn] = MappingProxyType(
    {
        "mlp": BuiltIn(lambda s, shape, n: mlp.MLP(math.prod(shape), s.widths, n, s.activation), mlp.like),
        "vgg16": BuiltIn(
            lambda s, shape, n: vgg.VGG16(shape, n, s.activation, s.batch_norm, s.dropout, s.width),
            vgg.like,
            vgg.from_published,
        ),
        "resnet18": BuiltIn(lambda s, shape, n: resnet.ResNet18(shape[0], n, s.activation, s.width), resnet.like),
    }
)


def built_in(name: str) -> BuiltIn:
    """The network of that name; raises `InputError` where there is none."""
    if name not in NETWORKS:
        raise InputError(f"no built-in network {name!r}; expected one of {', '.join(NETWORKS)}")
    return NETWORKS[name]
