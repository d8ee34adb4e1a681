"""Whether a `Dataset` that users' code made is what its task says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..task import FIGURES, Input, Task
from . import checks
from .checks import Array
from .dataset import Dataset, Split


def checked(dataset: Dataset, where: str) -> Dataset:
    """`dataset` itself; raises `InputError`, which begins with `where`, for the first thing that does not fit."""
    _check_task(dataset.task, f"{where}: task")
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        if not isinstance(split, Split):
            raise InputError(f"{where}: {name}: a {type(split).__name__}, expected a Split of ours")
        targets = _array(split.targets, f"{where}: {name}: targets")
        _check_inputs(dataset.task, split.inputs, len(targets), f"{where}: {name}")
        _check_targets(dataset.task, targets, f"{where}: {name}: targets")
    _check_statistics(dataset, where)
    return dataset


def _check_task(task: Any, where: str) -> None:
    if not isinstance(task, Task):
        raise InputError(f"{where}: a {type(task).__name__}, expected a Task of ours")
    if task.kind not in FIGURES:
        raise InputError(f"{where}: kind: {task.kind}, expected {', '.join(FIGURES)}")
    if task.named is not None:
        leading = next(iter(task.named.values()), None)
        if leading != (of_task := Input(task.input_shape, task.vocabulary)):
            raise InputError(f"{where}: named: the first is {leading}, and the task's own {of_task}")


def _check_inputs(task: Task, inputs: Any, count: int, where: str) -> None:
    expected = task.named or {"": Input(task.input_shape, task.vocabulary)}
    found = inputs if isinstance(inputs, Mapping) else {"": inputs}
    if list(found) != list(expected):  # their order counts: the first is the one that is normalized
        raise InputError(
            f"{where}: inputs {', '.join(found) or 'without a name'}, and the task has {', '.join(expected)}"
            if task.named
            else f"{where}: inputs by name, and the task has one without (task.named)"
        )
    for index, (name, one) in enumerate(found.items()):
        at = f"{where}: {name or 'inputs'}"
        array = _array(one, at)
        if len(array) != count:
            raise InputError(f"{at}: {len(array)} examples and {count} targets, expected one for each")
        shape, wanted = array.shape[1:], expected[name].shape
        # Of larger images the centre is seen.
        larger = index == 0 and task.has_images and len(shape) == 3 and shape[0] == wanted[0]
        if shape != wanted and not (larger and shape[1] >= wanted[1] and shape[2] >= wanted[2]):
            raise InputError(f"{at}: examples of shape {shape}, and the task says {wanted}")
        checks.finite(array, at)
        if (vocabulary := expected[name].vocabulary) is not None:
            _check_whole(array, at)
            checks.labels_in_range(array, vocabulary, at, "token")


def _check_targets(task: Task, targets: Array, where: str) -> None:
    shapes = {"classification": (), "regression": (task.outputs,), "next_token": task.input_shape}
    if (shape := targets.shape[1:]) != shapes[task.kind]:
        raise InputError(
            f"{where}: of shape {targets.shape}, expected {(len(targets), *shapes[task.kind])}: {task.kind}"
        )
    if task.kind == "regression":
        checks.finite(targets, where)
    else:
        _check_whole(targets, where)
        checks.labels_in_range(targets, task.outputs, where, "token" if shape else "label")


def _check_statistics(dataset: Dataset, where: str) -> None:
    if (dataset.mean is None) != (dataset.std is None):
        raise InputError(f"{where}: one of mean and std, expected both or neither")
    shape = dataset.task.input_shape
    for name, statistics in (("mean", dataset.mean), ("std", dataset.std)):
        if statistics is None:
            continue
        if len(statistics) != (wanted := shape[0] if shape else 1):
            raise InputError(
                f"{where}: {name}: {len(statistics)} numbers for an input of shape {shape}, expected {wanted}"
            )
        if bad := [one for one in statistics if not math.isfinite(one) or (name == "std" and one <= 0)]:
            raise InputError(f"{where}: {name}: {bad[0]}, expected a number{' above 0' if name == 'std' else ''}")


def _check_whole(array: Array, where: str) -> None:
    if array.dtype.kind not in "iu":
        raise InputError(f"{where}: {array.dtype}, expected whole numbers")


def _array(value: Any, where: str) -> Array:
    """The numbers (n, …) of a tensor, of which there are some."""
    if not isinstance(value, Tensor):
        raise InputError(f"{where}: a {type(value).__name__}, expected a tensor")
    try:
        array: Array = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    except (RuntimeError, TypeError) as error:  # on a GPU, sparse, or part of a graph
        raise InputError(f"{where}: a tensor that is no array: {checks.one_line(error)}") from None
    checks.numbers(array, where)
    checks.not_empty(array, where)
    return array
