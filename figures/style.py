"""One look for all figures: sizes for one and two columns, fonts, and colours that colour-blind readers tell apart."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stochastic_collapse.runs import write_atomically
from stochastic_collapse.scores import score_of

ONE_COLUMN = 3.25
TWO_COLUMNS = 6.75
"""Widths in inches."""

# Okabe & Ito (2008), without yellow, which is too light for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")

_RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,  # text stays text, as journals ask
    "axes.prop_cycle": cycler(color=COLOURS),
}


@contextlib.contextmanager
def paper() -> Iterator[None]:
    """Matplotlib settings of all figures."""
    with mpl.rc_context(_RC):
        yield


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `figure` as PNG (300 dots per inch) and PDF, and return the paths."""
    written = []
    for kind in ("png", "pdf"):
        path = stem.with_name(f"{stem.name}.{kind}")
        with write_atomically(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=300)
        written.append(path)
    return written


def thousands(value: float, _position: object = None) -> str:
    """A tick label for a number of steps: 20000 → 20k, 1500 → 1.5k."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def score(*metrics: pd.DataFrame) -> str:
    """The title of a panel of what says how good networks are, in per cent, of the metrics of their runs."""
    names = {score_of(of_one) for of_one in metrics}
    what = {"eval_accuracy": "accuracy", "eval_r2": "R²"}[names.pop()] if len(names) == 1 else "score"
    return f"test {what} (%)"


def ending(name: str, most: int) -> str:
    """A name of `most` characters or fewer: of a longer one, such as of a layer deep within modules, the end."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def number(value: float) -> str:
    """A number with one decimal, without it where that is 0."""
    return f"{value:.1f}".removesuffix(".0")


def in_order(n: int) -> list[Any]:
    """Colours of `n` things that have an order, such as layers by their depth: from dark to light."""
    return list(mpl.colormaps["viridis"](np.linspace(0, 0.9, n)))


def absent(panel: Axes, text: str) -> None:
    """Say in a panel that there is nothing to draw in it."""
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", va="center", color="0.45")
    panel.set_xticks([])
    panel.grid(False)


def curve(
    panel: Axes, table: pd.DataFrame, column: str, label: str, colour: Any, *, band: bool = True, line: str = "-"
) -> None:
    """Mean of `column` over the replicates at each step, and a band of one standard deviation if there are several."""
    at_step = table.groupby("step")[column]
    mean, deviation = at_step.mean(), at_step.std(ddof=1)
    panel.plot(mean.index, mean, line, color=colour, label=label, marker="o" if len(mean) == 1 else None)
    if band and deviation.notna().any():
        panel.fill_between(mean.index, mean - deviation, mean + deviation, color=colour, alpha=0.2, linewidth=0)


def fractions(panel: Axes, x: np.ndarray, fraction: np.ndarray, n: int, times: np.ndarray) -> None:
    """Curves of fractions of `n` trajectories against `x`, one for each time, `fraction` being (x, times).

    Later is darker. The bands are Wilson's (1927) binomial intervals of 95 %.
    """
    z = 1.96
    centre = (fraction + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(fraction * (1 - fraction) / n + z**2 / (4 * n**2))
    colours = mpl.colormaps["viridis_r"](np.linspace(0.15, 1, len(times)))
    for k, (time, colour) in enumerate(zip(times, colours, strict=True)):
        panel.plot(x, fraction[:, k], color=colour, label=f"t = {number(time)}")
        panel.fill_between(x, (centre - half)[:, k], (centre + half)[:, k], color=colour, alpha=0.25, linewidth=0)
    panel.set_ylim(-0.03, 1.03)
    panel.legend(loc="upper left")
