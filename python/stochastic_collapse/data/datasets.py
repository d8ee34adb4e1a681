"""The datasets: small enough to lie as raw bytes on the device where a network trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ..config import DataSettings, SyntheticSettings
from ..errors import InputError
from .files import CIFAR10, CIFAR100, Archive, data_root

# Mean and standard deviation per channel, of pixels scaled to [0, 1] (docs/experiments.md#deep-networks).
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)
CIFAR100_MEAN, CIFAR100_STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)


@dataclass(frozen=True)
class Split:
    """Raw images (N, C, H, W) uint8 and labels (N,) int64."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Dataset:
    """A training and a test split, and the per-channel mean and standard deviation in units of a raw pixel value."""

    train: Split
    test: Split
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


def load_dataset(settings: DataSettings, root: Path | None = None) -> Dataset:
    """The dataset that `settings` name, read from `root` (default $SC_DATA, else ./data) where it lies in files.

    Raises `InputError` where its files are missing or damaged, and for a `train_size` that it cannot have.
    """
    dataset = DATASETS[settings.name](settings, root or data_root())
    if settings.train_size is None or not settings.whole_size:  # the settings made it of that size
        return dataset
    return replace(dataset, train=_first_of_each_class(dataset, settings.train_size, settings.name))


def _first_of_each_class(dataset: Dataset, size: int, name: str) -> Split:
    """`size` training examples in their order, of each class the first; classes that are small give all they have."""
    images, labels = dataset.train.images, dataset.train.labels
    if size > len(labels):
        raise InputError(f"data.train_size: {size} is more than the {len(labels)} training examples of {name}")
    if size < dataset.num_classes:
        raise InputError(f"data.train_size: {size} is less than the {dataset.num_classes} classes of {name}")
    is_label = functional.one_hot(labels, dataset.num_classes)
    rank_in_class = (is_label.cumsum(0) * is_label).sum(1)
    kept = (rank_in_class * dataset.num_classes + labels).argsort()[:size].sort().values
    return Split(images[kept], labels[kept])


def _digits() -> Dataset:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 1, 8, 8).astype(np.uint8)  # integers from 0 to 16
    parts = train_test_split(images, labels.astype(np.int64), test_size=0.2, stratify=labels, random_state=0)
    train_images, test_images, train_labels, test_labels = map(torch.from_numpy, parts)
    return Dataset(
        train=Split(train_images, train_labels),
        test=Split(test_images, test_labels),
        num_classes=10,
        mean=(float(pixels.mean()),),
        std=(float(pixels.std()),),
    )


def _cifar(
    archive: Archive,
    root: Path,
    *,
    label_byte: int,
    num_classes: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Dataset:
    folder = root / archive.folder

    def split(is_test: bool) -> Split:
        files = [file for file in archive.files if file.is_test == is_test]
        records = np.concatenate([_records(folder / file.name, file.records, archive) for file in files])
        labels = records[:, label_byte].astype(np.int64)
        if labels.max() >= num_classes:
            raise InputError(f"{folder}: a label of {labels.max()} among {num_classes} classes: the files are damaged")
        images = records[:, archive.label_bytes :].reshape(-1, 3, 32, 32)
        return Split(torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels))

    return Dataset(
        train=split(is_test=False),
        test=split(is_test=True),
        num_classes=num_classes,
        mean=tuple(255 * m for m in mean),
        std=tuple(255 * s for s in std),
    )


def _records(path: Path, count: int, archive: Archive) -> npt.NDArray[np.uint8]:
    how_to_get_it = f"run `sc data {archive.name}` to download it, or `sc data {archive.name} --from PATH` to import it"
    if not path.is_file():
        raise InputError(f"{path}: missing; {how_to_get_it}")
    found, expected = path.stat().st_size, count * archive.record_bytes
    if found != expected:
        raise InputError(f"{path}: {found} bytes, expected {expected}: the file is damaged; {how_to_get_it} again")
    return np.fromfile(path, dtype=np.uint8).reshape(count, archive.record_bytes)


def _synthetic(settings: SyntheticSettings) -> Dataset:
    """One random prototype per class, half-way mixed with noise: linearly separable in all but tiny shapes."""
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.rand(settings.num_classes, *settings.shape, generator=generator)

    def split(size: int) -> Split:
        labels = torch.arange(size) % settings.num_classes
        noise = torch.rand(size, *settings.shape, generator=generator)
        images = (255 * (prototypes[labels] + noise) / 2).to(torch.uint8)
        return Split(images, labels)

    channels = settings.shape[0]
    return Dataset(
        train=split(settings.train_size),
        test=split(settings.test_size),
        num_classes=settings.num_classes,
        mean=(127.5,) * channels,
        std=(52.0,) * channels,  # 255·√(2/12)/2
    )


DATASETS: Mapping[str, Callable[[Any, Path], Dataset]] = MappingProxyType(
    {
        "synthetic": lambda settings, root: _synthetic(settings),
        "digits": lambda settings, root: _digits(),
        "cifar10": lambda settings, root: _cifar(
            CIFAR10, root, label_byte=0, num_classes=10, mean=CIFAR10_MEAN, std=CIFAR10_STD
        ),
        "cifar100": lambda settings, root: _cifar(  # a coarse label's byte, then the fine label's
            CIFAR100, root, label_byte=1, num_classes=100, mean=CIFAR100_MEAN, std=CIFAR100_STD
        ),
    }
)
"""What a name in `data.name` stands for: the whole set, from its settings and the folder of files."""
