"""Figure 6: the longer SGD runs at a high learning rate, the more it collapses, and the better it is after the drop.

For each network of the sweep (DESIGN §5): training loss and test accuracy of the run at the high learning rate and of
its continuations at the low one, each starting at a drop time; test accuracy just before the drop and at the end of the
continuation; fraction of independent neurons of each layer at the drop times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stochastic_collapse.config import identity
from stochastic_collapse.errors import InputError
from stochastic_collapse.sweeps.directory import SweptRun

from . import style
from .sources import Sweep, by_network

SETTING = "from.step"
SWEEPS = (Sweep("learning-rate-drop", SETTING),)

_HIGH = "0.55"  # colour of the run at the high learning rate


@dataclass(frozen=True)
class Network:
    """A run at a high learning rate, and those that were fine-tuned from it; replicates together."""

    name: str
    high: pd.DataFrame
    """Rows of metrics.csv of the run at the high learning rate."""
    after: pd.DataFrame
    """Those of the fine-tuned runs, with the column `drop`, from which their steps count on."""
    accuracy: pd.DataFrame
    """A row for each fine-tuned run: drop, replicate, before and after, test accuracies between 0 and 1."""
    collapse: pd.DataFrame
    """Rows of collapse.csv of the run at the high learning rate at the drop times."""


def load(runs: Sequence[Sequence[SweptRun]]) -> list[Network]:
    """Pair the fine-tuned runs of the sweep with the runs they started from, which their settings name.

    Raises `InputError` where no run at the high learning rate is finished.
    """
    (members,) = runs
    sources: dict[str, dict[int, SweptRun]] = {}
    for run in members:
        if SETTING not in run.varied:
            sources.setdefault(identity(run.directory.config()), {})[run.replicate] = run
    drops: dict[str, list[SweptRun]] = {}
    for fine_tuned in by_network(members, SETTING).values():
        for run in fine_tuned:
            origin = run.directory.config().origin
            if origin is not None and origin.identity in sources:
                drops.setdefault(origin.identity, []).append(run)
    if not sources:
        raise InputError("figure fig6: of this sweep no run at the high learning rate is finished")
    return [_network(source, drops.get(key, [])) for key, source in sources.items()]
