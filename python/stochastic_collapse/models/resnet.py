"""ResNets for small images and large ones, with torchvision's parameter names, which the published code also has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor, nn

from ..errors import InputError
from .initialization import activation, kaiming_normal, scaled

CHANNELS = (64, 128, 256, 512)
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""For each depth, how many blocks there are in each stage."""

Stem = Literal["cifar", "imagenet"]
"""A 3 × 3 convolution with stride 1; or a 7 × 7 one with stride 2, then a 3 × 3 max-pool with stride 2."""


def _convolution(in_channels: int, out_channels: int, kernel: int, stride: int, batch_norm: bool) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=not batch_norm)


def _norm(channels: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()


def _shortcut(in_channels: int, out_channels: int, stride: int, batch_norm: bool) -> nn.Module:
    """The input itself, or a 1 × 1 convolution of it where shapes differ."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        _convolution(in_channels, out_channels, 1, stride, batch_norm), _norm(out_channels, batch_norm)
    )


class BasicBlock(nn.Module):
    """act(bn2(conv2(act(bn1(conv1(x))))) + shortcut(x)), both convolutions 3 × 3."""

    expansion: ClassVar[int] = 1
    """Channels that a block gives for each that it has inside."""

    def __init__(self, in_channels: int, channels: int, stride: int, act: str, batch_norm: bool) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, channels, 3, stride, batch_norm)
        self.bn1 = _norm(channels, batch_norm)
        self.conv2 = _convolution(channels, channels, 3, 1, batch_norm)
        self.bn2 = _norm(channels, batch_norm)
        self.downsample = _shortcut(in_channels, channels, stride, batch_norm)
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.act(self.bn1(self.conv1(x)))
        out: Tensor = self.act(self.bn2(self.conv2(inner)) + self.downsample(x))
        return out


class Bottleneck(nn.Module):
    """act(bn3(conv3(act(bn2(conv2(act(bn1(conv1(x)))))))) + shortcut(x)), the convolutions 1 × 1, 3 × 3 and 1 × 1.

    The stride is that of the 3 × 3 one, as in torchvision ("v1.5"), not of the first, as in the paper.
    """

    expansion: ClassVar[int] = 4

    def __init__(self, in_channels: int, channels: int, stride: int, act: str, batch_norm: bool) -> None:
        super().__init__()
        out_channels = self.expansion * channels
        self.conv1 = _convolution(in_channels, channels, 1, 1, batch_norm)
        self.bn1 = _norm(channels, batch_norm)
        self.conv2 = _convolution(channels, channels, 3, stride, batch_norm)
        self.bn2 = _norm(channels, batch_norm)
        self.conv3 = _convolution(channels, out_channels, 1, 1, batch_norm)
        self.bn3 = _norm(out_channels, batch_norm)
        self.downsample = _shortcut(in_channels, out_channels, stride, batch_norm)
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.act(self.bn1(self.conv1(x)))
        inner = self.act(self.bn2(self.conv2(inner)))
        out: Tensor = self.act(self.bn3(self.conv3(inner)) + self.downsample(x))
        return out


def _block(depth: int) -> type[BasicBlock] | type[Bottleneck]:
    return BasicBlock if depth < 50 else Bottleneck


class ResNet(nn.Module):
    """ResNet-18, 34, 50, 101 or 152 (He et al. 2016); from 50 on with bottlenecks.

    (batch, in_channels, height, width) images of any size → (batch, num_classes) logits. `width` multiplies the number
    of channels of every layer. Without `batch_norm` nothing is normalized and the convolutions have biases; at the
    initialization each block then doubles the variance of what the residual stream carries.

    Raises `InputError` for another depth or stem.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        depth: int = 18,
        act: str = "gelu",
        width: float = 1.0,
        stem: Stem = "cifar",
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise InputError(f"depth: expected one of {', '.join(map(str, BLOCKS))}, found {depth}")
        if stem not in ("cifar", "imagenet"):
            raise InputError(f"stem: expected cifar or imagenet, found {stem}")
        block = _block(depth)
        channels = scaled(CHANNELS[0], width)
        kernel, stride = (3, 1) if stem == "cifar" else (7, 2)
        self.conv1 = _convolution(in_channels, channels, kernel, stride, batch_norm)
        self.bn1 = _norm(channels, batch_norm)
        self.pool = nn.Identity() if stem == "cifar" else nn.MaxPool2d(3, stride=2, padding=1)
        for stage, (base, count) in enumerate(zip(CHANNELS, BLOCKS[depth], strict=True), start=1):
            inner = scaled(base, width)
            blocks = []
            for k in range(count):
                blocks.append(block(channels, inner, 2 if stage > 1 and k == 0 else 1, act, batch_norm))
                channels = block.expansion * inner
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.act = activation(act)
        self.fc = nn.Linear(channels, num_classes)
        kaiming_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.act(self.bn1(self.conv1(x))))
        for stage in range(1, len(CHANNELS) + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        out: Tensor = self.fc(x.mean(dim=(2, 3)))
        return out


def like(depth: int, weights: Mapping[str, Tensor]) -> tuple[ResNet, tuple[int, int, int]]:
    """A network of that depth and the stem that `weights` are of, and the shape of an image that it takes.

    Raises `KeyError` where the first or last layer is missing, and `InputError` where they have other blocks.
    """
    (_, channels, kernel, _), classes = weights["conv1.weight"].shape, weights["fc.weight"].shape[0]
    block = Bottleneck if "layer1.0.conv3.weight" in weights else BasicBlock
    blocks = tuple(
        sum(re.fullmatch(rf"layer{stage}\.\d+\.conv1\.weight", name) is not None for name in weights)
        for stage in range(1, len(CHANNELS) + 1)
    )
    if (_block(depth), BLOCKS[depth]) != (block, blocks):
        raise InputError(
            f"these weights are not a resnet{depth}: they have {blocks} blocks of the kind {block.__name__}, expected "
            f"{BLOCKS[depth]} of the kind {_block(depth).__name__}"
        )
    stem: Stem = "cifar" if kernel == 3 else "imagenet"
    side = 32 if stem == "cifar" else 224
    network = ResNet(channels, classes, depth, width=0.01, stem=stem, batch_norm="bn1.weight" in weights)
    return network, (channels, side, side)
