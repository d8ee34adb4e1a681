"""ResNet-18 with the CIFAR stem, with torchvision's parameter names, which the published code also has."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from .initialization import activation, kaiming_normal, scaled

CHANNELS = (64, 128, 256, 512)
BLOCKS = 2


class BasicBlock(nn.Module):
    """act(bn2(conv2(act(bn1(conv1(x))))) + shortcut(x)), the shortcut a 1 × 1 convolution where shapes differ."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, act: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.act(self.bn1(self.conv1(x)))
        out: Tensor = self.act(self.bn2(self.conv2(inner)) + self.downsample(x))
        return out


class ResNet18(nn.Module):
    """(batch, channels, height, width) images → (batch, num_classes) logits."""

    def __init__(self, in_channels: int, num_classes: int, act: str = "gelu", width: float = 1.0) -> None:
        super().__init__()
        channels = scaled(CHANNELS[0], width)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        for stage, base in enumerate(CHANNELS, start=1):
            out_channels = scaled(base, width)
            blocks = []
            for block in range(BLOCKS):
                stride = 2 if stage > 1 and block == 0 else 1
                blocks.append(BasicBlock(channels, out_channels, stride, act))
                channels = out_channels
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.act = activation(act)
        self.fc = nn.Linear(channels, num_classes)
        kaiming_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn1(self.conv1(x)))
        for stage in range(1, len(CHANNELS) + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        out: Tensor = self.fc(x.mean(dim=(2, 3)))
        return out


def like(weights: Mapping[str, Tensor]) -> tuple[ResNet18, tuple[int, int, int]]:
    """A network, and the shape of an image that it takes."""
    channels = weights["conv1.weight"].shape[1]
    return ResNet18(channels, weights["fc.weight"].shape[0], width=0.01), (channels, 32, 32)
