"""Layers of interchangeable neurons: where in a network's parameters each neuron's weights lie.

A layer's n neurons are interchangeable: permuting them, in all parts of all the parameters named here at once, leaves
the network's function unchanged. This is the symmetry behind both invariant sets of the paper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import InputError
from .axes import Axis, Coupling

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class Split:
    """An axis seen as a product of several, in row-major order."""

    axis: int
    sizes: tuple[int, ...]

    def of(self, tensor: Tensor) -> Tensor:
        return tensor.unflatten(self.axis, self.sizes)


@dataclass(frozen=True)
class Narrow:
    """The part of an axis from `start` on."""

    axis: int
    start: int
    length: int

    def of(self, tensor: Tensor) -> Tensor:
        return tensor.narrow(self.axis, self.start, self.length)


@dataclass(frozen=True)
class Part:
    """Weights of all neurons of a layer in one parameter: how to view it so that some of its axes count the neurons."""

    parameter: str
    axes: tuple[int, ...]
    """The axes of the view that count the neurons, in row-major order."""
    steps: tuple[Split | Narrow, ...] = ()

    def view(self, tensor: Tensor) -> Tensor:
        """A view of a tensor of the parameter's shape, with the axes that count the neurons first."""
        for step in self.steps:
            tensor = step.of(tensor)
        return tensor.movedim(self.axes, tuple(range(len(self.axes))))

    def vectors(self, tensor: Tensor) -> Tensor:
        """(n, d): the weights of each neuron, from a tensor of the parameter's shape."""
        view = self.view(tensor)
        return view.reshape(math.prod(view.shape[: len(self.axes)]), -1)


@dataclass(frozen=True)
class NeuronLayer:
    """A layer of interchangeable neurons.

    In a layer of several blocks, such as the channels of a grouped convolution, only neurons of one block are
    interchangeable with one another; the neurons are numbered block by block.
    """

    name: str
    neurons: int
    incoming: tuple[Part, ...]
    """Weights and biases that make the neuron's activation, scales and shifts of normalization included."""
    outgoing: tuple[Part, ...]
    """Weights that read it."""
    statistics: tuple[Part, ...] = ()
    """Buffers that normalization keeps for each neuron: no weights, but permuted with them."""
    blocks: int = 1
    couplings: tuple[Coupling, ...] = ()
    """Operations of the network to whose result the number of neurons matters, such as normalization over them."""
    shared: tuple[str, ...] = ()
    """Parameters that are both incoming and outgoing weights of the same neurons, such as tied embeddings."""

    axes: tuple[Axis, ...] = field(default=(), compare=False, repr=False)
    """The axes that count the neurons, in the graph that the layer was found in."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Of the neuron's vector: the incoming ones first."""
        return (*self.incoming, *self.outgoing)


def neuron_vectors(parameters: Parameters, layer: NeuronLayer) -> Tensor:
    """(n, d) matrix whose row i is neuron i's vector: incoming weights, bias if any, outgoing weights.

    Raises `InputError`, as do the others here, where the parameters are not those of the layer's network.
    """
    return torch.cat(neuron_blocks(parameters, layer, layer.parts), dim=1)


def incoming_vectors(parameters: Parameters, layer: NeuronLayer) -> Tensor:
    """(n, d_in) matrix whose row i holds neuron i's incoming weights, and its bias if any: what `neuron_vectors`
    has on the left."""
    return torch.cat(neuron_blocks(parameters, layer, layer.incoming), dim=1)


def outgoing_vectors(parameters: Parameters, layer: NeuronLayer) -> Tensor:
    """(n, d_out) matrix whose row i holds neuron i's outgoing weights: what `neuron_vectors` has on the right."""
    return torch.cat(neuron_blocks(parameters, layer, layer.outgoing), dim=1)


def neuron_blocks(parameters: Parameters, layer: NeuronLayer, parts: Sequence[Part]) -> list[Tensor]:
    """An (n, d_k) block of weights of the layer's n neurons for each of `parts`."""
    found = []
    for part in parts:
        if part.parameter not in parameters:
            raise InputError(
                f"layer {layer.name}: no parameter {part.parameter!r} among {', '.join([*parameters][:4])}, …"
            )
        tensor = parameters[part.parameter].detach()
        try:
            block = part.vectors(tensor)
        except (RuntimeError, IndexError):
            block = tensor.new_empty(0, 0)
        if len(block) != layer.neurons:
            raise InputError(
                f"layer {layer.name}: {part.parameter} of shape {tuple(tensor.shape)} is not that of the network's "
                f"{layer.neurons} neurons"
            )
        found.append(block)
    return found
