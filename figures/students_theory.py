"""Theory of students under label noise: one clock for all noise levels, rates of approach, where slopes die."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stochastic_collapse.errors import InputError
from stochastic_collapse.noise_flow import approach_rates
from stochastic_collapse.theory import student_threshold
from stochastic_collapse.toys import ToyRun, independent_neurons, neurons

from . import style
from .messages import Message
from .needs import SIZES, Toy

TITLE = "Students under label noise: theory beside simulation"
CAPTION = (
    "Left, independent neurons against the time κ·steps/N, κ = η̂σ², of the flow that label noise causes, with η̂ the "
    "learning rate over 1 − momentum and N examples: mean of 16 students, up to the drop of the rate. Middle, the rate "
    "at which the eight most redundant pairs and the two smallest neurons of a student approach one another or the "
    "origin between steps 4,000 and 8,000 at σ = 0.3, against the prediction from the weights alone. Right, the slopes "
    "that rectified students of one input learn, relative to the teacher's, against the noise relative to the "
    "threshold σₖ at which a slope dies: mean of 16 students and of the second half of the steps, "
    "for each slope of eight teachers, and the prediction."
)
DIFFERENCES = dict.fromkeys(SIZES, "Not in the paper.")
NEEDS = dict.fromkeys(
    SIZES, (Toy("students", "configs/toys/students.yaml"), Toy("students", "configs/toys/students_threshold.yaml"))
)

Array = np.ndarray

WINDOW = (4000, 8000)  # steps over which rates are measured
PAIRS, SMALLEST = 8, 2  # of a student
LARGE = 0.1  # of the largest neuron: pairs of smaller ones are beside the origin rather than beside one another
CLEAR = 0.05  # slopes that are smaller drown in the fluctuations of the others


@dataclass(frozen=True)
class Clock:
    """Independent neurons of one noise level."""

    sigma: float
    time: Array
    """κ·steps/N, (S,)."""
    neurons: Array
    """Mean of the students, (S,)."""


@dataclass(frozen=True)
class Results:
    """Of two settings files, each may be missing."""

    clocks: list[Clock]
    rates: Array
    """Measured and predicted rate of approach, in units of κ/N, (places, 2)."""
    slopes: Array
    """(σ/σₖ)², and the mean slope of the students relative to the teacher's, (slopes · levels, 2)."""


def load(runs: Sequence[ToyRun]) -> Results:
    """`InputError` where none is of students with label noise alone, or none of those has what is drawn."""
    noisy = [run for run in runs if run.spec["problem"] == "students" and _by_labels(run)]
    rectified = [run for run in noisy if run.spec["parameters"]["activation"] == "relu" and run.data["x"].shape[2] == 1]
    smooth = [run for run in noisy if run.spec["parameters"]["activation"] == "gelu" and len(run.noise) > 2]
    results = Results(
        clocks=[clock for run in smooth[:1] for clock in _clocks(run)],
        rates=np.concatenate([_rates(run) for run in smooth[:1]] or [np.empty((0, 2))]),
        slopes=np.concatenate([_slopes(run) for run in rectified[:1]] or [np.empty((0, 2))]),
    )
    if not results.clocks and not len(results.slopes):
        found = ", ".join(str(run.directory) for run in runs) or "none"
        raise InputError(
            "figure students-theory is drawn from runs of students with label noise, of gelu at three noise levels or "
            f"more, or of relu with one input, found {found}"
        )
    return results


def _by_labels(run: ToyRun) -> bool:
    parameters = run.spec["parameters"]
    return (
        parameters["gradient_noise"] == "label"
        and not parameters["weight_decay"]
        and len(parameters["widths"]) == 1
        and parameters["batch"] == run.data["x"].shape[1]
    )


def _eta(run: ToyRun, level: int) -> float:
    """η̂ before the rate drops."""
    return float(run.spec["lr"][level] / (1 - run.spec["parameters"]["momentum"]))


def _clocks(run: ToyRun) -> list[Clock]:
    counts = independent_neurons(run).mean(axis=-1)
    points = run.data["x"].shape[1]
    time = np.concatenate([[0.0], np.cumsum(run.data["rate"])])[run.time.astype(int)]
    full = time == run.time  # before the rate drops
    return [
        Clock(float(sigma), _eta(run, k) * sigma**2 / points * run.time[full], counts[k, full])
        for k, sigma in enumerate(run.noise)
        if sigma > 0
    ]


def _rates(run: ToyRun) -> Array:
    """Of the noise level in the middle of those with noise; none where the window has fewer than three snapshots."""
    noisy = np.flatnonzero(run.noise)
    level = int(noisy[len(noisy) // 2])
    window = np.flatnonzero((run.time >= WINDOW[0]) & (run.time <= WINDOW[1]))
    if len(window) < 3:
        return np.empty((0, 2))
    eta, sigma, rows = _eta(run, level), float(run.noise[level]), neurons(run)[level, window]
    x, y = run.data["x"], run.data["y"]
    unit = eta * sigma**2 / x.shape[1]
    duration = (run.time[window[-1]] - run.time[window[0]]) * eta
    found = []
    for student in range(rows.shape[1]):
        path, teacher = rows[:, student], student * len(x) // rows.shape[1]
        places = _places(path[0])
        predicted = np.mean([approach_rates(x[teacher], y[teacher], at, places, eta, sigma) for at in path], axis=0)
        start, end = (np.array([_distance(path[k], place) for place in places]) for k in (0, -1))
        found.append(np.stack([np.log(start / end) / duration, predicted], axis=-1) / unit)
    return np.concatenate(found)


def _places(rows: Array) -> list[tuple[int, ...]]:
    """The most redundant pairs of large neurons, each neuron in one at most, and the smallest neurons."""
    norms = np.linalg.norm(rows, axis=-1)
    relative = np.linalg.norm(rows[:, None] - rows, axis=-1) / np.hypot(norms[:, None], norms)
    pairs: list[tuple[int, ...]] = []
    taken: set[int] = set()
    upper = np.triu_indices(len(rows), 1)
    for k in np.argsort(relative[upper], kind="stable"):
        pair = (int(upper[0][k]), int(upper[1][k]))
        if len(pairs) < PAIRS and not taken & set(pair) and norms[list(pair)].min() > LARGE * norms.max():
            pairs.append(pair)
            taken |= set(pair)
    return [*pairs, *((int(i),) for i in norms.argsort()[:SMALLEST])]


def _distance(rows: Array, place: tuple[int, ...]) -> float:
    return float(np.linalg.norm(rows[place[0]] - (rows[place[1]] if len(place) == 2 else 0)))


def _slopes(run: ToyRun) -> Array:
    rows = neurons(run)[:, run.time >= run.time[-1] / 2]  # (K, S, N, width, 2)
    x, teachers = run.data["x"][..., 0], run.data["teacher"]
    found = []
    for teacher in range(len(x)):
        for side in (1.0, -1.0):
            seen = np.where(side * x[teacher] > 0, x[teacher], 0.0)
            exact = _slope(teachers[teacher], side)
            if abs(exact) < CLEAR or not seen.any():
                continue
            students = np.array_split(rows, len(x), axis=2)[teacher]
            for k, sigma in enumerate(run.noise):
                threshold = student_threshold(seen, exact * seen, _eta(run, k))
                found.append([(sigma / threshold) ** 2, _slope(students[k], side).mean() / exact])
    return np.array(found).reshape(-1, 2)


def _slope(rows: Array, side: float) -> Array:
    """f(x)/x of rectified neurons at x of this sign, (…,)."""
    w, v = rows[..., 0], rows[..., 1]
    return np.asarray((np.where(side * w > 0, w, 0.0) * v).sum(axis=-1))


def message(results: Results) -> list[Message]:
    """All noise levels keep one time, predicted rates are the measured ones, and slopes die where they should."""
    said = []
    if len(results.clocks) > 1:
        common = np.array([2.0, 5.0])
        there = [c for c in results.clocks if c.time[-1] >= common[-1]]
        counts = np.array([np.interp(common, c.time, c.neurons) for c in there if c.time[1] <= common[0]])
        spread = np.ptp(counts, axis=0).max() if len(counts) > 1 else np.nan
        said.append(
            Message(
                "Noise levels that differ by a factor of 9 in power agree within 3 neurons at equal κ·steps/N.",
                f"apart by at most {spread:.1f} at 2 and 5, of {len(counts)} levels",
                bool(spread < 3),
            )
        )
    if len(results.rates):
        measured, predicted = results.rates.T
        correlation = float(np.corrcoef(measured, predicted)[0, 1])
        said.append(
            Message(
                "Rates of approach are those predicted from the weights, with a correlation above 0.7.",
                f"correlation {correlation:.2f}, means {measured.mean():.3f} and {predicted.mean():.3f} κ/N",
                correlation > 0.7,
            )
        )
    if len(results.slopes):
        ratio, slope = results.slopes.T
        error = float(np.sqrt(np.mean((slope - np.maximum(0, 1 - ratio)) ** 2)))
        dead = slope[ratio > 1.2]
        said.append(
            Message(
                "A slope dies at its threshold: s = s*(1 − (σ/σₖ)²) below it within 0.04, and nothing above 1.2.",
                f"root mean square error {error:.3f}, at most {np.abs(dead).max(initial=0):.1e} above",
                bool(error < 0.04 and (np.abs(dead) < 0.01).all()),
            )
        )
    return said


def draw(results: Results) -> Figure:
    """Three panels; one without data is left out."""
    panels = [
        (_draw_clocks, len(results.clocks)),
        (_draw_rates, len(results.rates)),
        (_draw_slopes, len(results.slopes)),
    ]
    shown = [panel for panel, there in panels if there]
    figure = Figure(figsize=(style.TWO_COLUMNS * len(shown) / 3, 2.4))
    for axes, panel in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        panel(axes, results)
    return figure


def _draw_clocks(panel: Axes, results: Results) -> None:
    colours = mpl.colormaps["viridis_r"](np.linspace(0.15, 1, len(results.clocks) + 1))[1:]
    for clock, colour in zip(results.clocks, colours, strict=True):
        after = clock.time > 0
        panel.plot(clock.time[after], clock.neurons[after], color=colour, label=f"σ = {clock.sigma:g}")
    panel.set_xscale("log")
    panel.set_ylim(0, None)
    panel.set_xlabel("κ·steps/N")
    panel.set_ylabel("independent neurons")
    panel.legend(loc="lower left", fontsize=6.5, handlelength=1.4)


def _draw_rates(panel: Axes, results: Results) -> None:
    measured, predicted = results.rates.T
    ends = np.array([results.rates.min(), results.rates.max()])
    panel.plot(ends, ends, color="black", linewidth=0.8, linestyle="--")
    panel.plot(predicted, measured, ".", color=style.COLOURS[0], markersize=3, alpha=0.6)
    panel.set_xlabel("predicted rate (κ/N)")
    panel.set_ylabel("measured rate (κ/N)")


def _draw_slopes(panel: Axes, results: Results) -> None:
    ratio, slope = results.slopes.T
    end = min(float(ratio.max()), 2.5)
    panel.plot([0, 1, end], [1, 0, 0], color="black", linewidth=0.8, linestyle="--", label="theory")
    panel.plot(ratio, slope, ".", color=style.COLOURS[1], markersize=3, alpha=0.7, label="students")
    panel.set_xlim(-0.03 * end, end)
    panel.set_xlabel("(σ/σₖ)²")
    panel.set_ylabel("slope / teacher's")
    panel.legend(loc="upper right", fontsize=6.5, handlelength=1.4)
