"""Compressing any network that can be traced: `compress`."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, TypeVar

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from ..errors import InputError, StochasticCollapseError
from ..neurons import ExampleInput, Neurons, Skipped, trace
from ..neurons.graph import (
    arguments,
    evaluating,
    few_examples,
    in_double_precision,
    outputs,
    unwrapped,
    without_fast_path,
)
from ..scores import SCORE_NAMES, score_in_digits
from .plan import LayerPlan, plan_layer
from .surgery import Attribute, Inoperable, known_sizes, operable, operate, project, tensors_of

_TIMES, _WARM_UP = 11, 2  # calls whose median is the latency, and those before them
_ENOUGH = 3.0  # seconds after which fewer calls will do
_TOLERANCE = 1e-6  # of the largest output, in double precision, between the small network and the projected one

_GUESSES = 33  # at what the sizes that modules know mean, where several have the same value

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Size:
    """What a network costs."""

    neurons: int
    """In all layers that were found."""
    parameters: int
    flops: int
    """Floating-point operations of the matrix products and convolutions of a call on the example input."""
    milliseconds: float
    """Median time of such a call."""
    accuracy: float | None
    """What the function `evaluate` said of it; of real targets R²."""


@dataclass(frozen=True)
class Compression:
    """A compressed network, and what it costs beside the one that it was made of."""

    model: nn.Module
    tolerance: float
    before: Size
    after: Size
    largest_change: float
    """Largest absolute change of an output (of a logit) on the example input."""
    layers: pd.DataFrame
    """A row for each layer found: layer, neurons_before, vanished, merged, neurons_after."""
    skipped: tuple[Skipped, ...]
    """Layers that could not be made smaller though neurons in them have collapsed, with the reason."""
    score: str = "eval_accuracy"
    """What `Size.accuracy` is: of SCORES, as in metrics.csv."""

    def row(self) -> dict[str, Any]:
        """One row of compression.csv, without the step."""
        names = {name: name for name in ("neurons", "parameters", "flops", "milliseconds")}
        names["accuracy"] = self.score.removeprefix("eval_")
        sizes = {
            f"{column}_{when}": getattr(size, name)
            for name, column in names.items()
            for when, size in (("before", self.before), ("after", self.after))
        }
        return {"tolerance": self.tolerance, **sizes, "largest_change": self.largest_change}

    def to_json(self) -> dict[str, Any]:
        """All of it but the network, as JSON values."""
        skipped = [{"layer": one.what, "reason": one.reason} for one in self.skipped]
        return {**self.row(), "layers": self.layers.to_dict("records"), "skipped": skipped}

    def summary(self) -> str:
        """Two lines for people."""
        b, a = self.before, self.after
        score = ""
        if b.accuracy is not None and a.accuracy is not None:
            before, after = (score_in_digits(self.score, one, 2) for one in (b.accuracy, a.accuracy))
            score = f", {SCORE_NAMES[self.score]} {before} → {after}"
        return (
            f"neurons {b.neurons} → {a.neurons} ({(b.neurons - a.neurons) / max(1, b.neurons):.1%} fewer), parameters "
            f"{b.parameters:,} → {a.parameters:,}, FLOPs {b.flops:.3g} → {a.flops:.3g}, latency {b.milliseconds:.2f} → "
            f"{a.milliseconds:.2f} ms{score}\nlargest change of an output {self.largest_change:.2g}"
        )


def compress(
    model: M,
    example_input: ExampleInput,
    tolerance: float = 0.1,
    *,
    evaluate: Callable[[nn.Module], float] | None = None,
) -> Compression:
    """A copy of `model` without its vanished neurons, and with one neuron for each group of redundant ones.

    The incoming weights of a merged neuron are those of its representative, the outgoing ones the sum over the group,
    which leaves the function unchanged where the incoming weights are equal. All layers that `neurons.trace` finds are
    compressed at once; normalizations over merged neurons count each as often as it stands for others. `tolerance` is
    below what fraction of the largest norm a neuron has vanished, and below what normalized distance two are redundant
    (docs/definitions.md#measures: 0.1). With tolerance 0 only neurons go that are exactly zero or exactly equal, and
    the outputs agree to rounding.

    `example_input` is as for `trace`, `evaluate` a function from a network to its accuracy. The result's model is an
    ordinary module of the same class, in the same mode, on the same device, with parameters of its own. That it
    computes what the merged weights say is checked in double precision on random inputs; layers that cannot be made
    smaller stay as they are and are listed with the reason.

    Raises `InputError` for a tolerance out of range, for weights that are not finite, and where the network cannot be
    traced.
    """
    if not 0 <= tolerance <= 1:
        raise InputError(f"tolerance: expected a number from 0 to 1, found {tolerance:g}")
    inner = unwrapped(model)
    few = few_examples(inner, example_input)
    neurons = trace(inner, few)
    tensors = {name: tensor.detach() for name, tensor in tensors_of(inner).items()}
    skipped: list[Skipped] = []
    plans: list[LayerPlan] = []
    for layer in neurons.layers:
        plan = plan_layer(tensors, layer, tolerance)
        try:
            possible = operable(inner, plan) if not plan.kept.all() else plan
        except Inoperable as error:
            skipped.append(Skipped(layer.name, str(error)))
            continue
        if plan.merged.any() and not possible.merged.any():
            what = ", ".join(layer.shared)
            skipped.append(Skipped(layer.name, f"its redundant neurons stay: {what} makes them and reads them"))
        plans += [possible] if not possible.kept.all() else []
    surgeon = _Surgeon(inner, few, neurons)
    small, done, failed = surgeon.best(plans)
    skipped += failed
    args, kwargs = arguments(example_input)
    with torch.no_grad(), evaluating(inner), evaluating(small):
        pairs = zip(outputs(inner(*args, **kwargs)), outputs(small(*args, **kwargs)), strict=True)
        change = max(float((a - b).abs().max()) if a.is_floating_point() and a.numel() else 0.0 for a, b in pairs)
    kept = {plan.layer.name: int(plan.kept.sum()) for plan in done}
    counts = [sum(layer.neurons for layer in neurons.layers), sum(kept.get(o.name, o.neurons) for o in neurons.layers)]
    before, after = _sizes([inner, small], counts, example_input, evaluate)
    return Compression(small, tolerance, before, after, change, _table(neurons, done), tuple(skipped))


def _table(neurons: Neurons, plans: Sequence[LayerPlan]) -> pd.DataFrame:
    by_name = {plan.layer.name: plan for plan in plans}
    rows = []
    for layer in neurons.layers:
        plan = by_name.get(layer.name)
        kept = layer.neurons if plan is None else int(plan.kept.sum())
        merged = 0 if plan is None else int(plan.merged.sum())
        rows.append([layer.name, layer.neurons, layer.neurons - kept - merged, merged, kept])
    return pd.DataFrame(rows, columns=["layer", "neurons_before", "vanished", "merged", "neurons_after"])


class _Surgeon:
    """Makes smaller copies of a network and checks them."""

    def __init__(self, model: nn.Module, example_input: ExampleInput, neurons: Neurons) -> None:
        self._model, self._neurons = model, neurons
        self._call = arguments(example_input)
        self._normalized = _inputs_of_norms(model, neurons, example_input)
        generator = torch.Generator().manual_seed(0)

        def draw(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor
            return torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor.device)

        self._random = pytree.tree_map_only(Tensor, draw, self._call)

    def best(self, plans: Sequence[LayerPlan]) -> tuple[nn.Module, list[LayerPlan], list[Skipped]]:
        """The network with as many of `plans` carried out as can be, these plans, and why not the others."""
        if not plans:
            return copy.deepcopy(self._model), [], []
        small, _ = self._attempt(plans)
        if small is not None:
            return small, list(plans), []
        good, skipped = [], []
        for plan in plans:
            reason = self._attempt([plan])[1]
            if not reason:
                good.append(plan)
                continue
            # What else writes into all of a layer's neurons alike does not stop at the vanished ones.
            less = plan.without_removing()
            good += [less] if not less.kept.all() and not self._attempt([less])[1] else []
            what = "its vanished neurons stay: " if less in good else ""
            skipped.append(Skipped(plan.layer.name, what + reason))
        small, why = self._attempt(good)
        if small is None:
            raise StochasticCollapseError(f"{type(self._model).__name__} cannot be compressed: {why}")
        return small, good, skipped

    def _attempt(self, plans: Sequence[LayerPlan]) -> tuple[nn.Module | None, str]:
        """A smaller copy, or None and the reason."""
        small, why = self._operate(plans, frozenset())
        try:
            known = known_sizes(self._model, self._neurons, plans)
        except Inoperable:
            return None, why
        if not known:
            return small, why
        # Which of a module's attributes with the value of a size that changes are that size, shows in trying: none but
        # those that must change do.
        choices = (frozenset(some) for n in range(len(known) + 1) for some in itertools.combinations(known, n))
        chosen: frozenset[Attribute] = frozenset()
        if small is None:
            for chosen in itertools.islice(choices, 1, _GUESSES):
                small, _ = self._operate(plans, chosen)
                if small is not None:
                    break
        if small is None:
            return None, why
        for attribute in known:
            if attribute not in chosen:
                other, _ = self._operate(plans, chosen | {attribute})
                if other is not None:
                    small, chosen = other, chosen | {attribute}
        return small, ""

    def _operate(self, plans: Sequence[LayerPlan], unrelated: frozenset[Attribute]) -> tuple[nn.Module | None, str]:
        small = copy.deepcopy(self._model)
        try:
            operate(small, self._neurons, plans, self._normalized, unrelated)
            expected, found = self._projected(plans), self._outputs(copy.deepcopy(small))
        except Exception as error:  # whatever the network's own code raises where shapes do not fit
            reason = str(error) if isinstance(error, Inoperable) else f"its modules do not fit then: {error}"
            return None, " ".join(reason.split())[:200]
        change = max(map(_relative, found, expected))
        if not change < _TOLERANCE:
            return None, f"the smaller network's output differs by {change:.0e} of its largest"
        return small, ""

    def _projected(self, plans: Sequence[LayerPlan]) -> list[Tensor]:
        full = copy.deepcopy(self._model).double()
        project(full, plans)
        return self._outputs(full)

    def _outputs(self, model: nn.Module) -> list[Tensor]:
        args, kwargs = self._random
        with torch.no_grad(), in_double_precision(), without_fast_path():
            return outputs(model.double().eval()(*args, **kwargs))


def _relative(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    if not found.is_floating_point():
        return float((found != expected).any())
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12)) if found.numel() else 0.0


def _inputs_of_norms(model: nn.Module, neurons: Neurons, example_input: ExampleInput) -> Mapping[str, Tensor]:
    """What the normalizations over neurons get, by their names."""
    names = {name.rpartition(".")[0] for name in neurons.graph.findings.norms}
    found: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            found[name] = inputs[0].detach()

    hooks = [model.get_submodule(name).register_forward_pre_hook(partial(keep, name)) for name in names]
    args, kwargs = arguments(example_input)
    try:
        with torch.no_grad(), evaluating(model), without_fast_path():
            if names:
                model(*args, **kwargs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _sizes(
    models: Sequence[nn.Module],
    neurons: Sequence[int],
    example_input: ExampleInput,
    evaluate: Callable[[nn.Module], float] | None,
) -> list[Size]:
    args, kwargs = arguments(example_input)
    flops, times = [], [[] for _ in models]  # type: tuple[list[int], list[list[float]]]
    for model in models:
        with torch.no_grad(), evaluating(model), without_fast_path(), FlopCounterMode(display=False) as counter:
            model(*args, **kwargs)
        flops.append(counter.get_total_flops())
    # In turn, so that what else the machine does falls on all alike.
    started = time.perf_counter()
    for turn in range(_WARM_UP + _TIMES):
        if turn > _WARM_UP and time.perf_counter() - started > _ENOUGH:
            break
        for model, of_model in zip(models, times, strict=True):
            with torch.no_grad(), evaluating(model):
                of_model.append(_milliseconds(model, args, kwargs))
    return [
        Size(
            neurons=count,
            parameters=sum(p.numel() for p in model.parameters()),
            flops=of_call,
            milliseconds=median(of_model[_WARM_UP:]),
            accuracy=None if evaluate is None else evaluate(model),
        )
        for model, count, of_call, of_model in zip(models, neurons, flops, times, strict=True)
    ]


def _milliseconds(model: nn.Module, args: Any, kwargs: Any) -> float:
    start = time.perf_counter()
    result = outputs(model(*args, **kwargs))
    if result[0].is_cuda:
        torch.cuda.synchronize(result[0].device)
    return 1000 * (time.perf_counter() - start)
