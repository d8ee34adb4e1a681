"""What an operator is called with, what it finds, and the rules by the names of operators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..axes import Coupling, Extent, axes_of, fix, fixed, free, size, unify


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


def fix_all(extents: Iterable[Extent], reason: str) -> None:
    """The order along all of them matters."""
    for extent in extents:
        fix(extent, reason)


def unknown(call: Call) -> Result:
    """Nothing is claimed along the axes of the operands, nor of the results."""
    reason = f"it goes through {call.name}, of which nothing is known here"
    if call.values() and not any(value.depends_on_input or value.parameters for value in call.values()):
        reason = "a constant goes with it"
    for value in call.values():
        fix_all(value.extents, reason)
    shapes = call.shapes if call.results is not None else (call.shape,)
    several = [[fixed(length, reason) for length in shape] for shape in shapes]
    return several if call.results is not None else several[0]


def axis_of(call: Call, place: int, ndim: int, default: int = 0) -> int:
    """The axis that an argument names, counted from the first."""
    return int(call.argument(place, default)) % max(ndim, 1)


def axes_list(argument: Any, ndim: int) -> list[int]:
    """Axes as an operator's argument gives them: a number, a list, or none for all."""
    if argument is None or (isinstance(argument, list | tuple) and not argument):
        return list(range(ndim))
    listed = [argument] if isinstance(argument, int) else list(argument)
    return [int(axis) % ndim for axis in listed]


def take_together(call: Call, x: Value, axes: Iterable[int]) -> None:
    """All indices of some axes of `x` are taken together, whether or not the result has these axes."""
    over = set(axes)
    call.findings.tensors.append(tuple(extent for k, extent in enumerate(x.extents) if k not in over))


def reads(call: Call, weight: Value, axis: int) -> None:
    """Activations are contracted with this axis of `weight`."""
    parameters = weight.parameters or frozenset()
    if len(parameters) == 1 and weight.axes and weight.axes[axis] is not None:
        call.findings.read.add((next(iter(parameters)), weight.axes[axis] or 0))
    else:
        call.findings.read_extents += [(name, weight.extents[axis]) for name in parameters]


def writes(call: Call, weight: Value, axis: int) -> None:
    """Activations are made of this axis of `weight`."""
    parameters = weight.parameters or frozenset()
    if len(parameters) == 1 and weight.axes and weight.axes[axis] is not None:
        call.findings.written.add((next(iter(parameters)), weight.axes[axis] or 0))


def mark_heads(extents: Iterable[Extent]) -> None:
    """They count heads of attention."""
    for extent in extents:
        for axis in axes_of(extent):
            axis.is_heads = True


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
