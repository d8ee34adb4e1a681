"""The built-in networks by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import nn

from ..config import MLPSettings, ModelSettings, ResNet18Settings, VGG16Settings
from ..errors import InputError
from . import mlp, resnet, vgg
from .neurons import Axis, NeuronLayer, Parameters

__all__ = ["NAMES", "Axis", "NeuronLayer", "Parameters", "build_model", "layers_of", "neuron_layers"]

_Layers = Callable[[Parameters], list[NeuronLayer]]
_BUILT_IN: Mapping[str, tuple[type[nn.Module], _Layers]] = MappingProxyType(
    {
        "mlp": (mlp.MLP, mlp.neuron_layers),
        "vgg16": (vgg.VGG16, vgg.neuron_layers),
        "resnet18": (resnet.ResNet18, resnet.neuron_layers),
    }
)
NAMES = tuple(_BUILT_IN)


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


def neuron_layers(name: str, parameters: Parameters) -> list[NeuronLayer]:
    """Layers of interchangeable neurons of the built-in network `name`, from its parameters (a state dict will do).

    Raises `InputError` where the parameters are not those of such a network.
    """
    layers = _BUILT_IN[name][1](parameters)
    needed = [axis.parameter for layer in layers for axis in (*layer.incoming, *layer.outgoing)]
    missing = [parameter for parameter in needed if parameter not in parameters]
    if missing or not layers:
        expected = f"no {missing[0]!r}" if missing else "no layer"
        raise InputError(f"these weights are not a {name}: {expected} among {', '.join(list(parameters)[:4])}, …")
    return layers


def layers_of(model: nn.Module) -> list[NeuronLayer]:
    """Layers of interchangeable neurons of a built-in network; `InputError` for any other."""
    for kind, layers in _BUILT_IN.values():
        if isinstance(model, kind):
            return layers(dict(model.named_parameters()))
    raise InputError(f"{type(model).__name__} is not a built-in network ({', '.join(NAMES)})")
