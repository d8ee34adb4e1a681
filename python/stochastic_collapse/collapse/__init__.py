"""How far a network has collapsed, and whether theory predicts that it will collapse further."""

from .analysis import Steps, analyze_run, chosen_checkpoints
from .attraction import attractivity
from .clustering import clustered
from .effective_rank import effective_rank
from .independent import count_independent
from .report import measure_collapse, measure_layers
from .similarity import normalized_distance
from .weights import MeasuredWeights, analyze_weights

__all__ = [
    "MeasuredWeights",
    "Steps",
    "analyze_run",
    "analyze_weights",
    "attractivity",
    "chosen_checkpoints",
    "clustered",
    "count_independent",
    "effective_rank",
    "measure_collapse",
    "measure_layers",
    "normalized_distance",
]
