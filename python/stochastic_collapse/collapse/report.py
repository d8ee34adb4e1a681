"""The table of a network's collapse: one row per layer, with the columns of collapse.csv (DESIGN §4)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from .. import models
from ..errors import InputError
from ..models import Axis, NeuronLayer, Parameters
from ..runs import COLLAPSE
from .effective_rank import effective_rank_from_gram
from .gram import gram
from .independent import independent_from_gram
from .similarity import vanished_from_gram


def neuron_vectors(parameters: Parameters, layer: NeuronLayer) -> Tensor:
    """(n, d) matrix whose row i is neuron i's vector: incoming weights, bias if any, outgoing weights (DESIGN §4).

    Raises `InputError`, as do the two below, where a parameter's axis is no multiple of the n neurons.
    """
    return torch.cat([incoming_vectors(parameters, layer), outgoing_vectors(parameters, layer)], dim=1)


def incoming_vectors(parameters: Parameters, layer: NeuronLayer) -> Tensor:
    """(n, d_in) matrix whose row i holds neuron i's incoming weights, and its bias if any: what `neuron_vectors`
    has on the left."""
    return torch.cat(_blocks(parameters, layer, layer.incoming), dim=1)


def outgoing_vectors(parameters: Parameters, layer: NeuronLayer) -> Tensor:
    """(n, d_out) matrix whose row i holds neuron i's outgoing weights: what `neuron_vectors` has on the right."""
    return torch.cat(_blocks(parameters, layer, layer.outgoing), dim=1)


def _blocks(parameters: Parameters, layer: NeuronLayer, axes: Sequence[Axis]) -> list[Tensor]:
    """An (n, d_k) block of weights of the layer's n neurons for each of `axes`."""
    first = layer.incoming[0]
    neurons = parameters[first.parameter].shape[first.axis]
    blocks = []
    for axis in axes:
        block = parameters[axis.parameter].detach().movedim(axis.axis, 0)
        if block.shape[0] % neurons:
            raise InputError(
                f"layer {layer.name}: {axis.parameter} has {block.shape[0]} entries along axis {axis.axis}, "
                f"expected a multiple of the {neurons} neurons"
            )
        blocks.append(block.reshape(neurons, -1))
    return blocks


def measure_layers(parameters: Parameters, layers: Sequence[NeuronLayer], step: int = 0) -> pd.DataFrame:
    """Measure `layers` of a network with these parameters (a state dict will do), on the device where they lie."""

    def measure(layer: NeuronLayer) -> dict[str, Any]:
        return _measure_layer(parameters, layer, step)

    threads = torch.get_num_threads()
    if threads > 1 and len(layers) > 1 and not any(p.is_cuda for p in parameters.values()):
        # A layer a thread: eigenvalues gain next to nothing from several threads, layers side by side gain all.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            rows = list(pool.map(measure, layers))
    else:
        rows = list(map(measure, layers))
    return pd.DataFrame(rows, columns=list(COLLAPSE))


def _measure_layer(parameters: Parameters, layer: NeuronLayer, step: int) -> dict[str, Any]:
    """One row of collapse.csv."""
    g = gram(*_blocks(parameters, layer, (*layer.incoming, *layer.outgoing)))
    neurons, independent = g.shape[0], independent_from_gram(g)
    return {
        "step": step,
        "layer": layer.name,
        "neurons": neurons,
        "vanished": int(vanished_from_gram(g).sum()),
        "independent": independent,
        "fraction_independent": independent / neurons,
        "effective_rank": effective_rank_from_gram(g),
    }


def measure_collapse(model: nn.Module, example_input: Tensor | None = None) -> pd.DataFrame:
    """How far each layer of `model` has collapsed: a table with the columns of collapse.csv (DESIGN §4), step 0.

    `model` is one of the built-in networks; `example_input` is not needed for those. Raises `InputError` for others.
    """
    return measure_layers(dict(model.named_parameters()), models.layers_of(model))
