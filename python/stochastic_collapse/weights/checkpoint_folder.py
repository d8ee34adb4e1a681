"""Folders of torch.distributed.checkpoint, as FSDP and Composer write, read in one process without running code."""

from __future__ import annotations

import contextlib
import io
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import InputError
from .formats import listed
from .pickles import reason
from .states import LazyState, of_optimizer, plain_values, states_in

if TYPE_CHECKING:
    from torch.distributed.checkpoint.metadata import Metadata

_METADATA = ".metadata"
# First parts of flattened names that are not of a network's parameters, where the folder does not tell how it was.
_WRAPPERS = ("app", "state", "model", "module", "state_dict", "model_state_dict", "ema", "train_state", "dataloader")
_CONTAINERS = {("builtins", kind.__name__): kind for kind in (dict, list, set, frozenset, tuple, bytearray)}
_PATHS = {"Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"}
# PyTorch 2.2 and older had some of the classes in the second.
_MODULES = ("torch.distributed.checkpoint.metadata", "torch.distributed._shard.sharded_tensor.metadata")


def is_checkpoint_folder(path: Path) -> bool:
    return (path / _METADATA).is_file()


def read_checkpoint_folder(folder: Path) -> tuple[dict[str, LazyState], dict[str, Any]]:
    """The state dicts in a folder by their dotted place, and the plain values beside them.

    Raises `InputError` where the folder is damaged or incomplete, needs code to be run, or holds no state dict.
    """
    metadata = _read_metadata(folder / _METADATA)
    try:
        return _contents(folder, metadata)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # of metadata that only look like some
        if isinstance(error, InputError):
            raise
        raise _damaged(folder / _METADATA, reason(error)) from None


def _contents(folder: Path, metadata: Metadata) -> tuple[dict[str, LazyState], dict[str, Any]]:
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    _check_files(folder, metadata)
    kinds = metadata.state_dict_metadata
    sizes = {name: kind for name, kind in kinds.items() if isinstance(kind, TensorStorageMetadata)}
    described = {name: (tuple(kind.size), kind.properties.dtype) for name, kind in sizes.items()}
    paths = _paths(kinds, metadata.planner_data)
    others = [name for name in kinds if name not in sizes and not any(map(of_optimizer, paths[name]))]
    tree = _nested(paths, {name: _Stored(name) for name in sizes} | _plain_objects(folder, metadata, others))

    def lazy(state: Mapping[str, _Stored]) -> LazyState:
        def read(name: str) -> Tensor:
            flat = state[name].name
            shape, dtype = described[flat]
            values = {flat: torch.empty(shape, dtype=dtype)}
            _load(folder, metadata, values)
            return values[flat]

        return LazyState({name: described[stored.name] for name, stored in state.items()}, read)

    states = {place: lazy(state) for place, state in states_in(tree, _Stored).items()}
    if not states:
        raise InputError(f"{folder}: no tensors of a network in this checkpoint, only {listed(sorted(kinds))}")
    return states, plain_values(tree, _Stored)


@dataclass(frozen=True)
class _Stored:
    """A tensor in the folder, by its flattened name."""

    name: str


class _MetadataUnpickler(pickle.Unpickler):
    """Makes what describes a checkpoint, and refuses any other class or function."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _CONTAINERS:
            return _CONTAINERS[module, name]
        if module.partition(".")[0] == "pathlib" and name in _PATHS:  # where it was written to
            return lambda *parts: "/".join(map(str, parts))
        if module == "torch" and isinstance(dtype := vars(torch).get(name), torch.dtype):
            return dtype
        ours = module in _MODULES and "." not in name
        described = ours and isinstance(found := super().find_class(module, name), type) and found.__module__ == module
        if described or (module, name) in {
            ("torch", "Size"),
            ("torch.serialization", "_get_layout"),
            ("collections", "OrderedDict"),
            ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
        }:
            return super().find_class(module, name)
        raise _Refused(f"{module}.{name}")


class _Refused(Exception):
    pass


def _read_metadata(path: Path) -> Metadata:
    from torch.distributed.checkpoint.metadata import BytesStorageMetadata, Metadata, TensorStorageMetadata

    try:
        with path.open("rb") as file:
            metadata = _MetadataUnpickler(file).load()
    except _Refused as refused:
        raise InputError(
            f"{path}: needs {refused}, which does not describe a checkpoint, and was not run; if you trust it, load "
            "the checkpoint and torch.save its state dict"
        ) from None
    except Exception as error:  # a damaged file surfaces as any of many exceptions
        raise _damaged(path, reason(error)) from None
    stored = getattr(metadata, "storage_data", None)
    if not isinstance(metadata, Metadata) or not isinstance(stored, dict):
        raise _damaged(path, "it does not describe a checkpoint")
    for kind in metadata.state_dict_metadata.values():
        if not isinstance(kind, TensorStorageMetadata | BytesStorageMetadata):
            raise _damaged(path, "it does not describe tensors")
    return metadata


def _damaged(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: cannot be read as a torch.distributed.checkpoint: {why}; it is damaged or cut short: copy or save "
        "the folder again"
    )


def _check_files(folder: Path, metadata: Metadata) -> None:
    ends: dict[str, int] = {}
    for info in metadata.storage_data.values():
        ends[info.relative_path] = max(ends.get(info.relative_path, 0), info.offset + info.length)
    if missing := sorted(name for name in ends if not (folder / name).is_file()):
        raise InputError(
            f"{folder}: {len(missing)} of the checkpoint's {len(ends)} files missing: {listed(missing)}; copy them too"
        )
    for name, end in ends.items():
        if (size := (folder / name).stat().st_size) < end:
            raise InputError(f"{folder / name}: cut short, {size:,} of {end:,} bytes; copy it again")


def _paths(names: Iterable[str], known: Any) -> dict[str, tuple[Any, ...]]:
    """Where each flattened name was in the nested state: as the folder tells, else by first parts that all share."""
    known = known if isinstance(known, Mapping) else {}
    paths = {name: tuple(known[name]) for name in names if known.get(name)}
    return {**paths, **_guessed([name for name in names if name not in paths])}


def _guessed(names: list[str], depth: int = 3) -> dict[str, tuple[str, ...]]:
    parts = [name.partition(".") for name in names]
    heads = {head for head, dot, _ in parts if dot}
    found: dict[str, tuple[str, ...]] = {}
    if depth and all(head in _WRAPPERS or of_optimizer(head) for head in heads):
        for head in heads:
            inner = _guessed([rest for first, dot, rest in parts if dot and first == head], depth - 1)
            found |= {f"{head}.{rest}": (head, *path) for rest, path in inner.items()}
    return {name: found.get(name, (name,)) for name in names}


def _nested(paths: Mapping[str, tuple[Any, ...]], values: Mapping[str, Any]) -> dict[Any, Any]:
    tree: dict[Any, Any] = {}
    for name, value in values.items():
        *place, last = paths[name]
        node = tree
        for part in place:
            node = node.setdefault(part, {})
        node[last] = value
    return tree


def _plain_objects(folder: Path, metadata: Metadata, names: list[str]) -> dict[str, Any]:
    """Those of the values that are not tensors which load without running code."""
    values: dict[str, Any] = dict.fromkeys(names)
    _load(folder, metadata, values)
    return values


def _load(folder: Path, metadata: Metadata, values: dict[str, Any]) -> None:
    """Read into `values`, tensors of the right sizes, or None for what is not a tensor."""
    from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.planner import ReadItem

    class Planner(DefaultLoadPlanner):
        def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
            with contextlib.suppress(pickle.UnpicklingError):
                values[read_item.dest_index.fqn] = torch.load(value, map_location="cpu", weights_only=True)

    # The steps of torch.distributed.checkpoint.load, of which the first would unpickle the metadata.
    reader, planner = FileSystemReader(folder), Planner(flatten_state_dict=False, flatten_sharded_tensors=False)
    try:
        planner.set_up_planner(values, metadata, is_coordinator=True)
        reader.set_up_storage_reader(metadata, is_coordinator=True)
        plan = reader.prepare_local_plan(planner.create_local_plan())
        reader.read_data(plan, planner).wait()
    except Exception as error:
        raise _damaged(folder, f"{', '.join(values)}: {reason(error)}") from None
