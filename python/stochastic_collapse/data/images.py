"""Folders of images as a data set: `image_folder`'s bytes, and what of them a network sees."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from ..config import ImagesSettings
from ..errors import InputError
from ..task import Task
from .dataset import Dataset, Split
from .files import TINY_IMAGENET
from .image_folder import channel_statistics, load_image_folder


def folder_of(settings: ImagesSettings, root: Path) -> Path:
    """Where the images lie: `path`, or of Tiny ImageNet the folder under `root` that `sc data` fills."""
    return Path(settings.path).expanduser() if settings.path is not None else root / TINY_IMAGENET.folder


def cache_of(root: Path) -> Path:
    """Where decoded images are kept: $SC_IMAGE_CACHE, else image-cache/ under `root`."""
    return Path(os.environ.get("SC_IMAGE_CACHE") or root / "image-cache")


def load(settings: ImagesSettings, root: Path, report: Callable[[str], None]) -> Dataset:
    """The images of a folder, decoded at the first call; see `image_folder.load_image_folder`.

    Raises `InputError` as it does, and where statistics are of another number of channels, or `size` is larger than
    the images; `Interrupted` where decoding was.
    """
    found = load_image_folder(
        folder_of(settings, root),
        cache_of(root),
        resize=settings.resize,
        channels=settings.channels,
        skip_corrupt=settings.skip_corrupt,
        workers=settings.workers,
        report=report,
    )
    if len(found.classes) < 2:
        raise InputError(f"data.path: {settings.path}: one class, {found.classes[0]}, expected two or more")
    channels, height, width = found.train[0].shape[1:]
    if settings.size is not None:
        if settings.size > min(height, width):
            raise InputError(f"data.size: {settings.size} is more than the images' {height} × {width} pixels")
        height = width = settings.size
    if settings.mean is None or settings.std is None:
        mean, std = channel_statistics(found.train[0])
    else:
        for name, given in (("mean", settings.mean), ("std", settings.std)):
            if len(given) != channels:
                raise InputError(f"data.{name}: {len(given)} numbers for {channels} channels (data.channels)")
        mean, std = (tuple(255 * one for one in given) for given in (settings.mean, settings.std))
    train, test = (
        Split(torch.from_numpy(pixels), torch.from_numpy(labels)) for pixels, labels in (found.train, found.test)
    )
    return Dataset(train, test, Task((channels, height, width), len(found.classes)), mean, std)
