"""Initialization shared by the built-in networks (docs/experiments.md#deep-networks)."""

from __future__ import annotations

from torch import nn


def kaiming_normal(model: nn.Module) -> None:
    """Weights of every linear and convolutional layer from N(0, 2/fan_in) (He et al. 2015), biases zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def activation(name: str) -> nn.Module:
    """The activation called `name`: gelu or relu."""
    return nn.GELU() if name == "gelu" else nn.ReLU()


def scaled(width: int, multiplier: float) -> int:
    """A layer's width times the multiplier, at least 1."""
    return max(1, round(width * multiplier))
