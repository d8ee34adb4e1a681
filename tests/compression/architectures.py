"""Random small networks of all kinds of layers, and collapses planted in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stochastic_collapse.neurons import NeuronLayer, Part, trace


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.inner(x)
        return out


class Branches(nn.Module):
    """Concatenated over the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(functional.gelu(self.reduce(x.mean((2, 3), keepdim=True))))
        out: Tensor = x * gate.sigmoid()
        return out


class Tokens(nn.Module):
    """(B, C, H, W) → (B, H·W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)


class Mean(nn.Module):
    """Over the tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class Attention(nn.Module):
    """With queries, keys and values side by side, as in vision transformers."""

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads, self.size = heads, size
        self.qkv, self.proj = nn.Linear(width, 3 * heads * size), nn.Linear(heads * size, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, self.size)).permute(2, 0, 3, 1, 4)
        x = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(x.transpose(1, 2).flatten(2))
        return out


class PlainAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return out


def convolutional(kinds: Sequence[str], width: int, head: str) -> nn.Sequential:
    """For images of 3 × 8 × 8, with blocks of `kinds`; `width` is a multiple of 4."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.GELU()]
    for kind in kinds:
        match kind:
            case "plain":
                layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
            case "batch_norm":
                layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.GELU()]
            case "group_norm":
                layers += [nn.Conv2d(width, width, 1), nn.GroupNorm(2, width), nn.GELU()]
            case "layer_norm":
                layers += [nn.Conv2d(width, width, 1), nn.GroupNorm(1, width), nn.GELU()]
            case "grouped":
                layers += [nn.Conv2d(width, 2 * width, 3, groups=2), nn.GELU(), nn.Conv2d(2 * width, width, 1)]
            case "depthwise":
                layers += [nn.Conv2d(width, width, 3, padding=1, groups=width), nn.GELU(), nn.Conv2d(width, width, 1)]
            case "residual":
                inner = nn.Sequential(nn.Conv2d(width, width + 3, 1), nn.GELU(), nn.Conv2d(width + 3, width, 1))
                layers += [nn.Conv2d(width, width, 1), Residual(inner), nn.GELU()]
            case "concatenated":
                layers += [Branches(nn.Conv2d(width, width - 1, 1), nn.Conv2d(width, width, 1)), nn.ReLU()]
                layers += [nn.Conv2d(2 * width - 1, width, 1)]
            case "excited":
                layers += [nn.Conv2d(width, width, 1), nn.GELU(), SqueezeExcitation(width, 5)]
            case "pooled":
                layers += [nn.AvgPool2d(3, 1, 1), nn.MaxPool2d(3, 1, 1)]
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten()] if head == "flatten" else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    features = width * (4 if head == "flatten" else 1)
    layers += [nn.Linear(features, 9), nn.LayerNorm(9), nn.GELU(), nn.Linear(9, 4)]
    return nn.Sequential(*layers)


def transformer(kinds: Sequence[str], width: int, heads: int) -> nn.Sequential:
    """For images of 3 × 8 × 8, with blocks of `kinds`; `width` is a multiple of `heads`."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=4), Tokens()]
    for kind in kinds:
        match kind:
            case "attention":
                layers += [Residual(nn.Sequential(nn.LayerNorm(width), Attention(width, heads, 4)))]
            case "mlp":
                mlp = nn.Sequential(
                    nn.RMSNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
                )
                layers += [Residual(mlp)]
            case "torch":
                layers += [Residual(PlainAttention(width, heads)), nn.LayerNorm(width)]
    return nn.Sequential(*layers, Mean(), nn.Linear(width, 3))


def randomize(model: nn.Module, seed: int) -> None:
    """Weights of order 1/√fan_in, vectors about 1 or 0: nothing equal, nothing small."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 1 / max(1, parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.5
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.add_(1)
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))


def plant(model: nn.Module, images: Tensor, duplicates: int, vanished: int, seed: int) -> Mapping[str, int]:
    """Make in each layer `duplicates` neurons of a block copies of another, and `vanished` zero, where there is room.

    Returns how many neurons stay independent in each layer.
    """
    rng = np.random.default_rng(seed)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    left = {}
    for layer in trace(model, images).layers:
        each = layer.neurons // layer.blocks
        copies = min(duplicates, each - 2)
        gone = min(vanished, each - 2 - copies)
        for block in range(layer.blocks):
            order = block * each + rng.permutation(each)
            for k in range(copies):
                _copy(tensors, layer, order[0], order[1 + k])
            for k in range(gone):
                _clear(tensors, layer.parts, order[1 + copies + k])
        left[layer.name] = layer.neurons - layer.blocks * (copies + gone)
    return left


def _row(tensor: Tensor, part: Part, neuron: int) -> tuple[Tensor, tuple[int, ...]]:
    view = part.view(tensor)
    return view, tuple(int(k) for k in np.unravel_index(neuron, view.shape[: len(part.axes)]))


@torch.no_grad()
def _copy(tensors: Mapping[str, Tensor], layer: NeuronLayer, source: int, target: int) -> None:
    for part in (*layer.parts, *layer.statistics):
        view, place = _row(tensors[part.parameter], part, target)
        view[place] = view[_row(tensors[part.parameter], part, source)[1]].clone()


@torch.no_grad()
def _clear(tensors: Mapping[str, Tensor], parts: Sequence[Part], neuron: int) -> None:
    for part in parts:
        view, place = _row(tensors[part.parameter], part, neuron)
        view[place] = 0
