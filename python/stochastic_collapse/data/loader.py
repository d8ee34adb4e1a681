"""Batches from a dataset that lies whole, as raw bytes, on the device (DESIGN §2).

Nothing is loaded, decoded or copied from the host per step: a batch is gathered, cropped, flipped, normalized and its
labels are made noisy where the network trains.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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

    def part(self, which: slice) -> Draws:
        """Those of some of the examples."""
        return Draws(*(draws[which] if draws is not None else None for draws in self))


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
        """The random part of one access to as many examples as there are; without `noise` only crops and flips."""
        n = len(self)
        corners = flipped = label_shift = target_noise = None
        if self._crop_padding:
            corners = self.to_device(torch.randint(2 * self._crop_padding + 1, (2, n), generator=generator)).T
        if self._flip:
            flipped = self.to_device(torch.rand(n, generator=generator) < 0.5)
        if noise and self._label_noise:
            # Adding 1 … classes − 1 modulo classes gives each of the other classes with the same probability.
            shift = torch.randint(1, self._num_classes, (n,), generator=generator)
            replaced = torch.rand(n, generator=generator) < self._label_noise
            label_shift = self.to_device(shift * replaced)
        if noise and self._target_noise:
            gaussian = torch.randn(n, self._num_classes, generator=generator)
            target_noise = self.to_device(self._target_noise * gaussian)
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
        self._examples, self._batch_size = examples, batch_size
        if batch_size > len(examples):
            raise InputError(f"batch_size: {batch_size} is more than the {len(examples)} training examples")
        self.steps_per_epoch = len(examples) // batch_size
        batch_bytes = 4 * batch_size * math.prod(examples.image_shape)
        self._batches_per_chunk = max(1, min(self.steps_per_epoch, _CHUNK_BYTES[examples.device.type] // batch_bytes))
        self._generator = torch.Generator().manual_seed(seed)
        self._start_epoch()

    def next(self) -> Batch:
        """The next batch, on the device."""
        if self._position == self.steps_per_epoch:
            self._start_epoch()
        if self._position // self._batches_per_chunk != self._chunk_number:
            self._make_chunk(self._position // self._batches_per_chunk)
        batch = self._chunk[self._position % self._batches_per_chunk]
        self._position += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Position in the stream, to continue it exactly: the generator at the epoch's start, and the batches taken."""
        return {"epoch_generator": self._epoch_generator, "position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the stream at a position that `state_dict` gave."""
        self._generator.set_state(state["epoch_generator"])
        self._start_epoch()
        self._position = state["position"]

    def _start_epoch(self) -> None:
        self._epoch_generator = self._generator.get_state()
        self._position = 0
        self._chunk_number = -1
        self._chunk: list[Batch] = []
        self._order = self._examples.to_device(torch.randperm(len(self._examples), generator=self._generator))
        self._draws = self._examples.draw(self._generator)

    def _make_chunk(self, number: int) -> None:
        """Make chunk `number` of the epoch, whole also after a resume in its middle.

        So a batch always has the same place in memory, on which the last bits of a matrix product can depend.
        """
        self._chunk_number = number
        start = number * self._batches_per_chunk
        stop = min(start + self._batches_per_chunk, self.steps_per_epoch)
        drawn = slice(start * self._batch_size, stop * self._batch_size)
        chosen, draws = self._order[drawn], self._draws.part(drawn)
        made = Batch(self._examples.images(chosen, draws), self._examples.labels(chosen, draws), draws.target_noise)
        self._chunk = made.split(self._batch_size)


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
        draws = self._examples.draw(self._generator, noise=self._expected_labels is None)
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
