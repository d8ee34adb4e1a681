"""The data sets that have a name of their own: digits, CIFAR, MNIST, SVHN, and random images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..config import MNISTSettings, SyntheticSettings
from ..errors import InputError
from ..task import Task
from . import published
from .dataset import Dataset, Split
from .files import CIFAR10, CIFAR100, FASHION_MNIST, MNIST, SVHN, Archive

# Mean and standard deviation per channel, of pixels scaled to [0, 1] (docs/experiments.md#deep-networks).
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)
CIFAR100_MEAN, CIFAR100_STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)

_Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel."""


def images(train: published.Split, test: published.Split, classes: int, statistics: _Statistics) -> Dataset:
    """A set of images (N, C, H, W) with labels, and `statistics` in units of a raw pixel value."""
    seen, unseen = (Split(torch.from_numpy(pixels), torch.from_numpy(labels)) for pixels, labels in (train, test))
    return Dataset(seen, unseen, Task(tuple(train[0].shape[1:]), classes), *statistics)


def digits() -> Dataset:
    """scikit-learn's digits, in a fixed stratified split."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    whole = pixels.reshape(-1, 1, 8, 8).astype(np.uint8)  # integers from 0 to 16
    parts = train_test_split(whole, labels.astype(np.int64), test_size=0.2, stratify=labels, random_state=0)
    train_images, test_images, train_labels, test_labels = parts
    statistics = (float(pixels.mean()),), (float(pixels.std()),)
    return images((train_images, train_labels), (test_images, test_labels), 10, statistics)


def cifar10(root: Path) -> Dataset:
    """CIFAR-10 from the folder of its official binary layout under `root`."""
    return _cifar(CIFAR10, root, label_byte=0, classes=10, mean=CIFAR10_MEAN, std=CIFAR10_STD)


def cifar100(root: Path) -> Dataset:
    """CIFAR-100, of whose two labels the fine one is taken, the second byte."""
    return _cifar(CIFAR100, root, label_byte=1, classes=100, mean=CIFAR100_MEAN, std=CIFAR100_STD)


def mnist(settings: MNISTSettings, root: Path) -> Dataset:
    """MNIST or Fashion-MNIST from its published files under `root`."""
    if settings.name == "mnist":
        splits = published.mnist(root / MNIST.folder)
        return images(*splits, 10, _scaled(published.MNIST_MEAN, published.MNIST_STD))
    splits = published.fashion_mnist(root / FASHION_MNIST.folder)
    return images(*splits, 10, _scaled(published.FASHION_MNIST_MEAN, published.FASHION_MNIST_STD))


def svhn(root: Path) -> Dataset:
    """Street View House Numbers from its published files under `root`."""
    return images(*published.svhn(root / SVHN.folder), 10, _scaled(published.SVHN_MEAN, published.SVHN_STD))


def synthetic(settings: SyntheticSettings) -> Dataset:
    """One random prototype per class, half-way mixed with noise: linearly separable in all but tiny shapes."""
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.rand(settings.num_classes, *settings.shape, generator=generator)

    def split(size: int) -> Split:
        labels = torch.arange(size) % settings.num_classes
        noise = torch.rand(size, *settings.shape, generator=generator)
        return Split((255 * (prototypes[labels] + noise) / 2).to(torch.uint8), labels)

    channels = settings.shape[0]
    return Dataset(
        train=split(settings.train_size),
        test=split(settings.test_size),
        task=Task(settings.shape, settings.num_classes),
        mean=(127.5,) * channels,
        std=(52.0,) * channels,  # 255·√(2/12)/2
    )


def _scaled(mean: tuple[float, ...], std: tuple[float, ...]) -> _Statistics:
    return tuple(255 * m for m in mean), tuple(255 * s for s in std)


def _cifar(
    archive: Archive, root: Path, *, label_byte: int, classes: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> Dataset:
    folder = root / archive.folder

    def split(is_test: bool) -> published.Split:
        files = [file for file in archive.files if file.is_test == is_test]
        records = np.concatenate([_records(folder / file.name, file.records, archive) for file in files])
        labels = records[:, label_byte].astype(np.int64)
        if labels.max() >= classes:
            raise InputError(f"{folder}: a label of {labels.max()} among {classes} classes: the files are damaged")
        return np.ascontiguousarray(records[:, archive.label_bytes :].reshape(-1, 3, 32, 32)), labels

    return images(split(is_test=False), split(is_test=True), classes, _scaled(mean, std))


def _records(path: Path, count: int, archive: Archive) -> npt.NDArray[np.uint8]:
    how_to_get_it = f"run `sc data {archive.name}` to download it, or `sc data {archive.name} --from PATH` to import it"
    if not path.is_file():
        raise InputError(f"{path}: missing; {how_to_get_it}")
    found, expected = path.stat().st_size, count * archive.record_bytes
    if found != expected:
        raise InputError(f"{path}: {found} bytes, expected {expected}: the file is damaged; {how_to_get_it} again")
    return np.fromfile(path, dtype=np.uint8).reshape(count, archive.record_bytes)
