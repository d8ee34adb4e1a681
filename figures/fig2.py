"""Figure 2: a neuron collapses to the origin where its noise is strong (DESIGN §5).

Left, the training loss and where trajectories are at the end, at three noise levels. Right, the probability of being
near the origin against ηζ²φ'(0)/2, and the line from which on the origin attracts (Theorem 5.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from stochastic_collapse.errors import InputError
from stochastic_collapse.theory import single_neuron_threshold
from stochastic_collapse.toys import ACTIVATIONS, ToyRun

from . import style

PROBLEM = "single-neuron"
COMMAND = f"sc simulate-toy {PROBLEM}"
CONFIGS = ("configs/toys/fig2.yaml", "configs/toys/fig2_quick.yaml")

RADIUS = 0.01  # collapsed: ‖w‖ < ε
SHOWN = (0.25, 0.85, 1.5)  # noise levels on the left, as fractions of the threshold
TIMES = (0.01, 0.03, 0.1, 0.3, 1)  # on the right, as fractions of the last one
MOST = 400  # states of a noise level shown on the left
HALF_WIDTH = 3.2  # of the landscape


def load(runs: Sequence[ToyRun]) -> ToyRun:
    """The one run that the figure is drawn from. `InputError` for several, and for an unknown activation."""
    if len(runs) != 1:
        found = ", ".join(str(run.directory) for run in runs) or "none"
        raise InputError(f"figure fig2 is drawn from one run of {PROBLEM}, found {found}")
    activation = runs[0].spec["parameters"]["activation"]
    if activation not in ACTIVATIONS:
        raise InputError(f"figure fig2: {runs[0].directory}: no φ'(0) known of the activation {activation!r}")
    return runs[0]


def draw(results: ToyRun) -> Figure:
    """The landscape and the curves, side by side."""
    figure = Figure(figsize=(style.TWO_COLUMNS, 2.9))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    _landscape(left, results)
    _curves(right, results)
    return figure


def _strength(run: ToyRun) -> np.ndarray:
    """ηζ²φ'(0)/2 of each noise level, (K,)."""
    parameters = run.spec["parameters"]
    return np.asarray(run.noise * parameters["zeta"] ** 2 * ACTIVATIONS[parameters["activation"]].slope / 2)


def _landscape(panel: Axes, run: ToyRun) -> None:
    """Loss Σ(w2 φ(w1 x) − y)²/(2m), and the last snapshot of three noise levels."""
    phi = ACTIVATIONS[run.spec["parameters"]["activation"]].function
    w = np.linspace(-HALF_WIDTH, HALF_WIDTH, 161)
    outputs = w[:, None, None] * phi(w[:, None] * run.data["x"])  # (w2, w1, m)
    loss = 0.5 * ((outputs - run.data["y"]) ** 2).mean(axis=-1)
    levels = np.geomspace(loss.min(), loss.max(), 14)
    panel.contourf(w, w, loss, levels, cmap="Greys", norm=LogNorm(levels[0], levels[-1] ** 2 / levels[0]))
    strength, threshold = _strength(run), single_neuron_threshold(run.data["x"], run.data["y"])
    for k, wanted in enumerate(SHOWN):
        nearest = int(np.abs(strength - wanted * threshold).argmin())
        w1, w2 = run.state[nearest, -1, :MOST].T
        label, collapsed = f"{strength[nearest]:.2f}", np.hypot(w1, w2).max() < RADIUS
        size, alpha = (5, 1.0) if collapsed else (2.5, 0.6)  # where all lie on one point, it must be seen
        panel.plot(w1, w2, "o", color=style.COLOURS[k], markersize=size, markeredgewidth=0, alpha=alpha, label=label)
    panel.set_xlim(-HALF_WIDTH, HALF_WIDTH)
    panel.set_ylim(-HALF_WIDTH, HALF_WIDTH)
    panel.set_aspect("equal")
    panel.grid(False)
    panel.set_xlabel("w₁")
    panel.set_ylabel("w₂")
    panel.set_title(f"loss (darker: higher), states at t = {style.number(run.time[-1])}", loc="left")
    panel.legend(title="ηζ²φ′(0)/2", loc="upper left", handletextpad=0, borderaxespad=0.2)


def _curves(panel: Axes, run: ToyRun) -> None:
    strength, probability = _strength(run), run.probability_within(RADIUS)
    snapshots = sorted({int(np.abs(run.time - part * run.time[-1]).argmin()) for part in TIMES})
    style.fractions(panel, strength, probability[:, snapshots], run.state.shape[2], run.time[snapshots])
    threshold = single_neuron_threshold(run.data["x"], run.data["y"])
    panel.axvline(threshold, color="black", linestyle="--", linewidth=0.9)
    panel.text(threshold, 0.03, f" Σxy/Σx² = {threshold:.2f}", ha="left", va="bottom")
    panel.set_xlim(strength[0], strength[-1])
    panel.set_xlabel("ηζ²φ′(0)/2")
    panel.set_ylabel(f"P(‖w‖ < {RADIUS:g})")
