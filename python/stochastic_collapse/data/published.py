"""Readers of datasets in the form in which they are published: MNIST's idx files and SVHN's MATLAB files."""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .downloads import DataFile, FileSet, sha256_of
from .files import FASHION_MNIST, MNIST, SVHN

Split = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
"""Images (N, C, H, W) and labels (N,), from 0 to 9."""

# Mean and standard deviation per channel, of the training pixels scaled to [0, 1]. MNIST's are those of PyTorch's
# example (pytorch/examples, mnist/main.py), SVHN's those of PatrickZH/DeepCore (deepcore/datasets/svhn.py) and many
# others; Fashion-MNIST's are computed from its files.
MNIST_MEAN, MNIST_STD = (0.1307,), (0.3081,)
FASHION_MNIST_MEAN, FASHION_MNIST_STD = (0.2860,), (0.3530,)
SVHN_MEAN, SVHN_STD = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)

_CLASSES = 10


def mnist(folder: Path) -> tuple[Split, Split]:
    """MNIST's 60,000 training and 10,000 test images, (N, 1, 28, 28), from the four .gz files in `folder`.

    Raises `InputError` where a file is missing, damaged, or another one.
    """
    return _idx_splits(MNIST, folder)


def fashion_mnist(folder: Path) -> tuple[Split, Split]:
    """Fashion-MNIST, which is in MNIST's form: see `mnist`."""
    return _idx_splits(FASHION_MNIST, folder)


def svhn(folder: Path) -> tuple[Split, Split]:
    """SVHN's 73,257 training and 26,032 test digits, (N, 3, 32, 32) RGB, from the two .mat files in `folder`.

    The files' label 10 is the digit 0. Raises `InputError` as `mnist` does.
    """
    train, test = (_mat(file, folder) for file in SVHN.files)
    return train, test


def _bad(archive: FileSet, path: Path, what: str) -> InputError:
    how = f"run `sc data {archive.name}` to download it, or `sc data {archive.name} --from PATH` to import it"
    return InputError(f"{path}: {what}; {how}")


def _idx_splits(archive: FileSet, folder: Path) -> tuple[Split, Split]:
    def split(images: DataFile, labels: DataFile) -> Split:
        pixels = _idx(archive, images, folder, (28, 28)).reshape(images.records, 1, 28, 28)
        classes = _idx(archive, labels, folder, ()).astype(np.int64)
        if classes.max() >= _CLASSES:
            raise _bad(archive, folder / labels.name, f"a label of {classes.max()} among {_CLASSES} classes")
        return pixels, classes

    train_images, train_labels, test_images, test_labels = archive.files
    return split(train_images, train_labels), split(test_images, test_labels)


def _idx(archive: FileSet, file: DataFile, folder: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """A packed idx file of bytes: big-endian int32 with 2048 + dimensions, the length of each, and then the data."""
    path = folder / file.name
    expected = [2049 + len(shape), file.records, *shape]
    size = prod(expected[1:])
    try:
        with gzip.open(path) as stream:
            header = stream.read(4 * len(expected))
            data = stream.read(size + 1)  # to the end, where gzip checks its sum, but not without bound
    except FileNotFoundError:
        raise _bad(archive, path, "missing") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _bad(archive, path, f"damaged: {error}") from None
    found = np.frombuffer(header[: len(header) // 4 * 4], ">i4").tolist()
    if found != expected:
        raise _bad(archive, path, f"an idx header of {found}, expected {expected}")
    if len(data) != size:
        number = f"{len(data)}" if len(data) < size else f"more than {size}"
        raise _bad(archive, path, f"{number} bytes after its header, expected {size}")
    return np.frombuffer(bytearray(data), np.uint8)  # of a bytearray, so that it can be written to


def _mat(file: DataFile, folder: Path) -> Split:
    """A file with X (32, 32, 3, N), bytes, the first axis the fastest, and y (N, 1), from 1 to 10."""
    from scipy.io import loadmat  # it takes a while

    path = folder / file.name
    if not path.is_file():
        raise _bad(SVHN, path, "missing")
    if (digest := sha256_of(path)) != file.sha256:  # not left to loadmat: damaged files can crash it, and Python
        raise _bad(SVHN, path, f"damaged, or another file: SHA-256 {digest}, expected {file.sha256}")
    contents = loadmat(path, appendmat=False)
    images, labels = contents["X"], contents["y"]
    if images.shape != (32, 32, 3, file.records) or labels.shape != (file.records, 1) or images.dtype != np.uint8:
        raise _bad(SVHN, path, f"{images.dtype} X {images.shape} and y {labels.shape}, expected {file.records} images")
    if labels.min() < 1 or labels.max() > _CLASSES:
        raise _bad(SVHN, path, f"labels from {labels.min()} to {labels.max()}, expected 1 to {_CLASSES}")
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels[:, 0].astype(np.int64) % _CLASSES
