"""Data that users' own code makes: two torch Datasets, each example of which is read once, or a Dataset of ours."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from .. import user_code
from ..config import PythonDataSettings
from ..errors import InputError
from ..task import Input, Task
from . import checks, consistency
from .arrays import Part, dataset_of
from .checks import Array
from .dataset import Dataset, Split

_TARGETS = ("labels", "label", "targets", "target")
_TESTS = ("test", "validation", "val", "valid")
_EXPECTED = "expected two torch Datasets, to train and to test, as a pair or by these names, or a Dataset of ours"
_INSTEAD = "real targets are floats"
_NAMELESS = ""
_SOME = 256  # examples there is room for at first, where their number is not known


class _Table(NamedTuple):
    """All examples of a set."""

    inputs: dict[str, Array]
    """By name; `_NAMELESS` where there is one without."""
    targets: Array
    where: str


def load(settings: PythonDataSettings) -> Dataset:
    """What the callable returns: a `Dataset`, which is checked and left as it is, or two torch Datasets.

    These have a length and items, or can be iterated over to an end. An example is (input, target), or a mapping or an
    object with the target as labels, label, targets or target; a pair's input may be a mapping too. Of several inputs
    names are kept, and of a lone one beside its target not. Tensors, arrays, images of PIL, numbers, and lists of them
    will do. They are read with fixed random seeds, so the same call gives the same.

    Whole numbers (length,) that are no bytes are tokens, and by name of any shape; the first input else is as
    `arrays.dataset_of` has it. Targets that are whole numbers are classes, or for inputs (length,) of the same shape
    the next tokens, and others real targets. Targets that are the tokens themselves, as transformers wants them, are
    moved by one.

    Raises `InputError` for all else, for what users' code raises, for examples of several shapes, for NaN, and as
    `checks` does.
    """
    where = f"data.name: {settings.name}"
    with _fixed_randomness():
        function = user_code.load(settings.name, "data.name")
        made = user_code.call(function, where, **settings.arguments)
        if isinstance(made, Dataset):
            return consistency.checked(made, where)
        train, test = (_read(source, f"{where}: {part}") for source, part in _both(made, where))
    if train.inputs.keys() != test.inputs.keys():
        raise InputError(f"{test.where}: {_listed(test.inputs)}, and those to train with have {_listed(train.inputs)}")
    return _dataset(train, test, normalize=settings.normalize)


@contextmanager
def _fixed_randomness() -> Iterator[None]:
    """The generators that users' code draws from by itself start at 0, and are afterwards as they were."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002  # theirs, not ours
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


def _listed(names: Iterable[str]) -> str:
    return "a lone input" if _NAMELESS in names else f"inputs {', '.join(names)}"


# --- reading examples ---


def _both(made: Any, where: str) -> list[tuple[Any, str]]:
    if isinstance(made, Mapping):
        test = next((name for name in _TESTS if name in made), None)
        if "train" not in made or test is None:
            raise InputError(f"{where}: returned a mapping with {', '.join(map(str, made)) or 'nothing'}; {_EXPECTED}")
        pair = [(made["train"], "train"), (made[test], test)]
    elif isinstance(made, (tuple, list)) and len(made) == 2:
        pair = [(made[0], "train"), (made[1], "test")]
    elif isinstance(made, (tuple, list)):
        raise InputError(f"{where}: returned {len(made)} values; {_EXPECTED}")
    else:
        raise InputError(f"{where}: returned one {type(made).__name__}; {_EXPECTED}")
    for source, part in pair:
        if isinstance(source, DataLoader):
            raise InputError(f"{where}: {part}: a DataLoader, expected the Dataset inside; batches are made here")
        is_readable = _has_items(source) or hasattr(source, "__iter__")
        if isinstance(source, (Tensor, np.ndarray, str)) or not is_readable:
            raise InputError(
                f"{where}: {part}: a {type(source).__name__}, expected a torch Dataset, with items and a length or to "
                "iterate over"
            )
    return pair


def _has_items(source: Any) -> bool:
    return (
        hasattr(source, "__getitem__")
        and hasattr(source, "__len__")
        and not isinstance(source, (IterableDataset, dict))
    )


def _examples(source: Any, where: str) -> Iterator[Any]:
    """Each example; what users' code raises meanwhile becomes one line."""
    if _has_items(source):
        for index in range(user_code.call(lambda: len(source), where)):
            yield user_code.call(lambda index=index: source[index], f"{where}: example {index}")
        return
    over, end, index = user_code.call(lambda: iter(source), where), object(), 0
    while (example := user_code.call(lambda: next(over, end), f"{where}: example {index}")) is not end:
        yield example
        index += 1


def _read(source: Any, where: str) -> _Table:
    room = user_code.call(lambda: len(source), where) if _has_items(source) else _SOME
    inputs: dict[str, _Stack] = {}
    targets, names = _Stack(room), None
    for index, example in enumerate(_examples(source, where)):
        at = f"{where}: example {index}"
        found, target = _parts(example, at)
        if names is None:
            names = found.keys()
            inputs = {name: _Stack(room) for name in names}
        if found.keys() != names:
            raise InputError(f"{at}: {_listed(found)}, and those before it have {_listed(names)}")
        for name, value in found.items():
            inputs[name].add(value, f"{at}: {name or 'input'}")
        targets.add(target, f"{at}: target")
    if names is None:
        raise InputError(f"{where}: no example")
    return _Table({name: stack.whole() for name, stack in inputs.items()}, targets.whole(), where)


def _parts(example: Any, where: str) -> tuple[Mapping[str, Any], Any]:
    """Inputs by name, and the target."""
    if hasattr(example, "_asdict"):  # a named tuple
        example = example._asdict() if any(name in example._fields for name in _TARGETS) else tuple(example)
    if isinstance(example, (tuple, list)) and len(example) == 2:
        inputs, target = example
        return (_by_name(inputs, where) if isinstance(inputs, Mapping) else {_NAMELESS: inputs}), target
    fields = example if isinstance(example, Mapping) else getattr(example, "__dict__", {})
    if not (found := [name for name in _TARGETS if name in fields]):
        what = f"a {type(example).__name__}"
        if isinstance(example, (tuple, list)):
            what += f" of {len(example)}"
        elif isinstance(example, Mapping):
            what += f" with {', '.join(map(str, example)) or 'nothing'}"
        raise InputError(
            f"{where}: {what}, expected (input, target), or inputs by name and one of {', '.join(_TARGETS)}"
        )
    inputs = _by_name({name: value for name, value in fields.items() if name != found[0]}, where)
    return ({_NAMELESS: next(iter(inputs.values()))} if len(inputs) == 1 else inputs), fields[found[0]]


def _by_name(inputs: Mapping[Any, Any], where: str) -> dict[str, Any]:
    if not inputs:
        raise InputError(f"{where}: a target, and no input")
    return {str(name): value for name, value in inputs.items()}


class _Stack:
    """Arrays of one shape below one another, as they come, in the smallest type that holds all of them."""

    def __init__(self, room: int) -> None:
        self._room, self._count = room, 0
        self._rows: Array | None = None

    def add(self, value: Any, where: str) -> None:
        array = _array(value, where)
        rows = np.empty((self._room, *array.shape), array.dtype) if self._rows is None else self._rows
        if array.shape != rows.shape[1:]:
            raise InputError(
                f"{where}: of shape {array.shape}, and those before it have {rows.shape[1:]}; make them one"
            )
        if self._count == len(rows):
            rows = np.concatenate([rows, np.empty_like(rows)])
        if array.dtype != rows.dtype:
            rows = rows.astype(np.promote_types(array.dtype, rows.dtype), copy=False)
        rows[self._count] = array
        self._rows, self._count = rows, self._count + 1

    def whole(self) -> Array:
        assert self._rows is not None
        return self._rows[: self._count]


def _array(value: Any, where: str) -> Array:
    try:
        if isinstance(value, Tensor):
            value = value.detach().cpu()
            array = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        elif (pil := sys.modules.get("PIL.Image")) is not None and isinstance(value, pil.Image):
            array = _of_image(value)
        else:
            array = np.asarray(value)
    except Exception as error:  # a list of lists of several lengths, a sparse tensor, half of an image
        raise InputError(
            f"{where}: a {type(value).__name__} that is no array, expected numbers of one shape: "
            f"{checks.one_line(error)}"
        ) from None
    if array.dtype.kind == "O":
        raise InputError(f"{where}: {type(value).__name__}, expected a tensor, an array, an image or numbers")
    checks.numbers(array, where)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _of_image(image: Any) -> Array:
    """(channels, height, width)"""
    mode = {"1": "L", "LA": "RGBA", "PA": "RGBA", "RGBa": "RGBA"}.get(image.mode, image.mode)
    if mode not in ("L", "RGB", "RGBA", "F") and not mode.startswith("I"):
        mode = "RGB"
    array = np.asarray(image.convert(mode) if mode != image.mode else image)
    return array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)


# --- making a set of them ---


def _dataset(train: _Table, test: _Table, *, normalize: bool) -> Dataset:
    name = next(iter(train.inputs))
    if all(_are_next_tokens(table.inputs[name], table.targets) for table in (train, test)):
        train, test = (_moved(table, name) for table in (train, test))
        dataset = _of_next_tokens(train, test, name)
    else:
        parts = [_part(table, name) for table in (train, test)]
        dataset = dataset_of(parts, normalize=normalize, instead=_INSTEAD)
        if all(_are_tokens(table.inputs[name], name) for table in (train, test)):
            dataset = _with_tokens(dataset, train, test, name)
    return dataset if name == _NAMELESS else _with_names(dataset, train, test)


def _part(table: _Table, name: str) -> Part:
    return Part(table.inputs[name], table.targets, _at(table, name), f"{table.where}: targets")


def _at(table: _Table, name: str) -> str:
    return f"{table.where}: {name or 'inputs'}"


def _are_tokens(array: Array, name: str) -> bool:
    return array.dtype.kind in "iu" and array.dtype != np.uint8 and (array.ndim == 2 or name != _NAMELESS)


def _are_next_tokens(inputs: Array, targets: Array) -> bool:
    whole = inputs.dtype.kind in "iu" and targets.dtype.kind in "iu"
    return whole and inputs.ndim == 2 and targets.shape == inputs.shape and targets.shape[1] > 1


def _moved(table: _Table, name: str) -> _Table:
    """Where the targets are the tokens themselves, the last of them only as a target and the first only as an input."""
    length = table.targets.shape[1]
    if not np.array_equal(table.inputs[name], table.targets):
        return table
    cut = {key: one[:, :-1] if one.shape[1:2] == (length,) else one for key, one in table.inputs.items()}
    return _Table(cut, table.targets[:, 1:], table.where)


def _of_next_tokens(train: _Table, test: _Table, name: str) -> Dataset:
    whole = [(one, where) for table in (train, test) for one, where in _tokens_of(table, name)]
    vocabulary = _vocabulary(*whole)
    seen, unseen = (Split(*map(_tokens, (table.inputs[name], table.targets))) for table in (train, test))
    length = train.targets.shape[1]
    if test.targets.shape[1] != length:
        raise InputError(f"{test.where}: {test.targets.shape[1]} tokens, and those to train with have {length}")
    return Dataset(seen, unseen, Task((length,), vocabulary, "next_token", vocabulary=vocabulary))


def _tokens(array: Array) -> Tensor:
    return torch.from_numpy(array.astype(np.int64))


def _tokens_of(table: _Table, name: str) -> list[tuple[Array, str]]:
    return [(table.inputs[name], _at(table, name)), (table.targets, f"{table.where}: targets")]


def _vocabulary(*tokens: tuple[Array, str]) -> int:
    for array, where in tokens:
        if array.min() < 0:
            example = int(np.argwhere(array < 0)[0][0])
            raise InputError(
                f"{where}: a token of {array.min()} in example {example} (counted from 0), expected 0 or more; "
                "examples of one length need no padding"
            )
    return 1 + max(int(array.max()) for array, _ in tokens)


def _with_tokens(dataset: Dataset, train: _Table, test: _Table, name: str) -> Dataset:
    """`dataset`, whose inputs stay whole numbers."""
    vocabulary = _vocabulary(*((table.inputs[name], _at(table, name)) for table in (train, test)))
    seen, unseen = (
        Split(_tokens(table.inputs[name]), split.targets)
        for table, split in ((train, dataset.train), (test, dataset.test))
    )
    task = dataset.task._replace(input_shape=train.inputs[name].shape[1:], vocabulary=vocabulary)
    return Dataset(seen, unseen, task)


def _lone(split: Split) -> Tensor:
    assert isinstance(split.inputs, Tensor)
    return split.inputs


def _with_names(dataset: Dataset, train: _Table, test: _Table) -> Dataset:
    """`dataset`, whose inputs are the first, together with the others."""
    first, *others = train.inputs
    named = {first: Input(dataset.task.input_shape, dataset.task.vocabulary)}
    inputs: list[dict[str, Tensor]] = [{first: _lone(split)} for split in (dataset.train, dataset.test)]
    for name in others:
        arrays = [table.inputs[name] for table in (train, test)]
        where = [_at(table, name) for table in (train, test)]
        for array, at in zip(arrays, where, strict=True):
            checks.not_empty(array, at)
            checks.finite(array, at)
        if arrays[0].shape[1:] != arrays[1].shape[1:]:
            raise InputError(f"{where[1]}: of shape {arrays[1].shape[1:]}, and {arrays[0].shape[1:]} to train with")
        vocabulary = None
        if all(_are_tokens(array, name) for array in arrays):
            vocabulary = _vocabulary(*zip(arrays, where, strict=True))
        for part, array in zip(inputs, arrays, strict=True):
            part[name] = _tokens(array) if vocabulary is not None else torch.from_numpy(array.astype(np.float32))
        named[name] = Input(train.inputs[name].shape[1:], vocabulary)
    splits = [Split(part, split.targets) for part, split in zip(inputs, (dataset.train, dataset.test), strict=True)]
    return replace(dataset, train=splits[0], test=splits[1], task=dataset.task._replace(named=named))
