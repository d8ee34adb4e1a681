"""Taking neurons out of a network: merging what reads them, slicing its tensors, telling its modules their sizes."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..collapse.independent import VANISHED
from ..errors import StochasticCollapseError
from ..models.replacements import MultiheadAttention, WeightedNorm, replace_module
from ..models.resize import knows_its_sizes, resize
from ..neurons import Neurons, Part
from ..neurons.axes import Coupling, Extent, axes_of, resized
from .plan import LayerPlan, as_index

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, WeightedNorm)


class Inoperable(StochasticCollapseError):
    """A layer cannot be made smaller; the message says why."""


def operable(model: nn.Module, plan: LayerPlan) -> LayerPlan:
    """What can be done of `plan`. Raises `Inoperable` where that is nothing."""
    layer = plan.layer
    if len(layer.axes) > 1:
        raise Inoperable("the network divides the axis of its neurons into several")
    for coupling in layer.couplings:
        module = _module(model, coupling)
        if not isinstance(module, _NORMS) or getattr(module, "weight", None) is None:
            raise Inoperable(f"{coupling} goes over its neurons, and depends on how many there are")
    return plan.without_merging() if layer.shared else plan


def _module(model: nn.Module, coupling: Coupling) -> nn.Module | None:
    try:
        return model.get_submodule(coupling.module)
    except AttributeError:
        return None


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, what is shared under its first name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@torch.no_grad()
def project(model: nn.Module, plans: Iterable[LayerPlan]) -> None:
    """Put `model`, without changing its size, exactly where the plans' neurons are collapsed.

    Neurons that go become copies of those that stand for them, and share the outgoing weights with them; vanished ones
    become zero. This network computes what the smaller one does.
    """
    tensors = tensors_of(model)
    for plan in plans:
        standing = np.flatnonzero(plan.assignment != VANISHED)
        for part in (*plan.layer.incoming, *plan.layer.statistics):
            _move(part, tensors, standing, plan.assignment[standing])
        sizes = np.bincount(plan.assignment[standing], minlength=len(plan.assignment))
        for part in plan.layer.outgoing:
            _merge(part, tensors, plan)
            view = part.view(tensors[part.parameter])
            share = torch.as_tensor(1 / np.maximum(sizes, 1), dtype=view.dtype, device=view.device)
            shape = view.shape[: len(part.axes)]
            view.mul_(share.view(*shape, *[1] * (view.ndim - len(shape))))
            _move(part, tensors, standing, plan.assignment[standing])
        for part in plan.layer.parts:
            view = part.view(tensors[part.parameter])
            gone = np.flatnonzero(plan.assignment == VANISHED)
            view[as_index(gone, view, len(part.axes))] = 0


Attribute = tuple[type[nn.Module], str]
"""An attribute of all modules of a class."""


@torch.no_grad()
def operate(
    model: nn.Module,
    neurons: Neurons,
    plans: Sequence[LayerPlan],
    inputs: Mapping[str, Tensor],
    unrelated: Container[Attribute] = (),
) -> None:
    """Take the neurons that go out of `model`, in place.

    `inputs` are examples of what the normalizations get, by their names, to tell the axis of their channels.
    `unrelated` are attributes that are sizes of something else, though they have the value of one that changes. Raises
    `Inoperable` where a module cannot be made to fit.
    """
    tensors = tensors_of(model)
    alive = {name: torch.ones_like(tensor, dtype=torch.bool) for name, tensor in tensors.items()}
    counts: dict[str, Tensor] = {}
    for plan in plans:
        for part in plan.layer.outgoing:
            _merge(part, tensors, plan)
        for part in plan.layer.incoming:
            if part.parameter in neurons.graph.findings.norms:
                count = counts.setdefault(part.parameter, _counts(model, part.parameter))
                _merge(part, {part.parameter: count}, plan)
        for part in (*plan.layer.parts, *plan.layer.statistics):
            view = part.view(alive[part.parameter])
            view[as_index(np.flatnonzero(~plan.kept), view, len(part.axes))] = False
    sizes = _new_sizes(plans)
    findings = neurons.graph.findings
    groups = {
        name.rpartition(".")[0]: resized(extent, sizes)
        for name, extent in findings.groups.items()
        if extent and _shrinks(extent, sizes)
    }
    extents = {**neurons.graph.parameters, **neurons.graph.buffers}
    _replace_attention(model, extents, sizes)
    norms = {
        name: _weighted(model, name, counts, alive, inputs.get(name.rpartition(".")[0]))
        for name, extent in findings.norms.items()
        if name in tensors and _shrinks(extent, sizes) and name.endswith("weight")
    }
    smaller = {
        name: _sliced(tensors[name], mask, [resized(extent, sizes) for extent in extents[name]])
        for name, mask in alive.items()
        if not bool(mask.all())
    }
    resize(model, smaller, groups)
    for name, norm in norms.items():
        replace_module(model, model.get_submodule(name.rpartition(".")[0]), norm)
    _tell_sizes(model, findings.sizes, sizes, unrelated)


def _new_sizes(plans: Iterable[LayerPlan]) -> dict[Any, int]:
    return {plan.layer.axes[0]: plan.per_block for plan in plans}


def _shrinks(extent: Extent, sizes: Mapping[Any, int]) -> bool:
    return any(axis in sizes for axis in axes_of(extent))


def _merge(part: Part, tensors: Mapping[str, Tensor], plan: LayerPlan) -> None:
    """Add the weights of merged neurons to those that stand for them."""
    view = part.view(tensors[part.parameter])
    merged = np.flatnonzero(plan.merged)
    source, target = (as_index(k, view, len(part.axes)) for k in (merged, plan.assignment[merged]))
    view.index_put_(target, view[source], accumulate=True)


def _move(part: Part, tensors: Mapping[str, Tensor], to: Any, source: Any) -> None:
    """Overwrite the weights of the neurons `to` by those of the neurons `source`."""
    view = part.view(tensors[part.parameter])
    view[as_index(to, view, len(part.axes))] = view[as_index(source, view, len(part.axes))].clone()


def _sliced(tensor: Tensor, alive: Tensor, shape: Sequence[int]) -> Tensor:
    """What is alive of `tensor`, which is of that shape."""
    if int(alive.sum()) != int(np.prod(shape)):
        raise Inoperable("what is left of its weights is no block")
    layout = torch.channels_last if tensor.ndim == 4 and _is_channels_last(tensor) else torch.contiguous_format
    return tensor[alive].reshape(shape).contiguous(memory_format=layout)


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


# --- modules that know sizes ----------------------------------------------------------------------------------------


def _replace_attention(model: nn.Module, extents: Mapping[str, Sequence[Extent]], sizes: Mapping[Any, int]) -> None:
    """Attention of PyTorch's own takes heads × size for the width of its input: replace it where either changes."""
    shrinking = [name for name, axes in extents.items() if any(_shrinks(extent, sizes) for extent in axes)]
    for path in {name.rpartition(".")[0].removesuffix(".out_proj") for name in shrinking}:
        module = model.get_submodule(path)
        if type(module) is nn.MultiheadAttention:
            if module.bias_k is not None or module.add_zero_attn:
                raise Inoperable(f"{path} has bias_k or add_zero_attn")
            MultiheadAttention.from_plain(module)
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and any(
            isinstance(inner, MultiheadAttention) for inner in module.modules()
        ):
            module.enable_nested_tensor = module.use_nested_tensor = False  # which only PyTorch's own attention takes


def known_sizes(model: nn.Module, neurons: Neurons, plans: Iterable[LayerPlan]) -> list[Attribute]:
    """Attributes of modules that reshape, which have the value of a size that changes."""
    found = _known_sizes(model, neurons.graph.findings.sizes, _new_sizes(plans))
    return list(dict.fromkeys(attribute for _, news in found for attribute in news))


def _known_sizes(
    model: nn.Module, named: Iterable[tuple[str, int, Extent]], sizes: Mapping[Any, int]
) -> Iterator[tuple[nn.Module, dict[Attribute, int]]]:
    """Modules that reshape by sizes which change, and their attributes of these values, with the new ones."""
    changes: dict[str, dict[int, set[int]]] = {}
    for path, size, extent in named:
        if (new := resized(extent, sizes)) != size:
            changes.setdefault(path, {}).setdefault(size, set()).add(new)
    for path, of_module in changes.items():
        module = model.get_submodule(path)
        if isinstance(module, nn.MultiheadAttention) or knows_its_sizes(module):
            continue
        news: dict[Attribute, int] = {}
        for name, value in vars(module).items():
            if type(value) is int and value in of_module:
                if len(of_module[value]) > 1:
                    raise Inoperable(f"{path}.{name} = {value} is the size of two things that become different")
                news[type(module), name] = min(of_module[value])
        yield module, news


def _tell_sizes(
    model: nn.Module,
    named: Iterable[tuple[str, int, Extent]],
    sizes: Mapping[Any, int],
    unrelated: Container[Attribute],
) -> None:
    """Modules that reshape know sizes as attributes: set those that have become others."""
    for module, news in _known_sizes(model, named, sizes):
        for attribute, new in news.items():
            if attribute not in unrelated:
                setattr(module, attribute[1], new)


def _counts(model: nn.Module, name: str) -> Tensor:
    """How many channels each channel of the normalization whose weight is called `name` stands for."""
    module = model.get_submodule(name.rpartition(".")[0])
    return module.counts.clone() if isinstance(module, WeightedNorm) else torch.ones_like(model.get_parameter(name))


def _weighted(
    model: nn.Module, name: str, counts: Mapping[str, Tensor], alive: Mapping[str, Tensor], example: Tensor | None
) -> WeightedNorm:
    """What stands for the normalization whose weight is called `name`, over the channels that stay."""
    path = name.rpartition(".")[0]
    module: Any = model.get_submodule(path)
    count = counts[name] if name in counts else _counts(model, name)

    def over(channels: Tensor, count: Tensor, how: Mapping[str, Any]) -> WeightedNorm:
        bias = getattr(module, "bias", None)
        return WeightedNorm(module.weight[channels], None if bias is None else bias[channels], count[channels], **how)

    if isinstance(module, WeightedNorm):
        return over(alive[name], count, module.how)
    is_group = isinstance(module, nn.GroupNorm)
    how = {
        "eps": module.eps,
        "groups": module.num_groups if is_group else 1,
        "total": len(count) // (module.num_groups if is_group else 1),
        "centred": not isinstance(module, nn.RMSNorm),
        "over_places": is_group,
    }
    # Subclasses may have their channels along another axis: what computes the same is the same.
    for axis in (1,) if is_group else (-1, 1):
        if example is not None and example.shape[axis] == len(count):
            every = torch.ones_like(alive[name])
            candidate = over(every, torch.ones_like(count), {**how, "axis": axis}).double()
            found, expected = candidate(example.double()), copy.deepcopy(module).double()(example.double())
            if torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())):
                return over(alive[name], count, {**how, "axis": axis})
    raise Inoperable(f"{path} is a normalization of an unknown kind")
