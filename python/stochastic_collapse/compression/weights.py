"""Compressing files of weights (`sc compress --weights`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..errors import InputError
from ..networks import Subject, subject_of, subjects
from ..neurons import ExampleInput
from ..runs import RunDirectory
from ..weights import expand, steps_of
from .compress import Compression, compress
from .saving import save_compressed

_EXAMPLES = 100  # of a call whose latency and FLOPs are told, and whose outputs are compared
_NUMBERS = 100 * 3 * 32 * 32  # of which inputs have no more, so that large images make no large example


def compress_weights(
    path: Path, model: str | None = None, tolerance: float = 0.1, out: Path | None = None, **how: Any
) -> tuple[Compression, Path]:
    """Compress the network of a file or folder of weights, and write the result beside it, or to `out`.

    See `networks.subject_of` for `model` and `how`. Returns what `compress` does, with FLOPs, latency and outputs for
    random inputs, and where it was written. Raises `InputError` as both do.
    """
    return compress_subject(subject_of(path, model, **how), tolerance, out or compressed_path(path))


def compress_files(
    paths: Sequence[Path],
    model: str | None = None,
    tolerance: float = 0.1,
    out: Path | None = None,
    *,
    steps: Sequence[int] | None = None,
    **how: Any,
) -> list[tuple[Path, Path, str, Compression]]:
    """`compress_weights` of each of several files or folders: it, where its network was written, what was taken of it.

    With a folder `out` the networks are written there, and compression.csv, as of a run; its steps are `steps`, or what
    `weights.steps_of` tells. Raises `InputError` as `compress_weights` and `steps_of` do, and where `out` is a run's
    directory or two networks would be written to one file.
    """
    found = expand(paths)
    into = out if out is not None and (len(found) > 1 or out.is_dir() or not out.suffix) else None
    if into is not None and RunDirectory(into).exists:
        raise InputError(f"{into}: a run's directory, which has a compression.csv of its own; name another folder")
    try:
        files = steps_of(found, steps)
    except InputError:
        if into is not None or steps is not None or not found:
            raise
        files = [(0, path) for path in found]  # whose steps nothing needs
    places = [compressed_path(path) for _, path in files]
    targets = [place if out is None else out if into is None else into / place.name for place in places]
    if twice := [path for path, n in Counter(targets).items() if n > 1]:
        raise InputError(f"{twice[0]}: several of the compressed networks would be written there; compress them apart")
    done, rows = [], []
    for target, (subject, step, path, said) in zip(targets, subjects(files, model, **how), strict=True):
        result, _ = compress_subject(subject, tolerance, target)
        rows.append({"step": step, **result.row()})
        done.append((path, target, said, result))
    if into is not None:
        RunDirectory(into).write_compression(pd.DataFrame(rows))
    return done


def compressed_path(path: Path) -> Path:
    """Where the compressed network of a file or folder of weights is written: beside it."""
    path = path if path.name not in ("", "..") else path.resolve()
    return path.with_name(f"{path.name if path.is_dir() else path.stem}_compressed.pt")


def compress_subject(subject: Subject, tolerance: float, out: Path) -> tuple[Compression, Path]:
    """As `compress_weights`, of a network with its weights."""
    model = subject.network.model
    result = compress(model, _random(subject.network.example), tolerance)
    # Of one that is compressed already, the file tells in what the result differs from what the recipe builds.
    plain = subject.recipe.build(result.model.state_dict())[0] if subject.is_compressed else model
    save_compressed(out, subject.recipe, result, plain)
    return result, out


def _random(example: ExampleInput) -> ExampleInput:
    """Examples of the same kind: normal numbers, and the tokens of the example itself."""
    if not isinstance(example, Tensor) or not example.is_floating_point():
        return example
    n = max(2, min(_EXAMPLES, _NUMBERS // max(1, example[0].numel())))
    return torch.randn(n, *example.shape[1:], generator=torch.Generator().manual_seed(0))
