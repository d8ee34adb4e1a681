"""The recursions of SGD in PyTorch, on any device, for a batch of trajectories at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import Array
from .torch_equations import Equations, Stepper


class Recursion(Equations):
    """What the recursions have in common: a learning rate for each noise level, times `rate` at each step."""

    def __init__(self, spec: dict[str, Any], data: dict[str, Array]) -> None:
        super().__init__(spec)
        self.data = data
        self.parameters = spec["parameters"]

    def learning_rate(self, levels: Sequence[int], like: Tensor, divisor: float = 1) -> Callable[[int], Tensor]:
        """A function from steps to the learning rates of `levels`, over `divisor`, as a tensor (levels, 1)."""
        peak = torch.tensor([[self.spec["lr"][k] / divisor] for k in levels], dtype=like.dtype).to(like.device)
        rates = self.data["rate"].tolist()
        last, now = 1.0, peak

        def at(step: int) -> Tensor:
            nonlocal last, now
            if rates[step] != last:  # mostly it is, and a product would take as long as a part of a step
                last = rates[step]
                now = last * peak
            return now

        return at

    def tensor(self, name: str, like: Tensor) -> Tensor:
        """Data of the problem on the device of `like`."""
        return torch.from_numpy(self.data[name]).to(like)


class TeacherStudent(Recursion):
    """Diagonal form, a state being (u of all modes, v of all modes)."""

    def __init__(self, spec: dict[str, Any], data: dict[str, Array]) -> None:
        super().__init__(spec, data)
        self.draws = self.width = len(data["s_star"])
        self.dimension = 2 * self.draws

    def start(self, streams: Sequence[np.random.Generator], trajectories: range) -> Tensor:
        factors = torch.tensor(self.parameters["init"], dtype=torch.float64).repeat_interleave(self.draws)
        return factors.view(-1, 1, 1).repeat(1, len(streams), len(trajectories))

    def stepper(self, state: Tensor, levels: Sequence[int], trajectories: range) -> Stepper:
        """(u, v) ← (u − η r v, v − η r u) with r = u v − s* + σ ξ and η = lr/N."""
        u, v = state.split(self.draws)
        s_star = self.tensor("s_star", state).view(-1, 1, 1)
        eta = self.learning_rate(levels, state, self.parameters["points"])
        r, du = torch.empty_like(u), torch.empty_like(u)

        def step(drawn: Tensor, at: int = 0, /) -> None:
            torch.sub(drawn, s_star, out=r)
            r.addcmul_(u, v).mul_(eta(at))
            torch.mul(r, v, out=du)
            v.addcmul_(r, u, value=-1)
            u.sub_(du)

        return step


def draw_examples(stream: np.random.Generator, out: Array, points: int) -> None:
    """Fill `out` (steps, size, trajectories): examples without repetition, every set of them equally likely.

    R. W. Floyd's algorithm (Bentley 1987).
    """
    uniform = stream.random(out.shape)
    size = out.shape[1]
    for k in range(size):
        newest = points - size + k
        example = np.floor(uniform[:, k] * (newest + 1))
        twice = (out[:, :k] == example[:, None]).any(axis=1)
        out[:, k] = np.where(twice, newest, example)


class TeacherStudentGeneral(Recursion):
    """General form, a state being (V, U), each flattened by rows; what is drawn are the examples of a mini-batch."""

    def __init__(self, spec: dict[str, Any], data: dict[str, Array]) -> None:
        super().__init__(spec, data)
        self.points = len(data["x"])
        self.sizes = [int(size) for size in spec["noise"]]
        self.draws = max((size for size in self.sizes if size < self.points), default=0)
        self.dimension = data["v"].size + data["u"].size

    def start(self, streams: Sequence[np.random.Generator], trajectories: range) -> Tensor:
        both = np.concatenate([self.data["v"].ravel(), self.data["u"].ravel()])
        # The matrices of a trajectory lie in one piece, as products of matrices want them.
        return torch.from_numpy(np.tile(both, (len(streams), len(trajectories), 1))).permute(2, 0, 1)

    def draw(self, level: int, stream: np.random.Generator, out: Array) -> None:
        size = self.sizes[level]
        if size < self.points:
            draw_examples(stream, out[:, :size], self.points)

    def stepper(self, state: Tensor, levels: Sequence[int], trajectories: range) -> Stepper:
        """V ← V − lr Xᵀ(X V U − Y) Uᵀ/B, U ← U − lr (X V)ᵀ(X V U − Y)/B over the B examples of a mini-batch."""
        storage = state.permute(1, 2, 0)  # (levels, trajectories, D)
        assert storage.is_contiguous()
        steppers: list[tuple[slice, Stepper]] = []
        # Full batches need no examples; neighbouring levels of either kind are computed together.
        for full, group in itertools.groupby(range(len(levels)), lambda k: self.sizes[levels[k]] == self.points):
            places = list(group)
            where = slice(places[0], places[-1] + 1)
            make = self._full_batches if full else self._mini_batches
            steppers.append((where, make(storage[where], levels[where])))

        def step(drawn: Tensor, at: int = 0, /) -> None:
            for where, each in steppers:
                each(drawn[:, where], at)

        return step

    def _factors(self, storage: Tensor) -> tuple[Tensor, Tensor]:
        """V and U of all trajectories, (levels · trajectories, rows, columns), parts of `storage`."""
        (n, _), (_, m) = self.data["v"].shape, self.data["u"].shape
        flat = storage.view(-1, self.dimension)
        return flat[:, : n * n].view(-1, n, n), flat[:, n * n :].view(-1, n, m)

    def _full_batches(self, storage: Tensor, levels: Sequence[int]) -> Stepper:
        v, u = self._factors(storage)
        x, y = self.tensor("x", storage), self.tensor("y", storage)
        second, cross = x.T @ x, x.T @ y
        lr = self.learning_rate(levels, storage, self.points)
        trajectories = storage.shape[1]

        def step(drawn: Tensor, at: int = 0, /) -> None:
            scale = lr(at).repeat_interleave(trajectories, 0)[:, :, None]
            gradient = (second @ v @ u).sub_(cross).mul_(scale)  # of V U
            dv = gradient @ u.mT
            u.baddbmm_(v.mT, gradient, alpha=-1)
            v.sub_(dv)

        return step

    def _mini_batches(self, storage: Tensor, levels: Sequence[int]) -> Stepper:
        v, u = self._factors(storage)
        x, y = self.tensor("x", storage), self.tensor("y", storage)
        lr = self.learning_rate(levels, storage)
        trajectories = storage.shape[1]
        sizes = torch.tensor([self.sizes[k] for k in levels]).to(storage)
        longest = int(sizes.max())
        # The examples of smaller mini-batches are filled up with some that have no weight.
        counts = torch.arange(longest).to(storage) < sizes[:, None]
        weights = (counts / sizes[:, None]).repeat_interleave(trajectories, 0)[:, :, None]

        def step(drawn: Tensor, at: int = 0, /) -> None:
            chosen = drawn[:longest].permute(1, 2, 0).reshape(-1, longest).long()
            inputs = x[chosen]  # (levels · trajectories, examples, n)
            hidden = inputs @ v
            residual = torch.baddbmm(y[chosen], hidden, u, beta=-1)
            residual.mul_(weights).mul_(lr(at).repeat_interleave(trajectories, 0)[:, :, None])
            dv = inputs.mT @ (residual @ u.mT)
            u.baddbmm_(hidden.mT, residual, alpha=-1)
            v.sub_(dv)

        return step
