"""Figure 4: fewer neurons are independent where learning rate and label noise are larger (DESIGN §5)."""

from __future__ import annotations

from collections.abc import Sequence

from stochastic_collapse.sweeps import SweptRun

from . import fractions
from .fractions import draw
from .sources import Sweep

__all__ = ["SWEEPS", "draw", "load"]

SWEEPS = (Sweep("learning-rate", "optimizer.lr"), Sweep("label-noise", "data.label_noise"))


def load(runs: Sequence[Sequence[SweptRun]]) -> fractions.Results:
    """Finished runs of the two sweeps, of which one may be empty."""
    return fractions.load(SWEEPS, runs)
