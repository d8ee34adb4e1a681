"""Fully connected network with hidden layers fc1 … fcL and the output layer fc(L+1)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from .initialization import activation, kaiming_normal


class MLP(nn.Module):
    """(batch, …) → flatten → hidden layers of `widths` neurons → (batch, num_classes) logits."""

    def __init__(self, in_features: int, widths: Sequence[int], num_classes: int, act: str = "gelu") -> None:
        super().__init__()
        sizes = [in_features, *widths, num_classes]
        self.depth = len(sizes) - 1
        for k in range(self.depth):
            self.add_module(f"fc{k + 1}", nn.Linear(sizes[k], sizes[k + 1]))
        self.act = activation(act)
        kaiming_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for k in range(1, self.depth):
            x = self.act(self.get_submodule(f"fc{k}")(x))
        out: Tensor = self.get_submodule(f"fc{self.depth}")(x)
        return out

    def forward_stacked(self, parameters: Sequence[Tensor], x: Tensor) -> Tensor:
        """R networks of this shape at once: (R, batch, …) → (R, batch, num_classes).

        `parameters` are those of `parameters()`, in that order, each with a first axis of R.
        """
        x = x.flatten(2)
        for k in range(self.depth):
            weight, bias = parameters[2 * k : 2 * k + 2]
            x = torch.baddbmm(bias[:, None], x, weight.mT)
            if k < self.depth - 1:
                x = self.act(x)
        return x


def like(weights: Mapping[str, Tensor]) -> tuple[MLP, tuple[int, int, int]]:
    """A network of as many layers as there are in `weights`, and the shape of an image that it takes."""
    layers = sorted(int(match[1]) for name in weights if (match := re.fullmatch(r"fc(\d+)\.weight", name)))
    sizes = [weights[f"fc{k}.weight"].shape for k in layers]
    return MLP(sizes[0][1], [size[0] for size in sizes[:-1]], sizes[-1][0]), (1, 1, sizes[0][1])
