"""Invariant sets written by hand, with nothing of the package's: plain indices into plain tensors.

That a layer's neurons are interchangeable, and that SGD cannot leave the sets where two of them are equal or one is
zero (the gradient is tangent to them), is shown for these sets; that they are the ones that tracing finds, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stochastic_collapse.neurons import Part, trace
from stochastic_collapse.neurons.symmetry import permute

from .kinds import KINDS, Apply, chain
from .test_trace import network

Places = list[list[int]]
"""For each neuron the indices along an axis that are its own."""


@dataclass(frozen=True)
class Layer:
    """One layer of a network: which indices of which axes of which tensors belong to each neuron."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    name: str
    places: dict[tuple[str, int], Places]
    blocks: Places
    """Neurons that are interchangeable with one another."""
    through_origin: bool = True
    """Whether what others get of a neuron is zero, to first order, where its weights are."""


def _each(n: int, size: int = 1, times: int = 1) -> Places:
    """`size` indices in a row for each of n neurons, again and again."""
    return [[t * n * size + k * size + j for t in range(times) for j in range(size)] for k in range(n)]


def _attention(heads: int) -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        q, k, v = m.qkv(x).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)  # type: ignore[operator]
        mixed = (q @ k.mT).softmax(-1) @ v
        return m.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[operator]

    return Apply(forward, qkv=nn.Linear(5, 3 * heads * 4), out=nn.Linear(heads * 4, 2))


def _residual() -> nn.Module:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        x = m.stem(x)  # type: ignore[operator]
        x = x + m.second(torch.tanh(m.first(m.norm(x))))  # type: ignore[operator]
        return m.head(functional.avg_pool2d(x, 2).flatten(1))  # type: ignore[operator]

    return Apply(
        forward, stem=nn.Conv2d(3, 4, 1, bias=False), norm=nn.BatchNorm2d(4), first=nn.Conv2d(4, 6, 3, padding=1),
        second=nn.Conv2d(6, 4, 1, bias=False), head=nn.Linear(16, 2),
    )  # fmt: skip


LAYERS = {
    "linear": Layer(
        chain(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), (7, 3), "0",
        {("0.weight", 0): _each(5), ("0.bias", 0): _each(5), ("2.weight", 1): _each(5)}, [[0, 1, 2, 3, 4]],
    ),
    "batch norm and flatten": Layer(
        chain(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.GELU(), nn.Flatten(), nn.Linear(36, 2)), (7, 3, 4, 4), "0",
        {**{(name, 0): _each(4) for name in ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean",
                                             "1.running_var")}, ("4.weight", 1): _each(4, size=9)},
        [[0, 1, 2, 3]],
    ),
    "layer norm": Layer(
        chain(nn.Linear(3, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 2)), (7, 3), "0",
        {**{(name, 0): _each(5) for name in ("0.weight", "0.bias", "1.weight", "1.bias")}, ("3.weight", 1): _each(5)},
        [[0, 1, 2, 3, 4]], through_origin=False,  # a zero goes into the mean that is taken from all
    ),
    "root mean square norm": Layer(
        chain(nn.Linear(3, 5), nn.RMSNorm(5), nn.GELU(), nn.Linear(5, 2)), (7, 3), "0",
        {**{(name, 0): _each(5) for name in ("0.weight", "0.bias", "1.weight")}, ("3.weight", 1): _each(5)},
        [[0, 1, 2, 3, 4]],
    ),
    "groups": Layer(
        chain(nn.Conv1d(4, 6, 1), nn.Tanh(), nn.Conv1d(6, 4, 2, groups=2)), (7, 4, 3), "0",
        {("0.weight", 0): _each(6), ("0.bias", 0): _each(6)}, [[0, 1, 2], [3, 4, 5]],
    ),
    "depthwise": Layer(
        chain(nn.Conv1d(4, 5, 1), nn.Tanh(), nn.Conv1d(5, 5, 2, groups=5), nn.Tanh(), nn.Conv1d(5, 2, 1)), (7, 4, 3),
        "0",
        {**{(name, 0): _each(5) for name in ("0.weight", "0.bias", "2.weight", "2.bias")}, ("4.weight", 1): _each(5)},
        [[0, 1, 2, 3, 4]],
    ),
    "residual stream": Layer(
        _residual, (7, 3, 4, 4), "stream",
        {**{(name, 0): _each(4) for name in ("stem.weight", "norm.weight", "norm.bias", "norm.running_mean",
                                             "norm.running_var", "second.weight")},
         ("first.weight", 1): _each(4), ("head.weight", 1): _each(4, size=4)},
        [[0, 1, 2, 3]],
    ),
    "attention heads": Layer(
        lambda: _attention(3), (2, 6, 5), "heads",
        {("qkv.weight", 0): _each(3, size=4, times=3), ("qkv.bias", 0): _each(3, size=4, times=3),
         ("out.weight", 1): _each(3, size=4)}, [[0, 1, 2]],
    ),
    "experts": Layer(
        KINDS["experts"].build, (5, 4), "up-2",
        {("up", 0): _each(3), ("router.weight", 0): _each(3), ("router.bias", 0): _each(3), ("down", 0): _each(3)},
        [[0, 1, 2]], through_origin=False,  # an expert takes its share of the router's softmax
    ),
}  # fmt: skip

# What reads the neurons of a grouped convolution: its group's outputs only.
GROUPED = {("2.weight", 1): [[[0, 1], [k]] for k in range(3)] + [[[2, 3], [k]] for k in range(3)]}


def _set_up(name: str) -> tuple[Layer, nn.Module, dict[str, Tensor], Tensor]:
    layer = LAYERS[name]
    torch.manual_seed(0)
    model, x = layer.build().double().eval(), torch.randn(layer.shape, dtype=torch.float64)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for tensor in tensors.values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) + 0.5 if tensor.ndim == 1 else torch.randn_like(tensor))
    return layer, model, tensors, x


def _slots(name: str, tensors: dict[str, Tensor]) -> list[tuple[str, list[tuple[Tensor, ...]]]]:
    """For each tensor and neuron the index of its weights there."""
    layer = LAYERS[name]
    found = [
        (key, [(slice(None),) * axis + (torch.tensor(own),) for own in places])
        for (key, axis), places in layer.places.items()
    ]
    if name == "groups":
        found += [(key, [(torch.tensor(rows), torch.tensor(columns)) for rows, columns in places])
                  for (key, _), places in GROUPED.items()]  # fmt: skip
    return found  # type: ignore[return-value]


def _moved(tensors: dict[str, Tensor], name: str, order: list[int]) -> dict[str, Tensor]:
    """The tensors with neuron k's weights from neuron order[k]."""
    result = {key: tensor.detach().clone() for key, tensor in tensors.items()}
    for key, slots in _slots(name, tensors):
        before = result[key].clone()
        for k, source in enumerate(order):
            result[key][slots[k]] = before[slots[source]]
    return result


def _order(layer: Layer) -> list[int]:
    order = [k for block in layer.blocks for k in block]
    for block in layer.blocks:
        for k, source in zip(block, [*block[1:], block[0]], strict=True):
            order[k] = source
    return order


@pytest.mark.parametrize("name", LAYERS)
def test_permuting_by_hand_leaves_the_output_and_is_what_tracing_finds(name: str) -> None:
    layer, model, tensors, x = _set_up(name)
    expected = model(x)
    order = _order(layer)
    moved = _moved(tensors, name, order)
    found = {one.name: one for one in trace(model, x).layers}[layer.name]
    assert (found.neurons, found.blocks) == (len(order), len(layer.blocks))
    permute(tensors, found, torch.tensor(order))
    assert {key: torch.equal(tensors[key], moved[key]) for key in moved} == dict.fromkeys(moved, True)
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-10)


def _gradients(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(1)
    target = torch.randn_like(model(x))
    model.zero_grad()
    functional.mse_loss(model(x), target).backward()
    return {key: p.grad for key, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", LAYERS)
def test_sgd_cannot_leave_where_two_neurons_are_equal(name: str) -> None:
    layer, model, tensors, x = _set_up(name)
    a, b, *_ = layer.blocks[-1]
    with torch.no_grad():
        for key, slots in _slots(name, tensors):
            tensors[key][slots[b]] = tensors[key][slots[a]]
    gradients = _gradients(model, x)
    third = layer.blocks[-1][2]
    for key, slots in _slots(name, tensors):
        if key in gradients:
            torch.testing.assert_close(gradients[key][slots[b]], gradients[key][slots[a]], rtol=1e-9, atol=1e-12)
            assert not torch.allclose(gradients[key][slots[third]], gradients[key][slots[a]], rtol=1e-3)


@pytest.mark.parametrize("name", [name for name, layer in LAYERS.items() if layer.through_origin])
def test_sgd_cannot_leave_where_a_neuron_is_zero(name: str) -> None:
    layer, model, tensors, x = _set_up(name)
    zero, other, *_ = layer.blocks[-1]
    with torch.no_grad():
        for key, slots in _slots(name, tensors):
            tensors[key][slots[zero]] = 0
    gradients = _gradients(model, x)
    for key, slots in _slots(name, tensors):
        if key in gradients:
            assert not gradients[key][slots[zero]].any()
            assert gradients[key][slots[other]].any()


def test_under_layer_normalization_a_zero_does_not_stay_one() -> None:
    """It counts in the mean that is taken from all channels: its incoming weights get a gradient."""
    _, model, tensors, x = _set_up("layer norm")
    with torch.no_grad():
        for key, slots in _slots("layer norm", tensors):
            tensors[key][slots[0]] = 0
    gradients = _gradients(model, x)
    assert float(gradients["0.weight"][0].abs().min()) > 1e-3
    assert not gradients["3.weight"][:, 0].any()


@pytest.mark.parametrize("name", KINDS)
def test_the_gradient_is_tangent_to_the_invariant_sets_of_all_kinds(name: str) -> None:
    """As above for every layer that tracing finds: two equal neurons get equal gradients, and others get others."""
    model, x = network(name)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for layer in trace(model, x).layers:
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(torch.randn_like(p))
            # The weights twice, since some are in two parts of a neuron.
            for part in (*layer.parts, *layer.parts, *layer.statistics):
                view = part.view(tensors[part.parameter])
                view[_second(part)] = view[_first(part)].clone()
        gradients = _gradients(model, x)
        rows = [part.vectors(gradients[part.parameter]) for part in layer.parts]
        scale = max(float(row.abs().max()) for row in rows)
        for row in rows:
            torch.testing.assert_close(row[1], row[0], rtol=1e-4, atol=1e-5 * scale)
        if layer.neurons // layer.blocks > 2:
            assert any(float((row[2] - row[0]).abs().max()) > 1e-2 * scale for row in rows)


def _first(part: Part) -> tuple[int, ...]:
    return (0,) * len(part.axes)


def _second(part: Part) -> tuple[int, ...]:
    return (*_first(part)[1:], 1)
