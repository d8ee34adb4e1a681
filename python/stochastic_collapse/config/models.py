"""Settings of the built-in networks."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import Activation, Fraction, Positive, PositiveReal, Settings


class MLPSettings(Settings):
    """Fully connected network: flattened input, `widths` hidden layers, linear output."""

    fully_connected: ClassVar[bool] = True

    name: Literal["mlp"]
    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (128, 128)
    """Neurons of each hidden layer."""
    activation: Activation = "gelu"
    """What every hidden layer applies."""


class VGG16Settings(Settings):
    """VGG-16 for images of 32 × 32 pixels or more, with a 512–512–classes head."""

    fully_connected: ClassVar[bool] = False

    name: Literal["vgg16"]
    activation: Activation = "gelu"
    """What every hidden layer applies."""
    batch_norm: bool = False
    """Batch normalization after every convolution."""
    dropout: Fraction = 0.0
    """Dropout probability after each hidden fully connected layer."""
    width: PositiveReal = 1.0
    """Multiplies the number of channels and hidden neurons of every layer."""


class ResNet18Settings(Settings):
    """ResNet-18 with the CIFAR stem: 3 × 3 convolution with stride 1, no max-pool."""

    fully_connected: ClassVar[bool] = False

    name: Literal["resnet18"]
    activation: Activation = "gelu"
    """What every hidden layer applies."""
    width: PositiveReal = 1.0
    """Multiplies the number of channels of every layer."""


ModelSettings = Annotated[MLPSettings | VGG16Settings | ResNet18Settings, Field(discriminator="name")]
