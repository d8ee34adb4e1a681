"""The toy problems of the paper, SDEs and small models trained by SGD, which show why SGD collapses (DESIGN §5)."""

from .directory import ToyDirectory, ToyRun, load_toy
from .problems import ACTIVATIONS, ToyConfig, load_toys
from .simulation import simulate_toy
from .students import learned_values, losses

__all__ = [
    "ACTIVATIONS",
    "ToyConfig",
    "ToyDirectory",
    "ToyRun",
    "learned_values",
    "load_toy",
    "load_toys",
    "losses",
    "simulate_toy",
]
