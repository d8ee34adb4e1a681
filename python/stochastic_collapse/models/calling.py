"""How networks are called, whoever wrote them, and what is taken of what they return."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from ..errors import InputError

_LOGITS = ("logits", "prediction_logits")
_LABELS = ("labels", "targets", "target")


def call(model: nn.Module, inputs: Tensor | Mapping[str, Tensor], **extra: Any) -> Any:
    """What the network returns for a tensor, or for inputs by name: for these by keyword where its forward takes them
    so, else for their mapping as the one argument; `extra` goes by keyword.

    Raises `InputError` where forward takes some of the names and not the others.
    """
    if isinstance(inputs, Tensor):
        return model(inputs, **extra)
    parameters = _parameters(_unwrapped(model))
    unknown = [name for name in inputs if name not in parameters.names]
    if not unknown or (parameters.others and parameters.required <= {*inputs, *extra}):
        return model(**inputs, **extra)
    if len(unknown) == len(inputs):
        return model(inputs, **extra)
    raise InputError(
        f"the network's forward takes {', '.join(parameters.names)}, and the data give {', '.join(inputs)}: "
        f"{', '.join(unknown)} have no place in it"
    )


def predictions(output: Any) -> Tensor:
    """Logits, or predictions of real numbers, of what a network returned: a tensor, `logits` of an object or mapping,
    or the first tensor of a tuple or list that is no scalar.

    Raises `InputError` where there is none.
    """
    if isinstance(output, Tensor):
        return output
    for name in _LOGITS:
        if isinstance(found := _entry(output, name), Tensor):
            return found
    for one in _members(output):
        if one.ndim > 0:
            return one
    raise InputError(
        f"the network returns {_described(output)}, expected a tensor, a tuple that has one, or an object or mapping "
        "with logits"
    )


def own_loss(output: Any) -> Tensor:
    """The loss that a network computed itself: `loss` of an object or mapping, or the scalar in a tuple or list.

    Raises `InputError` where there is none, or it is no scalar.
    """
    found = output if isinstance(output, Tensor) else _entry(output, "loss")
    if not isinstance(found, Tensor):
        found = next((one for one in _members(output) if one.ndim == 0), None)
    if found is None:
        raise InputError(
            f"the network returns {_described(output)}, expected its loss: a scalar, a tuple that has one, or an "
            "object or mapping with loss"
        )
    if found.ndim > 0:
        raise InputError(f"the network's own loss is of shape {tuple(found.shape)}, expected a scalar")
    return found


def labels_argument(model: nn.Module) -> str | None:
    """By which name the network's forward takes targets, to compute its own loss; None: it takes none."""
    names = _parameters(_unwrapped(model)).names
    return next((name for name in _LABELS if name in names), None)


class _Parameters(NamedTuple):
    names: tuple[str, ...]
    required: frozenset[str]
    others: bool
    """Whether any other name will do too."""


def _unwrapped(model: nn.Module) -> Callable[..., Any]:
    """The forward of what torch.compile or data parallelism have wrapped."""
    while True:
        if isinstance(inside := getattr(model, "_orig_mod", None), nn.Module):
            model = inside
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            return model.forward


def _parameters(forward: Callable[..., Any]) -> _Parameters:
    """Those that go by name."""
    function = getattr(forward, "__func__", None)
    return _signature(forward) if function is None else _of_method(function)


@functools.lru_cache(maxsize=64)  # a step of training asks each time
def _of_method(function: Callable[..., Any]) -> _Parameters:
    return _signature(function, skipped=1)


def _signature(function: Callable[..., Any], skipped: int = 0) -> _Parameters:
    parameters = [*inspect.signature(function).parameters.values()][skipped:]
    named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    required = frozenset(one.name for one in named if one.default is one.empty)
    others = any(one.kind is one.VAR_KEYWORD for one in parameters)
    return _Parameters(tuple(one.name for one in named), required, others)


def _entry(output: Any, name: str) -> Any:
    return output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)


def _members(output: Any) -> Iterator[Tensor]:
    return (one for one in output if isinstance(one, Tensor)) if isinstance(output, (tuple, list)) else iter(())


def _described(output: Any) -> str:
    kind = type(output).__name__
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"{kind} with {', '.join(map(str, output)) or 'nothing in it'}"
    if isinstance(output, (tuple, list)):
        return f"{kind} of {', '.join(_described(one) for one in output) or 'nothing'}"
    if output is None:
        return "None"
    fields = [name for name in getattr(output, "__dict__", ()) if not name.startswith("_")]
    return f"{kind} with {', '.join(fields)}" if fields else kind
