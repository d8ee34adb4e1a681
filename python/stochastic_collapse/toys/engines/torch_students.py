"""Networks of fully connected layers with one output in PyTorch, many trajectories at once (`toys/students.py`).

Gradients are by hand: the power of a gradient's noise needs the derivatives of every example, which autograd does not
keep, and a step is a few products of matrices this way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ..arrays import Array
from ..students import Layer, layers_of
from .torch_equations import Stepper
from .torch_sgd import Recursion, draw_examples

Activation = Callable[[Tensor], tuple[Tensor, Tensor]]


def _gelu(z: Tensor) -> tuple[Tensor, Tensor]:
    below = torch.special.ndtr(z)
    slope = torch.exp(-z * z / 2).mul_(1 / math.sqrt(2 * math.pi)).mul_(z).add_(below)
    return below.mul_(z), slope


def _tanh(z: Tensor) -> tuple[Tensor, Tensor]:
    t = z.tanh()
    return t, 1 - t * t


ACTIVATIONS: dict[str, Activation] = {
    "gelu": _gelu,
    "relu": lambda z: (z.relu(), (z > 0).to(z.dtype)),
    "tanh": _tanh,
    "linear": lambda z: (z, torch.ones_like(z)),
}
"""(φ, φ') by name, elementwise."""


class Network:
    """Networks of the same layers, each with weights of its own, (networks, P)."""

    def __init__(self, layers: Sequence[Layer], activation: str) -> None:
        self.layers, self.activation = layers, ACTIVATIONS[activation]

    def outputs(self, weights: Tensor, x: Tensor) -> Tensor:
        """f, (networks, examples), of `x` (networks, examples, inputs)."""
        return self._forward(weights, x)[0]

    def _forward(self, weights: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """f, what goes into each layer, and the slopes φ' of the hidden layers."""
        below, slopes = [x], []
        for k, layer in enumerate(self.layers):
            z = below[-1] @ self._matrix(weights, layer).mT
            if layer.bias.start < layer.bias.stop:
                z += weights[:, None, layer.bias]
            if k < len(self.layers) - 1:
                z, slope = self.activation(z)
                slopes.append(slope)
                below.append(z)
        return z[..., 0], below, slopes

    def derivatives(self, weights: Tensor, x: Tensor) -> tuple[Tensor, Derivatives]:
        """f, and what its derivatives by the weights are made of."""
        outputs, below, slopes = self._forward(weights, x)
        deltas = [torch.ones_like(outputs)[..., None]]
        for layer, slope in zip(reversed(self.layers[1:]), reversed(slopes), strict=True):
            deltas.append((deltas[-1] @ self._matrix(weights, layer)).mul_(slope))
        return outputs, Derivatives(self.layers, below, deltas[::-1])

    @staticmethod
    def _matrix(weights: Tensor, layer: Layer) -> Tensor:
        return weights[:, layer.matrix].unflatten(1, (layer.outputs, layer.inputs))


class Derivatives:
    """J, the derivatives of the outputs of all examples by the weights, in the factors that each layer has of them."""

    def __init__(self, layers: Sequence[Layer], below: Sequence[Tensor], deltas: Sequence[Tensor]) -> None:
        self.parts = list(zip(layers, below, deltas, strict=True))
        self.weights = layers[-1].bias.stop

    def times(self, seeds: Tensor) -> Tensor:
        """Jᵀ seeds, (networks, P), of `seeds` (networks, examples)."""
        product = seeds.new_empty(len(seeds), self.weights)
        for layer, below, delta in self.parts:
            weighted = delta * seeds[..., None]
            product[:, layer.matrix] = (weighted.mT @ below).flatten(1)
            if layer.bias.start < layer.bias.stop:
                product[:, layer.bias] = weighted.sum(1)
        return product

    def power(self) -> Tensor:
        """‖J‖², (networks,)."""
        return torch.stack(
            [
                ((below.square().sum(2) + (layer.bias.start < layer.bias.stop)) * delta.square().sum(2)).sum(1)
                for layer, below, delta in self.parts
            ]
        ).sum(0)

    def full(self) -> Tensor:
        """J itself, (networks, examples, P)."""
        examples = self.parts[0][1].shape[1]
        one = self.parts[0][1].new_zeros(examples)
        seeds = torch.eye(examples).to(one)
        return torch.stack([self.times(seed.expand(len(self.parts[0][1]), -1)) for seed in seeds], dim=1)


class Students(Recursion):
    """A state is the weights of a network and their momenta; what is saved of it, the weights and two errors."""

    def __init__(self, spec: dict[str, Any], data: dict[str, Array]) -> None:
        super().__init__(spec, data)
        self.teachers, self.points, inputs = data["x"].shape
        widths = [inputs, *self.parameters["widths"], 1]
        self.layers = layers_of(widths, biases=self.parameters["biases"])
        self.network = Network(self.layers, self.parameters["activation"])
        self.weights = self.layers[-1].bias.stop
        self.batch, self.kind = int(self.parameters["batch"]), self.parameters["gradient_noise"]
        self.normals = self.weights if self.kind == "isotropic" else self.batch
        self.examples = self.batch if self.batch < self.points else 0
        self.draws, self.dimension = self.normals + self.examples, self.weights + 2
        self.width = max(self.batch * max(widths), self.weights)

    def start(self, streams: Sequence[np.random.Generator], trajectories: range) -> Tensor:
        weights = self.data["start"][trajectories.start : trajectories.stop]
        state = np.concatenate([weights, np.zeros_like(weights)], axis=1)
        # The weights of a trajectory lie in one piece, as products of matrices want them.
        return torch.from_numpy(np.tile(state, (len(streams), 1, 1))).permute(2, 0, 1)

    def draw(self, level: int, stream: np.random.Generator, out: Array) -> None:
        normals = stream.standard_normal((len(out), self.normals, out.shape[2]))
        np.multiply(normals, self.amplitude(level), out=out[:, : self.normals])
        draw_examples(stream, out[:, self.normals :], self.points)

    def _of_teachers(self, name: str, trajectories: range, levels: int, like: Tensor) -> Tensor:
        """Data of the teacher of each of `trajectories`, for all `levels` of them."""
        which = np.arange(trajectories.start, trajectories.stop) * self.teachers // self.spec["trajectories"]
        return torch.from_numpy(np.tile(self.data[name][which], (levels,) + (1,) * (self.data[name].ndim - 1))).to(like)

    def observe(self, state: Tensor, trajectories: range) -> Tensor:
        levels = state.shape[1]
        weights = state[: self.weights].permute(1, 2, 0).flatten(0, 1)
        errors = [
            (self.network.outputs(weights, x) - y).square().mean(1)
            for x, y in (
                (self._of_teachers(name + end, trajectories, levels, state) for name in "xy") for end in ("", "_test")
            )
        ]
        return torch.cat([weights, torch.stack(errors, 1)], 1).unflatten(0, (levels, -1)).permute(2, 0, 1)

    def check(self, state: Tensor, levels: Sequence[int], trajectories: range, at: int) -> None:
        finite = state.isfinite().all(0)
        if bool(finite.all()):
            return
        level, trajectory = (int(places[0]) for places in torch.nonzero(~finite, as_tuple=True))
        lr = self.spec["lr"][levels[level]]
        raise InputError(
            f"engine torch: lr = {lr} is too large: at noise level {self.spec['noise'][levels[level]]} the weights of "
            f"trajectory {trajectories[trajectory]} exploded by step {at}; try lr = {lr / 4}"
        )

    def stepper(self, state: Tensor, levels: Sequence[int], trajectories: range) -> Stepper:
        """m ← momentum m + g + weight_decay w, w ← w − lr m, as torch.optim.SGD does it."""
        storage = state.permute(1, 2, 0).flatten(0, 1)  # (networks, 2P), the levels one after the other
        weights, moments = storage.split(self.weights, dim=1)
        x, y = (self._of_teachers(name, trajectories, len(levels), state) for name in "xy")
        network, points, batch, p = self.network, self.points, self.batch, self.weights
        lr = self.learning_rate(levels, state)
        momentum, decay = self.parameters["momentum"], self.parameters["weight_decay"]
        frozen = network.derivatives(weights, x)[1].full() if self.kind == "frozen" else None
        networks = torch.arange(len(x), device=state.device)[:, None]

        def step(drawn: Tensor, at: int = 0, /) -> None:
            drawn = drawn.permute(1, 2, 0).flatten(0, 1)  # (networks, draws)
            noise = drawn[:, : self.normals]
            chosen = drawn[:, self.normals :].long() if batch < points else None
            inputs, targets = (x, y) if chosen is None else (x[networks, chosen], y[networks, chosen])
            outputs, derivatives = network.derivatives(weights, inputs)
            residual = outputs - targets
            if self.kind == "label":
                residual -= noise
            gradient = derivatives.times(residual / batch)
            if self.kind == "isotropic":
                gradient += (derivatives.power() / p).sqrt()[:, None] / batch * noise
            elif frozen is not None:
                rows = frozen if chosen is None else frozen[networks, chosen]
                gradient -= (noise[:, None] @ rows)[:, 0] / batch
            moments.mul_(momentum).add_(gradient).add_(weights, alpha=decay)
            weights.sub_(lr(at).repeat_interleave(len(trajectories), 0) * moments)

        return step


class TwoNeurons(Students):
    """Students of one input, two neurons and no biases, who start alike; a saved state is (weights, momenta)."""

    def __init__(self, spec: dict[str, Any], data: dict[str, Array]) -> None:
        parameters, points = spec["parameters"], len(data["x"])
        settings = {"widths": [2], "activation": "gelu", "biases": False, "batch": points, "weight_decay": 0.0}
        start = np.array([[*parameters["w_in"], *parameters["w_out"]]])
        super().__init__(
            {**spec, "parameters": {"momentum": parameters["momentum"], "gradient_noise": "label", **settings}},
            {
                "x": data["x"].reshape(1, -1, 1),
                "y": data["y"].reshape(1, -1),
                "start": start.repeat(spec["trajectories"], axis=0),
                "rate": data["rate"],
            },
        )
        self.dimension = 2 * self.weights

    def observe(self, state: Tensor, trajectories: range) -> Tensor:
        return state

    def check(self, state: Tensor, levels: Sequence[int], trajectories: range, at: int) -> None:
        """Trajectories that diverge are counted when they are saved."""
