"""The toy problems of the paper, SDEs and small models trained by SGD, which show why SGD collapses."""

from .directory import ToyDirectory, ToyRun, load_toy
from .learned import before_drop, errors, independent_neurons, learned_values, losses, neurons, spreads, summarize
from .problems import ACTIVATIONS, ToyConfig, load_toys
from .simulation import simulate_toy

__all__ = [
    "ACTIVATIONS",
    "ToyConfig",
    "ToyDirectory",
    "ToyRun",
    "before_drop",
    "errors",
    "independent_neurons",
    "learned_values",
    "load_toy",
    "load_toys",
    "losses",
    "neurons",
    "simulate_toy",
    "spreads",
    "summarize",
]
