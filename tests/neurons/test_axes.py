"""The algebra of axes against brute force: what it calls interchangeable is, on arrays whose every number is another.

A random program of reshaping, transposing, concatenating, cutting and adding is run on arrays and on extents. Then
the axes that are left are permuted in the sources, and the results must be the permuted results, to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stochastic_collapse.neurons.axes import (
    Axis,
    Coupling,
    Extent,
    Sum,
    axes_of,
    couple,
    cut,
    fix,
    fixed,
    free,
    reshape,
    resized,
    resolve,
    size,
    unify,
)

Array = NDArray[np.float64]
Orders = dict[Axis, NDArray[np.int64]]
Operation = Callable[[list[Array]], Array]


@dataclass
class Tensor:
    """An array as the operation that makes it of the sources, and its axes."""

    make: Operation
    extents: list[Extent]
    shape: tuple[int, ...]


def places(extent: Extent, orders: Orders) -> NDArray[np.int64]:
    """Where the numbers along an extent come from when its axes are permuted."""
    found = np.zeros(1, dtype=np.int64)
    for factor in resolve(extent):
        if isinstance(factor, Axis):
            here = orders.get(factor, np.arange(factor.size))
        else:
            starts = np.cumsum([0, *map(size, factor.pieces)])
            here = np.concatenate([places(p, orders) + s for p, s in zip(factor.pieces, starts, strict=False)])
        found = (found[:, None] * factor.size + here).ravel()
    return found


def permuted(array: Array, extents: Sequence[Extent], orders: Orders) -> Array:
    return array[np.ix_(*(places(extent, orders) for extent in extents))]


def factorizations(number: int) -> list[tuple[int, ...]]:
    """All shapes of up to 3 axes that many numbers may have."""
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    return [(a, b, number // a // b) for a in divisors for b in divisors if number // a % b == 0]


class Program:
    """Draws operations and runs them on extents; arrays follow when all is known."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.sources: list[Tensor] = []
        self.tensors: list[Tensor] = []

    def source(self) -> None:
        shape = self.draw(st.lists(st.sampled_from([1, 2, 3, 4, 6, 8]), min_size=1, max_size=3).map(tuple))
        index = len(self.sources)
        tensor = Tensor(lambda arrays: arrays[index], [free(n) for n in shape], shape)
        self.sources.append(tensor)
        self.tensors.append(tensor)

    def pick(self) -> Tensor:
        return self.draw(st.sampled_from(self.tensors))

    def reshaped(self, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
        return Tensor(lambda a: tensor.make(a).reshape(shape), reshape(tensor.extents, shape), shape)

    def step(self) -> None:
        name = self.draw(st.sampled_from(["reshape", "transpose", "cat", "cut", "add", "broadcast", "fix"]))
        made: Tensor | None = getattr(self, name)(self.pick())
        if made is not None and 1 < math.prod(made.shape) <= 200:
            self.tensors.append(made)

    def reshape(self, x: Tensor) -> Tensor:
        return self.reshaped(x, self.draw(st.sampled_from(factorizations(math.prod(x.shape)))))

    def transpose(self, x: Tensor) -> Tensor:
        order = self.draw(st.permutations(range(len(x.shape))))
        return Tensor(
            lambda a: x.make(a).transpose(order), [x.extents[k] for k in order], tuple(x.shape[k] for k in order)
        )

    def cat(self, x: Tensor) -> Tensor:
        """Of `x` and of another tensor that is brought into a shape that fits."""
        y, along = self.pick(), self.draw(st.integers(0, len(x.shape) - 1))
        across = math.prod(x.shape) // x.shape[along]
        if math.prod(y.shape) % across:
            x, y, along = self.reshaped(x, (math.prod(x.shape),)), self.reshaped(y, (math.prod(y.shape),)), 0
        else:
            length = math.prod(y.shape) // across
            y = self.reshaped(y, (*x.shape[:along], length, *x.shape[along + 1 :]))
        for k, (mine, other) in enumerate(zip(x.extents, y.extents, strict=True)):
            if k != along:
                unify(mine, other)
        extents = list(x.extents)
        extents[along] = (Sum((x.extents[along], y.extents[along])),)
        shape = (*x.shape[:along], x.shape[along] + y.shape[along], *x.shape[along + 1 :])
        return Tensor(lambda a: np.concatenate([x.make(a), y.make(a)], along), extents, shape)

    def cut(self, x: Tensor) -> Tensor | None:
        along = self.draw(st.integers(0, len(x.shape) - 1))
        inside = range(1, x.shape[along])
        if not inside:
            return None
        points = self.draw(st.lists(st.sampled_from(inside), min_size=1, max_size=3, unique=True).map(sorted))
        pieces = cut(x.extents[along], points)
        which = self.draw(st.integers(0, len(pieces) - 1))
        edges = [0, *points, x.shape[along]]
        here = slice(edges[which], edges[which + 1])
        assert [size(piece) for piece in pieces] == np.diff(edges).tolist()
        return Tensor(
            lambda a: x.make(a)[(slice(None),) * along + (here,)],
            [*x.extents[:along], pieces[which], *x.extents[along + 1 :]],
            (*x.shape[:along], here.stop - here.start, *x.shape[along + 1 :]),
        )

    def add(self, x: Tensor) -> Tensor | None:
        y = self.pick()
        if math.prod(x.shape) != math.prod(y.shape):
            return None
        y = self.reshaped(y, x.shape)
        for mine, other in zip(x.extents, y.extents, strict=True):
            unify(mine, other)
        return Tensor(lambda a: x.make(a) + 0.7 * y.make(a), x.extents, x.shape)

    def broadcast(self, x: Tensor) -> Tensor | None:
        """Along an axis of size 1, in which nothing is said of the other operand."""
        y = self.pick()
        if len(y.shape) > len(x.shape) or any(
            n not in (1, m) for n, m in zip(y.shape[::-1], x.shape[::-1], strict=False)
        ):
            return None
        for mine, other in zip(x.extents[::-1], y.extents[::-1], strict=False):
            unify(mine, other)
        return Tensor(lambda a: x.make(a) * y.make(a), x.extents, x.shape)

    def fix(self, x: Tensor) -> Tensor | None:
        """The order along an axis matters: a running sum."""
        along = self.draw(st.integers(0, len(x.shape) - 1))
        fix(x.extents[along], "a running sum")
        return Tensor(lambda a: x.make(a).cumsum(along), x.extents, x.shape)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(st.data())
def test_what_is_called_interchangeable_is(data: st.DataObject) -> None:
    program = Program(data)
    for _ in range(data.draw(st.integers(1, 3))):
        program.source()
    for _ in range(data.draw(st.integers(1, 8))):
        program.step()
    generator = np.random.default_rng(0)
    arrays = [generator.standard_normal(source.shape) for source in program.sources]
    axes = {axis for t in program.tensors for extent in t.extents for axis in axes_of(extent)}
    orders = {axis: generator.permutation(axis.size) for axis in axes if axis.fixed is None}
    moved = [permuted(array, s.extents, orders) for array, s in zip(arrays, program.sources, strict=True)]
    for tensor in program.tensors:
        assert tuple(map(size, tensor.extents)) == tensor.shape
        np.testing.assert_array_equal(tensor.make(moved), permuted(tensor.make(arrays), tensor.extents, orders))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_sizes_follow_when_axes_are_given_others(data: st.DataObject) -> None:
    """`resized` counts the indices that are left when some of each axis are taken out."""
    program = Program(data)
    for _ in range(data.draw(st.integers(1, 2))):
        program.source()
    for _ in range(data.draw(st.integers(1, 6))):
        program.step()
    axes = {axis: None for s in program.sources for extent in s.extents for axis in axes_of(extent)}
    sizes = {axis: data.draw(st.integers(1, axis.size)) for axis in axes if axis.fixed is None}
    for tensor in program.tensors:
        for extent, length in zip(tensor.extents, tensor.shape, strict=True):
            assert resized(extent, {}) == length
            assert resized(extent, sizes) == mask(extent, sizes).sum()


def mask(extent: Extent, sizes: dict[Axis, int]) -> NDArray[np.bool_]:
    """Which indices of an extent stay when of some axes only the first few do."""
    found = np.ones(1, dtype=bool)
    for factor in resolve(extent):
        if isinstance(factor, Axis):
            here = np.arange(factor.size) < sizes.get(factor, factor.size)
        else:
            here = np.concatenate([mask(piece, sizes) for piece in factor.pieces])
        found = np.logical_and.outer(found, here).ravel()
    return found


# --- what must not be given up --------------------------------------------------------------------------------------


def names(extent: Extent, known: dict[str, Extent]) -> str:
    """An extent in the names of axes."""

    def name(factor: Axis | Sum) -> str:
        if isinstance(factor, Sum):
            return "(" + " + ".join(names(piece, known) for piece in factor.pieces) + ")"
        found = [key for key, value in known.items() if resolve(value) == (factor,)]
        return found[0] if found else str(factor.size)

    return " × ".join(map(name, resolve(extent)))


def test_an_axis_divided_and_put_together_again_is_divided_for_good() -> None:
    a = free(12)
    (b, c) = reshape([a], [3, 4])
    assert names(a, {"b": b, "c": c}) == "b × c"
    (again,) = reshape([b, c], [12])
    assert resolve(again) == resolve(a)
    assert all(axis.fixed is None for axis in axes_of(a))


def test_divisions_that_refine_one_another_fit_together() -> None:
    a = free(12)
    b, _ = reshape([a], [2, 6])
    c, d = reshape([a], [4, 3])
    assert names(c, {"b": b}) == "b × 2"
    assert size(d) == 3
    assert all(axis.fixed is None for axis in axes_of(a))


def test_divisions_that_cross_are_given_up() -> None:
    a = free(12)
    reshape([a], [3, 4])
    reshape([a], [4, 3])
    assert {axis.fixed for axis in axes_of(a)} == {"it is reshaped across its boundaries"}


def test_a_concatenation_that_is_cut_elsewhere_is_cut_into_what_both_have() -> None:
    a, b = free(3), free(5)
    both: Extent = (Sum((a, b)),)
    first, second = cut(both, [4])
    assert [size(piece) for piece in resolve(b)[0].pieces] == [1, 4]  # type: ignore[union-attr]
    assert size(first) == 4
    assert resolve(second) == resolve(b)[0].pieces[1]  # type: ignore[union-attr]


def test_concatenations_that_are_added_share_their_pieces() -> None:
    a, b, c, d = free(3), free(5), free(4), free(4)
    unify((Sum((a, b)),), (Sum((c, d)),))
    assert [[axis.size for axis in axes_of(extent)] for extent in (a, b, c, d)] == [[3], [4], [3], [4]]  # and ones
    assert all(axis.fixed is None for axis in axes_of(a))


def test_pieces_of_several_places_each_are_matched_piece_by_piece() -> None:
    """Channels of two layers side by side, then flattened with 3 places each, are what a matrix of 24 columns reads."""
    a, b, columns = free(3), free(5), free(24)
    unify((Sum((a, b)), *fixed(3, "places")), columns)
    both = resolve(columns)[0]
    assert isinstance(both, Sum)
    assert [resolve(piece)[0] for piece in both.pieces] == [*resolve(a), *resolve(b)]
    assert size(resolve(columns)) == 24
    assert not [axis for axis in (*axes_of(a), *axes_of(b)) if axis.fixed]


def test_queries_keys_and_values_side_by_side_share_heads() -> None:
    rows = free(3 * 4 * 5)
    three, heads, each = reshape([rows], [3, 4, 5])
    unify(heads, free(4))
    assert names(rows, {"three": three, "heads": heads, "each": each}) == "three × heads × each"


def test_equal_pieces_in_a_row_become_one_that_is_repeated() -> None:
    a, b, c = free(6), free(6), free(6)
    kinds, channels = reshape([(Sum((a, b, c)),)], [3, 6])
    assert [axis.fixed for axis in axes_of(kinds)] == ["its indices stand for different things"]
    assert resolve(a) == resolve(b) == resolve(c) == resolve(channels)
    assert all(axis.fixed is None for axis in axes_of(channels))


def test_what_is_known_of_an_axis_is_known_of_its_parts() -> None:
    a = free(12)
    coupling = Coupling("mean", "norm")
    couple(a, coupling)
    a[0].is_heads = a[0].is_stream = True  # type: ignore[union-attr]
    (b, c) = reshape([a], [3, 4])
    left, _ = cut(c, [2])
    fix(b, "first")
    fix(a, "second")
    for axis in axes_of(left):
        assert (axis.couplings, axis.is_heads, axis.is_stream) == ([coupling], True, True)
        assert axis.fixed == "second"
    assert [axis.fixed for axis in axes_of(b)] == ["first"]


@pytest.mark.parametrize("shape", [(3, 8), (24,), (2, 3, 4)])
def test_fixed_axes_may_be_reshaped_in_any_way(shape: tuple[int, ...]) -> None:
    a, b = fixed(4, "x"), fixed(6, "y")
    result = reshape([a, b], shape)
    assert tuple(map(size, result)) == shape
    assert all(axis.fixed for extent in result for axis in axes_of(extent))


def test_axes_of_size_one_say_nothing() -> None:
    a, b = free(5), free(1)
    unify(a, b)
    assert resolve(b) == ()
    assert list(axes_of(a)) == list(a)
