"""What a data set is, wherever it comes from: examples to train and to test with, and the task that they set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from ..task import Task

Inputs = Tensor | Mapping[str, Tensor]
"""A tensor whose first axis counts the examples, or several by name."""


def each(inputs: Inputs, function: Callable[[Tensor], Tensor]) -> Inputs:
    """The results of `function` on each of the inputs."""
    if isinstance(inputs, Tensor):
        return function(inputs)
    return {name: function(one) for name, one in inputs.items()}


def first(inputs: Inputs) -> Tensor:
    """The input itself, or the first of several."""
    return inputs if isinstance(inputs, Tensor) else next(iter(inputs.values()))


@dataclass(frozen=True)
class Split:
    """Raw inputs of N examples, and their targets.

    Inputs are (N, …) of any kind of number, such as images (N, C, H, W) of bytes; of several inputs by name the first
    is the one that is augmented and normalized. Targets are (N,) int64 classes, (N, outputs) float32, or (N, T) tokens.
    """

    inputs: Inputs
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Dataset:
    """A training and a test split, and the task."""

    train: Split
    test: Split
    task: Task
    """Images may be larger than its input shape: of those a part is seen, at the centre unless crops are random."""
    mean: tuple[float, ...] | None = None
    """Along the first axis of an example's input, channels or columns, in units of the raw values; what the network
    gets is (input − mean)/std. None: the raw values."""
    std: tuple[float, ...] | None = None

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of an example's input as the network sees it; of images channels, height, width."""
        return self.task.input_shape

    @property
    def num_classes(self) -> int:
        """Outputs that a network for it has."""
        return self.task.outputs
