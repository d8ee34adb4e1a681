"""Whether a `Dataset` that users' code made is what its task says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from ..errors import InputError
from ..task import Input
from . import checks
from .dataset import Dataset, Inputs, Split


def checked(dataset: Dataset, where: str) -> Dataset:
    """`dataset` itself; raises `InputError`, which begins with `where`, for the first thing that does not fit."""
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        _check_inputs(dataset, split, f"{where}: {name}")
        _check_targets(dataset, split, f"{where}: {name}: targets")
    for name, statistics in (("mean", dataset.mean), ("std", dataset.std)):
        if statistics is not None and len(statistics) != dataset.task.input_shape[0]:
            raise InputError(
                f"{where}: {name}: {len(statistics)} numbers for an input of shape {dataset.task.input_shape}, "
                f"expected {dataset.task.input_shape[0]}"
            )
    return dataset


def _check_inputs(dataset: Dataset, split: Split, where: str) -> None:
    task = dataset.task
    expected = task.named or {"": Input(task.input_shape, task.vocabulary)}
    found = _by_name(split.inputs)
    if found.keys() != expected.keys():
        raise InputError(
            f"{where}: inputs {', '.join(found) or 'none'}, and the task has {', '.join(expected)}"
            if task.named
            else f"{where}: inputs by name, and the task has one without (task.named)"
        )
    for index, (name, one) in enumerate(found.items()):
        at = f"{where}: {name or 'inputs'}"
        if len(one) != len(split) or len(one) == 0:
            raise InputError(f"{at}: {len(one)} examples and {len(split)} targets, expected one for each, and not none")
        shape, wanted = tuple(one.shape[1:]), expected[name].shape
        # Of larger images the centre is seen.
        larger = index == 0 and task.has_images and len(shape) == 3 and shape[0] == wanted[0]
        if shape != wanted and not (larger and shape[1] >= wanted[1] and shape[2] >= wanted[2]):
            raise InputError(f"{at}: examples of shape {shape}, and the task says {wanted}")
        array = one.numpy()
        checks.finite(array, at)
        if (vocabulary := expected[name].vocabulary) is not None:
            _check_whole(array, at)
            checks.labels_in_range(array, vocabulary, at, "token")


def _check_targets(dataset: Dataset, split: Split, where: str) -> None:
    task, targets = dataset.task, split.targets.numpy()
    shapes = {"classification": (), "regression": (task.outputs,), "next_token": task.input_shape}
    if (shape := targets.shape[1:]) != shapes[task.kind]:
        raise InputError(
            f"{where}: of shape {targets.shape}, expected {(len(targets), *shapes[task.kind])}: {task.kind}"
        )
    if task.kind == "regression":
        checks.numbers(targets, where)
        checks.finite(targets, where)
    else:
        _check_whole(targets, where)
        checks.labels_in_range(targets, task.outputs, where, "token" if shape else "label")


def _check_whole(array: np.ndarray, where: str) -> None:
    if array.dtype.kind not in "iu":
        raise InputError(f"{where}: {array.dtype}, expected whole numbers")


def _by_name(inputs: Inputs) -> Mapping[str, Tensor]:
    return {"": inputs} if isinstance(inputs, Tensor) else inputs
