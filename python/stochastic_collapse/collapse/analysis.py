"""Measuring what lies on disk: the checkpoints of a run, or any file of weights (`sc analyze`)."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import pandas as pd

from ..errors import InputError
from ..models.weights import load_weights
from ..neurons import neuron_layers
from ..runs import RunDirectory
from .report import measure_layers

Steps = Collection[int] | Literal["all", "last"]


def analyze_run(run: RunDirectory, steps: Steps = "last") -> pd.DataFrame:
    """Measure checkpoints of a run, add them to its collapse.csv, and return the rows of these steps.

    `steps` are the checkpoints' steps, all of them, or the last. Raises `InputError` where there is no such checkpoint,
    and `RunLocked` while the run is training.
    """
    with run.lock():
        checkpoints = chosen_checkpoints(run, steps)
        model = run.config().model.name
        measured = pd.concat([_measure_file(path, model, step) for step, path in checkpoints.items()])
        before = run.collapse()
        kept = before[~before["step"].isin(measured["step"])]
        table = pd.concat([part for part in (kept, measured) if len(part)]).sort_values("step", kind="stable")
        run.write_collapse(table)
    return measured.reset_index(drop=True)


def chosen_checkpoints(run: RunDirectory, steps: Steps) -> dict[int, Path]:
    """Paths of the checkpoints at `steps`, in increasing order; `InputError` where there is no such checkpoint."""
    checkpoints = run.checkpoints()
    if not checkpoints:
        raise InputError(f"{run}: no checkpoint to analyze")
    if steps == "last":
        steps = [max(checkpoints)]
    elif steps == "all":
        steps = list(checkpoints)
    if missing := sorted(set(steps) - set(checkpoints)):
        there = ", ".join(map(str, checkpoints))
        raise InputError(f"{run}: no checkpoint of step {', '.join(map(str, missing))}; there are {there}")
    return {step: checkpoints[step] for step in sorted(set(steps))}


def analyze_weights(path: Path, model: str) -> pd.DataFrame:
    """Measure a file of weights of the built-in network called `model`; see `models.weights.load_weights`.

    Raises `InputError` for an unknown name, and where the file does not hold such a network's weights.
    """
    return _measure_file(path, model, step=0)


def _measure_file(path: Path, model: str, step: int) -> pd.DataFrame:
    weights = load_weights(path, model)
    return measure_layers(weights, neuron_layers(model, weights), step)
