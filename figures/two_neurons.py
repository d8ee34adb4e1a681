"""Label noise makes two neurons copies of one another: their weights, and the distance between them (DESIGN §5)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stochastic_collapse.errors import InputError
from stochastic_collapse.toys import ToyRun

from . import style

PROBLEM = "two-neurons"
COMMAND = "sc two-neurons"
CONFIGS = ("configs/toys/two_neurons.yaml",)

LEAST = 1e-16  # distances below that are as good as 0
NEURONS = ("first neuron", "second neuron")


def load(runs: Sequence[ToyRun]) -> ToyRun:
    """The one run that the figure is drawn from. `InputError` for several, and for one without steps."""
    if len(runs) != 1:
        found = ", ".join(str(run.directory) for run in runs) or "none"
        raise InputError(f"figure two-neurons is drawn from one run of {PROBLEM}, found {found}")
    if runs[0].time[-1] == 0:
        raise InputError(f"figure two-neurons: {runs[0].directory}: has no steps, only the start")
    return runs[0]


def draw(results: ToyRun) -> Figure:
    """Weights at one setting, then the distances for each learning rate, and for each noise level."""
    figure = Figure(figsize=(style.TWO_COLUMNS, 2.6))
    weights, rates, noise = figure.subplots(1, 3)
    lr = np.array(results.spec["lr"])
    # The settings are those of the first one, with another learning rate or another noise.
    of_rates, of_noise = np.flatnonzero(results.noise == results.noise[0]), np.flatnonzero(lr == lr[0])
    shown = int(of_rates[len(of_rates) // 2])
    _weights(weights, results, shown)
    weights.set_title(f"learning rate {lr[shown]:g}, σ = {results.noise[shown]:g}", loc="left")
    _distances(rates, results, of_rates, lr, "learning rate")
    rates.set_title(f"σ = {results.noise[0]:g}", loc="left")
    _distances(noise, results, of_noise, results.noise, "σ")
    noise.set_title(f"learning rate {lr[0]:g}", loc="left")
    return figure


def _weights(panel: Axes, run: ToyRun, level: int) -> None:
    """Of all seeds, the first one thick."""
    for weight, style_of_line in enumerate(("-", "-", "--", "--")):
        colour = style.COLOURS[weight % 2]
        paths = run.state[level, :, :, weight]
        panel.plot(run.time, paths, style_of_line, color=colour, linewidth=0.4, alpha=0.35)
        kind = "in" if weight < 2 else "out"
        panel.plot(run.time, paths[:, 0], style_of_line, color=colour, label=f"{NEURONS[weight % 2]}, {kind}")
    _steps(panel, run)
    panel.set_ylabel("weight")
    panel.legend(loc="best", fontsize=6.5)


def _distances(panel: Axes, run: ToyRun, levels: np.ndarray, values: np.ndarray, name: str) -> None:
    """Geometric mean over the seeds of ‖w1 − w2‖², and the range of the seeds."""
    levels = levels[np.argsort(values[levels], kind="stable")]
    colours = mpl.colormaps["viridis_r"](np.linspace(0.15, 1, len(levels)))
    for k, colour in zip(levels, colours, strict=True):
        distance = np.maximum(squared_distance(run, int(k)), LEAST)
        panel.plot(run.time, np.exp(np.log(distance).mean(axis=1)), color=colour, label=f"{values[k]:g}")
        low, high = distance.min(axis=1), distance.max(axis=1)
        panel.fill_between(run.time, low, high, color=colour, alpha=0.2, linewidth=0)
    _steps(panel, run)
    panel.set_yscale("log")
    panel.set_ylim(LEAST, 1e5)
    panel.set_ylabel(f"max(‖w₁ − w₂‖², {LEAST:.0e})")
    panel.legend(title=name, loc="upper right", ncols=3, fontsize=6.5, columnspacing=1, handlelength=1.2)


def squared_distance(run: ToyRun, level: int) -> np.ndarray:
    """‖w1 − w2‖² of the two neurons, incoming and outgoing weight of each, at one noise level, (S, N)."""
    first, second = run.state[level, ..., 0:4:2], run.state[level, ..., 1:4:2]
    return np.asarray(((first - second) ** 2).sum(axis=-1))


def _steps(panel: Axes, run: ToyRun) -> None:
    panel.set_xlim(0, run.time[-1])
    panel.xaxis.set_major_formatter(style.thousands)
    panel.set_xlabel("SGD steps")
