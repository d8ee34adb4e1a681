"""How good a network is at its task: the columns of metrics.csv that say so, their names, and their digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

SCORES = {"eval_accuracy": float, "eval_r2": float, "eval_bits_per_token": float}
"""Columns of metrics.csv beside `runs.METRICS`, of which a task has some; the first says how good a network is."""
SCORE_NAMES = {"eval_accuracy": "accuracy", "eval_r2": "R²", "eval_bits_per_token": "bits per token"}


def score_of(metrics: pd.DataFrame) -> str:
    """The column of a run's metrics that says how good the network is: the first of SCORES that is there."""
    return next(name for name in SCORES if name in metrics)


def scores_in_words(row: Mapping[str, Any]) -> str:
    """What of SCORES there is in a row of metrics: ``accuracy 97.2%``, or ``accuracy 40.1%, bits per token 2.310``."""
    there = {name: row[name] for name in SCORES if row.get(name) is not None}
    return ", ".join(f"{SCORE_NAMES[name]} {score_in_digits(name, value)}" for name, value in there.items())


def score_in_digits(name: str, value: float, decimals: int = 1) -> str:
    """An accuracy in per cent with so many decimals, other scores with two more."""
    return f"{value:.{decimals}%}" if name == "eval_accuracy" else f"{value:.{decimals + 2}f}"
