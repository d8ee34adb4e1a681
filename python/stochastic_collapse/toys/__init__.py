"""The toy problems of the paper: stochastic differential equations that show why SGD collapses (DESIGN §5)."""

from .directory import ToyDirectory, ToyRun, load_toy
from .problems import ACTIVATIONS, ToyConfig, load_toys
from .simulation import simulate_toy

__all__ = ["ACTIVATIONS", "ToyConfig", "ToyDirectory", "ToyRun", "load_toy", "load_toys", "simulate_toy"]
