"""VGG for small images, with the layer names of the published code: conv1 … convN, then fc(N+1), fc(N+2), fc(N+3)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

from torch import Tensor, nn

from ..errors import InputError
from .initialization import activation, kaiming_normal, scaled

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""For each depth, how many convolutions there are in each stage, which a max-pool ends."""
CHANNELS = (64, 128, 256, 512, 512)
HEAD = 512
SMALLEST = 2 ** len(CHANNELS)


class VGG(nn.Module):
    """VGG-11, 13, 16 or 19 (Simonyan & Zisserman 2015), with a head of 512–512–classes.

    (batch, channels, height, width) images of `image_shape` (channels, height, width) → (batch, num_classes) logits.
    `depth` counts the layers that have weights; `batch_norm` normalizes after each convolution; `dropout` is the
    probability after each hidden layer of the head; `width` multiplies the channels and hidden neurons of every layer.

    Raises `InputError` for another depth, and for images of less than 32 pixels in height or width.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        depth: int = 16,
        act: str = "gelu",
        batch_norm: bool = False,
        dropout: float = 0.0,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        if depth not in CONVOLUTIONS:
            raise InputError(f"depth: expected one of {', '.join(map(str, CONVOLUTIONS))}, found {depth}")
        channels, height, wide = image_shape
        if min(height, wide) < SMALLEST:
            raise InputError(
                f"model vgg{depth} needs images of at least {SMALLEST} × {SMALLEST} pixels, found {height} × {wide}"
            )
        stages = zip(CHANNELS, CONVOLUTIONS[depth], strict=True)
        for k, base in enumerate((base for base, count in stages for _ in range(count)), start=1):
            out_channels = scaled(base, width)
            self.add_module(f"conv{k}", nn.Conv2d(channels, out_channels, kernel_size=3, padding=1))
            if batch_norm:
                self.add_module(f"bn{k}", nn.BatchNorm2d(out_channels))
            channels = out_channels
        self.pool_after = tuple(itertools.accumulate(CONVOLUTIONS[depth]))
        hidden = scaled(HEAD, width)
        sizes = (channels * (height // SMALLEST) * (wide // SMALLEST), hidden, hidden, num_classes)
        for k, (size, out_size) in enumerate(itertools.pairwise(sizes), start=self.pool_after[-1] + 1):
            self.add_module(f"fc{k}", nn.Linear(size, out_size))
        self.act = activation(act)
        self.pool = nn.MaxPool2d(kernel_size=2)
        self.dropout = nn.Dropout(dropout)
        self.batch_norm = batch_norm
        kaiming_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        last = self.pool_after[-1]
        for k in range(1, last + 1):
            x = self.get_submodule(f"conv{k}")(x)
            if self.batch_norm:
                x = self.get_submodule(f"bn{k}")(x)
            x = self.act(x)
            if k in self.pool_after:
                x = self.pool(x)
        x = x.flatten(1)  # in (channel, row, column) order, whatever the memory format
        for k in (last + 1, last + 2):
            x = self.dropout(self.act(self.get_submodule(f"fc{k}")(x)))
        out: Tensor = self.get_submodule(f"fc{last + 3}")(x)
        return out


def like(depth: int, weights: Mapping[str, Tensor]) -> tuple[VGG, tuple[int, int, int]]:
    """A network of that depth, with batch normalization if `weights` have it, and the shape of an image that it takes:
    weights tell how many places there are at the end, not how they lie.

    Raises `KeyError` where a layer is missing, and `InputError` where there are convolutions for another depth.
    """
    channels = weights["conv1.weight"].shape[1]
    last = sum(re.fullmatch(r"conv\d+\.weight", name) is not None for name in weights)
    if last and last + 3 != depth:
        raise InputError(f"these weights are not a vgg{depth}: they have {last} convolutions, expected {depth - 3}")
    places = weights[f"fc{last + 1}.weight"].shape[1] // weights[f"conv{last}.weight"].shape[0]
    shape = (channels, SMALLEST, SMALLEST * places)
    classes = weights[f"fc{last + 3}.weight"].shape[0]
    return VGG(shape, classes, last + 3, batch_norm="bn1.weight" in weights, width=0.01), shape


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
