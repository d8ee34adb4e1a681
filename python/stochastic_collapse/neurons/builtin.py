"""The layers of the built-in networks, from their weights alone."""

from __future__ import annotations

import functools

import torch

from ..models import network_like
from .layers import NeuronLayer, Parameters
from .trace import trace


def neuron_layers(name: str, parameters: Parameters, **told: int) -> list[NeuronLayer]:
    """Layers of interchangeable neurons of the built-in network `name`, from its parameters (a state dict will do).

    The network is traced as any other (`trace`), once for each set of shapes. `told` is as for `models.network_like`.
    Raises `InputError` where the parameters are not those of such a network.
    """
    shapes = tuple((key, tuple(value.shape)) for key, value in parameters.items())
    return list(_of_shapes(name, shapes, tuple(told.items())))


@functools.lru_cache(maxsize=64)
def _of_shapes(
    name: str, shapes: tuple[tuple[str, tuple[int, ...]], ...], told: tuple[tuple[str, int], ...]
) -> tuple[NeuronLayer, ...]:
    with torch.random.fork_rng(devices=[]):  # initialization draws numbers
        model, image = network_like(name, {key: torch.empty(shape) for key, shape in shapes}, **dict(told))
        return trace(model, image).layers
