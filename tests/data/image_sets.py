"""Folders of images for tests, and what loads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stochastic_collapse.data.image_folder import ImageFolder

Load = Callable[..., ImageFolder]


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def two_classes(folder: Path, per_class: int = 3) -> np.ndarray:
    """Random grey PNGs of 5 × 4 pixels: (split, class, image, 5, 4)."""
    pixels = random_images(2, 2, per_class, 5, 4)
    for s, split in enumerate(("train", "val")):
        for c, name in enumerate(("cat", "dog")):
            for k in range(per_class):
                save(folder / split / name / f"{k}.png", pixels[s, c, k])
    return pixels


def files_of(cache: Path) -> set[str]:
    return {path.name for path in cache.rglob("*") if path.is_file() and path.name != ".lock"}


COMPLETE = {"train.npy", "test.npy", "labels-train.npy", "labels-test.npy", "index.json"}


def spoil_three(folder: Path) -> None:
    (folder / "train" / "cat" / "1.png").write_text("no image")
    truncated = save(folder / "train" / "dog" / "0.png", random_images(5, 4))
    truncated.write_bytes(truncated.read_bytes()[:-30])
    (folder / "val" / "dog" / "2.png").write_bytes(b"")
