"""Convolutions, also transposed and grouped, and shuffles of their channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..axes import Extent, fixed, free, size, unify
from .calls import Call, Result, Value, fix_all, reads, rule, writes


def _channels(extents: Sequence[Extent], groups: int) -> tuple[Extent, Extent]:
    """An axis of channels as groups × channels of each."""
    (channels,) = extents
    split = (*free(groups), *free(size(channels) // groups))
    unify(channels, split)
    return split[:1], split[1:]


@rule("conv1d", "conv2d", "conv3d")
def convolution(call: Call) -> Result:
    x, weight, bias = call.args[0], call.args[1], call.argument(2)
    strides, paddings, groups = call.argument(3, [1]), call.argument(4, [0]), call.argument(6, 1)
    return _convolve(call, x, weight, bias, strides, paddings, groups)


@rule("convolution")
def general_convolution(call: Call) -> Result:
    x, weight, bias, strides, paddings = call.args[:5]
    if call.argument(6, False):
        return _transposed(call, x, weight, bias, call.argument(8, 1))
    return _convolve(call, x, weight, bias, strides, paddings, call.argument(8, 1))


def _convolve(
    call: Call, x: Value, weight: Value, bias: Value | None, strides: Any, paddings: Any, groups: int
) -> Result:
    spatial = len(weight.extents) - 2
    batch, channels, places = x.extents[: -spatial - 1], x.extents[-spatial - 1], x.extents[-spatial:]
    out = weight.extents[0]
    group: Extent = ()
    if groups == 1:
        unify(channels, weight.extents[1])
        reads(call, weight, 1)
    else:
        group, inside = _channels([channels], groups)
        unify(inside, weight.extents[1])
        of_weight, _ = _channels([out], groups)
        unify(group, of_weight)
        if size(weight.extents[1]) > 1:
            reads(call, weight, 1)
        for name in weight.parameters or ():
            call.findings.groups[name] = group
    writes(call, weight, 0)
    call.findings.tensors.append((*batch, group, *places))
    if bias is not None:
        unify(bias.extents[0], out)
    fix_all(weight.extents[2:], "it is an axis of a kernel")
    kernel = [size(extent) for extent in weight.extents[2:]]
    steps = [strides] if isinstance(strides, int) else list(strides)
    pads = [0] if paddings == "valid" else [paddings] if isinstance(paddings, int | str) else list(paddings)
    if all(k == 1 for k in kernel) and set(steps) == {1} and (set(pads) == {0} or paddings == "same"):
        return [*batch, out, *places]
    return [*batch, out, *resampled(places, call.shape[-spatial:])]


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def transposed_convolution(call: Call) -> Result:
    groups = call.argument(6, 1)
    return _transposed(call, call.args[0], call.args[1], call.argument(2), groups)


def _transposed(call: Call, x: Value, weight: Value, bias: Value | None, groups: int) -> Result:
    """The weight is (in, out / groups, …)."""
    spatial = len(weight.extents) - 2
    batch, channels, places = x.extents[: -spatial - 1], x.extents[-spatial - 1], x.extents[-spatial:]
    unify(channels, weight.extents[0])
    out, group = weight.extents[1], ()  # type: tuple[Extent, Extent]
    if groups > 1:
        group, _ = _channels([channels], groups)
        out = (*group, *out)
        for name in weight.parameters or ():
            call.findings.groups[name] = group
    reads(call, weight, 0)
    writes(call, weight, 1)
    call.findings.tensors.append((*batch, group, *places))
    if bias is not None:
        unify(bias.extents[0], out)
    fix_all(weight.extents[2:], "it is an axis of a kernel")
    return [*batch, out, *resampled(places, call.shape[-spatial:])]


def resampled(places: Sequence[Extent], sizes: Sequence[int]) -> list[Extent]:
    """Axes of pixels after something that takes their neighbourhoods."""
    reason = "it is an axis of places, whose order matters"
    fix_all(places, reason)
    return [fixed(length, reason) for length in sizes]


@rule("pixel_shuffle")
def pixel_shuffle(call: Call) -> Result:
    """(C·r², H, W) → (C, H·r, W·r)."""
    x, factor = call.args[0], call.args[1]
    channels = free(size(x.extents[-3]) // factor**2)
    unify(x.extents[-3], (*channels, *fixed(factor**2, "its indices are places")))
    return [*x.extents[:-3], channels, *resampled(x.extents[-2:], call.shape[-2:])]


@rule("channel_shuffle")
def channel_shuffle(call: Call) -> Result:
    x, groups = call.args[0], call.args[1]
    group, inside = _channels([x.extents[1]], groups)
    return [x.extents[0], (*inside, *group), *x.extents[2:]]
