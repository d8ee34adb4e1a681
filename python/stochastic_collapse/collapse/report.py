"""The table of a network's collapse: one row per layer, with the columns of collapse.csv (DESIGN §4)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import torch
from torch import nn

from ..neurons import ExampleInput, NeuronLayer, Parameters, neuron_blocks, trace
from ..runs import COLLAPSE
from .effective_rank import effective_rank_from_gram
from .gram import gram
from .independent import independent_from_gram
from .similarity import vanished_from_gram


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
    g = gram(*neuron_blocks(parameters, layer, layer.parts))
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
    """How far each layer of any network has collapsed: a table with the columns of collapse.csv (DESIGN §4), step 0.

    `example_input` is what `model` is called with: a tensor, a sequence of arguments or a mapping of named ones. The
    layers are found by tracing; `neurons.trace` says how, and what it could not find. Works on the device of the model.
    Raises `InputError` where the network cannot be traced.
    """
    return measure_layers(dict(model.named_parameters()), trace(model, example_input).layers)
