"""Figure 4: fewer neurons are independent where learning rate and label noise are larger (DESIGN §5)."""

from __future__ import annotations

from collections.abc import Sequence

from stochastic_collapse.sweeps import SweptRun

from . import fractions
from .fractions import draw
from .messages import Message
from .needs import Sweep

__all__ = ["CAPTION", "DIFFERENCES", "NEEDS", "TITLE", "draw", "load", "message"]

TITLE = "Figure 4: fewer neurons are independent where learning rate and label noise are larger"
CAPTION = (
    "Fraction of independent neurons of each layer at the end of training, against the learning rate (left) and "
    "against the share of training labels that are replaced at random, anew at every access (right). Mean over "
    "replicates, error bars of ± one standard deviation; darker layers are nearer to the input."
)
DIFFERENCES = {
    "paper": "ResNet-18 is measured on its exact invariant sets, 8 inner convolutions and 4 residual streams, where "
    "the paper shows 17 convolutions one by one. Two slips of the published notebooks are not followed: conv13 of "
    "VGG-16 repeats conv12's matrix there, and the ResNet's rows are shifted by one layer.",
    "quick": "A network of two hidden layers of 128 neurons on 8 × 8 digits for VGG-16 and ResNet-18; 20,000 steps "
    "for 100,000 (left), 40,000 for 1,000,000 at learning rate 0.05 (right); 3 replicates for 4. On this network "
    "learning rate × weight decay × steps sets the pace, and without weight decay nothing collapses in 20,000 "
    "steps. With label noise the first layer alone rises before it falls; the mean over both falls.",
}
NEEDS = Sweep.sizes(("learning-rate", "optimizer.lr"), ("label-noise", "data.label_noise"))


def load(runs: Sequence[Sequence[SweptRun]]) -> fractions.Results:
    """Finished runs of the two sweeps, of which one may be empty."""
    return fractions.load(NEEDS, runs)


def message(results: fractions.Results) -> list[Message]:
    """The fraction falls by 0.2 or more in each panel."""
    return fractions.message(results, 0.2)
