"""The neurons of a network: what they are (`NeuronLayer`), and finding them in any network (`trace`).

Tracing in four steps, a file each: `graph` exports the network and walks through its operators; `operators` says what
each operator tells of the axes; `axes` is the algebra in which it tells that; `trace` reads the layers off the axes.
`symmetry` then checks every layer by permuting it.
"""

from .builtin import neuron_layers
from .graph import ExampleInput
from .layers import (
    NeuronLayer,
    Parameters,
    Part,
    incoming_vectors,
    neuron_blocks,
    neuron_vectors,
    outgoing_vectors,
)
from .trace import Neurons, Skipped, trace

__all__ = [
    "ExampleInput",
    "NeuronLayer",
    "Neurons",
    "Parameters",
    "Part",
    "Skipped",
    "incoming_vectors",
    "neuron_blocks",
    "neuron_layers",
    "neuron_vectors",
    "outgoing_vectors",
    "trace",
]
