"""Normalizations: over a batch, a layer, groups of channels; weight normalization; softmax."""

from __future__ import annotations

from ..axes import couple, free, size, unify
from .calls import Call, Result, axis_of, fix_all, rule, take_together
from .convolutions import _channels


@rule("batch_norm", "instance_norm", "_native_batch_norm_legit_no_training", "native_batch_norm", "cudnn_batch_norm")
def batch_norm(call: Call) -> Result:
    x = call.args[0]
    for vector in call.values()[1:]:
        unify(vector.extents[0], x.extents[1])
        if vector.is_statistic:
            call.findings.statistics |= vector.parameters or set()
    if call.name == "instance_norm":
        take_together(call, x, range(2, len(x.extents)))
    several = [list(x.extents), *([free(length) for length in shape] for shape in call.shapes[1:])]
    return several if call.results is not None else several[0]


@rule("layer_norm", "rms_norm")
def layer_norm(call: Call) -> Result:
    x, shape = call.args[0], call.args[1]
    over = x.extents[-len(shape) :]
    vectors = call.values()[1:]
    for vector in vectors:
        for mine, other in zip(over, vector.extents, strict=True):
            unify(mine, other)
    names = {name for vector in vectors for name in vector.parameters or ()}
    for extent in over:
        couple(extent, call.coupling())
    if len(over) == 1:
        call.findings.norms |= dict.fromkeys(names, over[0])
    take_together(call, x, range(len(x.extents) - len(shape), len(x.extents)))
    return x.extents


@rule("group_norm")
def group_norm(call: Call) -> Result:
    _over_places(call, 1)
    return _normalized_in_groups(call, 1, call.args[1])


@rule("weighted_norm")
def weighted_norm(call: Call) -> Result:
    """Our own, of compressed networks (`models.replacements`): its counts go with the channels."""
    axis, groups, over_places = axis_of(call, 6, len(call.shape)), call.args[7], call.args[9]
    if over_places:
        _over_places(call, axis)
    call.findings.statistics |= call.args[3].parameters or set()
    return _normalized_in_groups(call, axis, groups)


def _over_places(call: Call, axis: int) -> None:
    """Normalization of the first argument over all that is behind the axis of its channels."""
    x = call.args[0]
    take_together(call, x, range(axis + 1, len(x.extents)))
    fix_all(x.extents[axis + 1 :], "it is an axis of places, whose order matters")


def _normalized_in_groups(call: Call, axis: int, groups: int) -> Result:
    """Normalization of a tensor, the first argument, over each of `groups` of channels along `axis`."""
    x, *vectors = call.values()
    channels = x.extents[axis]
    names = {name for vector in vectors for name in vector.parameters or ()}
    for vector in vectors:
        unify(channels, vector.extents[0])
    if groups == size(channels):
        call.findings.groups |= dict.fromkeys(names, channels)
        return x.extents
    group, inside = _channels([channels], groups) if groups > 1 else ((), channels)
    couple(inside, call.coupling())
    call.findings.norms |= dict.fromkeys(names, inside)
    call.findings.groups |= dict.fromkeys(names, group)
    call.findings.tensors.append((*x.extents[:axis], group))
    return x.extents


@rule("_weight_norm", "_weight_norm_interface")
def weight_norm(call: Call) -> Result:
    """Directions divided by their norms over all axes but one, times a length for each index of that."""
    direction, length, axis = call.args[0], call.args[1], axis_of(call, 2, len(call.args[0].extents))
    unify(direction.extents[axis], length.extents[axis])
    for k, extent in enumerate(direction.extents):
        if k != axis:
            couple(extent, call.coupling())
    return [direction.extents, length.extents] if call.results is not None else direction.extents


@rule("softmax", "log_softmax", "_softmax", "_log_softmax")
def softmax(call: Call) -> Result:
    x = call.args[0]
    over = axis_of(call, 1, len(x.extents), -1)
    couple(x.extents[over], call.coupling())
    take_together(call, x, [over])
    return x.extents
