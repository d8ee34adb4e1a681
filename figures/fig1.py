"""Figure 1: the quartic well collapses where its noise is strong (docs/definitions.md#quartic-well).

Above, trajectories at three noise levels ζ, and at the side of each the stationary density: of theory, and of the
second half of the trajectories, both signs pooled. Below, the probability of being collapsed against ζ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stochastic_collapse.errors import InputError
from stochastic_collapse.theory import quartic_well_density, quartic_well_threshold
from stochastic_collapse.toys import ToyRun

from . import style
from .messages import Message, half_way, percent
from .needs import SIZES, Toy

TITLE = "Figure 1: a quartic well collapses where its noise is strong"
CAPTION = (
    "Above, trajectories of dθ = −(θ³ − μθ) dt + ζθ dB with μ = 1.5 at three noise levels ζ. Beside each, the "
    "density of θ: shaded, that of the later half of the trajectories, both signs pooled; black, the stationary "
    "density of theory. Below, the share of 1,000 trajectories that have collapsed to θ² < 10⁻³⁰ by five times, "
    "with binomial intervals of 95 %. Dashed: ζ = √(2μ), from which on the origin attracts."
)
DIFFERENCES = dict.fromkeys(
    SIZES,
    "None in the settings, which are the published ones in both sizes; the random numbers are others.",
)

NEEDS = dict.fromkeys(SIZES, (Toy("quartic-well", "configs/toys/fig1.yaml"),))

Array = np.ndarray

RADIUS = 1e-15  # collapsed: θ² < 1e-30
HEIGHT = 3.6  # of θ in the panels of trajectories


@dataclass(frozen=True)
class Results:
    """Trajectories at K noise levels and S times, and the probability of collapse at L noise levels and T times."""

    mu: float
    zeta: Array
    """(K,)."""
    time: Array
    """(S,)."""
    theta: Array
    """Of N trajectories, (K, S, N)."""
    swept: Array
    """ζ, (L,)."""
    times: Array
    """(T,)."""
    collapsed: Array
    """Share of the trajectories with |θ| < RADIUS, (L, T)."""
    trajectories: int
    """Of which it is the share."""


def load(runs: Sequence[ToyRun]) -> Results:
    """Of two runs the one with fewer noise levels gives the trajectories. `InputError` for other than two."""
    if len(runs) != 2:
        found = ", ".join(str(run.directory) for run in runs) or "none"
        raise InputError(
            f"figure fig1 is drawn from two runs of quartic-well, trajectories and collapse, found {found}"
        )
    paths, collapse = sorted(runs, key=lambda run: len(run.noise))
    if paths.spec["parameters"]["mu"] != collapse.spec["parameters"]["mu"]:
        raise InputError(f"figure fig1: {paths.directory} and {collapse.directory} differ in mu")
    return Results(
        mu=float(paths.spec["parameters"]["mu"]),
        zeta=paths.noise,
        time=paths.time,
        theta=np.asarray(paths.state[..., 0]),
        swept=collapse.noise,
        times=collapse.time,
        collapsed=collapse.probability_within(RADIUS),
        trajectories=collapse.state.shape[2],
    )


def message(results: Results) -> list[Message]:
    """Nothing has collapsed well below the threshold, and everything well above it."""
    strength, last = results.swept / quartic_well_threshold(results.mu), results.collapsed[:, -1]
    below, above = last[strength <= 0.9].max(), last[strength >= 1.15].min()
    crossing = half_way(strength, last)
    return [
        Message(
            "Below 0.9 √(2μ) at most 5 % of the trajectories collapse, above 1.15 √(2μ) at least 95 %.",
            f"at most {percent(below)}, at least {percent(above)}",
            bool(below <= 0.05 and above >= 0.95),
        ),
        Message(
            "Half of them collapse at a noise within 10 % of √(2μ).",
            f"at {crossing:.2f} √(2μ)",
            abs(crossing - 1) <= 0.1,
        ),
    ]


def draw(results: Results) -> Figure:
    """A row of trajectories, one panel for each noise level, and a row with the probability of collapse."""
    figure = Figure(figsize=(style.TWO_COLUMNS, 4.3))
    above, below = np.asarray(figure.subfigures(2, 1, height_ratios=(1.15, 1)))
    noise = results.zeta
    panels = np.asarray(above.subplots(1, 2 * len(noise), sharey=True, width_ratios=(3, 1) * len(noise)))
    for k, zeta in enumerate(noise):
        _trajectories(panels[2 * k], results, k)
        _density(panels[2 * k + 1], results, k)
        panels[2 * k].set_title(f"ζ = {zeta:g}", loc="left")
    panels[0].set_ylabel("θ")
    above.align_xlabels()
    _collapse(below.subplots(), results)
    return figure


def _trajectories(panel: Axes, results: Results, k: int) -> None:
    panel.plot(results.time, results.theta[k], color=style.COLOURS[k % len(style.COLOURS)], linewidth=0.4, alpha=0.35)
    panel.set_xlim(results.time[0], results.time[-1])
    panel.set_ylim(-HEIGHT, HEIGHT)
    panel.set_xlabel("time")


def _density(panel: Axes, results: Results, k: int) -> None:
    """Densities along the axis of θ, each panel on a scale of its own."""
    colour = style.COLOURS[k % len(style.COLOURS)]
    zeta, late = results.zeta[k], np.abs(results.theta[k, len(results.time) // 2 :].ravel())
    bins = np.linspace(-HEIGHT, HEIGHT, 73).tolist()
    both = np.concatenate([late, -late])
    panel.hist(both, bins, density=True, orientation="horizontal", color=colour, alpha=0.35, linewidth=0)
    theta = np.linspace(-HEIGHT, HEIGHT, 2000)  # an even number leaves out θ = 0, where the density may be infinite
    if zeta < quartic_well_threshold(results.mu):
        panel.plot(quartic_well_density(theta, results.mu, zeta), theta, color="black", linewidth=0.9)
    else:
        panel.text(0.5, 0.62, "all of it\nat θ = 0", transform=panel.transAxes, ha="center", fontsize=6.5)
    panel.set_xlim(left=0)
    panel.set_xticks([])
    panel.set_xlabel("density")
    panel.grid(False)


def _collapse(panel: Axes, results: Results) -> None:
    style.fractions(panel, results.swept, results.collapsed, results.trajectories, results.times)
    threshold = float(quartic_well_threshold(results.mu))
    panel.axvline(threshold, color="black", linestyle="--", linewidth=0.9)
    panel.text(threshold, 0.5, f" √(2μ) = {threshold:.2f} ", ha="right", va="center")
    panel.set_xlim(results.swept[0], results.swept[-1])
    panel.set_xlabel("noise level ζ")
    panel.set_ylabel("P(θ² < 10$^{-30}$)")
