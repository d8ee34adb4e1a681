"""Label noise makes two neurons copies of one another: their weights, and the distance between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stochastic_collapse.errors import InputError
from stochastic_collapse.toys import ToyRun

from . import style
from .messages import Message
from .needs import SIZES, Toy

TITLE = "Two neurons become copies of one another under label noise"
CAPTION = (
    "A 1–2–1 GELU network, trained by SGD with momentum on eight points whose targets have fresh noise of size σ at "
    "each step; eight seeds, of which the first is drawn thick. Left, the weights of the two neurons. Middle and "
    "right, the squared distance of their weights at five learning rates and at five noise levels: geometric mean "
    "and range of the seeds."
)
DIFFERENCES = dict.fromkeys(
    SIZES,
    "None in the settings, which are the published ones in both sizes. The eight points are others, chosen so that the "
    "neurons merge: with points of the seeds 0 to 23 they do at every setting with noise for about a third.",
)
NEEDS = dict.fromkeys(SIZES, (Toy("two-neurons", "configs/toys/two_neurons.yaml"),))

Array = np.ndarray

LEAST = 1e-16  # distances below that are as good as 0
NEURONS = ("first neuron", "second neuron")


@dataclass(frozen=True)
class Results:
    """Distances at K settings, S snapshots, of N seeds, and of one of the settings the weights."""

    lr: Array
    """(K,)."""
    noise: Array
    """σ, (K,)."""
    steps: Array
    """(S,)."""
    distance: Array
    """‖w1 − w2‖² of the two neurons, incoming and outgoing weight of each, (K, S, N)."""
    shown: int
    """The setting of `weights`."""
    weights: Array
    """w_in of both neurons, w_out of both, (S, N, 4)."""

    @property
    def of_rates(self) -> Array:
        """The settings that are the first one with another learning rate, in the order of these."""
        return _in_order(np.flatnonzero(self.noise == self.noise[0]), self.lr)

    @property
    def of_noise(self) -> Array:
        """The settings that are the first one with another noise, in the order of these."""
        return _in_order(np.flatnonzero(self.lr == self.lr[0]), self.noise)


def _in_order(levels: Array, values: Array) -> Array:
    return np.asarray(levels[np.argsort(values[levels], kind="stable")])


def load(runs: Sequence[ToyRun]) -> Results:
    """The one run that the figure is drawn from. `InputError` for several, and for one without steps."""
    if len(runs) != 1:
        found = ", ".join(str(run.directory) for run in runs) or "none"
        raise InputError(f"figure two-neurons is drawn from one run of two-neurons, found {found}")
    if runs[0].time[-1] == 0:
        raise InputError(f"figure two-neurons: {runs[0].directory}: has no steps, only the start")
    (run,) = runs
    rates = np.flatnonzero(run.noise == run.noise[0])
    shown = int(rates[len(rates) // 2])
    first, second = run.state[..., 0:4:2], run.state[..., 1:4:2]
    return Results(
        lr=np.array(run.spec["lr"]),
        noise=run.noise,
        steps=run.time,
        distance=np.asarray(((first - second) ** 2).sum(axis=-1)),
        shown=shown,
        weights=np.asarray(run.state[shown, ..., :4]),
    )


def message(results: Results) -> list[Message]:
    """The noise merges the neurons, the sooner the larger it is and the larger the learning rate."""
    last = mean_distance(results)[:, -1]
    said = []
    for name, levels, values in (
        ("learning rate", results.of_rates, results.lr),
        ("σ", results.of_noise, results.noise),
    ):
        ends = last[levels]
        said.append(
            Message(
                f"The larger {name}, the smaller the distance at the end, by 10⁶ in all.",
                ", ".join(f"{ends[k]:.0e} at {values[level]:g}" for k, level in enumerate(levels)),
                bool((np.diff(ends) <= 0).all() and ends[-1] <= 1e-6 * ends[0]),
            )
        )
    quiet = results.noise == 0
    if quiet.any():
        least = results.distance[quiet, -1].min()
        said.append(
            Message("Without noise they do not merge.", f"‖w₁ − w₂‖² ≥ {least:.2g} at the end", bool(least > 0.1))
        )
    return said


def draw(results: Results) -> Figure:
    """Weights at one setting, then the distances for each learning rate, and for each noise level."""
    figure = Figure(figsize=(style.TWO_COLUMNS, 2.6))
    weights, rates, noise = figure.subplots(1, 3)
    lr, shown = results.lr, results.shown
    _weights(weights, results)
    weights.set_title(f"learning rate {lr[shown]:g}, σ = {results.noise[shown]:g}", loc="left")
    _distances(rates, results, results.of_rates, lr, "learning rate")
    rates.set_title(f"σ = {results.noise[0]:g}", loc="left")
    _distances(noise, results, results.of_noise, results.noise, "σ")
    noise.set_title(f"learning rate {lr[0]:g}", loc="left")
    return figure


def _weights(panel: Axes, results: Results) -> None:
    """Of all seeds, the first one thick."""
    for weight, style_of_line in enumerate(("-", "-", "--", "--")):
        colour = style.COLOURS[weight % 2]
        paths = results.weights[..., weight]
        panel.plot(results.steps, paths, style_of_line, color=colour, linewidth=0.4, alpha=0.35)
        kind = "in" if weight < 2 else "out"
        panel.plot(results.steps, paths[:, 0], style_of_line, color=colour, label=f"{NEURONS[weight % 2]}, {kind}")
    _steps(panel, results)
    panel.set_ylabel("weight")
    panel.legend(loc="best", fontsize=6.5)


def _distances(panel: Axes, results: Results, levels: Array, values: Array, name: str) -> None:
    """Mean distance and the range of the seeds."""
    means = mean_distance(results)
    colours = mpl.colormaps["viridis_r"](np.linspace(0.15, 1, len(levels)))
    for k, colour in zip(levels, colours, strict=True):
        distance = np.maximum(results.distance[k], LEAST)
        panel.plot(results.steps, means[k], color=colour, label=f"{values[k]:g}")
        low, high = distance.min(axis=1), distance.max(axis=1)
        panel.fill_between(results.steps, low, high, color=colour, alpha=0.2, linewidth=0)
    _steps(panel, results)
    panel.set_yscale("log")
    panel.set_ylim(LEAST, 1e5)
    panel.set_ylabel(f"max(‖w₁ − w₂‖², {LEAST:.0e})")
    panel.legend(title=name, loc="upper right", ncols=3, fontsize=6.5, columnspacing=1, handlelength=1.2)


def mean_distance(results: Results) -> Array:
    """Geometric mean over the seeds of the distances, LEAST for those below, (K, S)."""
    return np.asarray(np.exp(np.log(np.maximum(results.distance, LEAST)).mean(axis=-1)))


def _steps(panel: Axes, results: Results) -> None:
    panel.set_xlim(0, results.steps[-1])
    panel.xaxis.set_major_formatter(style.thousands)
    panel.set_xlabel("SGD steps")
