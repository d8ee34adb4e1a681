"""VGG-16 for small images, with the layer names of the published code: conv1 … conv13, fc14, fc15, fc16."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from ..errors import InputError
from .initialization import activation, kaiming_normal, scaled

CHANNELS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
POOL_AFTER = (2, 4, 7, 10, 13)
HEAD = 512


class VGG16(nn.Module):
    """(batch, channels, height, width) images → (batch, num_classes) logits; height and width at least 32."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        act: str = "gelu",
        batch_norm: bool = False,
        dropout: float = 0.0,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        channels, height, wide = image_shape
        smallest = 2 ** len(POOL_AFTER)
        if min(height, wide) < smallest:
            raise InputError(
                f"model vgg16 needs images of at least {smallest} × {smallest} pixels, found {height} × {wide}"
            )
        for k, base in enumerate(CHANNELS, start=1):
            out_channels = scaled(base, width)
            self.add_module(f"conv{k}", nn.Conv2d(channels, out_channels, kernel_size=3, padding=1))
            if batch_norm:
                self.add_module(f"bn{k}", nn.BatchNorm2d(out_channels))
            channels = out_channels
        reduction = 2 ** len(POOL_AFTER)
        hidden = scaled(HEAD, width)
        self.fc14 = nn.Linear(channels * (height // reduction) * (wide // reduction), hidden)
        self.fc15 = nn.Linear(hidden, hidden)
        self.fc16 = nn.Linear(hidden, num_classes)
        self.act = activation(act)
        self.pool = nn.MaxPool2d(kernel_size=2)
        self.dropout = nn.Dropout(dropout)
        self.batch_norm = batch_norm
        kaiming_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        for k in range(1, len(CHANNELS) + 1):
            x = self.get_submodule(f"conv{k}")(x)
            if self.batch_norm:
                x = self.get_submodule(f"bn{k}")(x)
            x = self.act(x)
            if k in POOL_AFTER:
                x = self.pool(x)
        x = x.flatten(1)  # in (channel, row, column) order, whatever the memory format
        x = self.dropout(self.act(self.fc14(x)))
        x = self.dropout(self.act(self.fc15(x)))
        out: Tensor = self.fc16(x)
        return out


def like(weights: Mapping[str, Tensor]) -> tuple[VGG16, tuple[int, int, int]]:
    """A network with batch normalization if `weights` have it, and the shape of an image that it takes."""
    places = weights["fc14.weight"].shape[1] // weights["conv13.weight"].shape[0]
    smallest = 2 ** len(POOL_AFTER)
    shape = (weights["conv1.weight"].shape[1], smallest, smallest * places)
    return VGG16(shape, weights["fc16.weight"].shape[0], batch_norm="bn1.weight" in weights, width=0.01), shape


_PUBLISHED_HEAD = {"fc.0": "fc14", "fc1.0": "fc15", "fc2.0": "fc16"}


def from_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """With our names, where they are of the published batch-normalized VGG-16, whose blocks are layer1 … layer13."""
    is_published = "layer1.0.weight" in weights
    return {_ours(name) if is_published else name: value for name, value in weights.items()}


def _ours(name: str) -> str:
    if match := re.fullmatch(r"layer(\d+)\.([01])\.(\w+)", name):
        return f"{'conv' if match[2] == '0' else 'bn'}{match[1]}.{match[3]}"
    module, _, kind = name.rpartition(".")
    return f"{_PUBLISHED_HEAD.get(module, module)}.{kind}"
