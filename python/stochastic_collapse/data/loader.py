"""Batches, from examples that lie as raw bytes on the device (docs/architecture.md#decisions).

Nothing is decoded per step, and, unless the set is too big for the device, nothing copied from the host: a batch is
gathered, cropped, flipped, normalized and its labels are made noisy where the network trains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import InputError
from .dataset import Dataset, Inputs, Split, each
from .examples import NOTHING_DRAWN, Draws, Examples, Normalizer, fits

# Batches are made several at a time where they are small, so that a tiny network does not wait for tiny operations. On
# a GPU only the smallest ones: there steps that make batches for others would be the slow ones.
_CHUNK_BYTES = {"cpu": 4 << 20, "cuda": 1 << 20}


class Batch(NamedTuple):
    """Normalized inputs (B, …), targets, and Gaussian target noise (B, outputs) where asked for.

    Targets are (B,) int64 classes, (B, T) tokens, (B, outputs) real numbers; or probabilities along a last axis more,
    where label noise enters by its expectation.
    """

    inputs: Inputs
    targets: Tensor
    target_noise: Tensor | None

    def split(self, size: int) -> list[Batch]:
        """Batches of `size` examples that follow one another in this one, the last of what is left."""
        starts = range(0, len(self.targets), size)
        return [self.each(lambda part, k=k: part[k : k + size]) for k in starts]  # type: ignore[misc]

    def each(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """The results of `function` on all that it consists of."""
        noise = None if self.target_noise is None else function(self.target_noise)
        return Batch(each(self.inputs, function), function(self.targets), noise)


class Epoch(NamedTuple):
    """The order of the n examples in an epoch, (n,) int64, and their draws in that order; on the CPU."""

    order: Tensor
    draws: Draws


class BatchLoader:
    """An endless stream of training batches: one seed gives one stream, on every device.

    Each epoch is a fresh permutation of the training set; its last incomplete batch is dropped. All random draws of an
    epoch (order, crops, flips, label and target noise) are made at its start by the loader's own generator, a few
    milliseconds an epoch.
    """

    def __init__(self, examples: Examples, batch_size: int, *, seed: int) -> None:
        if batch_size > len(examples):
            raise InputError(f"batch_size: {batch_size} is more than the {len(examples)} training examples")
        self.examples, self.batch_size = examples, batch_size
        self.steps_per_epoch = len(examples) // batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self.start_epoch()

    def start_epoch(self) -> None:
        """Draw the next epoch."""
        self._epoch_generator = self._generator.get_state()
        self.position = 0
        """Batches of the epoch that are taken."""
        self.epoch = Epoch(
            torch.randperm(len(self.examples), generator=self._generator), self.examples.draw(self._generator)
        )
        self._batches: _Batches | None = None

    def next(self) -> Batch:
        """The next batch, on the device."""
        if self.position == self.steps_per_epoch:
            self.start_epoch()
        self._batches = self._batches or _Batches(self.examples, [self.epoch], self.batch_size)
        batch = self._batches[self.position]
        self.position += 1
        return batch.each(lambda part: part[0])

    def state_dict(self) -> dict[str, Any]:
        """Position in the stream, to continue it exactly: the generator at the epoch's start, and the batches taken."""
        return {"epoch_generator": self._epoch_generator, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the stream at a position that `state_dict` gave."""
        self._generator.set_state(state["epoch_generator"])
        self.start_epoch()
        self.position = state["position"]


class StackedBatches:
    """The batches of R loaders of the same examples that are at the same position, stacked: inputs (R, B, …).

    A loader stays what it is alone, and can go on alone from any step; the work on inputs is done for all at once.
    """

    def __init__(self, loaders: Sequence[BatchLoader]) -> None:
        self._loaders = loaders
        self._batches = self._make()

    def next(self) -> Batch:
        """The next batch of each, on the device."""
        first = self._loaders[0]
        if first.position == first.steps_per_epoch:
            for loader in self._loaders:
                loader.start_epoch()
            self._batches = self._make()
        batch = self._batches[first.position]
        for loader in self._loaders:
            loader.position += 1
        return batch

    def _make(self) -> _Batches:
        first = self._loaders[0]
        return _Batches(first.examples, [loader.epoch for loader in self._loaders], first.batch_size)


class _Batches:
    """The batches of R epochs of the same examples, stacked, several at a time where they are small."""

    def __init__(self, examples: Examples, epochs: Sequence[Epoch], batch_size: int) -> None:
        self._examples, self._batch_size, self._streams = examples, batch_size, len(epochs)
        self._count = len(examples) // batch_size
        batch_bytes = 4 * self._streams * batch_size * math.prod(examples.task.input_shape)
        self._per_chunk = max(1, min(self._count, _CHUNK_BYTES[examples.device.type] // batch_bytes))
        self._chunk_number = -1
        self._chunk: list[Batch] = []
        self._ahead: tuple[int, Callable[[], Inputs]] | None = None
        """The chunk whose raw inputs are being fetched, where they do not lie on the device."""

        def used(parts: Sequence[Tensor]) -> Tensor:
            """(R, n, …) → (n/B, R, B, …), so that a batch lies together."""
            whole = torch.stack(list(parts))[:, : self._count * batch_size]
            return whole.unflatten(1, (self._count, batch_size)).transpose(0, 1).contiguous()

        self._order_here = used([epoch.order for epoch in epochs])
        self._order = examples.to_device(self._order_here)
        draws = zip(*(epoch.draws for epoch in epochs), strict=True)
        self._draws = Draws(*(None if parts[0] is None else examples.to_device(used(parts)) for parts in draws))

    def __getitem__(self, position: int) -> Batch:
        """Batch `position` of each epoch: inputs (R, B, …)."""
        if position // self._per_chunk != self._chunk_number:
            self._make_chunk(position // self._per_chunk)
        return self._chunk[position % self._per_chunk]

    def _make_chunk(self, number: int) -> None:
        """Make chunk `number` of the epoch, whole also after a resume in its middle.

        So a batch always has the same place in memory, on which the last bits of a matrix product can depend.
        """
        self._chunk_number = number
        here = self._in_chunk(number)
        chosen = self._order[here].flatten()
        draws = self._draws.each(lambda drawn: drawn[here].flatten(0, 2))
        inputs = self._examples.inputs(chosen, draws, None if self._examples.is_resident else self._fetched(number))
        made = Batch(inputs, self._examples.targets(chosen, draws), draws.target_noise)
        # Batches follow one another in memory, channels last too.
        size = self._streams * self._batch_size
        self._chunk = [batch.each(lambda part: part.unflatten(0, (self._streams, -1))) for batch in made.split(size)]

    def _in_chunk(self, number: int) -> slice:
        return slice(number * self._per_chunk, (number + 1) * self._per_chunk)

    def _fetched(self, number: int) -> Inputs:
        """The raw inputs of a chunk; those of the next one begin to be fetched."""

        def ahead(number: int) -> tuple[int, Callable[[], Inputs]]:
            return number, self._examples.fetch_ahead(self._order_here[self._in_chunk(number)].flatten())

        if self._ahead is None or self._ahead[0] != number:
            self._ahead = ahead(number)
        _, wait = self._ahead
        self._ahead = ahead(number + 1) if (number + 1) * self._per_chunk < self._count else None
        return wait()


class FullBatches:
    """An endless stream of the whole training set as it lies, without a gather.

    Label noise, target noise, crops and flips are drawn anew at each step by the stream's own generator; inputs that
    have neither crops nor flips are normalized once. With `expected` label noise enters by its expectation, targets as
    probabilities, and target noise, whose mean is 0, not at all; crops and flips are drawn.
    """

    steps_per_epoch = 1

    def __init__(self, examples: Examples, *, seed: int, expected: bool = False) -> None:
        if not examples.is_resident:
            raise InputError(
                f"batch_size: a step of all {len(examples)} training examples needs them on the device, and they take "
                "more than half of its memory; take batches, or a part: data.train_size"
            )
        self._examples = examples
        self._generator = torch.Generator().manual_seed(seed)
        self._all = torch.arange(len(examples), device=examples.device)
        self._inputs = None if examples.augmented else examples.inputs(slice(None), NOTHING_DRAWN)
        self._expected_targets = examples.expected_targets() if expected else None

    def next(self) -> Batch:
        """The training set, on the device."""
        drawn = self._examples.draw(self._generator, noise=self._expected_targets is None)
        draws = drawn.each(self._examples.to_device)
        inputs = self._examples.inputs(self._all, draws) if self._inputs is None else self._inputs
        if self._expected_targets is not None:
            return Batch(inputs, self._expected_targets, None)
        return Batch(inputs, self._examples.targets(slice(None), draws), draws.target_noise)

    def state_dict(self) -> dict[str, Any]:
        """Position in the stream, to continue it exactly."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the stream at a position that `state_dict` gave."""
        self._generator.set_state(state["generator"])


class EvaluationBatches:
    """The batches of a split in order, normalized on the device; iterate over it as often as wanted.

    The split lies on the device where that has room for it, else what is used of it is copied each time.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        *,
        device: torch.device,
        batch_size: int,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.task, self._device = dataset.task, device
        is_resident = fits(split, 0, device)
        self._inputs = each(split.inputs, lambda one: one.to(device)) if is_resident else split.inputs
        self._targets = split.targets.to(device)
        self._batch_size = batch_size
        self._normalize = Normalizer(dataset, device, memory_format)

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._targets)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self), self._batch_size):
            here = slice(start, start + self._batch_size)
            inputs = self._normalize(each(self._inputs, lambda one, here=here: one[here].to(self._device)))  # type: ignore[misc]
            targets = self._targets[here]
            yield Batch(inputs, targets if self.task.kind == "regression" else targets.long(), None)
