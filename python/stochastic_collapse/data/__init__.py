"""Datasets and the device-resident batch loader."""

from .datasets import Dataset, Split, load_dataset
from .loader import Batch, BatchLoader, EvaluationBatches

__all__ = ["Batch", "BatchLoader", "Dataset", "EvaluationBatches", "Split", "load_dataset"]
