"""Training: settings in, a run directory out; and what theory says of a run's networks under that training."""

from .loop import TrainResult, train
from .probe import probe_run

__all__ = ["TrainResult", "probe_run", "train"]
