"""Files of `torch.save`, loaded without running any code that they may hold."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import torch
from torch import Tensor

from ..errors import InputError


def load_pickle(path: Path, *, mmap: bool = False) -> Any:
    """Contents of a file of `torch.save`, on the CPU; with `mmap`, for the zip format, tensors stay on disk until used.

    Objects other than tensors, containers and plain values come out as `Inert`. Raises `InputError` where the file
    cannot be read.
    """
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        except pickle.UnpicklingError:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the older format compares the source of modules with what is here
                return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_inert_pickle, mmap=mmap)
    except Exception as error:  # a damaged file surfaces as any of many exceptions
        raise InputError(
            f"{path}: cannot be read as a PyTorch file: {reason(error)}; it is damaged or cut short: copy, download or "
            "save it again"
        ) from None


def reason(error: Exception) -> str:
    """The first line of an error, without a stop, for a line of ours."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__).rstrip(".")


class Inert:
    """Stands for an object of a class that is not to be imported, and keeps what unpickling would have done to it."""

    dump_patches = False  # what torch.load asks of the class of a module in its older format; no file is to be written
    origin = "unknown"
    """Dotted name of the class or function."""
    entries: dict[Any, Any]
    """What was set by key, as in subclasses of dict."""
    attributes: dict[str, Any]

    def __new__(cls, *args: object, **kwargs: object) -> Inert:
        self = super().__new__(cls)
        self.entries, self.attributes = {}, {}
        return self

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __call__(self, *args: object, **kwargs: object) -> Inert:
        return self

    def __setstate__(self, state: object) -> None:
        if isinstance(state, Mapping):
            self.attributes.update(state)

    def __setitem__(self, key: object, value: object) -> None:
        self.entries[key] = value

    def extend(self, values: object) -> None:
        pass

    append = add = extend

    @property
    def is_module(self) -> bool:
        """Whether it was a `torch.nn.Module`."""
        return "_parameters" in self.attributes and "_modules" in self.attributes


def _tensor_of_subclass(rebuild: Any, kind: object, arguments: tuple[Any, ...], state: object) -> Any:
    return rebuild(*arguments)


def _parameter_with_state(data: Tensor, requires_grad: bool, hooks: object, state: object) -> Tensor:
    return torch.nn.Parameter(data, requires_grad)


_REBUILDING: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): torch._utils._rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter_with_state,
    ("torch._tensor", "_rebuild_from_type_v2"): _tensor_of_subclass,
}
_PLAIN = {("collections", "OrderedDict"), ("torch", "Size")}


class _InertUnpickler(pickle.Unpickler):
    """Rebuilds tensors and ordered dictionaries; every other class or function becomes `Inert` and is never called.

    Of storage types only the untyped one comes here; torch.load finds the others by itself.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        if (module, name) in _REBUILDING:
            # A new object each time, since a pickle can set attributes of what it is given.
            return partial(_REBUILDING[module, name])
        if module == "torch" and isinstance(dtype := vars(torch).get(name), torch.dtype):
            return dtype
        if name == "UntypedStorage" and module in {"torch", "torch.storage"}:
            return SimpleNamespace(dtype=torch.uint8)  # all that torch.load asks of it
        return type("Inert", (Inert,), {"origin": f"{module}.{name}"})


def _load_inert(file: IO[bytes], **options: Any) -> Any:
    return _InertUnpickler(file, **options).load()


# torch.load takes both from a module-like object: `Unpickler` for the objects, `load` for its older format's header.
_inert_pickle = SimpleNamespace(Unpickler=_InertUnpickler, load=_load_inert, __name__="inert_pickle")
