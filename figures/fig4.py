"""Figure 4: fewer neurons are independent where learning rate and label noise are larger."""

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
    "against the noise of the labels (right): the share of training labels that are replaced at random, anew at every "
    "access, or the standard deviation of Gaussian noise on the targets. Mean over replicates, error bars of ± one "
    "standard deviation; darker layers are nearer to the input. Dashed, with open circles: twins that are trained "
    "alike, with the gradient of all examples and no noise."
)
DIFFERENCES = {
    "paper": "ResNet-18 is measured on its exact invariant sets, 8 inner convolutions and 4 residual streams, where "
    "the paper shows 17 convolutions one by one. Two slips of the published notebooks are not followed: conv13 of "
    "VGG-16 repeats conv12's matrix there, and the ResNet's rows are shifted by one layer.",
    "quick": "A network of one hidden layer of 64 neurons on 8 × 8 digits for VGG-16 and ResNet-18, squared error for "
    "cross-entropy; Gaussian noise on the targets for replaced labels; 25,000 steps for 100,000 (left) and 1,000,000 "
    "(right); 3 replicates for 4. The twins without noise are not in the paper.",
}
_NOISE = {"paper": "data.label_noise", "quick": "data.target_noise"}
NEEDS = {
    size: (Sweep("learning-rate", "optimizer.lr", size), Sweep("label-noise", noise, size))
    for size, noise in _NOISE.items()
}


def load(runs: Sequence[Sequence[SweptRun]]) -> fractions.Results:
    """Finished runs of the two sweeps, of which one may be empty."""
    return fractions.load(NEEDS, runs)


def message(results: fractions.Results) -> list[Message]:
    """The fraction falls by 0.2 or more in each panel."""
    return fractions.message(results, 0.2)
