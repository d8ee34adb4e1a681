"""The state dicts in a file or folder of weights, of whatever program, without running code and read when used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import InputError
from .checkpoint_folder import is_checkpoint_folder, read_checkpoint_folder
from .formats import SUFFIXES, is_uncompressed, kind_of, listed, refuse_folder, refuse_missing
from .pickles import Inert, load_pickle, reason
from .states import LazyState, plain_values, shapes, states_in

__all__ = ["Contents", "LazyState", "load_file", "read", "shapes", "state_of_checkpoint"]

# In the order in which transformers looks for them.
_USUAL = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
# What trainers write beside the weights, in files that end as weights do.
_BESIDE = ("optimizer", "scheduler", "rng_state", "scaler", "training_args", "random_states")


@dataclass(frozen=True)
class Contents:
    """What a file or folder of weights holds.

    `states` are its state dicts by their dotted place, "" for the file itself; `about` the plain values beside them;
    `config` the contents of a config.json in the folder.
    """

    path: Path
    states: dict[str, Mapping[str, Tensor]]
    about: dict[str, Any]
    config: dict[str, Any] | None


def read(path: Path) -> Contents:
    """What `path` holds: a file of safetensors or torch.save, an index of shards, or a folder with any of these.

    A folder may also be one of torch.distributed.checkpoint. Nothing in a file is run; of safetensors, checkpoint
    folders and torch.save's zip archives, tensors are read when they are used. Raises `InputError` where there is
    nothing, no state dict, or another format.
    """
    path = path.expanduser()
    if not path.exists():
        raise refuse_missing(path)
    if path.name == ".metadata" or path.suffix == ".distcp":
        path = path.parent
    states: Mapping[str, Mapping[str, Tensor]]
    if is_checkpoint_folder(path):
        states, about = read_checkpoint_folder(path)
    else:
        states, about = _read_file(_file_in(path) if path.is_dir() else path)
    return Contents(path, dict(states), about, _config(path if path.is_dir() else path.parent))


def load_file(path: Path) -> Any:
    """Contents of a file of `torch.save`, on the CPU, loaded without running any code that it may hold.

    Objects other than tensors, containers and plain values come out as inert placeholders. Raises `InputError` where
    the file is missing or is not a PyTorch file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return load_pickle(path)


def state_of_checkpoint(path: Path) -> dict[str, Tensor]:
    """The network's state dict in a checkpoint of a run; `InputError` where the file is none."""
    content = load_file(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        raise InputError(f"{path}: not a checkpoint of a run; it has no state dict under 'model'")
    return dict(content["model"])


def _file_in(folder: Path) -> Path:
    for name in _USUAL:
        if (folder / name).is_file():
            return folder / name
    files = sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(_BESIDE))
    for found in (
        [entry for entry in files if entry.name.endswith(".index.json")],
        [entry for entry in files if entry.suffix in SUFFIXES],
    ):
        if len(found) > 1:
            names = listed([entry.name for entry in found])
            raise InputError(f"{folder}: {len(found)} weights files in this folder, {names}; name the one to read")
        if found:
            return found[0]
    raise refuse_folder(folder)


def _config(folder: Path) -> dict[str, Any] | None:
    path = folder / "config.json"
    content = _json(path) if path.is_file() else None
    return content if isinstance(content, dict) else None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {reason(error)}") from None


def _read_file(path: Path) -> tuple[dict[str, Mapping[str, Tensor]], dict[str, Any]]:
    """State dicts by place, and plain values."""
    if path.name.endswith(".json"):
        return {"": _read_shards(path)}, {}
    if (kind := kind_of(path)) == "safetensors":
        state, metadata = _open_safetensors(path)
        return {"": state}, metadata
    content = load_pickle(path, mmap=kind == "zip" and is_uncompressed(path))
    states = states_in(content)
    if not states:
        raise _without_states(path, content)
    return {**states}, plain_values(content)


def _open_safetensors(path: Path) -> tuple[LazyState, dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        file = safe_open(path, framework="pt", device="cpu")
        # A tensor of it is a view of the mapped file: to ask for its shape reads nothing.
        views = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as safetensors: {reason(error)}; it is damaged or cut short: copy, download or "
            "save it again"
        ) from None
    if not views:
        raise InputError(f"{path}: no tensors in it; save a network's state dict")
    metadata = {key: value for key, value in (file.metadata() or {}).items() if key != "format"}
    return LazyState({name: (tuple(v.shape), v.dtype) for name, v in views.items()}, file.get_tensor), metadata


def _read_shards(index: Path) -> Mapping[str, Tensor]:
    """The one state dict that is in the files which an index of transformers' names."""
    content = _json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise InputError(
            f"{index}: not an index of weights: it has no 'weight_map' from names to files; name a weights file"
        )
    names = sorted(set(places.values()))
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        raise InputError(
            f"{index}: {len(missing)} of its {len(names)} files missing in {index.parent}: {listed(missing)}; copy or "
            "download them"
        )
    shards = {name: _one_state(index.parent / name) for name in names}
    for tensor, name in places.items():
        if tensor not in shards[name]:
            raise InputError(f"{index.parent / name}: no tensor {tensor!r}, which {index.name} says is in it")
    if all(isinstance(shard, LazyState) for shard in shards.values()):
        described = {t: (s.shape_of(t), s.dtype_of(t)) for t, s in _lazy(places, shards)}
        return LazyState(described, lambda tensor: shards[places[tensor]][tensor])
    return {tensor: shards[name][tensor] for tensor, name in places.items()}


def _lazy(places: Mapping[str, str], shards: Mapping[str, Mapping[str, Tensor]]) -> Iterable[tuple[str, LazyState]]:
    for tensor, name in places.items():
        shard = shards[name]
        assert isinstance(shard, LazyState)
        yield tensor, shard


def _one_state(path: Path) -> Mapping[str, Tensor]:
    states, _ = _read_file(path)
    if "" not in states:
        raise InputError(f"{path}: not a shard: it has no tensors at its top level, but {', '.join(states)}")
    return states[""]


def _without_states(path: Path, content: Any) -> InputError:
    """Why there is nothing to use in a file, and what to do."""
    top = content if isinstance(content, Mapping) else {"": content}
    objects = {key: value for key, value in top.items() if isinstance(value, Inert)}
    for key, value in objects.items():
        if value.is_module:
            where = f" under {key!r}" if key else ""
            return InputError(
                f"{path}: a whole network was pickled{where}, of class {value.origin}, and loading that runs its code; "
                "where the class is at hand, save model.state_dict()"
            )
    if objects:
        classes = listed(sorted({value.origin for value in objects.values()}))
        return InputError(
            f"{path}: no tensors in it that can be loaded without running code, only objects of {classes}; save "
            "model.state_dict()"
        )
    if not isinstance(content, Mapping):
        return InputError(f"{path}: holds a {type(content).__name__}, not a state dict; save model.state_dict()")
    keys = listed([str(key) for key in content])
    return InputError(f"{path}: no tensors of a network in it; at its top level are {keys}; save model.state_dict()")
