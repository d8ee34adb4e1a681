"""What each operator says of the axes of its operands and its results.

One function for each kind of ATen operator, as `torch.export` lists them, in a module for its kind. It gets the `Call`
and returns the axes of the result, or of each of several results. An operator that is not listed is not an error: the
order of all axes that go through it matters then, and neurons along them are not claimed.
"""

from __future__ import annotations

from typing import Any

import torch

from . import attention, convolutions, elementwise, normalizations, products, reductions, shapes
from .calls import RULES, Call, Findings, Result, Value, axis_of, fix_all, unknown
from .elementwise import SAME, pointwise
from .normalizations import batch_norm, weighted_norm
from .shapes import ORDER

__all__ = ["RULES", "Call", "Findings", "Result", "Value", "apply"]

KINDS = (attention, convolutions, elementwise, normalizations, products, reductions, shapes)
"""The modules of rules; importing one adds its rules to `RULES`."""


def apply(call: Call, target: Any) -> list[Value]:
    """The results of a call."""
    values = call.values()
    name = call.name.removesuffix("_") if not call.name.startswith("_") else call.name
    known = RULES.get(call.name) or RULES.get(name)
    if known is None and torch.Tag.pointwise in getattr(target, "tags", ()):
        known = pointwise
    if known not in (batch_norm, weighted_norm):
        fix_all((e for value in values if value.is_statistic for e in value.extents), "a buffer goes with it")
    result = known(call) if known is not None else unknown(call)
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
    if name in SAME:
        return source.axes
    if name in ORDER:
        return tuple(source.axes[k] for k in ORDER[name](call))
    if name in ("slice", "narrow"):
        return source.axes
    if name in ("select", "unbind"):
        return tuple(axis for k, axis in enumerate(source.axes) if k != axis_of(call, 1, len(source.axes)))
    return ()
