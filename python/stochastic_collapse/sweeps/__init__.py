"""Sweeps: many runs from one file, on this machine or a cluster."""

from .directory import SweepDirectory, SweptRun
from .executors import make_executor
from .plan import PlannedRun, Sweep, load_sweep
from .scheduler import SweepResult, news, run_sweep

__all__ = [
    "PlannedRun",
    "Sweep",
    "SweepDirectory",
    "SweepResult",
    "SweptRun",
    "load_sweep",
    "make_executor",
    "news",
    "run_sweep",
]
