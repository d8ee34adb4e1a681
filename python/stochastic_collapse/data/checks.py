"""What one's own data are checked for, and what is computed of them: classes, statistics, a split; on NumPy arrays.

`where` is what an error begins with: the setting, the file, and which array or column of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import InputError, nearest
from . import image_folder

Array = npt.NDArray[Any]
Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation along the first axis of an example."""
Targets = Literal["classification", "regression"]

_CHUNK_BYTES = 1 << 22
_LARGEST = float(np.finfo(np.float32).max)


def expanded(written: str, setting: str) -> Path:
    """The path that `setting` names, ~ replaced; raises `InputError` for the home directory of nobody."""
    try:
        return Path(written).expanduser()
    except RuntimeError:
        raise InputError(f"{setting}: {written}: no such home directory") from None


def path_at(written: str, setting: str) -> Path:
    """The file or folder that `setting` names; raises `InputError` where there is none, with the nearest names."""
    path = expanded(written, setting)
    try:
        if path.exists():
            return path
        there = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError as error:
        raise InputError(f"{setting}: {path}: {error.strerror}") from None
    looked = "" if path.is_absolute() else f" in {Path.cwd()}"
    raise InputError(f"{setting}: {path}: no such file{looked}{one_line(nearest(path.name, there))}")


def file_at(written: str, setting: str) -> Path:
    """As `path_at`, of files only."""
    path = path_at(written, setting)
    if not path.is_file():
        raise InputError(f"{setting}: {path}: a {'folder' if path.is_dir() else 'device'}, expected a file")
    return path


def one_line(text: object) -> str:
    """What files and other libraries say, with spaces for its line breaks."""
    return " ".join(str(text).split())


def not_empty(array: Array, where: str) -> None:
    """Raise `InputError` where `array` (n, …) has no example, or examples without a number."""
    if array.ndim == 0:
        raise InputError(f"{where}: one number, expected one or more for each example")
    if array.size == 0:
        what = "no example" if len(array) == 0 else "examples without a number"
        raise InputError(f"{where}: {what}, as its shape is {array.shape}")


def numbers(array: Array, where: str) -> None:
    """Raise `InputError` where `array` holds no real numbers."""
    if array.dtype.kind not in "biuf":
        kind = {"O": "objects", "U": "text", "S": "text", "T": "text"}.get(array.dtype.kind, str(array.dtype))
        raise InputError(f"{where}: {kind}, expected numbers")


def same_length(inputs: Array, targets: Array, where: str) -> None:
    """Raise `InputError` where there are not as many targets as inputs."""
    if len(inputs) != len(targets):
        raise InputError(f"{where}: {len(targets)} targets for {len(inputs)} inputs, expected one for each")


def finite(array: Array, where: str) -> None:
    """Raise `InputError` where numbers are NaN, infinite, or too large for float32: how many, and the first example."""
    if array.dtype.kind != "f":
        return
    first, bad = None, 0
    for start, chunk in _chunks(array):
        is_bad = ~(np.abs(chunk) <= _LARGEST)
        if is_bad.any():
            if first is None:
                first = start + int(np.argwhere(is_bad)[0][0])
            bad += int(is_bad.sum())
    if first is not None:
        raise InputError(
            f"{where}: {bad} of {array.size} numbers are NaN, infinite or too large for float32, the first in example "
            f"{first} (counted from 0); leave such examples out, or fill them in"
        )


def labels_in_range(labels: Array, classes: int, where: str, what: str = "label") -> None:
    """Raise `InputError` where a label, or `what` it is, is none of 0 … classes − 1."""
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        index = tuple(int(axis) for axis in np.argwhere(outside)[0])
        raise InputError(
            f"{where}: a {what} of {labels[index]} in example {index[0]} (counted from 0), expected 0 to {classes - 1}"
        )


def classes_of(*labels: Array, where: str, instead: str) -> int:
    """One more than the largest label in any of the arrays.

    Raises `InputError` for negative labels, for a single class, and for more classes than examples; `instead` says
    what to do where the numbers are no classes.
    """
    lowest, highest = min(int(one.min()) for one in labels), max(int(one.max()) for one in labels)
    examples = sum(map(len, labels))
    if lowest < 0:
        raise InputError(f"{where}: a label of {lowest}, expected classes, counted from 0; {instead}")
    if lowest == highest:
        raise InputError(f"{where}: all labels are {lowest}, expected two classes or more; {instead}")
    if highest >= examples:
        raise InputError(
            f"{where}: a label of {highest}, and so more classes than the {examples} examples, expected classes, "
            f"counted from 0; {instead}"
        )
    return highest + 1


def targets_of(task: Literal["auto"] | Targets, *given: tuple[Array, str], instead: str) -> tuple[Targets, list[Array]]:
    """What kind of targets arrays of one set are, each with its `where`: labels (n,) int64, or (n, outputs) float64.

    auto: whole numbers are labels. Raises `InputError` for other shapes, for text, for NaN, and where classes are no
    whole numbers; `instead` is as for `classes_of`.
    """
    for targets, where in given:
        numbers(targets, where)
        not_empty(targets, where)
        finite(targets, where)
        if targets.ndim > 2:
            raise InputError(f"{where}: of shape {targets.shape}, expected (n,) or (n, outputs)")
    flat = [
        (targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets, where) for targets, where in given
    ]
    whole = all(targets.dtype.kind in "biu" for targets, _ in flat)
    if task == "regression" or (task == "auto" and not whole):
        columns = [targets.reshape(len(targets), -1).astype(np.float64) for targets, _ in flat]
        for column, (_, where) in zip(columns, given, strict=True):
            if column.shape[1] != columns[0].shape[1]:
                raise InputError(
                    f"{where}: {column.shape[1]} outputs, and those to train with have {columns[0].shape[1]}"
                )
        return "regression", columns
    for targets, where in flat:
        if targets.ndim != 1:
            raise InputError(
                f"{where}: of shape {targets.shape}, expected classes (n,), of one-hot ones their argmax; {instead}"
            )
        if (broken := np.flatnonzero(targets != np.floor(targets))).size:
            raise InputError(
                f"{where}: {targets[broken[0]]} in example {broken[0]} (counted from 0) is no class, expected whole "
                f"numbers; {instead}"
            )
        if targets.dtype == np.uint64 and targets.max() > np.iinfo(np.int64).max:
            raise InputError(f"{where}: a label of {targets.max()}, expected classes, counted from 0; {instead}")
    return "classification", [targets.astype(np.int64) for targets, _ in flat]


def channel_statistics(inputs: Array) -> Statistics:
    """Mean and standard deviation of real `inputs` (n, C, …) along C, in double precision; 1 of what is constant."""
    if inputs.dtype == np.uint8:
        return image_folder.channel_statistics(inputs)
    axes = (0, *range(2, inputs.ndim))
    count = inputs.size // inputs.shape[1]
    lowest = np.min([chunk.min(axes) for _, chunk in _chunks(inputs)], axis=0)
    highest = np.max([chunk.max(axes) for _, chunk in _chunks(inputs)], axis=0)
    mean = sum(chunk.sum(axes, dtype=np.float64) for _, chunk in _chunks(inputs)) / count
    aligned = mean.reshape(-1, *(1 for _ in axes[1:]))
    squares = sum(np.square(chunk - aligned).sum(axes) for _, chunk in _chunks(inputs))
    std = np.sqrt(squares / count)
    std[(lowest == highest) | (std == 0)] = 1
    return tuple(mean.tolist()), tuple(std.tolist())


def split(n: int, labels: Array | None, share: float, where: str, instead: str) -> tuple[Array, Array]:
    """Indices to train and to test with, drawn with a fixed seed; of `labels` (n,) each class keeps its share.

    Raises `InputError` where too few examples are left for one of the two, or a class has a single one; `instead` is
    as for `classes_of`.
    """
    from sklearn.model_selection import train_test_split  # takes a second

    tested = math.ceil(share * n)
    if n - tested < 1:
        raise InputError(
            f"{where}: {n} examples, of which {tested} are to test with (data.test_share) and none is left"
        )
    if labels is not None:
        found, counts = np.unique(labels, return_counts=True)
        if (lone := found[counts < 2]).size:
            raise InputError(
                f"{where}: class {one_line(lone[0])} has one example, expected two or more, to train and to test with; "
                f"{instead}"
            )
        if min(tested, n - tested) < len(found):
            raise InputError(
                f"{where}: {n - tested} examples to train and {tested} to test with (data.test_share), expected one "
                f"or more of each of {len(found)} classes; {instead}"
            )
    train, test = train_test_split(np.arange(n), test_size=share, stratify=labels, random_state=0)
    return train, test


def _chunks(array: Array) -> Iterator[tuple[int, Array]]:
    """Examples of a few megabytes at a time, in double precision, and the index of the first."""
    step = max(1, _CHUNK_BYTES * len(array) // (8 * array.size))
    for start in range(0, len(array), step):
        yield start, np.asarray(array[start : start + step], dtype=np.float64)
