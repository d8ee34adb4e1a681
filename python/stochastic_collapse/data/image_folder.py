"""A folder of images, decoded once into memory-mapped files of bytes that later calls find again.

    FOLDER/train/<class>/**/*.jpg, FOLDER/val/<class>/**/*.jpg    the classes are the names of train's folders
    FOLDER/val/images/*.JPEG, FOLDER/val/val_annotations.txt      or so, as Tiny ImageNet has its test split

    CACHE/<folder's name>-<hash12>/
        train.npy  test.npy  labels-train.npy  labels-test.npy  index.json

index.json is written last: a cache without it is not believed. The hash is that of the files' names, classes, sizes and
times, and of what is made of them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import InputError, Interrupted, StochasticCollapseError
from ..interruption import stop_signals
from .image_cache import build, locked
from .image_decoding import Decoder

Split = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
"""Images (N, C, H, W), mapped from a file (private: writing changes no file), and labels (N,)."""

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".tif", ".tiff"})
_TEST_FOLDERS = ("val", "validation", "test")  # the first that is there; some sets have a test split without labels
_FORMAT = 1  # of the cache; another number where other pixels are made of the same files
_FEW = 200  # images that are decoded sooner than worker processes start
_CHUNK_BYTES = 1 << 22  # of which sums are taken at once


@dataclass(frozen=True)
class ImageFolder:
    """Both splits of a folder of images, in the order of the files' names."""

    train: Split
    test: Split
    classes: tuple[str, ...]
    """Names by label."""
    skipped: tuple[str, ...]
    """Corrupt images that were left out, relative to the folder."""


class File(NamedTuple):
    """An image file, and what tells whether it is still the same."""

    name: str
    """Relative to the folder, with slashes."""
    label: int
    size: int
    modified: int
    """Nanoseconds."""


@dataclass(frozen=True)
class Listing:
    """The image files of a folder, sorted by name."""

    folder: Path
    classes: tuple[str, ...]
    train: list[File]
    test: list[File]

    def path(self, file: File) -> str:
        return os.path.join(self.folder, file.name)  # noqa: PTH118  # a million of them

    def digest(self, *facts: object, times: bool) -> str:
        """SHA-256 of `facts` and of names, classes and sizes, and with `times` of when files were changed."""
        digest = hashlib.sha256("".join(f"{fact}\n" for fact in facts).encode())
        for name, label, size, modified in sorted(self.train + self.test):
            line = (name, self.classes[label], str(size), *([str(modified)] if times else []))
            digest.update("\0".join(line).encode("utf-8", "surrogateescape") + b"\n")
        return digest.hexdigest()


def load_image_folder(
    folder: Path,
    cache: Path,
    *,
    resize: int | None,
    channels: Literal[1, 3],
    skip_corrupt: bool,
    workers: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> ImageFolder:
    """The images of `folder` (see the module), from `cache` where it has them, else decoded into it.

    Images become grey (`channels` 1) or RGB (3), upright by EXIF orientation; 16 bits become the upper 8 and alpha is
    dropped. With `resize` the largest centre square is scaled to that side; without it all must have one size. With
    `skip_corrupt` corrupt images are left out and reported. `workers` processes decode (default: one for each CPU that
    we may use, none for few images); the result does not depend on them. A bar is shown on a terminal. Where another
    process decodes the same, it is waited for.

    Raises `InputError` for another layout, classes that do not fit, and images that cannot be read or have several
    sizes; `Interrupted` on Ctrl-C or SIGTERM, when nothing half-written is left; `OSError` where the cache cannot be
    written.
    """
    listing = _list(folder)
    key = listing.digest(_FORMAT, resize, channels, skip_corrupt, times=True)
    place = cache / f"{folder.resolve().name or 'images'}-{key[:12]}"
    found = _open(place, key)
    if found is None:
        total = len(listing.train) + len(listing.test)
        if workers is None:
            workers = 1 if total < _FEW else _cpus()
        with Decoder(max(1, min(workers, total))) as decoder, stop_signals(decoder.stop) as stopped:
            with locked(place, stopped, report):
                found = _open(place, key)  # by whom we waited for
                if found is None:
                    report(f"{folder}: {total:,} images of {len(listing.classes)} classes are decoded, into {place}")
                    build(place, key, listing, decoder, resize, channels, skip_corrupt)
                    found = _open(place, key)
            if stopped():  # too late to stop it
                raise Interrupted(f"{folder}: interrupted; its images are decoded, and the same command goes on")
    if found is None:
        raise StochasticCollapseError(f"{place}: what was just written cannot be read; is the disk sound?")
    if found.skipped:
        some = ", ".join(found.skipped[:3]) + (", …" if len(found.skipped) > 3 else "")
        report(f"{folder}: {len(found.skipped):,} corrupt images are left out: {some}")
    return found


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def contents_digest(folder: Path) -> str:
    """``sha256:…`` of the names, classes and sizes of the images of `folder`, wherever it lies and whenever made.

    Pixels are not read: files that differ in nothing else are taken for the same. Raises `InputError` as
    `load_image_folder` does for layout and classes.
    """
    return f"sha256:{_list(folder).digest(times=False)}"


def channel_statistics(images: npt.NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels of `images` (N, C, H, W), in raw pixel values.

    Sums are taken in integers, so both are exact to float64's rounding. A constant channel has the deviation 1, by
    which one can divide. Raises `InputError` where there is no pixel.
    """
    if images.size == 0:
        raise InputError(f"images of shape {images.shape}: no pixel to take the mean of")
    count, channels = images.size // images.shape[1], images.shape[1]
    sums, squares = [0] * channels, [0] * channels
    step = max(1, _CHUNK_BYTES * len(images) // images.size)
    for start in range(0, len(images), step):
        chunk = images[start : start + step]
        values = chunk.astype(np.uint16)
        np.multiply(values, values, out=values)  # 255² fits
        for c in range(channels):
            sums[c] += int(chunk[:, c].sum(dtype=np.uint64))
            squares[c] += int(values[:, c].sum(dtype=np.uint64))
    mean = tuple(total / count for total in sums)
    std = tuple(math.sqrt(count * q - s * s) / count for s, q in zip(sums, squares, strict=True))
    return mean, tuple(deviation or 1.0 for deviation in std)


# --- what is in the folder ---


def _list(folder: Path) -> Listing:
    train = folder / "train"
    test = next((folder / name for name in _TEST_FOLDERS if (folder / name).is_dir()), None)
    if not train.is_dir() or test is None:
        missing = "no such folder" if not folder.is_dir() else "no val/" if train.is_dir() else "no train/"
        raise InputError(
            f"data.path: {folder}: {missing}; expected train/<class>/*.jpg and val/<class>/*.jpg in it "
            "(val may be validation or test; other formats: png, bmp, gif, webp, ppm, tiff)"
        )
    names = _class_folders(train)
    if not names:
        raise InputError(f"{train}: no class in it; expected a folder for each, train/<class>/*.jpg")
    labels = {name: label for label, name in enumerate(names)}
    files = []
    for name, label in labels.items():
        images, others = _images(folder, f"train/{name}", label)
        if not images:
            kinds = f", but {others} files of other kinds" if others else ""
            raise InputError(f"{train / name}: no image of this class{kinds}; remove the folder, or fill it")
        files += images
    annotations = test / "val_annotations.txt"
    if annotations.is_file() and (test / "images").is_dir():
        found, others = _annotated(folder, test, annotations, labels)
    else:
        found, others = [], 0
        for name in _class_folders(test):
            if name not in labels:
                raise InputError(f"{test / name}: a class that {train} lacks")
            images, more = _images(folder, f"{test.name}/{name}", labels[name])
            found += images
            others += more
    if not found:
        raise InputError(f"{test}: no image in it" + (f", but {others} files of other kinds" if others else ""))
    return Listing(folder, tuple(names), sorted(files), sorted(found))


def _class_folders(split: Path) -> list[str]:
    """Sorted names of the folders in `split`, in which no image may lie outside of them."""
    folders = []
    with os.scandir(split) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif _is_image(entry.name):
                raise InputError(f"{entry.path}: an image in no class; expected {split.name}/<class>/{entry.name}")
    return sorted(folders)


def _images(folder: Path, place: str, label: int) -> tuple[list[File], int]:
    """The images at any depth of `folder`/`place`, and the number of files that are none by their suffix."""
    images, others = [], 0
    for name, entry in _walk(folder / place, place):
        if not _is_image(name):
            others += 1
            continue
        try:
            stat = entry.stat()
        except FileNotFoundError:  # a link to nowhere: decoding it says so
            stat = entry.stat(follow_symlinks=False)
        images.append(File(name, label, stat.st_size, stat.st_mtime_ns))
    return images, others


def _walk(folder: Path | str, place: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Files that are not hidden; a link to a folder around it ends as an `OSError` of the operating system."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = f"{place}/{entry.name}"
            if entry.is_dir():
                yield from _walk(entry.path, name)
            else:
                yield name, entry


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122  # a million of them


def _annotated(folder: Path, test: Path, annotations: Path, labels: dict[str, int]) -> tuple[list[File], int]:
    """The images of Tiny ImageNet's test split: the file has name, class and a box in each line, between tabs."""
    label_of = {}
    for number, line in enumerate(annotations.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        fields = line.split("\t")
        if not line.strip():
            continue
        if len(fields) < 2:
            raise InputError(f"{annotations}, line {number}: expected a file's name, a tab and its class")
        if fields[1] not in labels:
            raise InputError(f"{annotations}, line {number}: {fields[1]}: a class that {folder / 'train'} lacks")
        label_of[f"{test.name}/images/{fields[0]}"] = labels[fields[1]]
    images, others = _images(folder, f"{test.name}/images", 0)
    for name in sorted({file.name for file in images} ^ set(label_of)):
        what = "no such image, but it is named in" if name in label_of else "no class of this image in"
        raise InputError(f"{folder / name}: {what} {annotations}")
    return [file._replace(label=label_of[file.name]) for file in images], others


# --- what is in the cache ---


def _open(place: Path, key: str) -> ImageFolder | None:
    """The cache at `place`; None where it is not complete."""
    try:
        index = json.loads((place / "index.json").read_text(encoding="utf-8"))
        if index["key"] != key:
            return None
        train, test = ((_map(place / f"{s}.npy"), np.load(place / f"labels-{s}.npy")) for s in ("train", "test"))
        if any(images.ndim != 4 or len(images) != len(labels) for images, labels in (train, test)):
            return None
        return ImageFolder(train, test, tuple(index["classes"]), tuple(index["skipped"]))
    except (FileNotFoundError, EOFError, ValueError, KeyError, TypeError):
        return None


def _map(path: Path) -> npt.NDArray[np.uint8]:
    """Writable without a change of the file, since PyTorch warns of arrays that are not."""
    try:
        images: npt.NDArray[np.uint8] = np.load(path, mmap_mode="c")
    except OSError as error:
        if error.errno != errno.ENOMEM:  # Linux reserves memory for what might be written
            raise
        images = np.load(path, mmap_mode="r")
    return images
