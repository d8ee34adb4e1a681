"""Batches from a dataset that lies whole, as raw bytes, on the device (docs/architecture.md#decisions).

Nothing is loaded, decoded or copied from the host per step: a batch is gathered, cropped, flipped, normalized and its
labels are made noisy where the network trains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..config import DataSettings
from ..errors import InputError
from .datasets import Dataset, Split

# Batches are made several at a time where they are small, so that a tiny network does not wait for tiny operations. On
# a GPU only the smallest ones: there steps that make batches for others would be the slow ones.
_CHUNK_BYTES = {"cpu": 4 << 20, "cuda": 1 << 20}


class Batch(NamedTuple):
    """Normalized images (B, C, H, W), labels, and Gaussian target noise (B, classes) where asked for.

    Labels are (B,) int64, or (B, classes) probabilities where label noise enters by its expectation.
    """

    images: Tensor
    labels: Tensor
    target_noise: Tensor | None

    def split(self, size: int) -> list[Batch]:
        """Batches of `size` examples that follow one another in this one, the last of what is left."""
        starts = range(0, len(self.labels), size)
        return [Batch(*(None if part is None else part[k : k + size] for part in self)) for k in starts]  # type: ignore[arg-type]


class Normalizer:
    """Raw images (…, C, H, W) uint8 → (pixel − mean)/std per channel, float32."""

    def __init__(self, dataset: Dataset, device: torch.device, memory_format: torch.memory_format) -> None:
        scale = 1 / torch.tensor(dataset.std, dtype=torch.float64)
        shift = -torch.tensor(dataset.mean, dtype=torch.float64) * scale
        self._scale = scale.float().view(-1, 1, 1).to(device)
        self._shift = shift.float().view(-1, 1, 1).to(device)
        self._memory_format = memory_format

    def __call__(self, raw: Tensor) -> Tensor:
        images = torch.addcmul(self._shift, raw.float(), self._scale)
        return images.contiguous(memory_format=self._memory_format)


class Draws(NamedTuple):
    """What is random about one access to each of n examples, in the order in which it is drawn; None: not asked for."""

    corners: Tensor | None
    """(n, 2): top and left of a crop in the padded image."""
    flipped: Tensor | None
    """(n,) bool."""
    label_shift: Tensor | None
    """(n,) int64, added to the label modulo the number of classes."""
    target_noise: Tensor | None
    """(n, classes)."""

    def each(self, function: Callable[[Tensor], Tensor]) -> Draws:
        """The results of `function` on what was asked for."""
        return Draws(*(function(draws) if draws is not None else None for draws in self))


class Epoch(NamedTuple):
    """The order of the n examples in an epoch, (n,) int64, and their draws in that order; on the CPU."""

    order: Tensor
    draws: Draws


class Examples:
    """A training set on the device, and what varies from access to access: crops, flips, label and target noise.

    Random draws are made on the CPU, so that the CPU and the GPU see the same examples and a run may continue on
    another device; the work on images and labels is the device's.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        device: torch.device,
        crop_padding: int = 0,
        flip: bool = False,
        label_noise: float = 0.0,
        target_noise: float = 0.0,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.device, self.image_shape = device, dataset.image_shape
        self.augmented = crop_padding > 0 or flip
        self._num_classes = dataset.num_classes
        self._crop_padding, self._flip = crop_padding, flip
        self._label_noise, self._target_noise = label_noise, target_noise
        self._normalize = Normalizer(dataset, device, memory_format)
        padding = (crop_padding,) * 4
        self._images = functional.pad(dataset.train.images.to(device), padding)
        self._labels = dataset.train.labels.to(device)

    @classmethod
    def of(
        cls,
        settings: DataSettings,
        dataset: Dataset,
        *,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> Examples:
        """The training set of `dataset` with the augmentation and noise that `settings` ask for."""
        return cls(
            dataset,
            device=device,
            crop_padding=getattr(settings, "crop_padding", 0),
            flip=getattr(settings, "flip", False),
            label_noise=settings.label_noise,
            target_noise=settings.target_noise,
            memory_format=memory_format,
        )

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._labels)

    def draw(self, generator: torch.Generator, *, noise: bool = True) -> Draws:
        """The random part of one access to each example, on the CPU; without `noise` only crops and flips."""
        n = len(self)
        corners = flipped = label_shift = target_noise = None
        if self._crop_padding:
            corners = torch.randint(2 * self._crop_padding + 1, (2, n), generator=generator).T
        if self._flip:
            flipped = torch.rand(n, generator=generator) < 0.5
        if noise and self._label_noise:
            # Adding 1 … classes − 1 modulo classes gives each of the other classes with the same probability.
            shift = torch.randint(1, self._num_classes, (n,), generator=generator)
            replaced = torch.rand(n, generator=generator) < self._label_noise
            label_shift = shift * replaced
        if noise and self._target_noise:
            gaussian = torch.randn(n, self._num_classes, generator=generator)
            target_noise = self._target_noise * gaussian
        return Draws(corners, flipped, label_shift, target_noise)

    def to_device(self, draws: Tensor) -> Tensor:
        """Random draws where they are needed."""
        if self.device.type == "cuda":  # from pinned memory, so that the host need not wait
            draws = draws.pin_memory()
        return draws.to(self.device, non_blocking=True)

    def images(self, chosen: Tensor | slice, draws: Draws) -> Tensor:
        """Images of the examples `chosen`, cropped and flipped as `draws` say, normalized; crops need a tensor."""
        if draws.corners is not None:
            _, height, width = self.image_shape
            windows = self._images.unfold(2, height, 1).unfold(3, width, 1)
            top, left = draws.corners.T
            raw = windows[chosen, :, top, left]
        else:
            raw = self._images[chosen]
        if draws.flipped is not None:
            raw = torch.where(draws.flipped.view(-1, 1, 1, 1), raw.flip(-1), raw)
        return self._normalize(raw)

    def labels(self, chosen: Tensor | slice, draws: Draws) -> Tensor:
        """Labels of the examples `chosen`, some of them replaced as `draws` say."""
        labels = self._labels[chosen]
        return labels if draws.label_shift is None else (labels + draws.label_shift) % self._num_classes

    def expected_labels(self) -> Tensor:
        """The labels of all; with label noise the probability of each label, (n, classes)."""
        if not self._label_noise:
            return self._labels
        others = self._label_noise / (self._num_classes - 1)
        probabilities = torch.full((len(self), self._num_classes), others, device=self.device)
        return probabilities.scatter_(1, self._labels[:, None], 1 - self._label_noise)


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
        return Batch(*(None if part is None else part[0] for part in batch))  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """Position in the stream, to continue it exactly: the generator at the epoch's start, and the batches taken."""
        return {"epoch_generator": self._epoch_generator, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the stream at a position that `state_dict` gave."""
        self._generator.set_state(state["epoch_generator"])
        self.start_epoch()
        self.position = state["position"]


class StackedBatches:
    """The batches of R loaders of the same examples that are at the same position, stacked: images (R, B, C, H, W).

    A loader stays what it is alone, and can go on alone from any step; the work on images is done for all at once.
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
        batch_bytes = 4 * self._streams * batch_size * math.prod(examples.image_shape)
        self._per_chunk = max(1, min(self._count, _CHUNK_BYTES[examples.device.type] // batch_bytes))
        self._chunk_number = -1
        self._chunk: list[Batch] = []

        def in_order(parts: Sequence[Tensor]) -> Tensor:
            """(R, n, …) → (n/B, R, B, …), so that a batch lies together."""
            used = torch.stack(list(parts))[:, : self._count * batch_size]
            return examples.to_device(used.unflatten(1, (self._count, batch_size)).transpose(0, 1).contiguous())

        self._order = in_order([epoch.order for epoch in epochs])
        draws = zip(*(epoch.draws for epoch in epochs), strict=True)
        self._draws = Draws(*(None if parts[0] is None else in_order(parts) for parts in draws))

    def __getitem__(self, position: int) -> Batch:
        """Batch `position` of each epoch: images (R, B, C, H, W)."""
        if position // self._per_chunk != self._chunk_number:
            self._make_chunk(position // self._per_chunk)
        return self._chunk[position % self._per_chunk]

    def _make_chunk(self, number: int) -> None:
        """Make chunk `number` of the epoch, whole also after a resume in its middle.

        So a batch always has the same place in memory, on which the last bits of a matrix product can depend.
        """
        self._chunk_number = number
        here = slice(number * self._per_chunk, (number + 1) * self._per_chunk)
        chosen = self._order[here].flatten()
        draws = self._draws.each(lambda drawn: drawn[here].flatten(0, 2))
        made = Batch(self._examples.images(chosen, draws), self._examples.labels(chosen, draws), draws.target_noise)
        # Batches follow one another in memory, channels last too.
        self._chunk = [
            Batch(*(None if part is None else part.unflatten(0, (self._streams, -1)) for part in batch))  # type: ignore[arg-type]
            for batch in made.split(self._streams * self._batch_size)
        ]


class FullBatches:
    """An endless stream of the whole training set as it lies, without a gather.

    Label noise, target noise, crops and flips are drawn anew at each step by the stream's own generator; images that
    have neither crops nor flips are normalized once. With `expected` label noise enters by its expectation, labels as
    probabilities, and target noise, whose mean is 0, not at all; crops and flips are drawn.
    """

    steps_per_epoch = 1

    def __init__(self, examples: Examples, *, seed: int, expected: bool = False) -> None:
        self._examples = examples
        self._generator = torch.Generator().manual_seed(seed)
        self._all = torch.arange(len(examples), device=examples.device)
        self._images = None if examples.augmented else examples.images(slice(None), Draws(None, None, None, None))
        self._expected_labels = examples.expected_labels() if expected else None

    def next(self) -> Batch:
        """The training set, on the device."""
        drawn = self._examples.draw(self._generator, noise=self._expected_labels is None)
        draws = drawn.each(self._examples.to_device)
        images = self._examples.images(self._all, draws) if self._images is None else self._images
        if self._expected_labels is not None:
            return Batch(images, self._expected_labels, None)
        return Batch(images, self._examples.labels(slice(None), draws), draws.target_noise)

    def state_dict(self) -> dict[str, Any]:
        """Position in the stream, to continue it exactly."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the stream at a position that `state_dict` gave."""
        self._generator.set_state(state["generator"])


class EvaluationBatches:
    """The batches of a split in order, normalized on the device; iterate over it as often as wanted."""

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        *,
        device: torch.device,
        batch_size: int,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self._images, self._labels = split.images.to(device), split.labels.to(device)
        self._batch_size = batch_size
        self._normalize = Normalizer(dataset, device, memory_format)

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._labels)

    def __iter__(self) -> Iterator[Batch]:
        parts = self._images.split(self._batch_size), self._labels.split(self._batch_size)
        for images, labels in zip(*parts, strict=True):
            yield Batch(self._normalize(images), labels, None)
