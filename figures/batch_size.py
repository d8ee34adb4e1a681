"""The supplement to Figure 4: fewer neurons are independent where batches are smaller."""

from __future__ import annotations

from collections.abc import Sequence

from stochastic_collapse.sweeps import SweptRun

from . import fractions
from .fractions import draw
from .messages import Message
from .needs import Sweep

__all__ = ["CAPTION", "DIFFERENCES", "NEEDS", "TITLE", "draw", "load", "message"]

TITLE = "Batch size (supplement to Figure 4): fewer neurons are independent where batches are smaller"
CAPTION = (
    "Fraction of independent neurons of each layer at the end of training, against the batch size. Mean over "
    "replicates, error bars of ± one standard deviation."
)
DIFFERENCES = {
    "paper": "Conv13 of VGG-16 is measured by its own matrix; the published notebook repeats conv12's.",
    "quick": "A network of two hidden layers of 128 neurons on 8 × 8 digits for VGG-16, learning rate 0.1 for 0.02, "
    "batches of 16 to 128 for 32 to 512, 5,000 steps for 100,000: after 20,000 weight decay has collapsed all of "
    "them alike. The second layer has not begun to collapse by then.",
}
NEEDS = Sweep.sizes(("batch-size", "batch_size"))


def load(runs: Sequence[Sequence[SweptRun]]) -> fractions.Results:
    """Finished runs of the sweep."""
    return fractions.load(NEEDS, runs)


def message(results: fractions.Results) -> list[Message]:
    """The fraction falls by 0.1 or more in each panel."""
    return fractions.message(results, 0.1)
