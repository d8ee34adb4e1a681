"""Which neurons of a layer go: the vanished, and those that another one can stand for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..collapse.gram import gram
from ..collapse.independent import VANISHED, representatives
from ..errors import InputError
from ..neurons import NeuronLayer, Parameters, neuron_blocks

Assignment = NDArray[np.int64]
"""(n,) the neuron that stands for each neuron of a layer: itself, another one, or VANISHED for none."""


@dataclass(frozen=True)
class LayerPlan:
    """What becomes of a layer's neurons."""

    layer: NeuronLayer
    assignment: Assignment

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(n,) mask of the neurons that stay."""
        return self.assignment == np.arange(len(self.assignment))

    @property
    def merged(self) -> NDArray[np.bool_]:
        """(n,) mask of the neurons that go because another one stands for them."""
        return ~self.kept & (self.assignment != VANISHED)

    @property
    def per_block(self) -> int:
        """Neurons that stay in each block of the layer."""
        return int(np.count_nonzero(self.kept)) // self.layer.blocks

    def without_merging(self) -> LayerPlan:
        """The same, but neurons that would be merged stay."""
        return self._with(np.where(self.merged, np.arange(len(self.kept)), self.assignment))

    def without_removing(self) -> LayerPlan:
        """The same, but vanished neurons stay."""
        return self._with(np.where(self.assignment == VANISHED, np.arange(len(self.kept)), self.assignment))

    def _with(self, assignment: Assignment) -> LayerPlan:
        return _even(replace(self, assignment=assignment))


def plan_layer(tensors: Parameters, layer: NeuronLayer, tolerance: float) -> LayerPlan:
    """The plan for one layer of a network with these parameters and buffers.

    With a `tolerance` above 0 a neuron goes where its norm is below that fraction of the layer's largest, or where its
    normalized distance from the one that stands for it is below it (docs/definitions.md#measures, whose own value is
    0.1). With tolerance 0 only neurons go whose vector is exactly zero, or exactly that of another one. At least one
    neuron of each block stays, and in a layer of several blocks as many in each.
    """
    if tolerance > 0:
        g = gram(*neuron_blocks(tensors, layer, layer.parts))
        found = representatives(g, layer.blocks, vanished_below=tolerance, redundant_below=tolerance)
    else:
        found = _exact(tensors, layer)
    return _even(LayerPlan(layer, found))


def _exact(tensors: Parameters, layer: NeuronLayer) -> Assignment:
    """Of equal neurons the first stands for the others; what normalization has recorded of them must be equal too."""
    vectors = torch.cat(neuron_blocks(tensors, layer, layer.parts), dim=1)
    recorded = [part.vectors(tensors[part.parameter]).to(vectors) for part in layer.statistics]
    rows = torch.cat([vectors, *recorded], dim=1)
    if not torch.isfinite(rows).all():
        raise InputError(
            f"layer {layer.name}: weights hold NaN or infinite values, so their collapse cannot be measured"
        )
    exact = (rows.double() + 0.0).cpu().numpy()  # adding 0 makes one zero of both
    vanished = (vectors == 0).all(dim=1).cpu().numpy()
    each = layer.neurons // layer.blocks
    first: dict[tuple[int, bytes], int] = {}
    standing = [first.setdefault((k // each, row.tobytes()), k) for k, row in enumerate(exact)]
    return np.where(vanished, VANISHED, standing)


def _even(plan: LayerPlan) -> LayerPlan:
    """As many neurons in each block, and one at least: where too many would go, the first of them stay."""
    kept = plan.kept.reshape(plan.layer.blocks, -1)
    wanted = max(1, int(kept.sum(axis=1).max()))
    assignment = plan.assignment.copy().reshape(plan.layer.blocks, -1)
    own = np.arange(assignment.size).reshape(assignment.shape)
    for block, stays in enumerate(kept):
        back = np.flatnonzero(~stays)[: wanted - int(stays.sum())]
        assignment[block, back] = own[block, back]
    return replace(plan, assignment=assignment.reshape(-1))


def as_index(neurons: NDArray[np.int64], view: Tensor, axes: int) -> tuple[Tensor, ...]:
    """Places of `neurons` in a view whose first `axes` axes count them."""
    places = np.unravel_index(neurons, tuple(view.shape[:axes]))
    return tuple(torch.as_tensor(place, device=view.device) for place in places)
