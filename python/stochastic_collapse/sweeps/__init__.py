"""Sweeps: many runs from one file, on this machine or a cluster; and the twins that tell what the noise does."""

from .control_set import THE_RUN, ControlSet, control_runs, controls_of_file, controls_of_runs
from .controls import ALL, CONTROLS
from .cost import Cost, costs
from .directory import SweepDirectory, SweptRun
from .executors import make_executor
from .plan import PlannedRun, Sweep, load_sweep
from .remaining import Comparison, Twin, by_run, compare, measured
from .scheduler import SweepResult, news, planned, run_sweep

__all__ = [
    "ALL",
    "CONTROLS",
    "THE_RUN",
    "Comparison",
    "ControlSet",
    "Cost",
    "PlannedRun",
    "Sweep",
    "SweepDirectory",
    "SweepResult",
    "SweptRun",
    "Twin",
    "by_run",
    "compare",
    "control_runs",
    "controls_of_file",
    "controls_of_runs",
    "costs",
    "load_sweep",
    "make_executor",
    "measured",
    "news",
    "planned",
    "run_sweep",
]
