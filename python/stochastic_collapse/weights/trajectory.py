"""Several files of weights of one training: which they are, and of which steps."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from .formats import SUFFIXES

_LABELS = ("global_step", "step", "iteration", "iter", "epoch", "checkpoint", "ckpt")
_SHARD = re.compile(r"-\d+-of-\d+$")


def expand(paths: Sequence[Path]) -> list[Path]:
    """`paths`, with the members in place of a folder that holds a training's (`members`)."""
    return [one for path in map(Path.expanduser, paths) for one in members(path) or [path]]


def members(folder: Path) -> list[Path] | None:
    """The weights files, or checkpoint-N folders, of a folder that holds several; None for anything else.

    What `sc compress` wrote beside files is left out.
    """
    if not folder.is_dir() or (folder / ".metadata").is_file() or any(folder.glob("*.index.json")):
        return None
    entries = sorted(folder.iterdir())
    folders = [one for one in entries if one.is_dir() and re.fullmatch(r"(checkpoint|step|ckpt)[-_=]?\d+", one.name)]
    if folders:
        return folders
    files = [one for one in entries if one.suffix in SUFFIXES and not _SHARD.search(one.stem)]
    numbered = [one for one in files if re.search(r"\d", one.stem)]
    found = [one for one in numbered if not one.stem.endswith("_compressed")] or numbered
    return found if len(found) > 1 else None


def steps_of(paths: Sequence[Path], steps: Sequence[int] | None = None) -> list[tuple[int, Path]]:
    """The optimization step of each of `paths`, sorted by it: `steps`, or the number in which their names differ.

    Of several numbers that of a step counts before that of an epoch. One path without such a label has step 0. Raises
    `InputError` where names do not tell, and where two are of one step.
    """
    if not paths:
        raise InputError("no file of weights")
    if steps is None:
        steps = _from_names(paths)
    if len(steps) != len(paths):
        raise InputError(f"--steps: {len(steps)} steps for {len(paths)} files of weights")
    found = sorted(zip(steps, paths, strict=True), key=lambda pair: pair[0])
    for (one, a), (other, b) in itertools.pairwise(found):
        if one == other:
            raise InputError(f"{a} and {b}: both of step {one}; name the steps with --steps")
    return found


def _from_names(paths: Sequence[Path]) -> list[int]:
    names = [path.name if path.is_dir() else path.stem for path in paths]
    for label in _LABELS:
        labelled = [re.search(rf"(?<![a-z]){label}[-_=]?(\d+)", name.lower()) for name in names]
        if all(labelled) and (len(paths) == 1 or len({match[1] for match in labelled if match}) > 1):
            return [int(match[1]) for match in labelled if match]
    if len(paths) == 1:
        return [0]
    numbers = [[int(number) for number in re.findall(r"\d+", name)] for name in names]
    if len({len(of_one) for of_one in numbers}) == 1:
        varying = [column for column in zip(*numbers, strict=True) if len(set(column)) > 1]
        if len(varying) == 1:
            return list(varying[0])
    raise InputError(f"{paths[0]}, …: their names do not tell the steps; name them with --steps N,N,…")
