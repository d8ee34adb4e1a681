"""Figure 3: neurons of a trained layer fall into groups of equal incoming and equal outgoing weights.

Normalized distances between the incoming and between the outgoing weights of a layer's neurons. The order of the
neurons is that of a hierarchical clustering of the incoming ones, so that groups are dark squares; that the same order
shows the same squares below says that a group is redundant as a whole.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from stochastic_collapse.errors import InputError
from stochastic_collapse.runs import RunDirectory, labelled

from . import style
from .messages import Message, percent
from .needs import Training

TITLE = "Figure 3: neurons fall into groups of equal incoming and equal outgoing weights"
CAPTION = (
    "Normalized distances between the incoming weights of a layer's neurons (above) and between their outgoing ones "
    "(below). In both, the neurons are in the order of a hierarchical clustering of the incoming ones, so that "
    "groups are dark squares; where the same squares are dark below, a group is redundant as a whole."
)
DIFFERENCES = {
    "paper": "ResNet-18 is measured on its exact invariant sets: where the paper shows a convolution that writes to "
    "the residual stream, this shows the stream, with all its writers and readers.",
    "quick": "A network of two hidden layers of 128 neurons on 8 × 8 digits, after 20,000 steps at learning rate "
    "0.1, for VGG-16 on CIFAR-10 and ResNet-18 on CIFAR-100. Its groups are smaller.",
}
NEEDS = {
    "paper": (Training("configs/cifar10/vgg16_gelu.yaml"), Training("configs/cifar100/resnet18_gelu.yaml")),
    "quick": (Training("configs/digits/mlp_gelu.yaml"),),
}

LAYERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "vgg16": ("conv5", "conv11", "fc14"),  # as published
        "resnet18": ("layer2.1.conv1", "layer3.stream", "layer4.1.conv1"),
    }
)
"""The layers shown; of other networks the first, the middle and the last."""

REDUNDANT = 0.1
"""Normalized distance below which two neurons are redundant (docs/definitions.md#measures)."""

_MOST = 2  # runs side by side
_SQUARES = 8  # neurons without which a layer, such as one of heads, is no picture
_LARGEST = 2.0  # distance at the end of the colour map: orthogonal vectors


@dataclass(frozen=True)
class Layer:
    """Normalized distances between a layer's n neurons, in the order in which they are drawn."""

    name: str
    incoming: NDArray[np.float64]
    """(n, n), biases included."""
    outgoing: NDArray[np.float64]
    """(n, n)."""


@dataclass(frozen=True)
class Network:
    """The layers of one run that are shown."""

    title: str
    layers: tuple[Layer, ...]


def load(runs: Sequence[RunDirectory]) -> list[Network]:
    """Distances at the last checkpoint of one or two runs; of more, the first replicate of each experiment counts.

    Raises `InputError` for runs of more than two experiments, and for a run without a checkpoint.
    """
    if len(runs) > _MOST:
        runs = list({run.path.parent: run for run in reversed(runs)}.values())[::-1]
    if len(runs) > _MOST:
        raise InputError(f"figure fig3 is drawn from one or two runs, found {', '.join(map(str, runs))}")
    names = [run.config().name for run in runs]
    labels = dict(labelled(runs)) if len(set(names)) < len(names) else dict(zip(runs, names, strict=True))
    return [_network(run, labels[run]) for run in runs]


def _network(run: RunDirectory, label: str) -> Network:
    from stochastic_collapse.collapse import clustered, normalized_distance
    from stochastic_collapse.networks import network_of
    from stochastic_collapse.neurons import incoming_vectors, outgoing_vectors
    from stochastic_collapse.weights.files import state_of_checkpoint

    checkpoints = run.checkpoints()
    if not checkpoints:
        raise InputError(f"{run}: no checkpoint to draw")
    step, path = list(checkpoints.items())[-1]
    model = run.config().model.name
    weights = state_of_checkpoint(path)
    there = {layer.name: layer for layer in network_of(run, weights).layers}
    large = [name for name, layer in there.items() if len(incoming_vectors(weights, layer)) >= _SQUARES]
    layers = []
    for name in LAYERS.get(model, _spread(large or list(there))):
        incoming = normalized_distance(incoming_vectors(weights, there[name])).numpy()
        outgoing = normalized_distance(outgoing_vectors(weights, there[name])).numpy()
        order = clustered(incoming)
        layers.append(Layer(name, incoming[np.ix_(order, order)], outgoing[np.ix_(order, order)]))
    return Network(f"{textwrap.shorten(label, 45)}, step {style.thousands(step)}", tuple(layers))


def _spread(layers: Sequence[str]) -> list[str]:
    """The first, the middle and the last of `layers`, as far as there are so many."""
    return [layers[k] for k in sorted({0, len(layers) // 2, len(layers) - 1})]


def message(results: Sequence[Network]) -> list[Message]:
    """Neurons with equal incoming weights have equal outgoing ones, and others do not; over all layers shown."""
    said = []
    for network in results:
        pairs = [np.triu_indices(len(layer.incoming), 1) for layer in network.layers]
        incoming = np.concatenate([layer.incoming[k] for layer, k in zip(network.layers, pairs, strict=True)])
        outgoing = np.concatenate([layer.outgoing[k] for layer, k in zip(network.layers, pairs, strict=True)])
        alike, equal = incoming < REDUNDANT, outgoing < REDUNDANT
        of_alike, of_others = (float(equal[which].mean()) if which.any() else 0.0 for which in (alike, ~alike))
        said.append(
            Message(
                "Of the pairs of neurons whose incoming weights are equal (distance below 0.1), at least 80 % "
                "have equal outgoing ones, of the others at most 1 %.",
                f"{network.title}: {percent(of_alike, 0)} of {alike.sum()} pairs, "
                f"{percent(of_others, 2)} of {(~alike).sum():,}",
                bool(alike.any() and of_alike >= 0.8 and of_others <= 0.01),
            )
        )
    return said


def draw(results: Sequence[Network]) -> Figure:
    """A block for each run: a column for each layer, incoming weights above outgoing ones; one colour bar for all."""
    widths = [len(network.layers) for network in results]
    beside, bar_width = 0.25 * len(results), 0.6  # inches for what stands at the left of the blocks, and the bar
    side = min(1.9, (style.TWO_COLUMNS - bar_width - beside) / sum(widths) - 0.06)  # of a matrix
    blocks_width = beside + (side + 0.06) * sum(widths)
    figure = Figure(figsize=(blocks_width + bar_width, 0.62 + 2 * (side + 0.06)))
    blocks, right = _row(figure.subfigures(1, 2, width_ratios=(blocks_width, bar_width)))
    image = None
    for network, block in zip(results, _row(blocks.subfigures(1, len(results), width_ratios=widths)), strict=True):
        panels = np.asarray(block.subplots(2, len(network.layers), squeeze=False))
        block.suptitle(network.title, fontsize=8, fontweight="bold")
        for (above, below), layer in zip(panels.T, network.layers, strict=True):
            image = _matrix(above, layer.incoming)
            _matrix(below, layer.outgoing)
            above.set_title(f"{layer.name}\n{len(layer.incoming)} neurons", fontsize=6.5)
        panels[0, 0].set_ylabel("incoming")
        panels[1, 0].set_ylabel("outgoing")
    assert image is not None
    bar = figure.colorbar(image, cax=right.add_axes((0.05, 0.08, 0.2, 0.7)), extend="max", ticks=(0, 0.5, 1, 1.5, 2))
    bar.ax.grid(False)
    bar.set_label("normalized distance")
    return figure


def _row(subfigures: Any) -> list[Any]:
    """What Matplotlib returns for a row of subfigures, or for one, as a list."""
    return list(np.ravel(np.asarray(subfigures)))


def _matrix(panel: Axes, distance: NDArray[np.float64]) -> AxesImage:
    panel.grid(False)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)
    return panel.imshow(distance, cmap="viridis", vmin=0, vmax=_LARGEST)
