"""Settings of the data sets."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import Count, NonNegative, Number, Positive, Probability, Settings


class _DataSettings(Settings):
    whole_size: ClassVar[int] = 0
    """Training examples of the whole set, where `train_size` may keep fewer."""

    label_noise: Probability = 0.0
    """Probability that a label is replaced, anew at every access, by another class drawn uniformly."""
    target_noise: NonNegative = 0.0
    """Standard deviation of Gaussian noise added to the one-hot targets at every access (loss: mse)."""


class _AugmentedSettings(_DataSettings):
    crop_padding: Count = 4
    """Zero padding in pixels for random crops; 0 turns cropping off."""
    flip: bool = True
    """Random horizontal flips."""


class DigitsSettings(_DataSettings):
    """scikit-learn's 1,797 handwritten digits, 8 × 8 pixels; fixed stratified split, 1,437 to train and 360 to test."""

    whole_size: ClassVar[int] = 1437

    name: Literal["digits"]
    train_size: Positive | None = None
    """Training examples to keep: the first of each class, in shares as equal as possible; null: all. Normalization
    stays that of the whole set."""


class CIFAR10Settings(_AugmentedSettings):
    """CIFAR-10 in the official binary layout under $SC_DATA."""

    whole_size: ClassVar[int] = 50_000

    name: Literal["cifar10"]
    train_size: Positive | None = None
    """Training examples to keep: the first of each class, in shares as equal as possible; null: all. Normalization
    stays that of the whole set."""


class CIFAR100Settings(_AugmentedSettings):
    """CIFAR-100 (fine labels) in the official binary layout under $SC_DATA."""

    whole_size: ClassVar[int] = 50_000

    name: Literal["cifar100"]
    train_size: Positive | None = None
    """Training examples to keep: the first of each class, in shares as equal as possible; null: all. Normalization
    stays that of the whole set."""


class SyntheticSettings(_AugmentedSettings):
    """Random images around one random prototype per class: nothing to download, learnable, any shape."""

    name: Literal["synthetic"]
    train_size: Positive = 512
    """Training examples."""
    test_size: Positive = 128
    """Test examples."""
    shape: Annotated[tuple[Positive, Positive, Positive], Field()] = (3, 32, 32)
    """Channels, height, width."""
    num_classes: Annotated[int, Field(ge=2), Number] = 10
    """Classes, and so prototypes."""
    crop_padding: Count = 0
    """As for the other images."""
    flip: bool = False
    """As for the other images."""


DataSettings = Annotated[
    DigitsSettings | CIFAR10Settings | CIFAR100Settings | SyntheticSettings, Field(discriminator="name")
]
