"""Training: settings in, a run directory out."""

from .loop import TrainResult, train

__all__ = ["TrainResult", "train"]
