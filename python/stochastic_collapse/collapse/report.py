"""The table of a network's collapse: one row per layer, with the columns of collapse.csv."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..neurons import ExampleInput, NeuronLayer, Parameters, neuron_blocks, trace
from ..neurons.graph import unwrapped
from ..runs import COLLAPSE
from .effective_rank import effective_rank_from_gram
from .gram import inner_products, is_finite
from .independent import independent_from_gram
from .similarity import vanished_from_gram
from .threads import single_threaded


def measure_layers(parameters: Parameters, layers: Sequence[NeuronLayer], step: int = 0) -> pd.DataFrame:
    """Measure `layers` of a network with these parameters (a state dict will do), on the device where they lie.

    Raises `InputError` where they are not this network's, or hold NaN or infinite values.
    """

    def measure(layer: NeuronLayer) -> dict[str, Any]:
        g = layer_gram(parameters, layer)
        if not is_finite(g):
            raise InputError(f"the weights of {layer.name} hold NaN or infinite values, so it cannot be measured")
        return layer_row(g, layer, step)

    threads = torch.get_num_threads()
    if threads > 1 and len(layers) > 1 and not any(p.is_cuda for p in parameters.values()):
        # A layer a thread: eigenvalues gain next to nothing from several threads, layers side by side gain all.
        with ThreadPoolExecutor(threads, initializer=single_threaded) as pool:
            rows = list(pool.map(measure, layers))
    else:
        rows = list(map(measure, layers))
    return pd.DataFrame(rows, columns=list(COLLAPSE))


def layer_gram(parameters: Parameters, layer: NeuronLayer) -> Tensor:
    """(n, n) Gram matrix of the layer's neurons, in float64 on the device where they lie, without waiting for it.

    Raises `InputError` where the parameters are not those of the layer's network.
    """
    return inner_products(*neuron_blocks(parameters, layer, layer.parts))


def layer_row(g: Tensor, layer: NeuronLayer, step: int) -> dict[str, Any]:
    """One row of collapse.csv, from the layer's Gram matrix (n, n), which must be finite."""
    neurons, independent = g.shape[0], independent_from_gram(g, layer.blocks)
    return {
        "step": step,
        "layer": layer.name,
        "neurons": neurons,
        "vanished": int(vanished_from_gram(g).sum()),
        "independent": independent,
        "fraction_independent": independent / neurons,
        "effective_rank": effective_rank_from_gram(g),
    }


def measure_collapse(model: nn.Module, example_input: ExampleInput) -> pd.DataFrame:
    """How far each layer of any network has collapsed: a table with the columns of collapse.csv, step 0.

    `example_input` is what `model` is called with: a tensor, a sequence of arguments or a mapping of named ones. The
    layers are found by tracing; `neurons.trace` says how, and what it could not find. Works on the device of the model.
    Raises `InputError` where the network cannot be traced.
    """
    model = unwrapped(model)
    return measure_layers(dict(model.named_parameters()), trace(model, example_input).layers)
