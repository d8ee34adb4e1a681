"""The layers of the built-in networks, from their weights alone."""

from __future__ import annotations

import functools

import torch

from ..models import network_like
from .layers import NeuronLayer, Parameters
from .trace import trace


def neuron_layers(name: str, parameters: Parameters) -> list[NeuronLayer]:
    """Layers of interchangeable neurons of the built-in network `name`, from its parameters (a state dict will do).

    The network is traced as any other (`trace`), once for each set of shapes. Raises `InputError` where the parameters
    are not those of such a network.
    """
    return list(_of_shapes(name, tuple((key, tuple(value.shape)) for key, value in parameters.items())))


@functools.lru_cache(maxsize=64)
def _of_shapes(name: str, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> tuple[NeuronLayer, ...]:
    with torch.random.fork_rng(devices=[]):  # initialization draws numbers
        model, image = network_like(name, {key: torch.empty(shape) for key, shape in shapes})
        return trace(model, image).layers
