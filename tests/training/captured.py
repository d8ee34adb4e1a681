"""Stand-ins for CUDA graphs on the CPU: they hold a captured step to a graph's rules, and really replay it.

A graph replays the same operations on the same addresses, and nothing that Python did between them. So does `Graph`: it
records the operations that PyTorch dispatches while it is captured, autograd's among them, undoes what they changed,
since capturing runs nothing, and `replay` runs them again on the very tensors of the recording. What a step takes from
anywhere else, such as a number of Python's, stays what it was at the capture. An operation that makes the host wait
for the device is an error, as it is in a capture.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITING = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::item", "aten::equal"}
"""Operations whose result the host needs before it can go on."""


UNANNOTATED = {"aten::native_batch_norm": ("running_mean", "running_var")}
"""What operations write into without their schemas saying so."""


class Waits(RuntimeError):
    """A captured step made the host wait."""


class _Recorder(TorchDispatchMode):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._graph.record(func, args, kwargs or {})


class Graph:
    """In place of `torch.cuda.CUDAGraph`."""

    replays = 0
    """Of all graphs."""

    def __init__(self) -> None:
        self._operations: list[tuple[Any, Any, Any, Any]] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self._made: set[int] = set()

    def record(self, func: Any, args: Any, kwargs: Any) -> Any:
        if func._schema.name in WAITING:
            raise Waits(f"{func._schema.name} in a captured step waits for the device")
        for tensor in _changed(func, args, kwargs):
            if tensor.untyped_storage().data_ptr() not in self._made:
                self._before.setdefault(id(tensor), (tensor, tensor.clone()))
        result = func(*args, **kwargs)
        self._made |= {leaf.untyped_storage().data_ptr() for leaf in _fresh(func, result)}
        self._operations.append((func, args, kwargs, result))
        return result

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        with _Recorder(self):
            yield
        with torch.no_grad():
            for tensor, value in self._before.values():
                tensor.copy_(value)

    @torch.no_grad()
    def replay(self) -> None:
        type(self).replays += 1
        for func, args, kwargs, result in self._operations:
            again = func(*args, **kwargs)
            for there, here in zip(_fresh(func, result), _fresh(func, again), strict=True):
                there.copy_(here)


def _changed(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The tensors that an operation writes into."""
    given = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | kwargs
    declared = [a.name for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    written = [given.get(name) for name in (*declared, *UNANNOTATED.get(func._schema.name, ()))]
    return [leaf for leaf in tree_leaves(written) if isinstance(leaf, Tensor)]


def _fresh(func: Any, result: Any) -> list[Tensor]:
    """The tensors of its result that are neither views nor what it wrote into."""
    if any(returned.alias_info is not None for returned in func._schema.returns):
        return []
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]


class _Stream:
    def wait_stream(self, other: object) -> None:
        pass


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-ins in the places of what a captured step uses of CUDA."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: graph.capture())
    monkeypatch.setattr(torch.cuda, "Stream", _Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", _Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(Graph, "replays", 0)
