"""Nonlinear students that learn a nonlinear teacher from noisy targets: where noise alone collapses neurons."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from ..config import Fraction, NonNegative, Number, Positive, Settings
from .arrays import Array


@dataclass(frozen=True)
class Layer:
    """Where a fully connected layer has its weights among those of its network."""

    inputs: int
    outputs: int
    matrix: slice
    """Of outputs × inputs weights, by rows."""
    bias: slice
    """Empty where there is none."""


def layers_of(widths: Sequence[int], *, biases: bool) -> list[Layer]:
    """The layers of a network of the widths (inputs, hidden …, 1); the last ends with the last weight."""
    layers, at = [], 0
    for inputs, outputs in itertools.pairwise(widths):
        matrix = slice(at, at + inputs * outputs)
        at = matrix.stop + outputs * biases
        layers.append(Layer(inputs, outputs, matrix, slice(matrix.stop, at)))
    return layers


class StudentsSettings(Settings):
    """Networks f(x) with one output, trained by SGD on Σ(f − y − σξ)²/(2B), ξ new each step; the noise level is σ.

    There are several teachers, networks of one hidden layer, each with data of its own, and several students of each:
    trajectory n learns from teacher n · teachers // trajectories. Students start alike at all noise levels.
    """

    name: Literal["students"]
    inputs: Positive = 4
    """Number d of inputs."""
    points: Positive = 32
    """Number N of examples of a teacher, x ~ N(0, 1)."""
    teacher: Positive = 2
    """Neurons of a teacher. Its weights are N(0, 1), and its targets y are scaled to unit variance."""
    teachers: Positive = 1
    """How many teachers there are; they share out the trajectories."""
    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (32,)
    """Neurons of each hidden layer of a student, whose weights start as N(0, 1/inputs of the layer)."""
    activation: Literal["gelu", "relu", "tanh", "linear"] = "gelu"
    """Of teachers and students."""
    biases: bool = False
    """Whether layers of students have biases, which start as 0."""
    batch_size: Positive | Literal["full"] = "full"
    """Examples of a step: all, or so many without repetition."""
    momentum: Fraction = 0.9
    """Of SGD."""
    weight_decay: NonNegative = 0.0
    """Times the weights, added to the gradient."""
    gradient_noise: Literal["label", "isotropic", "frozen"] = "label"
    """The noise of a step's gradient, of the strength that σ gives to labels: that of labels, −(σ/B) Jᵀξ, with J (B, P)
    the derivatives of f by the P weights; isotropic: σ‖J‖/(B√P) ξ, equal power in all directions; frozen: that of
    labels with the J of the start, which does not change with the weights."""
    test_points: Annotated[int, Field(ge=2), Number] = 1000
    """New examples of a teacher, without noise, for the test error."""

    @model_validator(mode="after")
    def _batch_fits(self) -> StudentsSettings:
        if self.batch_size != "full" and self.batch_size > self.points:
            raise ValueError(f"batch_size: {self.batch_size} are more than the {self.points} points; expected 'full'")
        return self

    @property
    def layers(self) -> list[Layer]:
        """Of a student."""
        return layers_of([self.inputs, *self.widths, 1], biases=self.biases)

    def parameters(self) -> dict[str, Any]:
        """What engines need to know beside the data."""
        values = self.model_dump(include={"activation", "biases", "momentum", "weight_decay", "gradient_noise"})
        batch = self.points if self.batch_size == "full" else self.batch_size
        return {"widths": list(self.widths), "batch": batch, **values}

    def data(self, seed: int) -> dict[str, Array]:
        """x (T, N, d), y (T, N), x_test (T, M, d) and y_test (T, M) of the T teachers; teacher (T, k, d + 1), the
        incoming weights and the outgoing one of their neurons, after scaling."""
        parts = [self._teacher(np.random.default_rng([seed, t])) for t in range(self.teachers)]
        names = ("x", "y", "x_test", "y_test", "teacher")
        return {name: np.stack(values) for name, values in zip(names, zip(*parts, strict=True), strict=True)}

    def start(self, seed: int, trajectories: int) -> Array:
        """(trajectories, P), the weights of each student at the start."""
        students = trajectories // self.teachers
        rngs = (np.random.default_rng([seed, t, s]) for t in range(self.teachers) for s in range(students))
        return np.stack([self._start(rng) for rng in rngs])

    def _teacher(self, rng: np.random.Generator) -> tuple[Array, ...]:
        w, a = rng.standard_normal((self.teacher, self.inputs)), rng.standard_normal(self.teacher)
        x, x_test = (rng.standard_normal((n, self.inputs)) for n in (self.points, self.test_points))
        y, y_test = (ACTIVATIONS[self.activation](x @ w.T) @ a for x in (x, x_test))
        scale = 1 / (y_test.std() or 1.0)  # a rectified teacher of one neuron may be silent at all points
        return x, scale * y, x_test, scale * y_test, np.concatenate([w, scale * a[:, None]], axis=1)

    def _start(self, rng: np.random.Generator) -> Array:
        layers = self.layers
        weights = np.zeros(layers[-1].bias.stop)
        for layer in layers:
            weights[layer.matrix] = rng.standard_normal(layer.inputs * layer.outputs) / np.sqrt(layer.inputs)
        return weights


def _gelu(z: Array) -> Array:
    from scipy.special import ndtr

    return np.asarray(z * ndtr(z))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": _gelu,
    "relu": lambda z: np.maximum(z, 0.0),
    "tanh": np.tanh,
    "linear": lambda z: z,
}
"""φ by name, elementwise."""
