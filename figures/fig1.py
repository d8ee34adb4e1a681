"""Figure 1: the quartic well collapses where its noise is strong (DESIGN §5).

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

PROBLEM = "quartic-well"
COMMAND = f"sc simulate-toy {PROBLEM}"
CONFIGS = ("configs/toys/fig1.yaml",)

RADIUS = 1e-15  # collapsed: θ² < 1e-30
HEIGHT = 3.6  # of θ in the panels of trajectories


@dataclass(frozen=True)
class Results:
    """One ensemble with many snapshots, one with many noise levels."""

    paths: ToyRun
    collapse: ToyRun

    @property
    def mu(self) -> float:
        return float(self.collapse.spec["parameters"]["mu"])


def load(runs: Sequence[ToyRun]) -> Results:
    """Of two runs the one with fewer noise levels gives the trajectories. `InputError` for other than two."""
    if len(runs) != 2:
        found = ", ".join(str(run.directory) for run in runs) or "none"
        raise InputError(f"figure fig1 is drawn from two runs of {PROBLEM}, trajectories and collapse, found {found}")
    paths, collapse = sorted(runs, key=lambda run: len(run.noise))
    if paths.spec["parameters"]["mu"] != collapse.spec["parameters"]["mu"]:
        raise InputError(f"figure fig1: {paths.directory} and {collapse.directory} differ in mu")
    return Results(paths, collapse)


def draw(results: Results) -> Figure:
    """A row of trajectories, one panel for each noise level, and a row with the probability of collapse."""
    figure = Figure(figsize=(style.TWO_COLUMNS, 4.3))
    above, below = np.asarray(figure.subfigures(2, 1, height_ratios=(1.15, 1)))
    noise = results.paths.noise
    panels = np.asarray(above.subplots(1, 2 * len(noise), sharey=True, width_ratios=(3, 1) * len(noise)))
    for k, zeta in enumerate(noise):
        _trajectories(panels[2 * k], results.paths, k)
        _density(panels[2 * k + 1], results.paths, k, results.mu)
        panels[2 * k].set_title(f"ζ = {zeta:g}", loc="left")
    panels[0].set_ylabel("θ")
    above.align_xlabels()
    _collapse(below.subplots(), results)
    return figure


def _trajectories(panel: Axes, run: ToyRun, k: int) -> None:
    panel.plot(run.time, run.state[k, :, :, 0], color=style.COLOURS[k % len(style.COLOURS)], linewidth=0.4, alpha=0.35)
    panel.set_xlim(run.time[0], run.time[-1])
    panel.set_ylim(-HEIGHT, HEIGHT)
    panel.set_xlabel("time")


def _density(panel: Axes, run: ToyRun, k: int, mu: float) -> None:
    """Densities along the axis of θ, each panel on a scale of its own."""
    colour = style.COLOURS[k % len(style.COLOURS)]
    late = np.abs(run.state[k, len(run.time) // 2 :, :, 0].ravel())
    bins = np.linspace(-HEIGHT, HEIGHT, 73).tolist()
    both = np.concatenate([late, -late])
    panel.hist(both, bins, density=True, orientation="horizontal", color=colour, alpha=0.35, linewidth=0)
    theta = np.linspace(-HEIGHT, HEIGHT, 2000)  # an even number leaves out θ = 0, where the density may be infinite
    if run.noise[k] < quartic_well_threshold(mu):
        panel.plot(quartic_well_density(theta, mu, run.noise[k]), theta, color="black", linewidth=0.9)
    else:
        panel.text(0.5, 0.62, "all of it\nat θ = 0", transform=panel.transAxes, ha="center", fontsize=6.5)
    panel.set_xlim(left=0)
    panel.set_xticks([])
    panel.set_xlabel("density")
    panel.grid(False)


def _collapse(panel: Axes, results: Results) -> None:
    run = results.collapse
    style.fractions(panel, run.noise, run.probability_within(RADIUS), run.state.shape[2], run.time)
    threshold = float(quartic_well_threshold(results.mu))
    panel.axvline(threshold, color="black", linestyle="--", linewidth=0.9)
    panel.text(threshold, 0.5, f" √(2μ) = {threshold:.2f} ", ha="right", va="center")
    panel.set_xlim(run.noise[0], run.noise[-1])
    panel.set_xlabel("noise level ζ")
    panel.set_ylabel("P(θ² < 10$^{-30}$)")
