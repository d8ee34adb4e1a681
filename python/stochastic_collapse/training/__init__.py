"""Training: settings in, a run directory out."""

from .loop import TrainResult, finetune, train, train_replicates

__all__ = ["TrainResult", "finetune", "train", "train_replicates"]
