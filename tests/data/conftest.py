"""A folder for a set of images, and a call that loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stochastic_collapse.data.image_folder import ImageFolder, load_image_folder

from .image_sets import Load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "set"


@pytest.fixture
def load(folder: Path, tmp_path: Path) -> Load:
    """Load `folder` as grey images of their own size, unless told otherwise."""

    def call(**settings: Any) -> ImageFolder:
        defaults = {"resize": None, "channels": 1, "skip_corrupt": False}
        return load_image_folder(folder, tmp_path / "cache", **{**defaults, **settings})

    return call
