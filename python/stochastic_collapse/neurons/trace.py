"""Finding the neurons of any network: `trace`."""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import or_

import torch
from torch import Tensor, nn

from .axes import Axis, Extent, Sum, axes_of, resolve
from .graph import ExampleInput, Graph, few_examples, trace_graph, unwrapped
from .layers import Narrow, NeuronLayer, Part, Split
from .symmetry import asymmetric


@dataclass(frozen=True)
class Skipped:
    """Weights that belong to no neuron that could be found."""

    what: str
    """A parameter, all or a part of it, or a layer that failed the check of its symmetry."""
    reason: str


@dataclass(frozen=True)
class Neurons:
    """All layers of interchangeable neurons of a network, and what belongs to none."""

    layers: tuple[NeuronLayer, ...]
    """In the order in which the network completes them."""
    skipped: tuple[Skipped, ...]
    graph: Graph

    def coverage(self, model: nn.Module) -> float:
        """Fraction of the numbers in the weights of `model` (parameters of two or more axes) that are in a neuron."""
        weights = [found for found in _found(model, self.layers).values() if found.ndim > 1]
        return sum(int(found.sum()) for found in weights) / max(1, sum(found.numel() for found in weights))


def trace(model: nn.Module, example_input: ExampleInput) -> Neurons:
    """Find the layers of interchangeable neurons of any network, and check them.

    `example_input` is what `model` is called with: a tensor, a sequence of arguments or a mapping of named ones; its
    numbers do not matter. The network is traced in evaluation mode with `torch.export`, and the axes of its parameters
    are followed through its operators: what must be permuted together is one layer, whether along a chain, a residual
    stream (all writers, all readers), a concatenation or a tied weight. Channels of a convolution, columns of a linear
    layer, and attention heads (a head is one neuron: its rows of queries, keys and values in, its columns of the output
    projection out) are neurons. Scales and shifts of normalization belong to the incoming weights.

    Every layer is then checked: its neurons are permuted in a copy of the network with random weights, whose output on
    random inputs must not change. What fails, and every parameter that is in no layer, is in `skipped` with the reason.
    The model is left as it is. A layer of one neuron is not found: there is nothing to permute.

    Raises `InputError` where the network cannot be traced with this example; see `graph.trace_graph`.
    """
    model = unwrapped(model)
    example_input = few_examples(model, example_input)
    graph = trace_graph(model, example_input)
    layers = _layers(graph)
    failed = asymmetric(model, example_input, layers)
    found = tuple(layer for layer in layers if layer.name not in failed)
    skipped = [Skipped(f"layer {name}", reason) for name, reason in failed.items()]
    return Neurons(found, (*skipped, *_skipped(graph, model, layers, failed)), graph)


def _found(model: nn.Module, layers: Iterable[NeuronLayer]) -> dict[str, Tensor]:
    """For each parameter a mask of the numbers that belong to a neuron."""
    masks = {name: torch.zeros(p.shape, dtype=torch.bool) for name, p in model.named_parameters()}
    for layer in layers:
        for part in layer.parts:
            part.view(masks[part.parameter]).fill_(True)
    return masks


# --- layers from axes -----------------------------------------------------------------------------------------------


def _layers(graph: Graph) -> list[NeuronLayer]:
    """The layers that the axes of the parameters spell out."""
    families = _families(graph)
    layers = []
    for family in families:
        incoming: list[Part] = []
        outgoing: list[Part] = []
        for name, extents in graph.parameters.items():
            for part, role in _parts(graph, name, extents, family):
                (incoming if role == "in" else outgoing).append(part)
        shared = tuple(
            name
            for name, axis in sorted(graph.findings.read & graph.findings.written)
            if set(family.own) & set(axes_of(graph.parameters[name][axis]))
        )
        if not incoming or not (outgoing or shared):
            continue
        statistics = [
            part
            for name, extents in graph.buffers.items()
            if name in graph.findings.statistics
            for part, _ in _parts(graph, name, extents, family)
        ]
        layers.append(
            NeuronLayer(
                name=_name(graph, family, incoming, outgoing),
                neurons=math.prod(axis.size for axis in (*family.context, *family.own)),
                incoming=tuple(incoming),
                outgoing=tuple(outgoing),
                statistics=tuple(statistics),
                blocks=math.prod(axis.size for axis in family.context),
                couplings=tuple(dict.fromkeys(c for axis in family.own for c in axis.couplings)),
                shared=shared,
                axes=family.own,
            )
        )
    place = {name: k for k, name in enumerate(graph.parameters)}
    layers.sort(key=lambda layer: max(place[name] for name in _writers(graph, layer.incoming)))
    names = [layer.name for layer in layers]
    return [
        replace(layer, name=f"{name}-{names[: k + 1].count(name)}") if names[:k].count(name) else layer
        for k, (layer, name) in enumerate(zip(layers, names, strict=True))
    ]


@dataclass(frozen=True)
class _Family:
    """Axes that count the neurons of one layer."""

    own: tuple[Axis, ...]
    """Those that are permuted; several where a network's operations have divided an axis without need."""
    context: tuple[Axis, ...]
    """Those that go with them everywhere, so that the neurons may be permuted for each of their indices apart."""


def _families(graph: Graph) -> list[_Family]:
    """The layers' axes: those that may be permuted, with the axes that always go with them."""
    for extents in graph.findings.tensors:
        for axis, times in (item for extent in extents for item in _times(resolve(extent)).items()):
            if times > 1:
                axis.fixed = axis.fixed or "it is shuffled together with itself"
    # In the order of first use, not that of a set: the numbers of neurons follow from it.
    axes = dict.fromkeys(
        axis for extents in graph.parameters.values() for extent in extents for axis in axes_of(extent)
    )
    candidates = [axis for axis in axes if axis.fixed is None]
    companions = _companions(graph, candidates)
    families, done = [], set()
    for axis in candidates:
        if axis in done:
            continue
        own = [axis, *(other for other in candidates if other in companions[axis] and axis in companions[other])]
        done.update(own)
        context = tuple(other for other in axes if other in companions[axis] and other not in own)
        families.append(_Family(tuple(own), context))
    # A head is one neuron, whatever symmetry there is inside of it; a group of channels is none beside its channels.
    families = [family for family in families if not any(axis.is_heads for axis in family.context)]
    inside: dict[Axis, set[Axis]] = {}
    for family in families:
        for axis in family.context:
            inside.setdefault(axis, set()).update(family.own)
    return [
        family
        for family in families
        if family.own[0] not in inside or _stands_alone(graph, family.own[0], inside[family.own[0]])
    ]


def _companions(graph: Graph, candidates: Iterable[Axis]) -> dict[Axis, set[Axis]]:
    """For each axis those that are axes of every tensor that it is an axis of."""
    found: dict[Axis, set[Axis]] = {}
    wanted = set(candidates)
    for extents in graph.findings.tensors:
        resolved = [resolve(extent) for extent in extents]
        here = {axis for extent in resolved for axis in axes_of(extent)}
        plain = {factor for extent in resolved for factor in extent if isinstance(factor, Axis)}
        for axis in here & wanted:
            beside = (plain | _beside(resolved, axis)) - {axis}
            found[axis] = found[axis] & beside if axis in found else beside
    return found


def _times(extent: Extent) -> Counter[Axis]:
    """How often each axis is a factor of `extent`; of a sum, in that of its pieces where it is so most often."""
    counts: Counter[Axis] = Counter()
    for factor in extent:
        counts += Counter([factor]) if isinstance(factor, Axis) else functools.reduce(or_, map(_times, factor.pieces))
    return counts


def _beside(extents: Iterable[Extent], axis: Axis) -> set[Axis]:
    """The axes that `axis` is multiplied with wherever it occurs within sums."""
    common: set[Axis] | None = None
    for extent in extents:
        for factor in extent:
            pieces = [piece for piece in factor.pieces if axis in axes_of(piece)] if isinstance(factor, Sum) else []
            for piece in pieces:
                here = {other for other in piece if isinstance(other, Axis)} | _beside([piece], axis)
                common = here if common is None else common & here
    return common or set()


def _stands_alone(graph: Graph, axis: Axis, inside: set[Axis]) -> bool:
    """Whether a parameter has `axis` without the axes that are elsewhere inside of it: then it counts channels."""
    for extents in graph.parameters.values():
        there = {other for extent in extents for other in axes_of(extent)}
        if axis in there and not inside & there:
            return True
    return False


def _parts(graph: Graph, name: str, extents: Sequence[Extent], family: _Family) -> Iterator[tuple[Part, str]]:
    """Where the neurons of a family lie in one parameter, and whether these weights are incoming ("in") or "out"."""
    read = {axis for parameter, extent in graph.findings.read_extents if parameter == name for axis in axes_of(extent)}
    for steps, factors in _views([resolve(extent) for extent in extents], set(family.own) | set(family.context)):
        places = {axis: [k for k, (factor, _) in enumerate(factors) if factor is axis] for axis in _all(family)}
        if not all(places.values()):
            continue
        for place in max((places[axis] for axis in family.own), key=len):
            # The others of them that lie in the same axis of the parameter, or else elsewhere in it.
            def far(other: int, place: int = place, factors: _Factors = factors) -> tuple[bool, int]:
                return factors[other][1] != factors[place][1], abs(other - place)

            axes = tuple(min(found, key=far) for found in places.values())
            home = factors[axes[-1]][1]
            is_read = (name, home) in graph.findings.read and (name, home) not in graph.findings.written
            yield Part(name, axes, steps), "out" if is_read or family.own[-1] in read else "in"


def _all(family: _Family) -> tuple[Axis, ...]:
    return (*family.context, *family.own)


_Factors = list[tuple[Axis | None, int]]


def _views(extents: Sequence[Extent], wanted: set[Axis]) -> Iterator[tuple[tuple[Split | Narrow, ...], _Factors]]:
    """Views of a tensor in each of which every wanted axis is an axis of the view.

    Yields the steps to each view, and its axes: which axis each is, if it is a single one, and of which axis of the
    tensor it is a part.
    """

    def go(
        axes: list[tuple[Extent, int]], steps: tuple[Split | Narrow, ...]
    ) -> Iterator[tuple[tuple[Split | Narrow, ...], _Factors]]:
        for k, (extent, home) in enumerate(axes):
            if not wanted.intersection(axes_of(extent)):
                continue
            if len(extent) > 1:
                split = Split(k, tuple(factor.size for factor in extent))
                yield from go([*axes[:k], *(((f,), home) for f in extent), *axes[k + 1 :]], (*steps, split))
                return
            if isinstance(extent[0], Sum):
                start = 0
                for piece in extent[0].pieces:
                    length = math.prod(factor.size for factor in piece)
                    narrow = Narrow(k, start, length)
                    yield from go([*axes[:k], (piece, home), *axes[k + 1 :]], (*steps, narrow))
                    start += length
                return
        yield (
            steps,
            [(extent[0] if len(extent) == 1 and isinstance(extent[0], Axis) else None, home) for extent, home in axes],
        )

    return go([(extent, home) for home, extent in enumerate(extents)], ())


# --- names ----------------------------------------------------------------------------------------------------------


def _writers(graph: Graph, incoming: Iterable[Part]) -> list[str]:
    """The incoming parameters that mix other neurons, or, where there are none, all of them."""
    names = [part.parameter for part in incoming]
    matrices = [name for name in names if len(graph.parameters[name]) > 1]
    return [name for name in matrices if not _is_depthwise(graph, name)] or matrices or names


def _name(graph: Graph, family: _Family, incoming: Sequence[Part], outgoing: Sequence[Part]) -> str:
    """After the module that makes the neurons, or what the modules that write into a residual stream share, or those
    that make and read heads."""
    modules = list(dict.fromkeys(map(_home, _writers(graph, incoming))))
    if any(axis.is_heads for axis in family.own):
        return ".".join([*_shared([*modules, *(_home(part.parameter) for part in outgoing)]), "heads"])
    if len(modules) > 1 and any(axis.is_stream for axis in family.own):
        blocks = modules[1:] if len(modules) > 2 else [_parent(modules[1])]
        return ".".join(filter(None, [*(_shared(modules) or _shared(blocks)), "stream"]))
    return modules[0]


def _is_depthwise(graph: Graph, name: str) -> bool:
    """Whether a weight is that of a convolution with one input channel a group."""
    return name in graph.findings.groups and resolve(graph.parameters[name][1]) == ()


def _home(name: str) -> str:
    """The module that a parameter belongs to; of a parameter of the network itself, its own name."""
    return _parent(name) or name


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _shared(names: Sequence[str]) -> list[str]:
    """The leading components that all `names` have."""
    parts = [name.split(".") if name else [] for name in names]
    return [level[0] for level in itertools.takewhile(lambda level: len(set(level)) == 1, zip(*parts))]  # noqa: B905


# --- what is left ---------------------------------------------------------------------------------------------------


def _skipped(graph: Graph, model: nn.Module, layers: Sequence[NeuronLayer], failed: Container[str]) -> list[Skipped]:
    """The parameters of which something is in no layer, or only in layers that failed the check."""
    homes = {part.parameter: layer.name for layer in layers if layer.name in failed for part in layer.parts}
    good = [layer for layer in layers if layer.name not in failed]
    known = {axis for layer in good for axis in layer.axes}
    skipped = []
    for name, found in _found(model, good).items():
        if bool(found.all()):
            continue
        reason = f"its layer {homes[name]} failed the check" if name in homes else _reason(graph, name, known)
        left = f"{1 - float(found.float().mean()):.0%} of it: " if bool(found.any()) else ""
        skipped.append(Skipped(name, left + reason))
    return skipped


def _reason(graph: Graph, name: str, known: Container[Axis]) -> str:
    if name not in graph.parameters:
        return "the network's output does not depend on it on this example"
    reasons = []
    for extent in filter(resolve, graph.parameters[name]):
        axes = list(axes_of(extent))
        reasons += [
            axis.fixed or "nothing that reads what it writes has weights of its own"
            for axis in axes
            if axis not in known
        ]
        if not axes:
            reasons.append("each of its indices is treated in its own way")
    return "; ".join(dict.fromkeys(reasons)) or "it is a single number"
