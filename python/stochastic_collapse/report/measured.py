"""What a report needs of checkpoints: collapse where it was not measured before, and distance matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..collapse import clustered, measure_layers, normalized_distance
from ..errors import InputError
from ..networks import network_of
from ..neurons import NeuronLayer, Parameters, incoming_vectors, outgoing_vectors
from ..runs import RunDirectory
from ..weights.files import state_of_checkpoint
from . import matrices


@dataclass
class Measured:
    """What was read off checkpoints."""

    collapse: pd.DataFrame
    """The rows that were known, and those of checkpoints that were not, by step."""
    distances: dict[str, Any]
    """`steps`; `layers`, each with name, neurons, side, and `incoming` and `outgoing`: by step, the encoded matrix."""
    notes: list[str] = field(default_factory=list)
    """What could not be measured, a sentence each."""


Read = Callable[[Path], tuple[Parameters, list[NeuronLayer]]]
"""The weights in a file, and the layers of their network."""


def of_run(run: RunDirectory) -> Read:
    """How the checkpoints of a run are read; its network is traced once."""
    layers: list[NeuronLayer] = []

    def read(path: Path) -> tuple[Parameters, list[NeuronLayer]]:
        weights = state_of_checkpoint(path)
        if not layers:
            layers.extend(network_of(run, weights).layers)
        return weights, layers

    return read


def measure(
    checkpoints: Mapping[int, Path],
    read: Read,
    known: pd.DataFrame,
    runs: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> Measured:
    """Read each checkpoint once, as far as it is needed, the last one first: its clusters give all matrices' order.

    `known` are the rows of collapse.csv that are there; `runs` is the number of runs on the page (see `matrices`);
    `advance` is called once for each checkpoint. Nothing is written, so a run may be training meanwhile. A checkpoint
    that cannot be read or measured is left out, with a note.
    """
    frames = matrices.frames(list(checkpoints), runs)
    tables, notes = [known] if len(known) else [], []
    shown: dict[int, list[dict[str, Any]]] = {}
    orders: dict[str, list[int]] = {}
    for step, path in sorted(checkpoints.items(), reverse=True):
        new = step not in set(known["step"])
        if new or step in frames:
            try:
                weights, layers = read(path)
                if new:
                    tables.append(measure_layers(weights, layers, step))
                if step in frames:
                    count = 2 * len(layers) * len(frames)
                    shown[step] = [_pair(weights, layer, orders, count, runs) for layer in layers]
            except InputError as error:
                notes.append(f"The checkpoint of step {step:,} is left out: {error}.")
        advance()
    table = pd.concat(tables).sort_values("step", kind="stable") if tables else known
    return Measured(table, _by_layer(dict(sorted(shown.items()))), notes)


def _pair(
    weights: Parameters, layer: NeuronLayer, orders: dict[str, list[int]], matrices_of_run: int, runs: int
) -> dict[str, Any]:
    incoming = normalized_distance(incoming_vectors(weights, layer)).cpu().numpy()
    outgoing = normalized_distance(outgoing_vectors(weights, layer)).cpu().numpy()
    if layer.name not in orders:
        orders[layer.name] = clustered(incoming)
    order = orders[layer.name]
    side = matrices.side(layer.neurons, matrices_of_run, runs)

    def encoded(distance: NDArray[np.float64]) -> str:
        return matrices.encode(distance[np.ix_(order, order)], side)

    return {
        "name": layer.name,
        "neurons": layer.neurons,
        "side": side,
        "incoming": encoded(incoming),
        "outgoing": encoded(outgoing),
    }


def _by_layer(shown: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
    layers = [
        {**of_layer[0], **{part: [one[part] for one in of_layer] for part in ("incoming", "outgoing")}}
        for of_layer in zip(*shown.values(), strict=True)
    ]
    return {"steps": list(shown), "layers": layers}
