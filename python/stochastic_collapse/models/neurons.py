"""Which parameters belong to which neuron: the description that a model gives of its layers.

A layer's n neurons are interchangeable: permuting them, that is permuting the named axes of the named parameters,
leaves the network's function unchanged. This is the symmetry behind both invariant sets of the paper (DESIGN §1).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class Axis:
    """One axis of one parameter. An axis of length n·b belongs to n neurons in blocks of b, as after flattening."""

    parameter: str
    axis: int


@dataclass(frozen=True)
class NeuronLayer:
    """A layer of interchangeable neurons: the axes of its incoming (bias included) and of its outgoing weights."""

    name: str
    incoming: tuple[Axis, ...]
    outgoing: tuple[Axis, ...]


def writers(parameters: Parameters, *modules: str) -> tuple[Axis, ...]:
    """Output axes of the weights, biases, scales and shifts of `modules` that are among the parameters."""
    names = [f"{module}.{kind}" for module in modules for kind in ("weight", "bias")]
    return tuple(Axis(name, 0) for name in names if name in parameters)


def readers(*modules: str) -> tuple[Axis, ...]:
    """Input axes of the weights of `modules`."""
    return tuple(Axis(f"{module}.weight", 1) for module in modules)


def chain(parameters: Parameters, modules: Sequence[str], norms: Mapping[str, str]) -> list[NeuronLayer]:
    """Layers of a feed-forward chain: each of `modules` but the last, read by the next one.

    `norms` names the normalization that follows a module, where there is one.
    """
    return [
        NeuronLayer(module, writers(parameters, module, *filter(None, [norms.get(module)])), readers(following))
        for module, following in itertools.pairwise(modules)
    ]
