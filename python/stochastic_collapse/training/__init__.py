"""Training: settings in, a run directory out; and what theory says of a run's networks under that training."""

from .compressed import compress_run, compression_curve
from .loop import TrainResult, finetune, train, train_replicates
from .probe import check_probe, probe_run

__all__ = [
    "TrainResult",
    "check_probe",
    "compress_run",
    "compression_curve",
    "finetune",
    "probe_run",
    "train",
    "train_replicates",
]
