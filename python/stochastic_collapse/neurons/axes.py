"""The algebra of axes: which indices, of which axes of which tensors, must be permuted together.

An axis of a tensor is an `Extent`: a product of factors in row-major order, the empty one for an axis of size 1. A
factor is an `Axis`, whose indices may be permuted, or a `Sum`, extents one after another, as after concatenation.
Operations of the network say that two extents are the same (`unify`), that one is cut into pieces (`cut`) or reshaped
(`reshape`), or that an order matters (`fix`). What is learned of an axis holds wherever it occurs: it is replaced by
the factors or pieces it turned out to consist of.

When all operations have spoken, two tensors share an axis exactly where permuting the one forces permuting the other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Union

Factor = Union["Axis", "Sum"]
Extent = tuple[Factor, ...]


class Coupling(NamedTuple):
    """An operation that takes all indices of an axis together."""

    operator: str
    module: str
    """The innermost module that calls it, by its name; empty for the network itself."""

    def __str__(self) -> str:
        return f"{self.operator} in {self.module or 'the network'}"


@dataclass(eq=False)
class Axis:
    """A range of indices that are permuted as a whole, until it is found to be another one, or made of others."""

    size: int
    fixed: str | None = None
    """Why its order matters, or None: its indices are interchangeable."""
    is_heads: bool = False
    """Whether the indices are those of attention heads: products of activations are taken for each index apart."""
    is_stream: bool = False
    """Whether activations are added along it: it is that of a residual stream."""
    couplings: list[Coupling] = field(default_factory=list)
    """Operations to whose result the number of indices matters, such as a mean over them."""
    _is: Extent | None = None
    """What it turned out to be."""


@dataclass(frozen=True, eq=False)
class Sum:
    """Extents one after another."""

    pieces: tuple[Extent, ...]

    @property
    def size(self) -> int:
        return sum(map(size, self.pieces))


def size(extent: Extent) -> int:
    """Number of indices."""
    return math.prod(factor.size for factor in extent)


def resized(extent: Extent, sizes: Mapping[Axis, int]) -> int:
    """Number of indices when some axes have other sizes."""
    return math.prod(
        sizes.get(factor, factor.size)
        if isinstance(factor, Axis)
        else sum(resized(piece, sizes) for piece in factor.pieces)
        for factor in resolve(extent)
    )


def resolve(extent: Extent) -> Extent:
    """`extent` in terms of what its axes turned out to be; factors of size 1 are left out."""
    factors: list[Factor] = []
    for factor in extent:
        if factor.size == 1:
            continue
        if isinstance(factor, Sum):
            pieces = tuple(resolve(piece) for piece in factor.pieces if size(piece))
            factors += pieces[0] if len(pieces) == 1 else (Sum(pieces),)
        elif factor._is is None:
            factors.append(factor)
        else:
            factor._is = resolve(factor._is)
            factors += factor._is
    return tuple(factors)


def axes_of(extent: Extent) -> Iterator[Axis]:
    """The axes in `extent`, those within sums included."""
    for factor in resolve(extent):
        if isinstance(factor, Axis):
            yield factor
        else:
            for piece in factor.pieces:
                yield from axes_of(piece)


def fix(extent: Extent, reason: str) -> None:
    """The order of the indices matters."""
    for axis in axes_of(extent):
        axis.fixed = axis.fixed or reason


def couple(extent: Extent, coupling: Coupling) -> None:
    """The number of the indices matters, not only their set; see `Axis.couplings`."""
    for axis in axes_of(extent):
        if coupling not in axis.couplings:
            axis.couplings.append(coupling)


def _define(axis: Axis, as_extent: Extent) -> None:
    axis._is = as_extent
    for part in axes_of(as_extent):
        part.fixed = part.fixed or axis.fixed
        part.is_heads = part.is_heads or axis.is_heads
        part.is_stream = part.is_stream or axis.is_stream
        part.couplings += [c for c in axis.couplings if c not in part.couplings]


def _new(length: int, like: Axis) -> Axis:
    return Axis(length, like.fixed, like.is_heads, like.is_stream, list(like.couplings))


def unify(a: Extent, b: Extent) -> None:
    """The two are the same. Either may be of size 1, as in broadcasting: then nothing follows.

    Where they cannot be brought into one form the order of both matters.
    """
    a, b = resolve(a), resolve(b)
    if size(a) == 1 or size(b) == 1:
        return
    if size(a) != size(b):
        _give_up(a, b)
    while a and b and size(a) == size(b):
        first, second = a[0], b[0]
        if first.size < second.size:
            a, b, first, second = b, a, second, first
        if first.size == second.size:
            _same(first, second)
            a, b = resolve(a[1:]), resolve(b[1:])
        elif isinstance(first, Sum):
            length = size(a[1:])
            ends = [length * end for end in itertools.accumulate(map(size, first.pieces))]
            for piece, other in zip(first.pieces, cut(b, ends[:-1]), strict=True):
                unify((*piece, *a[1:]), other)
            return
        elif first.size % second.size == 0:
            _define(first, (_new(second.size, first), _new(first.size // second.size, first)))
            a = resolve(a)
        else:
            _give_up(a, b)
            return


def _same(a: Factor, b: Factor) -> None:
    """Two factors of one size are the same."""
    if a is b:
        return
    if isinstance(a, Axis):
        _define(a, (b,))
    elif isinstance(b, Axis):
        _define(b, (a,))
    else:
        ends = {end for one in (a, b) for end in itertools.accumulate(map(size, one.pieces))}
        points = sorted(ends - {a.size})
        for piece, other in zip(cut((a,), points), cut((b,), points), strict=True):
            unify(piece, other)


def _give_up(*extents: Extent) -> None:
    for extent in extents:
        fix(extent, "an axis is divided in two ways that do not fit together")


def cut(extent: Extent, points: Sequence[int]) -> list[Extent]:
    """The pieces of `extent` between increasing `points` strictly inside it."""
    extent = resolve(extent)
    if not points:
        return [extent]
    first, rest = extent[0], extent[1:]
    length = size(rest)
    if any(point % length for point in points):
        _give_up(extent)
        edges = [0, *points, size(extent)]
        return [fixed(stop - start, "it is a part of an axis") for start, stop in itertools.pairwise(edges)]
    inner = [point // length for point in points]
    if isinstance(first, Axis):
        edges = [0, *inner, first.size]
        pieces: list[Extent] = [(_new(stop - start, first),) for start, stop in itertools.pairwise(edges)]
        _define(first, (Sum(tuple(pieces)),))
    else:
        pieces = _cut_sum(first, inner)
    return [resolve((*piece, *rest)) for piece in pieces]


def _cut_sum(factor: Sum, points: Sequence[int]) -> list[Extent]:
    """The pieces between `points`, each one or several of those of `factor`, or parts of them."""
    groups: list[list[Extent]] = [[]]
    start = 0
    for piece in factor.pieces:
        stop = start + size(piece)
        parts = cut(piece, [point - start for point in points if start < point < stop])
        for k, part in enumerate(parts):
            if k or start in points:
                groups.append([])
            groups[-1].append(part)
        start = stop
    return [group[0] if len(group) == 1 else (Sum(tuple(group)),) for group in groups]


def reshape(extents: Sequence[Extent], sizes: Sequence[int]) -> list[Extent]:
    """Axes of the `sizes` that a tensor has after reshaping, from those before."""
    factors = resolve(tuple(factor for extent in extents for factor in extent))
    result = _divide(factors, sizes) or _divide(_coalesced(factors), sizes)
    if result is None:
        reason = "it is reshaped across its boundaries"
        fix(factors, reason)
        return [fixed(length, reason) for length in sizes]
    return result


def _divide(product: Extent, sizes: Sequence[int]) -> list[Extent] | None:
    """The factors of `product` dealt out to axes of `sizes`; None where they do not come out."""
    factors, result = list(product), []
    for wanted in sizes:
        taken: list[Factor] = []
        while (left := wanted // size(tuple(taken))) > 1:
            factor = factors.pop(0)
            if factor.size > left:
                parts = _split(factor, left)
                if parts is None:
                    return None
                factor, *others = parts
                factors[:0] = others
            elif left % factor.size:
                return None
            taken.append(factor)
        result.append(tuple(taken))
    return result


def _coalesced(product: Extent) -> Extent:
    """Neighbouring factors whose order matters as one: how they are divided does not matter."""
    factors: list[Factor] = []
    for is_fixed, run in itertools.groupby(product, key=lambda f: all(axis.fixed for axis in axes_of((f,)))):
        together = tuple(run)
        reason = next((axis.fixed for axis in axes_of(together) if axis.fixed), None)
        factors += fixed(size(together), reason) if is_fixed and reason else together
    return tuple(factors)


def _split(factor: Factor, leading: int) -> Extent | None:
    """`factor` as a product whose first factor has size `leading`; None where it has no such form."""
    if factor.size % leading:
        return None
    length = factor.size // leading
    if isinstance(factor, Axis):
        parts: Extent = (_new(leading, factor), _new(length, factor))
        _define(factor, parts)
        return parts
    # Pieces in turn, as of queries, keys and values side by side: they become one extent, repeated.
    pieces = cut((factor,), range(length, factor.size, length))
    for piece in pieces[1:]:
        unify(pieces[0], piece)
    if any(axis.fixed for axis in axes_of((factor,))):
        fix(pieces[0], "it is reshaped together with an axis whose order matters")
    return (*fixed(leading, "its indices stand for different things"), *resolve(pieces[0]))


def fixed(length: int, reason: str) -> Extent:
    """A new extent whose order matters."""
    return (Axis(length, fixed=reason),)


def free(length: int) -> Extent:
    """A new extent of which nothing is known."""
    return (Axis(length),)
