"""Networks to measure: that of a run, and that of a file of weights, with their layers of interchangeable neurons."""

from .network import Network
from .of_runs import layers_of, network_of
from .of_weights import Subject, subject_of, subjects

__all__ = ["Network", "Subject", "layers_of", "network_of", "subject_of", "subjects"]
