"""Figure 5: label noise makes a linear student forget the small singular values of its data.

Above, the excess training loss and the test loss over the steps at each noise level σ. Below, the student's singular
values ŝ against those of the data, s*, before the learning rate drops and at the end, beside theory: at the end the
modes that noise had only shrunk have recovered, those that it had killed have not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from stochastic_collapse.errors import InputError
from stochastic_collapse.theory import teacher_student_bounds, teacher_student_threshold
from stochastic_collapse.toys import ToyRun, learned_values, losses

from . import style
from .messages import Message
from .needs import Toy

TITLE = "Figure 5: label noise makes a linear student forget the small singular values of its data"
CAPTION = (
    "Above, excess training loss and test loss at five levels σ of label noise, mean and standard error over seeds; "
    "dotted: where the learning rate drops by ten. Below, the singular values ŝ that the students have learned "
    "against those of the data, s*, before the drop and at the end, beside theory. Noise takes ησ²/2 from each "
    "mode, and kills those below (thick ticks on the axis); most of these are noise of the targets, so the test "
    "loss falls. After the drop the modes that were only shrunk grow again, the dead ones do not."
)
_ALWAYS = "The data are of the published distribution, with other random numbers."
DIFFERENCES = {
    "paper": _ALWAYS,
    "quick": "32 seeds for 256; the learning rate drops at step 10,000 for 50,000 and training ends at 15,000 for "
    f"60,001, too soon for all shrunk modes to have grown back. {_ALWAYS}",
}
NEEDS = {
    "paper": (Toy("teacher-student", "configs/toys/fig5.yaml"),),
    "quick": (Toy("teacher-student", "configs/toys/fig5_quick.yaml"),),
}

Array = np.ndarray


@dataclass(frozen=True)
class Values:
    """What the students have learned after some steps, beside theory; each (K, M)."""

    step: int
    mean: Array
    """Of ŝ."""
    error: Array
    lower: Array
    """Theory's laws of growth, towards s* − ησ²/2 and (`upper`) s*."""
    upper: Array


@dataclass(frozen=True)
class Results:
    """Means over the seeds and their standard errors, at K noise levels, S snapshots, for M modes."""

    steps: Array
    """(S,)."""
    noise: Array
    """σ, (K,)."""
    s_star: Array
    """(M,), falling."""
    thresholds: Array
    """ησ²/2 before the drop, (K,)."""
    losses: dict[str, tuple[Array, Array]]
    """Mean and error of the training and of the test loss, each (K, S)."""
    before: Values
    """When the learning rate drops."""
    after: Values
    """At the end."""


def load(runs: Sequence[ToyRun]) -> Results:
    """The one run that the figure is drawn from.

    `InputError` for several, and for a run that the figure's theory is not about: its learning rate does more than drop
    once, where there is no snapshot, or its modes do not start at u = v > 0, or diverged.
    """
    if len(runs) != 1:
        found = ", ".join(str(run.directory) for run in runs) or "none"
        raise InputError(f"figure fig5 is drawn from one run of teacher-student, found {found}")
    run = runs[0]
    place = f"figure fig5: {run.directory}"
    rate, (u, v) = run.data["rate"], run.spec["parameters"]["init"]
    drops = np.flatnonzero(np.diff(rate)) + 1
    if not rate.size:
        raise InputError(f"{place}: has no steps, only the start")
    if len(drops) > 1 or rate[0] != 1:
        raise InputError(f"{place}: expected a constant learning rate with one drop at most")
    drop = int(drops[0]) if drops.size else len(rate)
    if drop not in run.time:
        raise InputError(f"{place}: the learning rate drops at step {drop}; simulate with {drop} among the snapshots")
    if not u == v > 0:
        raise InputError(f"{place}: theory is of modes that start at u = v > 0, found problem.init = [{u:g}, {v:g}]")
    last = int(np.flatnonzero(run.time == drop)[0])
    with np.errstate(over="ignore", invalid="ignore"):
        of_seeds = losses(run)
    diverged = [~np.isfinite(values).all(axis=(1, 2)) for values in of_seeds.values()]
    if np.any(diverged):
        levels = ", ".join(f"{sigma:g}" for sigma in run.noise[np.any(diverged, axis=0)])
        raise InputError(f"{place}: students diverged at σ = {levels}; simulate with a smaller lr")
    s_star, sigma = run.data["s_star"], run.noise[:, None, None]
    eta = np.array(run.spec["lr"])[:, None, None] / run.spec["parameters"]["points"]
    at_drop, at_end = (learned_values(run, snapshot) for snapshot in (last, -1))
    first = teacher_student_bounds(s_star, eta, sigma, eta * run.time[last], u * v)
    # From then on each seed grows from where it is, and the mean of these laws is the law of the mean.
    eta, later = eta * rate[-1], run.time[-1] - run.time[last]
    second = teacher_student_bounds(s_star, eta, sigma, eta * later, at_drop)
    return Results(
        steps=run.time,
        noise=run.noise,
        s_star=s_star,
        thresholds=teacher_student_threshold(eta[:, 0, 0] / rate[-1], run.noise),
        losses={name: _mean_and_error(values) for name, values in of_seeds.items()},
        before=_values(int(run.time[last]), at_drop, *first),
        after=_values(int(run.time[-1]), at_end, *second),
    )


def _values(step: int, learned: Array, lower: Array, upper: Array) -> Values:
    """Of arrays (K, N or 1, M)."""
    mean, error = _mean_and_error(learned.swapaxes(1, 2))
    return Values(step, mean, error, lower.mean(axis=1), upper.mean(axis=1))


def _mean_and_error(values: Array) -> tuple[Array, Array]:
    """Over the last axis, the seeds."""
    count = values.shape[-1]
    error = values.std(axis=-1, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(values.shape[:-1])
    return values.mean(axis=-1), error


def message(results: Results) -> list[Message]:
    """Noise raises the training loss and lowers the test loss, kills small modes and only shrinks large ones."""
    noise, threshold = results.noise, float(results.thresholds[-1])
    drop = int(np.flatnonzero(results.steps == results.before.step)[0])
    training, test = results.losses["training"][0][:, drop], results.losses["test"][0][:, -1]
    small = results.s_star < threshold
    said = [
        Message(
            "The larger σ, the larger the excess training loss before the drop.",
            _listed(training, noise),
            bool((np.diff(training) > 0).all()),
        ),
        Message(
            "The larger σ, the smaller the test loss at the end.", _listed(test, noise), bool((np.diff(test) < 0).all())
        ),
    ]
    if small.any():
        dead, learned = results.after.mean[-1][small].mean(), results.after.mean[0][small].mean()
        said.append(
            Message(
                f"At σ = {noise[-1]:g} the modes with s* < ησ²/2 are dead at the end, which are learned without noise.",
                f"mean ŝ of these {small.sum()} modes: {dead:.3f}, and {learned:.3f} without noise",
                bool(dead < 0.1 * learned),
            )
        )
    noisy = [k for k, t in enumerate(results.thresholds) if t > 0 and (results.s_star > 1.5 * t).any()]
    taken = [[_taken(results, k, values) for k in noisy] for values in (results.before, results.after)]
    before, after = np.array(taken)
    said.append(
        Message(
            "At each σ noise takes ησ²/2, to within 15 %, from the modes with s* > 1.5 ησ²/2, of which they regain at "
            "least a fifth after the drop.",
            f"of ησ²/2, {_listed(before, noise[noisy])}; at the end {_listed(after, noise[noisy])}",
            bool((np.abs(before - 1) < 0.15).all() and (after < 0.8 * before).all()),
        )
    )
    return said


def _taken(results: Results, k: int, values: Values) -> float:
    """What noise level k has taken from the modes that it does not kill, mean over these, in units of ησ²/2."""
    threshold = results.thresholds[k]
    alive = results.s_star > 1.5 * threshold
    return float((results.s_star - values.mean[k])[alive].mean() / threshold)


def _listed(values: Array, noise: Array) -> str:
    return ", ".join(f"{value:.3g} at {sigma:g}" for value, sigma in zip(values, noise, strict=True))


def draw(results: Results) -> Figure:
    """Two panels of losses above two of singular values."""
    figure = Figure(figsize=(style.TWO_COLUMNS, 4.9))
    panels = figure.subplots(2, 2)
    _draw_losses(panels[0, 0], results, "training", "excess training loss Σ(ŝ − s*)²/2")
    _draw_losses(panels[0, 1], results, "test", "test loss ‖Ŵ − W‖²/2")
    _draw_values(
        panels[1, 0], results, results.before, "before the learning rate drops", ("lower bound", "upper bound")
    )
    # The time since the drop is too short for bounds (see `teacher_student_bounds`).
    grown = ("growth towards s* − ησ²/2", "growth towards s*")
    _draw_values(panels[1, 1], results, results.after, "at the end", grown)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _draw_losses(panel: Axes, results: Results, name: str, label: str) -> None:
    mean, error = results.losses[name]
    for k, sigma in enumerate(results.noise):
        colour = style.COLOURS[k % len(style.COLOURS)]
        panel.plot(results.steps, mean[k], color=colour, label=f"σ = {sigma:g}")
        panel.fill_between(results.steps, mean[k] - error[k], mean[k] + error[k], color=colour, alpha=0.25, linewidth=0)
    panel.axvline(results.before.step, color="black", linestyle=":", linewidth=0.8)
    panel.set_xlim(0, results.steps[-1])
    panel.set_yscale("log")
    if np.ptp(np.log10(panel.get_ylim())) < 2:
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        panel.yaxis.set_minor_formatter("{x:g}")
    else:
        panel.yaxis.set_minor_formatter(NullFormatter())
    panel.xaxis.set_major_formatter(style.thousands)
    panel.set_xlabel("SGD steps")
    panel.set_ylabel(label)


def _draw_values(panel: Axes, results: Results, values: Values, when: str, laws: tuple[str, str]) -> None:
    """Mean ŝ with standard errors, the laws as lines, which are called `laws`, and the thresholds as ticks."""
    for k, threshold in enumerate(results.thresholds):
        colour = style.COLOURS[k % len(style.COLOURS)]
        panel.plot(results.s_star, values.lower[k], color=colour, linewidth=0.9)
        panel.errorbar(
            results.s_star, values.mean[k], values.error[k], fmt="o", color=colour, markersize=2, elinewidth=0.6,
            markeredgewidth=0,
        )  # fmt: skip
        if 0 < threshold < results.s_star[0]:
            panel.axvline(threshold, ymax=0.06, color=colour, linewidth=1.6)
    panel.plot(results.s_star, values.upper.max(axis=0), color="black", linestyle="--", linewidth=0.9)
    panel.set_xlim(0, 1.03 * results.s_star[0])
    panel.set_ylim(-0.03, 1.15 * results.s_star[0])
    panel.set_xlabel("singular value of the data s*")
    panel.set_ylabel("learned ŝ")
    panel.set_title(f"step {values.step:,}, {when}", loc="left")
    lines = [
        Line2D([], [], color="0.4", marker="o", markersize=2.5, linewidth=0, label="mean ± standard error"),
        Line2D([], [], color="0.4", linewidth=0.9, label=laws[0]),
        Line2D([], [], color="black", linestyle="--", linewidth=0.9, label=laws[1]),
        Line2D([], [], color="0.4", marker="|", markersize=5, markeredgewidth=1.6, linewidth=0, label="ησ²/2"),
    ]
    panel.legend(handles=lines, loc="upper left", fontsize=6.5, labelspacing=0.2)
