"""Label noise alone makes nonlinear students about as narrow as their teacher; their controls beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from stochastic_collapse.errors import InputError
from stochastic_collapse.toys import ToyRun, before_drop, errors, independent_neurons, neurons

from . import style
from .messages import Message
from .needs import SIZES, Toy

TITLE = "Label noise alone makes students as narrow as their teacher"
CAPTION = (
    "Students of 32 GELU neurons learn a teacher of two from 32 examples, with gradients of all examples, momentum, no "
    "weight decay, and fresh label noise σ at each step; four teachers of four students each. Top left, independent "
    "neurons over the steps: mean, and range of the means of the teachers. Top middle, the squared error on new "
    "examples without noise, before and after the learning rate drops by ten: each student, and the median. Top right, "
    "the controls: each student at the end. Below, the students of one teacher of two inputs: the angles of the "
    "incoming weights of all neurons, the darker the larger the neuron; dashed, the teacher's."
)
DIFFERENCES = dict.fromkeys(SIZES, "Not in the paper, whose networks have weight decay beside the noise.")
NEEDS = dict.fromkeys(SIZES, (Toy("students", "configs/toys/students.yaml"),))

Array = np.ndarray

LEAST = 1e-3  # of a neuron's norm relative to the largest: below it an angle says nothing


@dataclass(frozen=True)
class Control:
    """Students that are trained in another way."""

    name: str
    steps: int
    neurons: Array
    """Independent ones at the end, (N,)."""
    by_labels: float = float("nan")
    """Mean that label noise of the same σ leaves at the same step; NaN: not known."""


@dataclass(frozen=True)
class Plane:
    """The neurons of one student in two inputs at one noise level."""

    sigma: float
    steps: Array
    """(S,)."""
    angle: Array
    """Of the incoming weights, (S, width)."""
    size: Array
    """Norm of a neuron's weights, relative to the largest of the student, (S, width)."""
    teacher: Array
    """Angles of the teacher's neurons, (k,)."""


@dataclass(frozen=True)
class Results:
    """Of students at K noise levels, S snapshots, N trajectories."""

    sigma: Array
    """(K,)."""
    steps: Array
    """(S,)."""
    neurons: Array
    """Independent ones, (K, S, N)."""
    teachers: int
    """The trajectories are theirs, in order."""
    width: int
    """Of students."""
    teacher_width: int
    drop: int
    """The last snapshot before the learning rate drops."""
    error: Array
    """On new examples before the drop and at the end, (K, 2, N)."""
    controls: list[Control]
    planes: list[Plane]


def load(runs: Sequence[ToyRun]) -> Results:
    """`InputError` where none is of students with label noise alone."""
    noisy = [run for run in runs if run.spec["problem"] == "students" and _control(run) is None]
    plane = next((run for run in noisy if run.data["x"].shape[2] == 2), None)
    main = next((run for run in noisy if run is not plane), plane)
    if main is None:
        found = ", ".join(str(run.directory) for run in runs) or "none"
        raise InputError(f"figure students is drawn from runs of students with label noise, found {found}")
    drop, counts = before_drop(main), independent_neurons(main)
    return Results(
        sigma=main.noise,
        steps=main.time,
        neurons=counts,
        teachers=len(main.data["x"]),
        width=main.spec["parameters"]["widths"][0],
        teacher_width=main.data["teacher"].shape[1],
        drop=drop,
        error=np.asarray(errors(main)["test"][:, [drop, -1]]),
        controls=[control for run in runs if (control := _load_control(run, main, counts))],
        planes=[_plane(plane, k) for k in range(len(plane.noise))] if plane is not None else [],
    )


def _control(run: ToyRun) -> str | None:
    """How the run differs from students with label noise alone; None where it does not."""
    parameters = run.spec["parameters"]
    if parameters.get("weight_decay"):
        return f"weight decay {parameters['weight_decay']:g}"
    kind = parameters.get("gradient_noise", "label")
    return None if kind == "label" else f"{kind} noise"


def _load_control(run: ToyRun, main: ToyRun, counts: Array) -> Control | None:
    """`counts` are the independent neurons of `main`."""
    name = _control(run) if run.spec["problem"] == "students" else None
    if name is None:
        return None
    steps, sigma = int(run.time[-1]), run.noise[-1]
    beside = counts[np.ix_(main.noise == sigma, main.time == steps)]
    by_labels = float(beside.mean()) if beside.size else float("nan")
    last = dataclasses.replace(run, state=run.state[-1:, -1:], noise=run.noise[-1:], time=run.time[-1:])
    return Control(f"{name}, σ = {sigma:g}", steps, independent_neurons(last)[0, 0], by_labels)


def _plane(run: ToyRun, level: int) -> Plane:
    rows = neurons(run)[level, :, 0]
    norm = np.linalg.norm(rows, axis=-1)
    teacher = run.data["teacher"][0]
    return Plane(
        sigma=float(run.noise[level]),
        steps=run.time,
        angle=np.arctan2(rows[..., 1], rows[..., 0]),
        size=norm / norm.max(axis=-1, keepdims=True),
        teacher=np.arctan2(teacher[:, 1], teacher[:, 0]),
    )


def message(results: Results) -> list[Message]:
    """Noise leaves few neurons, its absence nearly all; so does isotropic noise, and not weight decay."""
    last = results.neurons[:, -1].mean(axis=-1)
    after = [np.median(results.error[k, 1]) for k in range(len(last))]
    most = int(np.argmax(results.sigma))
    listed = ", ".join(f"{n:.1f} at σ = {s:g}" for n, s in zip(last, results.sigma, strict=True))
    said = [
        Message(
            f"The more label noise, the fewer of {results.width} neurons are independent at the end, down to at most "
            f"twice the teacher's {results.teacher_width}.",
            listed,
            bool((np.diff(last[np.argsort(results.sigma)]) <= 0).all() and last[most] <= 2 * results.teacher_width),
        )
    ]
    quiet = np.flatnonzero(results.sigma == 0)
    if len(quiet):
        said.append(
            Message(
                "Without noise nearly all neurons stay independent.",
                f"{last[quiet[0]]:.1f} of {results.width}",
                bool(last[quiet[0]] >= 0.9 * results.width),
            )
        )
        best = int(np.argmin(after))
        said.append(
            Message(
                "After the drop of the rate, students trained with some noise generalize better than without.",
                f"median error {after[best]:.2g} at σ = {results.sigma[best]:g}, {after[quiet[0]]:.2g} without noise",
                bool(after[best] < after[quiet[0]] / 2),
            )
        )
    for control in results.controls:
        mean = control.neurons.mean()
        if "weight decay" in control.name:
            sentence, measured = "does it too, without noise", f"{mean:.1f} neurons"
            holds = mean <= 2 * results.teacher_width
        else:
            sentence = "leaves more neurons than label noise does"
            measured = f"{mean:.1f} neurons after {control.steps:,} steps, of label noise {control.by_labels:.1f}"
            holds = mean >= 0.9 * results.width and not mean <= control.by_labels
        said.append(Message(f"{_begun(control.name)} {sentence}.", measured, bool(holds)))
    return said


def _begun(name: str) -> str:
    return name[0].upper() + name[1:]


def draw(results: Results) -> Figure:
    """Neurons over steps, errors and controls; below them the directions of a student's neurons, if there are some."""
    rows = 1 + bool(results.planes)
    figure = Figure(figsize=(style.TWO_COLUMNS, 2.4 * rows))
    top, *below = figure.subfigures(rows, 1, squeeze=False)[:, 0]
    counts, error, controls = top.subplots(1, 3, width_ratios=[1.25, 1, 1])
    _draw_counts(counts, results)
    _draw_errors(error, results)
    _draw_controls(controls, results)
    if below:
        panels = below[0].subplots(1, len(results.planes), squeeze=False)[0]
        for panel, plane in zip(panels, results.planes, strict=True):
            _draw_plane(panel, plane)
        panels[0].set_ylabel("angle of w")
    return figure


def _colours(results: Results) -> Array:
    return np.asarray(mpl.colormaps["viridis_r"](np.linspace(0.15, 1, len(results.sigma))))


def _draw_counts(panel: Axes, results: Results) -> None:
    steps = results.steps
    teachers = results.neurons.reshape(*results.neurons.shape[:2], results.teachers, -1).mean(axis=-1)
    for k, colour in enumerate(_colours(results)):
        panel.plot(steps, results.neurons[k].mean(axis=-1), color=colour, label=f"σ = {results.sigma[k]:g}")
        panel.fill_between(steps, *_range(teachers[k]), color=colour, alpha=0.2, linewidth=0)
    panel.axhline(results.teacher_width, color="black", linewidth=0.8, linestyle="--", label="teacher")
    if results.drop < len(steps) - 1:
        panel.axvline(steps[results.drop], color="0.6", linewidth=0.8, linestyle=":")
        panel.annotate("rate ÷ 10", (steps[results.drop], 0.55 * results.width), fontsize=6, rotation=90, ha="right",
                       xytext=(-1, 0), textcoords="offset points", color="0.4", va="center")  # fmt: skip
    panel.set_xlim(0, steps[-1])
    panel.set_ylim(0, 1.04 * results.width)
    panel.xaxis.set_major_formatter(style.thousands)
    panel.set_xlabel("steps")
    panel.set_ylabel("independent neurons")
    panel.legend(loc="center left", bbox_to_anchor=(0.3, 0.5), fontsize=6.5, handlelength=1.4)


def _range(values: Array) -> tuple[Array, Array]:
    return values.min(axis=-1), values.max(axis=-1)


def _draw_errors(panel: Axes, results: Results) -> None:
    places = np.arange(len(results.sigma))
    names = ("before the drop", "after it") if results.drop < len(results.steps) - 1 else ("at the end",)
    for when, (name, colour) in enumerate(zip(names, style.COLOURS, strict=False)):
        values = results.error[:, when]
        panel.plot(places, np.median(values, axis=-1), "o-", color=colour, label=name)
        panel.plot(places, values, "_", color=colour, markersize=4, alpha=0.5, markeredgewidth=0.6)
    panel.set_yscale("log")
    panel.set_xticks(places, [f"{sigma:g}" for sigma in results.sigma])
    panel.set_xlabel("label noise σ")
    panel.set_ylabel("test error")
    panel.legend(loc="upper left", fontsize=6.5, handlelength=1.4)


def _draw_controls(panel: Axes, results: Results) -> None:
    last = results.neurons[:, -1]
    quiet = [Control("no noise", 0, last[k]) for k in np.flatnonzero(results.sigma == 0)]
    most = int(np.argmax(results.sigma))
    shown = [*quiet, Control(f"label noise, σ = {results.sigma[most]:g}", 0, last[most]), *results.controls]
    for place, control in enumerate(reversed(shown)):
        spread = np.linspace(-0.25, 0.25, len(control.neurons))
        panel.plot(control.neurons, place + spread, ".", color=style.COLOURS[0], markersize=2.5)
        panel.plot([control.neurons.mean()] * 2, [place - 0.33, place + 0.33], color=style.COLOURS[1])
    panel.axvline(results.teacher_width, color="black", linewidth=0.8, linestyle="--")
    panel.set_yticks(range(len(shown)), [control.name.replace(", ", "\n") for control in reversed(shown)], fontsize=6.5)
    panel.set_xlim(0, 1.04 * results.width)
    panel.set_xlabel("independent neurons")


def _draw_plane(panel: Axes, plane: Plane) -> None:
    """A line for each neuron, broken where it passes from π to −π, as dark as the neuron is large."""
    for angle, size in zip(plane.angle.T, plane.size.T, strict=True):
        points = np.stack([plane.steps, angle], axis=-1)
        segments = np.stack([points[:-1], points[1:]], axis=1)
        kept = (np.abs(np.diff(angle)) < np.pi) & (size[1:] > LEAST)
        shade = np.clip(size[1:][kept], 0.08, 1)
        colours = np.column_stack([np.tile(mpl.colors.to_rgb(style.COLOURS[0]), (len(shade), 1)), shade])
        panel.add_collection(LineCollection(list(segments[kept]), colors=colours, linewidths=0.8))
    for angle in plane.teacher:
        panel.axhline(angle, color=style.COLOURS[1], linewidth=0.9, linestyle="--")
    panel.set_xscale("symlog", linthresh=100)
    panel.set_xlim(0, plane.steps[-1])
    panel.set_ylim(-np.pi, np.pi)
    panel.set_yticks([-np.pi, -np.pi / 2, 0, np.pi / 2, np.pi], ["−π", "−π/2", "0", "π/2", "π"])
    panel.xaxis.set_major_formatter(style.thousands)
    panel.set_xlabel("steps")
    panel.set_title(f"σ = {plane.sigma:g}", loc="left")
