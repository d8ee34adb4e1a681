"""Operators that put the same numbers elsewhere: other shapes, orders, parts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from ..axes import Extent, Sum, cut, fix, fixed, free, reshape, size, unify
from .calls import Call, Result, axes_list, axis_of, broadcast, rule, take_together, unknown
from .convolutions import resampled


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as")
def view(call: Call) -> Result:
    x = call.args[0]
    result = reshape(x.extents, call.shape)
    sizes = call.argument(2 if call.name == "unflatten" else 1)
    if call.name in ("view", "reshape", "_unsafe_view", "unflatten") and isinstance(sizes, list | tuple):
        start = axis_of(call, 1, len(x.extents)) if call.name == "unflatten" else 0
        name_sizes(call, sizes, result[start:])
    return result


def name_sizes(call: Call, sizes: Iterable[Any], extents: Iterable[Extent]) -> None:
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
        a, b = (axis_of(call, 1, ndim), axis_of(call, 2, ndim)) if len(call.args) > 2 else (ndim - 2, ndim - 1)
        order[a], order[b] = b, a
    return order


def _moved(call: Call) -> list[int]:
    ndim = len(call.args[0].extents)
    source, destination = (axes_list(call.args[k], ndim) for k in (1, 2))
    order: list[int | None] = [None] * ndim
    for a, b in zip(source, destination, strict=True):
        order[b] = a
    rest = iter(k for k in range(ndim) if k not in source)
    return [next(rest) if axis is None else axis for axis in order]


ORDER: dict[str, Callable[[Call], list[int]]] = {
    "permute": _permuted,
    **dict.fromkeys(("transpose", "swapaxes", "t", "numpy_T", "mT", "adjoint", "swapdims"), _swapped),
    **dict.fromkeys(("movedim", "moveaxis"), _moved),
}


@rule(*ORDER)
def reorder(call: Call) -> Result:
    return [call.args[0].extents[k] for k in ORDER[call.name](call)]


@rule("expand", "expand_as", "broadcast_to")
def expand(call: Call) -> Result:
    result = broadcast([call.args[0].extents], call.shape)
    if call.name != "expand_as":
        name_sizes(call, call.args[1], result)
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
        return unknown(call)
    return [
        extent if size(extent) == length else (*extent, *free(length // size(extent)))
        for extent, length in zip(extents, call.shape, strict=True)
    ]


@rule("cat", "concat", "concatenate")
def concatenate(call: Call) -> Result:
    values = [value for value in call.args[0] if len(value.extents) == len(call.shape)]
    along = axis_of(call, 1, len(call.shape))
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
    along = axis_of(call, 1, len(call.shape))
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
            (result[axis],) = resampled([result[axis]], [call.shape[axis]])
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
    axis = axis_of(call, 1, len(x.extents))
    result, length = list(x.extents), size(x.extents[axis])
    if call.name == "narrow":
        start, stop, step = call.args[2], call.args[2] + call.args[3], 1
    else:
        start, stop, step = call.argument(2, 0), call.argument(3, length), call.argument(4, 1)
    start = min(max(start + length if start < 0 else start, 0), length)
    stop = min(max(stop + length if stop < 0 else stop, start), length)
    if step != 1:
        (result[axis],) = resampled([result[axis]], [call.shape[axis]])
    elif stop - start < length:
        result[axis] = _sliced(result[axis], start, stop)
    return result


@rule("split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_chunk", "tensor_split", "unbind")
def split(call: Call) -> Result:
    x = call.args[0]
    place = 1 if call.name == "unbind" else 2
    axis = axis_of(call, place, len(x.extents))
    if call.name == "unbind":
        fix(x.extents[axis], "its indices stand for different things")
        return [[e for k, e in enumerate(x.extents) if k != axis] for _ in call.shapes]
    lengths = [shape[axis] for shape in call.shapes]
    ends = list(itertools.accumulate(lengths))
    pieces = cut(x.extents[axis], ends[:-1])
    if "chunk" not in call.name:
        name_sizes(call, lengths, pieces)
    return [[*x.extents[:axis], piece, *x.extents[axis + 1 :]] for piece in pieces]


@rule("select")
def select(call: Call) -> Result:
    x = call.args[0]
    axis = axis_of(call, 1, len(x.extents))
    fix(x.extents[axis], "its indices stand for different things")
    return [extent for k, extent in enumerate(x.extents) if k != axis]


@rule("roll", "flip", "cumsum", "cumprod", "sort", "argsort", "topk", "triu", "tril")
def ordered(call: Call) -> Result:
    """The order along some axes matters; the result has the same ones, where their sizes are the same."""
    x = call.args[0]
    place = {"roll": 2, "triu": 99, "tril": 99, "topk": 2}.get(call.name, 1)
    if call.name in ("sort", "argsort") and isinstance(call.argument(1, False), bool):  # whether it is to be stable
        place = 2
    over = [-2, -1] if place == 99 else axes_list(call.argument(place), len(x.extents))
    for k in over:
        fix(x.extents[k], f"{call.name} goes along it")
    take_together(call, x, over)
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
        axis = axis_of(call, 1, len(x.extents))
        fix(x.extents[axis], reason)
        return [*x.extents[:axis], fixed(call.shape[axis], reason), *x.extents[axis + 1 :]]
    indices = list(call.args[1]) + [None] * (len(x.extents) - len(call.args[1]))
    places = [k for k, one in enumerate(indices) if one is not None]
    for k in places:
        fix(x.extents[k], reason)
    looked_up = len(call.shape) - (len(x.extents) - len(places))
    contiguous = places == list(range(places[0], places[-1] + 1))
    if not contiguous or looked_up < 0:
        return unknown(call)
    first = places[0]
    new = [fixed(length, reason) for length in call.shape[first : first + looked_up]]
    return [*x.extents[:first], *new, *x.extents[places[-1] + 1 :]]
