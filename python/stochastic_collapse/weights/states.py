"""State dicts and plain values among what a file holds, and state dicts whose tensors are read when they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from .pickles import Inert

_DEPTH = 4  # levels of nested mappings that are searched
_BOOKKEEPING = ("callbacks", "loops")  # counters that Lightning keeps in its checkpoints


class LazyState(Mapping[str, Tensor]):
    """A state dict of which each tensor is read on access; shapes and dtypes are known without reading."""

    def __init__(
        self, described: Mapping[str, tuple[tuple[int, ...], torch.dtype]], read: Callable[[str], Tensor]
    ) -> None:
        self._described = dict(described)
        self._read = read

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._described:
            raise KeyError(name)
        return self._read(name)

    def __contains__(self, name: object) -> bool:
        return name in self._described

    def __iter__(self) -> Iterator[str]:
        return iter(self._described)

    def __len__(self) -> int:
        return len(self._described)

    def __repr__(self) -> str:
        return f"LazyState({len(self)} tensors)"

    def shape_of(self, name: str) -> tuple[int, ...]:
        return self._described[name][0]

    def dtype_of(self, name: str) -> torch.dtype:
        return self._described[name][1]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: shape for name, (shape, _) in self._described.items()}


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a state dict, without reading any of a `LazyState`."""
    if isinstance(state, LazyState):
        return state.shapes()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def is_optimizer(value: Any) -> bool:
    return isinstance(value, Mapping) and "state" in value and "param_groups" in value


def of_optimizer(key: object) -> bool:
    return str(key).lower().startswith("optim")


def states_in(content: Any, kind: type[Any] = Tensor) -> dict[str, dict[str, Any]]:
    """The state dicts in nested mappings, by dotted place; what is of `kind` counts as a tensor, all else is dropped.

    A state dict has names as keys, at least one tensor, and no mapping. Optimizers' are left out.
    """
    found: dict[str, dict[str, Any]] = {}

    def search(value: Any, place: tuple[str, ...]) -> None:
        if isinstance(value, Inert):
            value = value.entries
        if not isinstance(value, Mapping) or is_optimizer(value):
            return
        # PyTorch's own additions to a state dict, which are mappings or anything at all.
        kept = {key: v for key, v in value.items() if not str(key).endswith(("_metadata", "_extra_state"))}
        tensors = {key: v for key, v in kept.items() if isinstance(v, kind)}
        if tensors and all(isinstance(key, str) and not _is_mapping(v) for key, v in kept.items()):
            found[".".join(place)] = tensors
        elif len(place) < _DEPTH:
            for key, inner in kept.items():
                if isinstance(key, str) and not of_optimizer(key):
                    search(inner, (*place, key))

    search(content, ())
    return found


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, Inert) and bool(value.entries))


def plain_values(content: Any, kind: type[Any] = Tensor, depth: int = _DEPTH) -> dict[str, Any]:
    """The strings, numbers and truth values of a mapping, and of mappings in it that hold neither tensors nor more."""
    found: dict[str, Any] = {}
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if not isinstance(key, str) or key.startswith("_") or key in _BOOKKEEPING or of_optimizer(key):
            continue
        if isinstance(value, Inert):
            value = {} if value.is_module else {**value.attributes, **value.entries}
        if isinstance(value, bool | int | float | str):
            found[key] = value
        elif isinstance(value, Mapping) and depth > 1 and not is_optimizer(value):
            holds_tensors = any(isinstance(inner, kind) for inner in value.values())
            if not holds_tensors and (inner := plain_values(value, kind, depth - 1)):
                found[key] = inner
    return found
