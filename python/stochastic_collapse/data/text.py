"""Text as a data set, by bytes: the next byte is predicted from those before it."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np
import torch
from torch import Tensor

from ..config import TextSettings
from ..errors import InputError
from ..task import Task
from . import checks
from .dataset import Dataset, Split

_BYTES = 256


def load(settings: TextSettings) -> Dataset:
    """The bytes of a file, or of a folder's files (`files_of`) joined; the end is the test set.

    An example is `context` bytes and has for targets the bytes one further, both (n, context) uint8 views of the text;
    the next example begins where it ends, and the rest of the text is left out.

    Raises `InputError` as `files_of` does, and where either part has no example.
    """
    files = files_of(settings)
    try:
        text = np.concatenate([np.fromfile(path, np.uint8) for path in files.values()])
    except OSError as error:
        raise InputError(f"data.path: {error.filename or settings.path}: {error.strerror}") from None
    cut = len(text) - round(settings.test_share * len(text))
    parts = {"train": torch.from_numpy(text[:cut]), "test": torch.from_numpy(text[cut:])}
    needed = settings.context + 1
    for name, part in parts.items():
        if len(part) < needed:
            raise InputError(
                f"data.path: {settings.path}: {len(part)} of its {len(text)} bytes are to {name} with "
                f"(data.test_share), expected {needed} or more, for one example of data.context: {settings.context}"
            )
    task = Task((settings.context,), _BYTES, "next_token", vocabulary=_BYTES)
    return Dataset(_windows(parts["train"], settings.context), _windows(parts["test"], settings.context), task)


def files_of(settings: TextSettings) -> dict[str, Path]:
    """The file, or those of the folder that match the pattern, sorted by their names relative to it, with slashes.

    Hidden files and folders are left out, unless the pattern names one. Raises `InputError` where there is no file.
    """
    path, where = checks.path_at(settings.path, "data.path"), f"data.pattern: {settings.pattern}"
    if not path.is_dir():
        return {path.name: checks.file_at(settings.path, "data.path")}
    try:
        matching = [file for file in path.glob(settings.pattern) if file.is_file()]
    except (ValueError, NotImplementedError) as error:
        raise InputError(f"{where}: {error}; expected one such as **/*.txt") from None
    found = {file.relative_to(path).as_posix(): file for file in matching}
    if not _is_hidden(settings.pattern):
        found = {name: file for name, file in found.items() if not _is_hidden(name)}
    if not found:
        raise InputError(f"{where}: no file in {path} matches it")
    return dict(sorted(found.items()))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in PurePath(name).parts)


def _windows(text: Tensor, context: int) -> Split:
    count = (len(text) - 1) // context
    inputs, targets = (text[start : start + count * context].view(count, context) for start in (0, 1))
    return Split(inputs, targets)
