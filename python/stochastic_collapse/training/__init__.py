"""Training: settings in, a run directory out; and what theory says of a run's networks under that training."""

from .loop import TrainResult, finetune, train, train_replicates
from .probe import probe_run

__all__ = ["TrainResult", "finetune", "probe_run", "train", "train_replicates"]
