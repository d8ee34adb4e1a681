"""Measuring what lies on disk: the checkpoints of a run (`sc analyze`)."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import pandas as pd

from ..errors import InputError
from ..networks import network_of
from ..runs import RunDirectory
from ..weights.files import state_of_checkpoint
from .report import measure_layers

Steps = Collection[int] | Literal["all", "last"]


def analyze_run(run: RunDirectory, steps: Steps = "last") -> pd.DataFrame:
    """Measure checkpoints of a run, add them to its collapse.csv, and return the rows of these steps.

    `steps` are the checkpoints' steps, all of them, or the last. Raises `InputError` where there is no such checkpoint,
    and as `network_of` does; `RunLocked` while the run is training.
    """
    with run.lock():
        checkpoints = chosen_checkpoints(run, steps)
        states = {step: state_of_checkpoint(path) for step, path in checkpoints.items()}
        layers = network_of(run, next(iter(states.values()))).layers
        measured = pd.concat([measure_layers(state, layers, step) for step, state in states.items()])
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
