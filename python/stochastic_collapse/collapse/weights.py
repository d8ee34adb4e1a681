"""Measuring files of weights: one, or those of a training in turn (`sc analyze --weights`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import InputError
from ..networks import Subject, subjects
from ..runs import RunDirectory, write_atomically
from ..weights import expand, steps_of
from .report import measure_layers


@dataclass(frozen=True)
class MeasuredWeights:
    """What was found in files of weights."""

    collapse: pd.DataFrame
    """The columns of collapse.csv; step is that of each file."""
    files: dict[int, Path]
    """By step, in increasing order."""
    subject: Subject
    """The network, with the weights of the last file."""
    said: list[str]
    """What was taken of each file, for people."""

    def write(self, folder: Path) -> None:
        """Write collapse.csv, as of a run, and weights.json, what was measured, into `folder`.

        Raises `InputError` where that is a run's directory.
        """
        if RunDirectory(folder).exists:
            raise InputError(f"{folder}: a run's directory, which has a collapse.csv of its own; name another folder")
        RunDirectory(folder).write_collapse(self.collapse)
        about = {**self.to_json(), "network": self.subject.recipe.to_json()}
        del about["collapse"]
        with write_atomically(folder / "weights.json") as temporary:
            temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "weights": [{"step": step, "file": str(path)} for step, path in self.files.items()],
            "model": self.subject.recipe.name,
            "taken": self.said,
            "collapse": self.collapse.to_dict("records"),
        }


def analyze_weights(
    paths: Path | Sequence[Path], model: str | None = None, *, steps: Sequence[int] | None = None, **how: Any
) -> MeasuredWeights:
    """Measure files or folders of weights of one network; see `networks.subject_of` for `model` and `how`.

    Of several files, or a folder of them, each is that of a step: `steps`, or what their names tell
    (`weights.steps_of`). Raises `InputError` as both do.
    """
    files = steps_of(expand([paths] if isinstance(paths, Path) else paths), steps)
    tables, said = [], []
    for subject, step, _, what in subjects(files, model, **how):
        tables.append(measure_layers(subject.weights(), subject.network.layers, step))
        said.append(what)
    return MeasuredWeights(pd.concat(tables, ignore_index=True), dict(files), subject, said)
