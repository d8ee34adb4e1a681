"""The check that a layer's neurons are interchangeable: permuting them must not change what the network does."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .graph import ExampleInput, arguments, in_double_precision, outputs
from .layers import NeuronLayer

# Of the largest output, in double precision: what rounding makes of a permuted sum is a millionth of this.
TOLERANCE = 1e-7
_SEED = 0


def asymmetric(model: nn.Module, example_input: ExampleInput, layers: Sequence[NeuronLayer]) -> dict[str, str]:
    """Names of the `layers` whose neurons are not interchangeable, and by how much the output changes.

    The check is made on a copy of `model` in evaluation mode and double precision, with random weights, since in the
    given ones too much may be zero to show anything, and on random numbers of the example's shapes (integers as they
    are). Two permutations are tried, a cycle of all neurons and the exchange of two that follow one another in it:
    these make up all others. All layers are permuted at once, and one by one only where that changes the output.
    """
    if not layers:
        return {}
    try:
        probe = _probe(model, example_input)
    except Exception as error:  # whatever the network's own code raises on other numbers or in double precision
        reason = " ".join(f"it cannot be checked: {type(error).__name__}: {error}".split())[:300]
        return dict.fromkeys((layer.name for layer in layers), reason)
    if probe.change(layers) < TOLERANCE:
        return {}
    changes = {layer.name: probe.change([layer]) for layer in layers}
    return {
        name: f"permuting its neurons changes the network's output by {change:.0e} of its largest"
        for name, change in changes.items()
        if not change < TOLERANCE
    }


def _probe(model: nn.Module, example_input: ExampleInput) -> _Probe:
    """With parameters in the precision that they have, half the memory, where the network's own code permits that."""
    try:
        return _Probe(model, example_input)
    except Exception:  # such as of recurrent modules, that their inputs have another precision
        return _Probe(model, example_input, widened=True)


class _Probe:
    """A network with random weights, and its output on random numbers."""

    def __init__(self, model: nn.Module, example_input: ExampleInput, *, widened: bool = False) -> None:
        self._generator = torch.Generator().manual_seed(_SEED)
        # Switched to training and back, since some networks keep in evaluation mode what they once computed.
        self._model = copy.deepcopy(model).train()
        if widened:
            self._model.double()
        for module in self._model.modules():
            module._buffers.update(
                {k: b.double() for k, b in module._buffers.items() if b is not None and b.is_floating_point()}
            )
        self._args, self._kwargs = pytree.tree_map_only(Tensor, self._like, arguments(example_input))
        self._tensors = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        self._randomize()
        self._expected = self._output()
        if not all(bool(torch.isfinite(one).all()) for one in self._expected):
            own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
            with torch.no_grad():  # these weights had to keep to something
                for name, tensor in self._tensors.items():
                    tensor.copy_(own[name])
            self._expected = self._output()

    def change(self, layers: Sequence[NeuronLayer]) -> float:
        """Largest change of the output by random permutations of the neurons of `layers`, over the largest output."""
        changes: list[float] = []
        for orders in zip(*map(self._permutations, layers), strict=True):
            moved = list(zip(layers, orders, strict=True))
            for layer, order in moved:
                permute(self._tensors, layer, order)
            changes += map(_relative, self._output(), self._expected)
            for layer, order in reversed(moved):
                permute(self._tensors, layer, order.argsort())
        return max(changes)

    def _permutations(self, layer: NeuronLayer) -> tuple[Tensor, Tensor]:
        """A cycle of all neurons of each block, and the exchange of two that follow one another in it."""
        cycle, exchange = torch.arange(layer.neurons), torch.arange(layer.neurons)
        each = layer.neurons // layer.blocks
        for k in range(layer.blocks):
            order = torch.randperm(each, generator=self._generator) + k * each
            cycle[order] = order.roll(1)
            exchange[order[:2]] = order[:2].flip(0)
        return cycle, exchange

    def _output(self) -> list[Tensor]:
        with torch.no_grad(), in_double_precision(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)  # of networks that draw numbers of their own
            # A copy of all but the parameters, since a call may change what else there is.
            parameters = {id(parameter): parameter for parameter in self._model.parameters()}
            found = outputs(copy.deepcopy(self._model, parameters).eval()(*self._args, **self._kwargs))
        return [one.detach().clone() for one in found]

    def _randomize(self) -> None:
        """Weights from N(0, 1/fan_in), vectors and single numbers about 1, variances positive: signals stay of order 1
        on their way, and none is lost."""
        with torch.no_grad():
            for name, tensor in self._tensors.items():
                if not tensor.is_floating_point():
                    continue
                draw = self._normal(tensor, tensor.dtype)
                if tensor.ndim > 1:
                    tensor.copy_(draw.div_(max(1, tensor[0].numel()) ** 0.5))
                elif name.endswith("running_mean"):
                    tensor.copy_(draw)
                elif isinstance(tensor, nn.Parameter) or name.endswith("running_var"):
                    tensor.copy_(1 + 0.3 * draw.clamp(-2, 2))

    def _like(self, tensor: Tensor) -> Tensor:
        return self._normal(tensor) if tensor.is_floating_point() else tensor

    def _normal(self, like: Tensor, precision: torch.dtype = torch.float64) -> Tensor:
        return torch.randn(like.shape, generator=self._generator, dtype=precision).to(like.device)


def permute(tensors: Mapping[str, Tensor], layer: NeuronLayer, order: Tensor) -> None:
    """Permute the neurons of a layer in place: neuron k becomes what neuron ``order[k]`` was."""
    with torch.no_grad():
        for part in (*layer.parts, *layer.statistics):
            tensor = tensors[part.parameter]
            view = part.view(tensor)
            view.copy_(part.vectors(tensor)[order.to(tensor.device)].reshape(view.shape))


def _relative(mine: Any, theirs: Any) -> float:
    if not mine.is_floating_point():
        return float((mine != theirs).any())
    return float((mine - theirs).abs().max() / theirs.abs().max().clamp(min=1e-300)) if theirs.numel() else 0.0
