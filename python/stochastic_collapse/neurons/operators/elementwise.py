"""Operators that take numbers one at a time, those of several operands at the same place."""

from __future__ import annotations

from ..axes import axes_of, cut, free, size, unify
from .calls import Call, Result, axis_of, broadcast, rule
from .shapes import name_sizes

SAME = frozenset(
    [
        "alias",
        "clone",
        "contiguous",
        "detach",
        "dropout",
        "feature_dropout",
        "alpha_dropout",
        "to",
        "_to_copy",
        "type_as",
        "lift_fresh_copy",
        "lift_fresh",
        "native_dropout",
        "identity",
    ]
)


@rule(*SAME)
def same(call: Call) -> Result:
    """The first operand, unchanged in shape."""
    return call.args[0].extents


@rule("where", "masked_fill", "copy", "hardswish", "hardsigmoid", "hardtanh", "relu6", "leaky_relu", "rrelu", "selu",
      "celu", "mish", "softplus", "softsign", "logsigmoid", "log_sigmoid", "hardshrink", "softshrink",
      "tanhshrink")  # fmt: skip
def pointwise(call: Call) -> Result:
    """Each number of the result from the operands' numbers at its place; operands are broadcast."""
    values = call.values()
    result = broadcast([value.extents for value in values], call.shape)
    full = [v for v in values if v.depends_on_input and tuple(map(size, v.extents)) == call.shape]
    if call.name.removesuffix("_") in ("add", "sub") and len(full) > 1:
        for extent in result:
            for axis in axes_of(extent):
                axis.is_stream = True
    return result


@rule("prelu")
def prelu(call: Call) -> Result:
    """One slope for each channel, or one for all."""
    x, slopes = call.args[:2]
    if len(x.extents) > 1:
        unify(x.extents[1], slopes.extents[0])
    return x.extents


@rule("glu")
def glu(call: Call) -> Result:
    """One half gates the other."""
    x = call.args[0]
    axis = axis_of(call, 1, len(x.extents), -1)
    one, other = cut(x.extents[axis], [size(x.extents[axis]) // 2])
    unify(one, other)
    return [*x.extents[:axis], one, *x.extents[axis + 1 :]]


@rule("zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty",
      "zeros_like", "ones_like", "full_like", "empty_like", "scalar_tensor")  # fmt: skip
def uniform(call: Call) -> Result:
    """Equal numbers: they may be permuted as others want."""
    result = [free(length) for length in call.shape]
    name_sizes(call, call.shape, result)
    return result
