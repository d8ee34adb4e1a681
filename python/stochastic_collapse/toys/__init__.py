"""The toy problems of the paper, SDEs and small models trained by SGD, which show why SGD collapses (DESIGN §5)."""

from .directory import ToyDirectory, ToyRun, load_toy
from .learned import errors, independent_neurons, learned_values, losses, neurons
from .problems import ACTIVATIONS, ToyConfig, load_toys
from .simulation import simulate_toy

__all__ = [
    "ACTIVATIONS",
    "ToyConfig",
    "ToyDirectory",
    "ToyRun",
    "errors",
    "independent_neurons",
    "learned_values",
    "load_toy",
    "load_toys",
    "losses",
    "neurons",
    "simulate_toy",
]
