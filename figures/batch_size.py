"""The supplement to Figure 4: fewer neurons are independent where batches are smaller (DESIGN §5)."""

from __future__ import annotations

from collections.abc import Sequence

from stochastic_collapse.sweeps import SweptRun

from . import fractions
from .fractions import draw
from .sources import Sweep

__all__ = ["SWEEPS", "draw", "load"]

SWEEPS = (Sweep("batch-size", "batch_size"),)


def load(runs: Sequence[Sequence[SweptRun]]) -> fractions.Results:
    """Finished runs of the sweep."""
    return fractions.load(SWEEPS, runs)
