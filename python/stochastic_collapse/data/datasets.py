"""Data sets from settings: what a name, or a reference, in `data.name` stands for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch.nn import functional

from ..config import (
    ArraysSettings,
    CIFAR10Settings,
    CIFAR100Settings,
    DataSettings,
    DigitsSettings,
    ImagesSettings,
    MNISTSettings,
    PythonDataSettings,
    Settings,
    SVHNSettings,
    SyntheticSettings,
    TabularSettings,
    TextSettings,
)
from ..errors import InputError
from ..task import Task
from . import arrays, built_in, images, python, tabular, text
from .dataset import Dataset, Split, each
from .files import data_root

Report = Callable[[str], None]
"""Called with one line of news for the user."""

_LOADERS: Mapping[type, Callable[[Any, Path, Report], Dataset]] = MappingProxyType(
    {
        DigitsSettings: lambda settings, root, report: built_in.digits(),
        CIFAR10Settings: lambda settings, root, report: built_in.cifar10(root),
        CIFAR100Settings: lambda settings, root, report: built_in.cifar100(root),
        MNISTSettings: lambda settings, root, report: built_in.mnist(settings, root),
        SVHNSettings: lambda settings, root, report: built_in.svhn(root),
        SyntheticSettings: lambda settings, root, report: built_in.synthetic(settings),
        ImagesSettings: images.load,
        ArraysSettings: lambda settings, root, report: arrays.load(settings),
        TabularSettings: lambda settings, root, report: tabular.load(settings),
        TextSettings: lambda settings, root, report: text.load(settings),
        PythonDataSettings: lambda settings, root, report: python.load(settings),
    }
)


def load_dataset(settings: DataSettings, root: Path | None = None, report: Report = lambda line: None) -> Dataset:
    """The data set that `settings` name; those with a name of their own lie under `root` ($SC_DATA, else ./data).

    Raises `InputError` where its files are missing or damaged, for a `train_size` that it cannot have, and for noise
    and augmentation that make no sense for its task.
    """
    dataset = _LOADERS[type(settings)](settings, root or data_root(), report)
    _refuse_senseless(settings, dataset.task)
    if settings.train_size is None or isinstance(settings, SyntheticSettings):  # those are made of that size
        return dataset
    return replace(dataset, train=_part(dataset, settings.train_size, settings.name))


def training_examples(settings: DataSettings) -> int:
    """How many examples its training set has, without loading it where the settings tell; raises as `load_dataset`."""
    size = settings.train_size or getattr(settings, "whole_size", None)
    return size if size is not None else _counted(settings.model_dump_json(), type(settings))


@functools.lru_cache(maxsize=64)
def _counted(settings: str, kind: type[Settings]) -> int:
    return len(load_dataset(kind.model_validate_json(settings)).train)  # type: ignore[arg-type]


def _refuse_senseless(settings: DataSettings, task: Task) -> None:
    if settings.label_noise and task.kind == "regression":
        raise InputError("data.label_noise: replaces classes by others, and these targets are real; take target_noise")
    if settings.label_noise and task.outputs < 2:
        raise InputError("data.label_noise: replaces a class by another, and there is only one")
    if settings.target_noise and task.kind == "next_token":
        raise InputError(
            "data.target_noise: is added to one-hot or real targets, and these are tokens; take label_noise"
        )
    if not task.has_images:
        for key in ("crop_padding", "flip", "random_resized_crop"):
            if getattr(settings, key, None):
                raise InputError(f"data.{key}: is for images, and these inputs are {_kind(task)}")


def _kind(task: Task) -> str:
    return "tokens" if task.vocabulary is not None else f"numbers of shape {task.input_shape}"


def _part(dataset: Dataset, size: int, name: str) -> Split:
    """`size` training examples, the first: of each class, in shares as equal as possible, where there are classes."""
    split, classes = dataset.train, dataset.task.outputs
    if size > len(split):
        raise InputError(f"data.train_size: {size} is more than the {len(split)} training examples of {name}")
    if dataset.task.kind != "classification":
        return Split(each(split.inputs, lambda one: one[:size]), split.targets[:size])
    if size < classes:
        raise InputError(f"data.train_size: {size} is less than the {classes} classes of {name}")
    labels = split.targets
    is_label = functional.one_hot(labels, classes)
    rank_in_class = (is_label.cumsum(0) * is_label).sum(1)
    kept = (rank_in_class * classes + labels).argsort()[:size].sort().values
    return Split(each(split.inputs, lambda one: one[kept]), labels[kept])
