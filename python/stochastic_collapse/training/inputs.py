"""What each optimization step is made from: a batch, the whole training set, or both and a direction of noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ..config import TrainConfig
from ..data.examples import Examples
from ..data.loader import Batch, BatchLoader, FullBatches


class Perturbed(NamedTuple):
    """A step along the mean gradient of `full` with noise of the power that the gradient of `sampled` has about it."""

    full: Batch
    sampled: Batch
    direction: Tensor
    """(P,) standard normal numbers, one for each parameter."""


Inputs = Batch | Perturbed


class Stream(Protocol):
    """An endless stream of what steps are made from, on the device, which a checkpoint can continue exactly."""

    steps_per_epoch: int
    """Steps in which each training example is seen once."""

    def next(self) -> Inputs: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class PerturbedBatches:
    """Full batches with `expected` noise, the batches that a run with sampled noise sees, and directions of noise.

    Directions are drawn on the CPU, so that the CPU and the GPU see the same noise.
    """

    steps_per_epoch = 1

    def __init__(
        self,
        full: FullBatches,
        sampled: BatchLoader | FullBatches,
        *,
        parameters: int,
        seed: int,
        to_device: Callable[[Tensor], Tensor],
    ) -> None:
        self._full, self._sampled, self._parameters, self._to_device = full, sampled, parameters, to_device
        self._generator = torch.Generator().manual_seed(seed)

    def next(self) -> Perturbed:
        direction = self._to_device(torch.randn(self._parameters, generator=self._generator))
        return Perturbed(self._full.next(), self._sampled.next(), direction)

    def state_dict(self) -> dict[str, Any]:
        streams = {"full": self._full.state_dict(), "sampled": self._sampled.state_dict()}
        return {**streams, "directions": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._full.load_state_dict(state["full"])
        self._sampled.load_state_dict(state["sampled"])
        self._generator.set_state(state["directions"])


def stream_of(config: TrainConfig, examples: Examples, seeds: Sequence[int], parameters: int) -> Stream:
    """What the steps of a run are made from, as `batch_size` and `gradient_noise` say.

    `seeds` are those of the sampled batches, which depend on nothing else, of the full batches beside them, and of the
    directions of noise for `parameters` of the network. Raises `InputError` for batches larger than the training set.
    """
    sampled_seed, full_seed, direction_seed = seeds
    if config.gradient_noise == "none":
        return FullBatches(examples, seed=full_seed, expected=True)
    sampled = (
        FullBatches(examples, seed=sampled_seed)
        if config.batch_size == "full"
        else BatchLoader(examples, config.batch_size, seed=sampled_seed)
    )
    if config.gradient_noise == "sampled":
        return sampled
    full = FullBatches(examples, seed=full_seed, expected=True)
    return PerturbedBatches(full, sampled, parameters=parameters, seed=direction_seed, to_device=examples.to_device)
