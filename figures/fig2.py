"""Figure 2: a neuron collapses to the origin where its noise is strong (docs/definitions.md#single-neuron).

Left, the training loss and where trajectories are at the end, at three noise levels. Right, the probability of being
near the origin against ηζ²φ'(0)/2, and the line from which on the origin attracts (Theorem 5.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from stochastic_collapse.errors import InputError
from stochastic_collapse.theory import single_neuron_threshold
from stochastic_collapse.toys import ACTIVATIONS, ToyRun

from . import style
from .messages import Message, half_way, percent
from .needs import Toy

TITLE = "Figure 2: a single neuron collapses to the origin where its noise is strong"
CAPTION = (
    "A neuron ŷ = w₂ tanh(w₁x), trained on 32 points by gradient flow with label noise, as an Itô SDE. Left, its "
    "loss and where trajectories are at the end at three noise levels. Right, the share of them near the origin at "
    "five times, with binomial intervals of 95 %, against the strength ηζ²φ′(0)/2 of the noise. Dashed: the "
    "strength Σxy/Σx² from which on the origin attracts (Theorem 5.1)."
)
_ALWAYS = (
    "The legend has the times of the snapshots; the published one has their indices over the time step. The random "
    "numbers, and with them the 32 points, are others."
)
DIFFERENCES = {
    "paper": _ALWAYS,
    "quick": f"16 noise levels for 50, 200 trajectories for 1,000, times up to 300 for 1,000. {_ALWAYS}",
}
NEEDS = {
    "paper": (Toy("single-neuron", "configs/toys/fig2.yaml"),),
    "quick": (Toy("single-neuron", "configs/toys/fig2_quick.yaml"),),
}

Array = np.ndarray

RADIUS = 0.01  # collapsed: ‖w‖ < ε
SHOWN = (0.25, 0.85, 1.5)  # noise levels on the left, as fractions of the threshold
TIMES = (0.01, 0.03, 0.1, 0.3, 1)  # on the right, as fractions of the last one
MOST = 400  # states of a noise level shown on the left
HALF_WIDTH = 3.2  # of the landscape


@dataclass(frozen=True)
class Results:
    """Of K noise levels the probabilities at T times, of a few of them where the trajectories are at the end."""

    x: Array
    """Inputs, (m,)."""
    y: Array
    """Targets, (m,)."""
    activation: str
    strength: Array
    """ηζ²φ'(0)/2, (K,)."""
    threshold: float
    """The strength from which on the origin attracts."""
    times: Array
    """(T,)."""
    collapsed: Array
    """Share of the trajectories with ‖w‖ < RADIUS, (K, T)."""
    trajectories: int
    """Of which it is the share."""
    shown: Array
    """Noise levels of `states`, indices into `strength`."""
    states: Array
    """(w1, w2) of some trajectories at the last time, (levels shown, n, 2)."""


def load(runs: Sequence[ToyRun]) -> Results:
    """The one run that the figure is drawn from. `InputError` for several, and for an unknown activation."""
    if len(runs) != 1:
        found = ", ".join(str(run.directory) for run in runs) or "none"
        raise InputError(f"figure fig2 is drawn from one run of single-neuron, found {found}")
    run = runs[0]
    activation = run.spec["parameters"]["activation"]
    if activation not in ACTIVATIONS:
        raise InputError(f"figure fig2: {run.directory}: no φ'(0) known of the activation {activation!r}")
    strength = run.noise * run.spec["parameters"]["zeta"] ** 2 * ACTIVATIONS[activation].slope / 2
    threshold = float(single_neuron_threshold(run.data["x"], run.data["y"]))
    shown = [int(np.abs(strength - part * threshold).argmin()) for part in SHOWN]
    snapshots = sorted({int(np.abs(run.time - part * run.time[-1]).argmin()) for part in TIMES})
    return Results(
        x=run.data["x"],
        y=run.data["y"],
        activation=activation,
        strength=strength,
        threshold=threshold,
        times=run.time[snapshots],
        collapsed=run.probability_within(RADIUS)[:, snapshots],
        trajectories=run.state.shape[2],
        shown=np.array(shown),
        states=np.stack([run.state[k, -1, :MOST] for k in shown]),
    )


def message(results: Results) -> list[Message]:
    """Few trajectories are near the origin well below the threshold, nearly all well above it."""
    strength, last = results.strength / results.threshold, results.collapsed[:, -1]
    below, above = last[strength <= 0.75].max(), last[strength >= 1.25].min()
    crossing = half_way(strength, last)
    return [
        Message(
            "Below 0.75 Σxy/Σx² at most 10 % of the trajectories end near the origin, above 1.25 Σxy/Σx² at "
            "least 90 %.",
            f"at most {percent(below)}, at least {percent(above)}",
            bool(below <= 0.1 and above >= 0.9),
        ),
        Message(
            "Half of them do at a strength within 10 % of Σxy/Σx².",
            f"at {crossing:.2f} Σxy/Σx²",
            abs(crossing - 1) <= 0.1,
        ),
    ]


def draw(results: Results) -> Figure:
    """The landscape and the curves, side by side."""
    figure = Figure(figsize=(style.TWO_COLUMNS, 2.9))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    _landscape(left, results)
    _curves(right, results)
    return figure


def _landscape(panel: Axes, results: Results) -> None:
    """Loss Σ(w2 φ(w1 x) − y)²/(2m), and the last snapshot of three noise levels."""
    phi = ACTIVATIONS[results.activation].function
    w = np.linspace(-HALF_WIDTH, HALF_WIDTH, 161)
    outputs = w[:, None, None] * phi(w[:, None] * results.x)  # (w2, w1, m)
    loss = 0.5 * ((outputs - results.y) ** 2).mean(axis=-1)
    levels = np.geomspace(loss.min(), loss.max(), 14)
    panel.contourf(w, w, loss, levels, cmap="Greys", norm=LogNorm(levels[0], levels[-1] ** 2 / levels[0]))
    for k, (level, states) in enumerate(zip(results.shown, results.states, strict=True)):
        w1, w2 = states.T
        label, collapsed = f"{results.strength[level]:.2f}", np.hypot(w1, w2).max() < RADIUS
        size, alpha = (5, 1.0) if collapsed else (2.5, 0.6)  # where all lie on one point, it must be seen
        panel.plot(w1, w2, "o", color=style.COLOURS[k], markersize=size, markeredgewidth=0, alpha=alpha, label=label)
    panel.set_xlim(-HALF_WIDTH, HALF_WIDTH)
    panel.set_ylim(-HALF_WIDTH, HALF_WIDTH)
    panel.set_aspect("equal")
    panel.grid(False)
    panel.set_xlabel("w₁")
    panel.set_ylabel("w₂")
    panel.set_title(f"loss (darker: higher), states at t = {style.number(results.times[-1])}", loc="left")
    panel.legend(title="ηζ²φ′(0)/2", loc="upper left", handletextpad=0, borderaxespad=0.2)


def _curves(panel: Axes, results: Results) -> None:
    style.fractions(panel, results.strength, results.collapsed, results.trajectories, results.times)
    threshold = results.threshold
    panel.axvline(threshold, color="black", linestyle="--", linewidth=0.9)
    panel.text(threshold, 0.03, f" Σxy/Σx² = {threshold:.2f}", ha="left", va="bottom")
    panel.set_xlim(results.strength[0], results.strength[-1])
    panel.set_xlabel("ηζ²φ′(0)/2")
    panel.set_ylabel(f"P(‖w‖ < {RADIUS:g})")
