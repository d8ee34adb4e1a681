"""Reading a network's weights from a file: our checkpoints, bare state dicts, the published code's checkpoints."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import torch
from torch import Tensor

from ..errors import InputError
from .registry import built_in

# Where a checkpoint may keep its weights: ours under "model"; MosaicML Composer's, which the published code wrote,
# under "state" → "model"; other programs' under "state_dict".
_PLACES = (("model",), ("state", "model"), ("state.model",), ("state_dict",), ("model_state_dict",))
# Prefixes that wrappers put before parameter names: Composer and DataParallel, torch.compile.
_PREFIXES = ("module.", "_orig_mod.")


def load_file(path: Path) -> Any:
    """Contents of a PyTorch file, on the CPU, loaded without running any code that it may hold.

    Objects other than tensors, containers and plain values come out as inert placeholders. Raises `InputError` where
    the file is missing or is not a PyTorch file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_inert_pickle)
    except Exception as error:  # a damaged file surfaces as any of many exceptions
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read as a PyTorch file: {reason}") from None


class _Inert:
    """Stands for an object of a class that is not to be imported; takes whatever unpickling does to it."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __call__(self, *args: object, **kwargs: object) -> _Inert:
        return self

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def extend(self, values: object) -> None:
        pass

    append = add = extend


class _InertUnpickler(pickle.Unpickler):
    """Rebuilds tensors and ordered dictionaries; every other class or function becomes `_Inert` and is never called."""

    def find_class(self, module: str, name: str) -> Any:
        rebuild = module == "torch._utils" and name in {"_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_parameter"}
        storage = module in {"torch", "torch.storage"} and name.endswith("Storage")
        if rebuild or storage or (module, name) in {("collections", "OrderedDict"), ("torch", "Size")}:
            return super().find_class(module, name)
        return _Inert


def _load_inert(file: IO[bytes], **options: Any) -> Any:
    return _InertUnpickler(file, **options).load()


# torch.load takes both from a module-like object: `Unpickler` for its zip format, `load` for its older one.
_inert_pickle = SimpleNamespace(Unpickler=_InertUnpickler, load=_load_inert, __name__="inert_pickle")


def load_weights(path: Path, model: str) -> dict[str, Tensor]:
    """The state dict in `path`, with the parameter names that our network called `model` has.

    Raises `InputError` where there is no such network, and where the file cannot be read or holds no state dict.
    """
    network = built_in(model)
    content = load_file(path)
    state = next((found for place in _PLACES if (found := _descend(content, place)) is not None), content)
    if not isinstance(state, Mapping) or not any(isinstance(value, Tensor) for value in state.values()):
        places = ", ".join(" → ".join(place) for place in _PLACES)
        raise InputError(f"{path}: no state dict in it; looked at the top level and under {places}")
    weights = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return dict(network.renamed(weights))


def _descend(content: Any, place: tuple[str, ...]) -> Mapping[str, Any] | None:
    for key in place:
        if not isinstance(content, Mapping) or key not in content:
            return None
        content = content[key]
    return content if isinstance(content, Mapping) else None
