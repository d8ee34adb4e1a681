"""NumPy arrays as a data set, and any arrays made one: layout, kind of numbers, statistics, targets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..config import ArraysSettings
from ..errors import InputError
from ..task import Task
from . import checks
from .checks import Array, Statistics
from .dataset import Dataset, Split

_INSTEAD = "where they are quantities, take data.task: regression"
_INPUTS = ("x", "inputs", "input", "images", "image", "data", "features")
_TARGETS = ("y", "targets", "target", "labels", "label")
_TRAIN, _TEST = ("train", "training"), ("test", "val", "valid", "validation")
_NAME = re.compile(
    rf"(?:({'|'.join(_TRAIN + _TEST)})_?)?({'|'.join(_INPUTS + _TARGETS)})(?:_?({'|'.join(_TRAIN + _TEST)}))?"
)
_EXPECTED = "x_train, y_train, x_test and y_test, or x and y"
_OFFSET = 1e3
"""Means of more standard deviations than this are kept in float64: float32 would tell too few values apart."""


class Part(NamedTuple):
    """Inputs (n, …) and targets of them, and what an error about either begins with."""

    inputs: Array
    targets: Array
    inputs_where: str
    targets_where: str


def load(settings: ArraysSettings) -> Dataset:
    """The arrays of a .npz file, by their names, or of two .npy files.

    Names may be inputs, images or features for x, targets or labels for y, in small letters or capitals, with train
    or test before or behind; val is the test set where there is no other. For inputs, targets and their normalization
    see `dataset_of`. Without a test set one is drawn.

    Raises `InputError` for files that are missing, damaged, or of another kind, for objects and text, for arrays that
    do not fit together, for NaN and infinity, and for targets that are neither classes nor real.
    """
    path = checks.file_at(settings.path, "data.path")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        if settings.targets is not None:
            raise InputError(f"data.targets: goes with a .npy file of inputs, and {path} has its own targets")
        parts = _of_archive(path)
    elif suffix == ".npy":
        if settings.targets is None:
            raise InputError(f"data.targets: missing; the .npy file with a target for each input of {path}")
        targets = checks.file_at(settings.targets, "data.targets")
        inputs_where, targets_where = f"data.path: {path}", f"data.targets: {targets}"
        inputs = _read(path, inputs_where)
        parts = [Part(inputs, _read(targets, targets_where), inputs_where, targets_where)]
    else:
        raise InputError(f"data.path: {path}: expected a .npz or a .npy file")
    return dataset_of(
        parts, task=settings.task, test_share=settings.test_share, normalize=settings.normalize, instead=_INSTEAD
    )


def dataset_of(
    parts: Sequence[Part],
    *,
    task: Literal["auto", "classification", "regression"] = "auto",
    test_share: float | None = None,
    normalize: bool,
    instead: str,
) -> Dataset:
    """A data set of what is to train and to test with, or of one part, of which `test_share` is to test with.

    Four axes of which the last is 1, 3 or 4 and the second is not are images (n, H, W, C), brought to (n, C, H, W);
    bytes (n, H, W) are grey ones. Single numbers become a column; others keep their shape. Bytes stay bytes, and
    others become float32, or float64 where float32 would lose them.

    Whole numbers are classes, one more than the largest, and others real targets, (n, outputs) float32. `normalize`:
    mean and deviation of the training inputs go along, and real targets are brought to mean 0 and deviation 1 by those
    of the training set. `instead` is as for `checks.classes_of`; raises `InputError` as `load` does for arrays.
    """
    for part in parts:
        checks.numbers(part.inputs, part.inputs_where)
        checks.not_empty(part.inputs, part.inputs_where)
        if part.targets.ndim > 0:
            checks.same_length(part.inputs, part.targets, part.targets_where)
        checks.finite(part.inputs, part.inputs_where)
        if part.inputs.shape[1:] != parts[0].inputs.shape[1:]:
            raise InputError(
                f"{part.inputs_where}: examples of shape {part.inputs.shape[1:]}, and those to train with have "
                f"{parts[0].inputs.shape[1:]}"
            )
    where = parts[0].targets_where
    kind, targets = checks.targets_of(task, *((part.targets, part.targets_where) for part in parts), instead=instead)
    outputs = targets[0].shape[-1]
    labels = None
    if kind == "classification":
        outputs, labels = checks.classes_of(*targets, where=where, instead=instead), targets[0]
    inputs = [part.inputs for part in parts]
    if len(parts) == 1:
        assert test_share is not None
        chosen = checks.split(len(inputs[0]), labels, test_share, where, instead)
        inputs, targets = [inputs[0][one] for one in chosen], [targets[0][one] for one in chosen]
    (train, test), statistics = inputs_of(inputs[0], inputs[1], normalize=normalize)
    if kind == "regression":
        targets = _real_targets(targets[0], targets[1], normalize=normalize)
    seen, unseen = (Split(one, torch.from_numpy(y)) for one, y in zip((train, test), targets, strict=True))
    return Dataset(seen, unseen, Task(tuple(train.shape[1:]), outputs, kind), *(statistics or ()))


def inputs_of(train: Array, test: Array, *, normalize: bool) -> tuple[tuple[Tensor, Tensor], Statistics | None]:
    """Both as `dataset_of` says, and the statistics of `train` where it is to be normalized."""
    train, test = (_numbers(_laid_out(one)) for one in (train, test))
    statistics = checks.channel_statistics(train) if normalize else None
    if train.dtype.kind == "f" or test.dtype != train.dtype:
        far = statistics is not None and any(abs(m) > _OFFSET * s for m, s in zip(*statistics, strict=True))
        train, test = (one.astype(np.float64 if far else np.float32, copy=False) for one in (train, test))
    return (_tensor(train), _tensor(test)), statistics


def _laid_out(inputs: Array) -> Array:
    colours = (1, 3, 4)
    if inputs.ndim == 1:
        return inputs[:, None]
    if inputs.ndim == 3 and inputs.dtype == np.uint8:
        return inputs[:, None]
    if inputs.ndim == 4 and inputs.shape[3] in colours and inputs.shape[1] not in colours:
        return inputs.transpose(0, 3, 1, 2)
    return inputs


def _numbers(inputs: Array) -> Array:
    """Bytes as bytes, and others as float32, or as float64 for now."""
    if inputs.dtype == bool:
        return inputs.astype(np.uint8)
    if inputs.dtype == np.uint8:
        return inputs
    exact = inputs.dtype.itemsize <= (4 if inputs.dtype.kind == "f" else 2)
    return inputs.astype(np.float32 if exact else np.float64, copy=False)


def _tensor(array: Array) -> Tensor:
    # PyTorch warns of arrays that are not writable, such as those mapped from a file.
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _real_targets(train: Array, test: Array, *, normalize: bool) -> list[Array]:
    """Both (n, outputs) as float32, by `normalize` with mean 0 and deviation 1 of each output in `train`."""
    if normalize:
        mean, std = (np.array(one) for one in checks.channel_statistics(train))
        train, test = (train - mean) / std, (test - mean) / std
    return [train.astype(np.float32), test.astype(np.float32)]


def _of_archive(path: Path) -> list[Part]:
    where = f"data.path: {path}"
    with path.open("rb") as stream:  # which NumPy does not close where it is no archive
        try:
            archive = np.load(stream, allow_pickle=False)
        except Exception as error:  # of zipfile, zlib, tokenize and others
            raise InputError(f"{where}: no readable .npz file: {_reason(error)}") from None
        if isinstance(archive, np.ndarray):
            raise InputError(f"{where}: one array, as in a .npy file; expected an archive with {_EXPECTED}")
        names = _names(archive.files, where)
        arrays = {name: _member(archive, name, where) for pair in names for name in pair}
    return [Part(arrays[x], arrays[y], f"{where}: {x}", f"{where}: {y}") for x, y in names]


def _member(archive: Mapping[str, Any], name: str, where: str) -> Array:
    try:
        found = archive[name]
    except Exception as error:  # as above
        raise InputError(f"{where}: {name} cannot be read: {_reason(error)}") from None
    if not isinstance(found, np.ndarray):
        raise InputError(f"{where}: {name} is no array")
    return found


def _names(there: Sequence[str], where: str) -> list[tuple[str, str]]:
    """Names of inputs and targets, of both parts or of one."""
    found: dict[tuple[str, str], str] = {}
    for name in there:
        match = _NAME.fullmatch(name.lower())
        if match is None or (match[1] and match[3]):
            continue
        key = (match[1] or match[3] or "", "x" if match[2] in _INPUTS else "y")
        key = ("train" if key[0] in _TRAIN else key[0], key[1])
        if key in found:
            raise InputError(f"{where}: both {found[key]} and {name}; expected one of them, as in {_EXPECTED}")
        found[key] = name
    train = _pair(found, "train")
    tests = [pair for one in _TEST if (pair := _pair(found, one)) is not None]
    if train is not None:
        halves = [name for (part, _), name in found.items() if part in _TEST]
        if tests or not halves:
            return [train, *tests[:1]]
    elif (whole := _pair(found, "")) is not None and not any(part for part, _ in found):
        return [whole]
    raise InputError(f"{where}: it has {checks.one_line(', '.join(there)) or 'no arrays'}, expected {_EXPECTED}")


def _pair(found: Mapping[tuple[str, str], str], part: str) -> tuple[str, str] | None:
    x, y = found.get((part, "x")), found.get((part, "y"))
    return (x, y) if x is not None and y is not None else None


def _read(path: Path, where: str) -> Array:
    """A .npy file, mapped into memory."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # as above
        raise InputError(f"{where}: no readable .npy file: {_reason(error)}") from None
    if not isinstance(found, np.ndarray):
        found.close()
        raise InputError(f"{where}: no .npy file but an archive; expected one array")
    return found


def _reason(error: Exception) -> str:
    if "allow_pickle" in str(error) or "Python objects" in str(error):
        return "it holds Python objects, or is damaged; expected numbers"
    return checks.one_line(error) or type(error).__name__
