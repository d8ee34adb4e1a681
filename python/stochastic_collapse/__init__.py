"""stochastic-collapse: how SGD noise drives networks to simpler subnetworks.

The public names below load on first use, so that importing the package costs no import of torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .catalogue import load_runs
    from .collapse import attractivity, measure_collapse
    from .compression import load_compressed
    from .compression.compress import Compression, compress
    from .config import TrainConfig, load_config
    from .monitor import CollapseMonitor
    from .toys import ToyConfig, ToyRun, load_toy, load_toys, simulate_toy
    from .training import TrainResult, finetune, train, train_replicates

from .resources import shipped

__version__ = "0.1.0"

# In a checkout figures/ lies at the top level, in a wheel inside the package; here it is a subpackage of ours.
__path__.append(str(shipped("figures").parent))

_HOME = {
    "TrainConfig": "config",
    "load_config": "config",
    "load_runs": "catalogue",
    "finetune": "training",
    "train": "training",
    "train_replicates": "training",
    "TrainResult": "training",
    "measure_collapse": "collapse",
    "attractivity": "collapse",
    "Compression": "compression",
    "compress": "compression",
    "load_compressed": "compression",
    "CollapseMonitor": "monitor",
    "ToyConfig": "toys",
    "ToyRun": "toys",
    "load_toy": "toys",
    "load_toys": "toys",
    "simulate_toy": "toys",
}
__all__ = [
    "CollapseMonitor",
    "Compression",
    "ToyConfig",
    "ToyRun",
    "TrainConfig",
    "TrainResult",
    "__version__",
    "attractivity",
    "compress",
    "finetune",
    "load_compressed",
    "load_config",
    "load_runs",
    "load_toy",
    "load_toys",
    "measure_collapse",
    "simulate_toy",
    "train",
    "train_replicates",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
