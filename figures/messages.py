"""What a figure says, as inequalities on the data that it is drawn from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Message(NamedTuple):
    """One thing that a figure says."""

    sentence: str
    measured: str
    """The numbers by which it holds, or does not."""
    holds: bool


def percent(value: float, decimals: int = 1) -> str:
    """A fraction as a number of per cent, such as 0.5 %."""
    return f"{100 * value:.{decimals}f} %"


def half_way(x: np.ndarray, fraction: np.ndarray) -> float:
    """Where `fraction` first exceeds 1/2, between the points `x` on a straight line; NaN where it never does."""
    above = int(np.argmax(fraction > 0.5))
    if above == 0:
        return float(x[0]) if fraction[0] > 0.5 else float("nan")
    return float(np.interp(0.5, fraction[above - 1 : above + 1], x[above - 1 : above + 1]))
