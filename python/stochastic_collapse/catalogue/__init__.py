"""The runs on disk: listed with their settings and last figures, filtered, pruned of checkpoints, removed."""

from .filters import DASH, in_words, is_filter, is_missing
from .listing import COLUMNS, differing, figures_of, load_runs, settings_of
from .pruning import PrunePlan, plan_prune, prune
from .reading import files_of, problem
from .removing import remove, starting_from

__all__ = [
    "COLUMNS",
    "DASH",
    "PrunePlan",
    "differing",
    "figures_of",
    "files_of",
    "in_words",
    "is_filter",
    "is_missing",
    "load_runs",
    "plan_prune",
    "problem",
    "prune",
    "remove",
    "settings_of",
    "starting_from",
]
