"""What is measured."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from ..neurons import ExampleInput, NeuronLayer


class Network(NamedTuple):
    """A network to measure."""

    model: nn.Module
    """On the CPU."""
    example: ExampleInput
    """Inputs that it takes."""
    layers: list[NeuronLayer]
    """Layers of interchangeable neurons."""
