"""How far a network has collapsed: vanished and redundant neurons, effective rank (DESIGN §4)."""

from .analysis import Steps, analyze_run, analyze_weights
from .effective_rank import effective_rank
from .independent import count_independent
from .report import incoming_vectors, measure_collapse, measure_layers, neuron_vectors, outgoing_vectors
from .similarity import normalized_distance

__all__ = [
    "Steps",
    "analyze_run",
    "analyze_weights",
    "count_independent",
    "effective_rank",
    "incoming_vectors",
    "measure_collapse",
    "measure_layers",
    "neuron_vectors",
    "normalized_distance",
    "outgoing_vectors",
]
