"""What each operator says of the axes of its operands and its results.

One function for each kind of ATen operator, as `torch.export` lists them. It gets the `Call` and returns the axes of
the result, or of each of several results. An operator that is not listed here is not an error: the order of all axes
that go through it matters then, and neurons along them are not claimed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .axes import Coupling, Extent, Sum, axes_of, couple, cut, fix, fixed, free, reshape, size, unify


@dataclass(frozen=True)
class Value:
    """A tensor in the graph: its axes, and what it comes from."""

    extents: tuple[Extent, ...]
    parameters: frozenset[str] | None = frozenset()
    """The parameters from which alone it comes, none for a constant; None: it depends on the network's input."""
    axes: tuple[int | None, ...] = ()
    """Of a parameter, or what is cut out of one: the axis of the parameter that each axis is a part of."""
    is_statistic: bool = False
    """Whether it is a buffer, which normalization may permute and nothing else."""

    @property
    def depends_on_input(self) -> bool:
        return self.parameters is None


@dataclass
class Findings:
    """What the operators say beside the axes of their results."""

    read: set[tuple[str, int]] = field(default_factory=set)
    """Parameters and axes that activations are contracted with: outgoing weights."""
    written: set[tuple[str, int]] = field(default_factory=set)
    """Parameters and axes that activations are made of."""
    read_extents: list[tuple[str, Extent]] = field(default_factory=list)
    """As `read`, where the parameter is rearranged before it is used."""
    statistics: set[str] = field(default_factory=set)
    """Buffers that normalization keeps for each channel."""
    tensors: list[tuple[Extent, ...]] = field(default_factory=list)
    """Axes of all tensors there are, those inside of operators included: what an operator does for all indices of some
    axes together is a tensor without them."""
    groups: dict[str, Extent] = field(default_factory=dict)
    """By the name of a weight: the groups of a convolution."""
    norms: dict[str, Extent] = field(default_factory=dict)
    """By the name of a weight: what a layer or group normalization averages over."""
    sizes: list[tuple[str, int, Extent]] = field(default_factory=list)
    """Sizes that a module names, as in reshaping: the module, the size and what it is the size of."""


@dataclass(frozen=True)
class Call:
    """One call of an operator."""

    name: str
    args: tuple[Any, ...]
    """Tensors as `Value`, names of arguments resolved to their places."""
    shape: tuple[int, ...]
    """Of the result, of the first of several."""
    results: int | None
    """How many tensors there are in a list of results; None: one result."""
    shapes: tuple[tuple[int, ...], ...]
    module: str
    """The innermost module in whose forward pass it is called."""
    findings: Findings

    def values(self) -> list[Value]:
        """All tensors among the arguments."""
        flat: list[Value] = []
        for argument in self.args:
            flat += [argument] if isinstance(argument, Value) else []
            flat += [v for v in argument if isinstance(v, Value)] if isinstance(argument, list | tuple) else []
        return flat

    def argument(self, place: int, default: Any = None) -> Any:
        return self.args[place] if len(self.args) > place and self.args[place] is not None else default

    def coupling(self) -> Coupling:
        return Coupling(self.name, self.module)


Result = Sequence[Any]
"""An extent for each axis of the result; of several results, such a list for each."""
Rule = Callable[[Call], Result]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a function for the ATen operators `names`, in-place variants included."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def apply(call: Call, target: Any) -> list[Value]:
    """The results of a call."""
    values = call.values()
    name = call.name.removesuffix("_") if not call.name.startswith("_") else call.name
    known = RULES.get(call.name) or RULES.get(name)
    if known is None and torch.Tag.pointwise in getattr(target, "tags", ()):
        known = pointwise
    if known not in (batch_norm, weighted_norm):
        _fix_all((e for value in values if value.is_statistic for e in value.extents), "a buffer goes with it")
    result = known(call) if known is not None else _unknown(call)
    several = list(result) if call.results is not None else [result]
    if any(value.depends_on_input for value in values):
        parameters = None
    else:
        parameters = frozenset().union(*(value.parameters or () for value in values))
    axes = _axes(call, name) if call.results is None else ()
    found = [Value(tuple(extents), parameters, axes) for extents in several]
    call.findings.tensors += [value.extents for value in found]
    return found


def _axes(call: Call, name: str) -> tuple[int | None, ...]:
    """Which axes of a parameter the result's axes are parts of, where the operator only moves them."""
    source = next(iter(call.values()), None)
    if source is None or not source.axes or len(source.axes) != len(source.extents):
        return ()
    if name in _SAME:
        return source.axes
    if name in _ORDER:
        return tuple(source.axes[k] for k in _ORDER[name](call))
    if name in ("slice", "narrow"):
        return source.axes
    if name in ("select", "unbind"):
        return tuple(axis for k, axis in enumerate(source.axes) if k != _axis(call, 1, len(source.axes)))
    return ()


def _fix_all(extents: Iterable[Extent], reason: str) -> None:
    for extent in extents:
        fix(extent, reason)


def _unknown(call: Call) -> Result:
    reason = f"it goes through {call.name}, of which nothing is known here"
    if call.values() and not any(value.depends_on_input or value.parameters for value in call.values()):
        reason = "a constant goes with it"
    for value in call.values():
        _fix_all(value.extents, reason)
    shapes = call.shapes if call.results is not None else (call.shape,)
    several = [[fixed(length, reason) for length in shape] for shape in shapes]
    return several if call.results is not None else several[0]


def _axis(call: Call, place: int, ndim: int, default: int = 0) -> int:
    return int(call.argument(place, default)) % max(ndim, 1)


def _axes_list(argument: Any, ndim: int) -> list[int]:
    """Axes as an operator's argument gives them: a number, a list, or none for all."""
    if argument is None or (isinstance(argument, list | tuple) and not argument):
        return list(range(ndim))
    listed = [argument] if isinstance(argument, int) else list(argument)
    return [int(axis) % ndim for axis in listed]


def _over(call: Call, x: Value, axes: Iterable[int]) -> None:
    """All indices of some axes of `x` are taken together, whether or not the result has these axes."""
    over = set(axes)
    call.findings.tensors.append(tuple(extent for k, extent in enumerate(x.extents) if k not in over))


# --- one number at a time -------------------------------------------------------------------------------------------

_SAME = frozenset(
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


@rule(*_SAME)
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


def broadcast(operands: Sequence[Sequence[Extent]], shape: Sequence[int]) -> list[Extent]:
    """Axes of the result of an operation between tensors that are broadcast to `shape`."""
    result: list[Extent] = []
    for place, length in enumerate(shape):
        here: Extent | None = None
        for extents in operands:
            k = place - len(shape) + len(extents)
            if k < 0 or size(extents[k]) == 1:
                continue
            if here is None:
                here = extents[k]
            else:
                unify(here, extents[k])
        result.append(here if here is not None else free(length))
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
    axis = _axis(call, 1, len(x.extents), -1)
    one, other = cut(x.extents[axis], [size(x.extents[axis]) // 2])
    unify(one, other)
    return [*x.extents[:axis], one, *x.extents[axis + 1 :]]


@rule("zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty",
      "zeros_like", "ones_like", "full_like", "empty_like", "scalar_tensor")  # fmt: skip
def uniform(call: Call) -> Result:
    """Equal numbers: they may be permuted as others want."""
    result = [free(length) for length in call.shape]
    _name_sizes(call, call.shape, result)
    return result


# --- weights --------------------------------------------------------------------------------------------------------


def _reads(call: Call, weight: Value, axis: int) -> None:
    """Activations are contracted with this axis of `weight`."""
    parameters = weight.parameters or frozenset()
    if len(parameters) == 1 and weight.axes and weight.axes[axis] is not None:
        call.findings.read.add((next(iter(parameters)), weight.axes[axis] or 0))
    else:
        call.findings.read_extents += [(name, weight.extents[axis]) for name in parameters]


def _writes(call: Call, weight: Value, axis: int) -> None:
    """Activations are made of this axis of `weight`."""
    parameters = weight.parameters or frozenset()
    if len(parameters) == 1 and weight.axes and weight.axes[axis] is not None:
        call.findings.written.add((next(iter(parameters)), weight.axes[axis] or 0))


@rule("linear")
def linear(call: Call) -> Result:
    x, weight, bias = call.args[0], call.args[1], call.argument(2)
    unify(x.extents[-1], weight.extents[1])
    _reads(call, weight, 1)
    _writes(call, weight, 0)
    _over(call, x, [len(x.extents) - 1])
    if bias is not None:
        unify(bias.extents[0], weight.extents[0])
    return [*x.extents[:-1], weight.extents[0]]


@rule("mm", "bmm", "matmul")
def matmul(call: Call) -> Result:
    a, b = call.args[0], call.args[1]
    return _product(call, a, b)


@rule("addmm", "baddbmm", "addbmm")
def addmm(call: Call) -> Result:
    bias, a, b = call.args[:3]
    result = _product(call, a, b)
    return broadcast([result, bias.extents], call.shape)


def _product(call: Call, a: Value, b: Value) -> list[Extent]:
    """Matrix product over the last axis of `a` and the last but one of `b`."""
    if len(a.extents) < 2 or len(b.extents) < 2:
        return list(_unknown(call))
    unify(a.extents[-1], b.extents[-2])
    batch = broadcast([a.extents[:-2], b.extents[:-2]], call.shape[:-2])
    apart = [(), (a.extents[-1],), (a.extents[-2],), (b.extents[-1],)]
    call.findings.tensors += [(*batch, *extents) for extents in apart]
    if a.depends_on_input and b.depends_on_input:
        couple(a.extents[-1], call.coupling())
        _mark_heads(batch)
    elif a.depends_on_input:
        _reads(call, b, len(b.extents) - 2)
        _writes(call, b, len(b.extents) - 1)
    elif b.depends_on_input:
        _reads(call, a, len(a.extents) - 1)
        _writes(call, a, len(a.extents) - 2)
    return [*batch, a.extents[-2], b.extents[-1]]


def _mark_heads(extents: Iterable[Extent]) -> None:
    for extent in extents:
        for axis in axes_of(extent):
            axis.is_heads = True


@rule("scaled_dot_product_attention")
def attention(call: Call) -> Result:
    """softmax(q kᵀ) v for each head, the axis before the last two; that of k and v may count groups of heads."""
    q, k, v, mask = *call.args[:3], call.argument(3)
    heads = q.extents[:-2]
    for theirs in (k.extents[:-2], v.extents[:-2]):
        for mine, other in zip(heads, theirs, strict=True):
            grouped = size(other) > 1 and size(mine) != size(other)
            unify(mine, (*other, *free(size(mine) // size(other))) if grouped else other)
    _mark_heads(heads)
    scores = (*heads, q.extents[-2], k.extents[-2])
    if mask is not None:
        broadcast([scores, mask.extents], [size(extent) for extent in scores])
    for one, other in ((q.extents[-1], k.extents[-1]), (k.extents[-2], v.extents[-2])):
        unify(one, other)
        couple(one, call.coupling())
    if call.argument(5, False):
        _fix_all(scores[-2:], "causal attention goes along it")
    apart = [(), *((extent,) for extent in (*scores[-2:], q.extents[-1], v.extents[-1]))]
    call.findings.tensors += [scores, *((*heads, *extents) for extents in apart)]
    return [*heads, q.extents[-2], v.extents[-1]]


@rule("einsum")
def einsum(call: Call) -> Result:
    equation, operands = call.args[0].replace(" ", ""), call.args[1]
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if not arrow or "." in equation:
        return _unknown(call)
    letters: dict[str, Extent] = {}
    for term, value in zip(terms, operands, strict=True):
        for letter, extent in zip(term, value.extents, strict=True):
            unify(letters.setdefault(letter, extent), extent)
    dependent = [value.depends_on_input for value in operands]
    for letter, extent in letters.items():
        among = [term.count(letter) for term in terms]
        if max(among) > 1:
            fix(extent, "a diagonal is taken along it")
        if letter not in right:
            if sum(n > 0 and d for n, d in zip(among, dependent, strict=True)) > 1 or sum(map(bool, among)) == 1:
                couple(extent, call.coupling())
            for n, value, term in zip(among, operands, terms, strict=True):
                if n and not value.depends_on_input and any(dependent):
                    _reads(call, value, term.index(letter))
        elif sum(n > 0 and d for n, d in zip(among, dependent, strict=True)) > 1:
            _mark_heads([extent])
        with_it = [other for other in letters if all(other in term for term in (*terms, right) if letter in term)]
        call.findings.tensors.append(tuple(letters[other] for other in with_it))
    return [letters[letter] for letter in right]


@rule("embedding")
def embedding(call: Call) -> Result:
    weight, indices = call.args[:2]
    fix(weight.extents[0], "tokens or positions are looked up in it by number")
    _writes(call, weight, 1)
    return [*indices.extents, weight.extents[1]]


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
        _reads(call, weight, 1)
    else:
        group, inside = _channels([channels], groups)
        unify(inside, weight.extents[1])
        of_weight, _ = _channels([out], groups)
        unify(group, of_weight)
        if size(weight.extents[1]) > 1:
            _reads(call, weight, 1)
        for name in weight.parameters or ():
            call.findings.groups[name] = group
    _writes(call, weight, 0)
    call.findings.tensors.append((*batch, group, *places))
    if bias is not None:
        unify(bias.extents[0], out)
    _fix_all(weight.extents[2:], "it is an axis of a kernel")
    kernel = [size(extent) for extent in weight.extents[2:]]
    steps = [strides] if isinstance(strides, int) else list(strides)
    pads = [0] if paddings == "valid" else [paddings] if isinstance(paddings, int | str) else list(paddings)
    if all(k == 1 for k in kernel) and set(steps) == {1} and (set(pads) == {0} or paddings == "same"):
        return [*batch, out, *places]
    return [*batch, out, *_resampled(places, call.shape[-spatial:])]


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
    _reads(call, weight, 0)
    _writes(call, weight, 1)
    call.findings.tensors.append((*batch, group, *places))
    if bias is not None:
        unify(bias.extents[0], out)
    _fix_all(weight.extents[2:], "it is an axis of a kernel")
    return [*batch, out, *_resampled(places, call.shape[-spatial:])]


def _resampled(places: Sequence[Extent], sizes: Sequence[int]) -> list[Extent]:
    """Axes of pixels after something that takes their neighbourhoods."""
    reason = "it is an axis of places, whose order matters"
    _fix_all(places, reason)
    return [fixed(length, reason) for length in sizes]


# --- normalization --------------------------------------------------------------------------------------------------


@rule("batch_norm", "instance_norm", "_native_batch_norm_legit_no_training", "native_batch_norm", "cudnn_batch_norm")
def batch_norm(call: Call) -> Result:
    x = call.args[0]
    for vector in call.values()[1:]:
        unify(vector.extents[0], x.extents[1])
        if vector.is_statistic:
            call.findings.statistics |= vector.parameters or set()
    if call.name == "instance_norm":
        _over(call, x, range(2, len(x.extents)))
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
    _over(call, x, range(len(x.extents) - len(shape), len(x.extents)))
    return x.extents


@rule("group_norm")
def group_norm(call: Call) -> Result:
    _over_places(call, 1)
    return _normalized_in_groups(call, 1, call.args[1])


@rule("weighted_norm")
def weighted_norm(call: Call) -> Result:
    """Our own, of compressed networks (`compression.replacements`): its counts go with the channels."""
    axis, groups, over_places = _axis(call, 6, len(call.shape)), call.args[7], call.args[9]
    if over_places:
        _over_places(call, axis)
    call.findings.statistics |= call.args[3].parameters or set()
    return _normalized_in_groups(call, axis, groups)


def _over_places(call: Call, axis: int) -> None:
    """Normalization of the first argument over all that is behind the axis of its channels."""
    x = call.args[0]
    _over(call, x, range(axis + 1, len(x.extents)))
    _fix_all(x.extents[axis + 1 :], "it is an axis of places, whose order matters")


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
    direction, length, axis = call.args[0], call.args[1], _axis(call, 2, len(call.args[0].extents))
    unify(direction.extents[axis], length.extents[axis])
    for k, extent in enumerate(direction.extents):
        if k != axis:
            couple(extent, call.coupling())
    return [direction.extents, length.extents] if call.results is not None else direction.extents


@rule("softmax", "log_softmax", "_softmax", "_log_softmax")
def softmax(call: Call) -> Result:
    x = call.args[0]
    over = _axis(call, 1, len(x.extents), -1)
    couple(x.extents[over], call.coupling())
    _over(call, x, [over])
    return x.extents


# --- fewer numbers --------------------------------------------------------------------------------------------------


@rule("mean", "sum", "amax", "amin", "var", "std", "norm", "linalg_vector_norm", "logsumexp", "prod", "all", "any",
      "var_mean", "std_mean")  # fmt: skip
def reduction(call: Call) -> Result:
    """Symmetric in what it goes over."""
    x = call.args[0]
    place = 2 if call.name in ("norm", "linalg_vector_norm") else 1
    over = set(_axes_list(call.argument(place), len(x.extents)))
    for k in over:
        couple(x.extents[k], call.coupling())
    kept = [extent for k, extent in enumerate(x.extents) if k not in over]
    with_ones = [() if k in over else extent for k, extent in enumerate(x.extents)]
    result: list[Extent] = with_ones if len(call.shape) == len(x.extents) else kept
    return [result] * call.results if call.results is not None else result


@rule("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
      "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
      "max_pool2d_with_indices", "upsample_nearest1d", "upsample_nearest2d", "upsample_bilinear2d",
      "upsample_bicubic2d", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa")  # fmt: skip
def pooling(call: Call) -> Result:
    """Each channel by itself, over neighbourhoods of places."""
    x = call.args[0]
    digits = re.search(r"(\d)d", call.name)
    spatial = int(digits[1]) if digits else 2
    result = [*x.extents[:-spatial], *_resampled(x.extents[-spatial:], call.shape[-spatial:])]
    return [result] * call.results if call.results is not None else result


# --- the same numbers elsewhere -------------------------------------------------------------------------------------


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as")
def view(call: Call) -> Result:
    x = call.args[0]
    result = reshape(x.extents, call.shape)
    sizes = call.argument(2 if call.name == "unflatten" else 1)
    if call.name in ("view", "reshape", "_unsafe_view", "unflatten") and isinstance(sizes, list | tuple):
        start = _axis(call, 1, len(x.extents)) if call.name == "unflatten" else 0
        _name_sizes(call, sizes, result[start:])
    return result


def _name_sizes(call: Call, sizes: Iterable[Any], extents: Iterable[Extent]) -> None:
    """The module that makes this call knows these sizes."""
    call.findings.sizes += [
        (call.module, length, extent)
        for length, extent in zip(sizes, extents, strict=False)
        if isinstance(length, int) and length > 1
    ]


def _permuted(call: Call) -> list[int]:
    ndim = len(call.args[0].extents)
    return [axis % ndim for axis in call.args[1]]


def _swapped(call: Call) -> list[int]:
    ndim = len(call.args[0].extents)
    order = list(range(ndim))
    if ndim > 1:
        a, b = (_axis(call, 1, ndim), _axis(call, 2, ndim)) if len(call.args) > 2 else (ndim - 2, ndim - 1)
        order[a], order[b] = b, a
    return order


def _moved(call: Call) -> list[int]:
    ndim = len(call.args[0].extents)
    source, destination = (_axes_list(call.args[k], ndim) for k in (1, 2))
    order: list[int | None] = [None] * ndim
    for a, b in zip(source, destination, strict=True):
        order[b] = a
    rest = iter(k for k in range(ndim) if k not in source)
    return [next(rest) if axis is None else axis for axis in order]


_ORDER: dict[str, Callable[[Call], list[int]]] = {
    "permute": _permuted,
    **dict.fromkeys(("transpose", "swapaxes", "t", "numpy_T", "mT", "adjoint", "swapdims"), _swapped),
    **dict.fromkeys(("movedim", "moveaxis"), _moved),
}


@rule(*_ORDER)
def reorder(call: Call) -> Result:
    return [call.args[0].extents[k] for k in _ORDER[call.name](call)]


@rule("expand", "expand_as", "broadcast_to")
def expand(call: Call) -> Result:
    result = broadcast([call.args[0].extents], call.shape)
    if call.name != "expand_as":
        _name_sizes(call, call.args[1], result)
    return result


@rule("repeat", "tile")
def repeat(call: Call) -> Result:
    extents = [()] * (len(call.shape) - len(call.args[0].extents)) + list(call.args[0].extents)
    return [
        extent if size(extent) == length else (*free(length // size(extent)), *extent)
        for extent, length in zip(extents, call.shape, strict=True)
    ]


@rule("repeat_interleave")
def repeat_interleave(call: Call) -> Result:
    extents = call.args[0].extents
    if len(extents) != len(call.shape):
        return _unknown(call)
    return [
        extent if size(extent) == length else (*extent, *free(length // size(extent)))
        for extent, length in zip(extents, call.shape, strict=True)
    ]


@rule("cat", "concat", "concatenate")
def concatenate(call: Call) -> Result:
    values = [value for value in call.args[0] if len(value.extents) == len(call.shape)]
    along = _axis(call, 1, len(call.shape))
    result = []
    for k in range(len(call.shape)):
        for value in values[1:]:
            if k != along:
                unify(values[0].extents[k], value.extents[k])
        result.append(values[0].extents[k] if k != along else (Sum(tuple(v.extents[k] for v in values)),))
    return result


@rule("stack")
def stack(call: Call) -> Result:
    values = call.args[0]
    along = _axis(call, 1, len(call.shape))
    result = list(broadcast([value.extents for value in values], call.shape[:along] + call.shape[along + 1 :]))
    result.insert(along, fixed(len(values), "its indices stand for different things"))
    return result


@rule("constant_pad_nd", "pad")
def pad(call: Call) -> Result:
    x, widths, mode = call.args[0], list(call.args[1]), call.argument(2, "constant")
    result = list(x.extents)
    for k, (before, after) in enumerate(zip(widths[::2], widths[1::2], strict=True)):
        axis = len(result) - 1 - k
        if not before and not after:
            continue
        if call.name == "pad" and mode != "constant":
            (result[axis],) = _resampled([result[axis]], [call.shape[axis]])
        elif before < 0 or after < 0:
            result[axis] = _sliced(result[axis], max(0, -before), size(result[axis]) - max(0, -after))
        else:
            result[axis] = (Sum(tuple(e for e in (free(before), result[axis], free(after)) if size(e))),)
    return result


def _sliced(extent: Extent, start: int, stop: int) -> Extent:
    length = size(extent)
    points = sorted({point for point in (start, stop) if 0 < point < length})
    pieces = cut(extent, points)
    return pieces[1 if start > 0 else 0]


@rule("slice", "narrow")
def slice_(call: Call) -> Result:
    x = call.args[0]
    axis = _axis(call, 1, len(x.extents))
    result, length = list(x.extents), size(x.extents[axis])
    if call.name == "narrow":
        start, stop, step = call.args[2], call.args[2] + call.args[3], 1
    else:
        start, stop, step = call.argument(2, 0), call.argument(3, length), call.argument(4, 1)
    start = min(max(start + length if start < 0 else start, 0), length)
    stop = min(max(stop + length if stop < 0 else stop, start), length)
    if step != 1:
        (result[axis],) = _resampled([result[axis]], [call.shape[axis]])
    elif stop - start < length:
        result[axis] = _sliced(result[axis], start, stop)
    return result


@rule("split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_chunk", "tensor_split", "unbind")
def split(call: Call) -> Result:
    x = call.args[0]
    place = 1 if call.name == "unbind" else 2
    axis = _axis(call, place, len(x.extents))
    if call.name == "unbind":
        fix(x.extents[axis], "its indices stand for different things")
        return [[e for k, e in enumerate(x.extents) if k != axis] for _ in call.shapes]
    lengths = [shape[axis] for shape in call.shapes]
    ends = list(itertools.accumulate(lengths))
    pieces = cut(x.extents[axis], ends[:-1])
    if "chunk" not in call.name:
        _name_sizes(call, lengths, pieces)
    return [[*x.extents[:axis], piece, *x.extents[axis + 1 :]] for piece in pieces]


@rule("select")
def select(call: Call) -> Result:
    x = call.args[0]
    axis = _axis(call, 1, len(x.extents))
    fix(x.extents[axis], "its indices stand for different things")
    return [extent for k, extent in enumerate(x.extents) if k != axis]


@rule("roll", "flip", "cumsum", "cumprod", "sort", "argsort", "topk", "triu", "tril")
def ordered(call: Call) -> Result:
    """The order along some axes matters; the result has the same ones, where their sizes are the same."""
    x = call.args[0]
    place = {"roll": 2, "triu": 99, "tril": 99, "topk": 2}.get(call.name, 1)
    if call.name in ("sort", "argsort") and isinstance(call.argument(1, False), bool):  # whether it is to be stable
        place = 2
    over = [-2, -1] if place == 99 else _axes_list(call.argument(place), len(x.extents))
    for k in over:
        fix(x.extents[k], f"{call.name} goes along it")
    _over(call, x, over)
    shapes = call.shapes if call.results is not None else (call.shape,)
    several = [
        [e if size(e) == n else fixed(n, "a part of an axis") for e, n in zip(x.extents, shape, strict=True)]
        for shape in shapes
    ]
    return several if call.results is not None else several[0]


@rule("index", "index_select")
def index(call: Call) -> Result:
    """Rows by number: the order of the axes looked up in matters, the others stay."""
    x, reason = call.args[0], "it is looked up in by number"
    if call.name == "index_select":
        axis = _axis(call, 1, len(x.extents))
        fix(x.extents[axis], reason)
        return [*x.extents[:axis], fixed(call.shape[axis], reason), *x.extents[axis + 1 :]]
    indices = list(call.args[1]) + [None] * (len(x.extents) - len(call.args[1]))
    places = [k for k, one in enumerate(indices) if one is not None]
    for k in places:
        fix(x.extents[k], reason)
    looked_up = len(call.shape) - (len(x.extents) - len(places))
    contiguous = places == list(range(places[0], places[-1] + 1))
    if not contiguous or looked_up < 0:
        return _unknown(call)
    first = places[0]
    new = [fixed(length, reason) for length in call.shape[first : first + looked_up]]
    return [*x.extents[:first], *new, *x.extents[places[-1] + 1 :]]


@rule("pixel_shuffle")
def pixel_shuffle(call: Call) -> Result:
    """(C·r², H, W) → (C, H·r, W·r)."""
    x, factor = call.args[0], call.args[1]
    channels = free(size(x.extents[-3]) // factor**2)
    unify(x.extents[-3], (*channels, *fixed(factor**2, "its indices are places")))
    return [*x.extents[:-3], channels, *_resampled(x.extents[-2:], call.shape[-2:])]


@rule("channel_shuffle")
def channel_shuffle(call: Call) -> Result:
    x, groups = call.args[0], call.args[1]
    group, inside = _channels([x.extents[1]], groups)
    return [x.extents[0], (*inside, *group), *x.extents[2:]]
