"""Batches from a dataset that lies whole, as raw bytes, on the device (DESIGN §2).

Nothing is loaded, decoded or copied from the host per step: a batch is gathered, cropped, flipped, normalized and its
labels are made noisy where the network trains.
"""

from __future__ import annotations

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
    """Normalized images (B, C, H, W), labels (B,) int64, and Gaussian target noise (B, classes) where asked for."""

    images: Tensor
    labels: Tensor
    target_noise: Tensor | None


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


class BatchLoader:
    """An endless stream of training batches: one seed gives one stream, on every device.

    Each epoch is a fresh permutation of the training set; its last incomplete batch is dropped. All random draws of an
    epoch (order, crops, flips, label and target noise) are made at its start by the loader's own generator. They are
    made on the CPU, a few milliseconds an epoch, so that the CPU and the GPU see the same batches and a run may
    continue on another device; the work on images and labels is the device's.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        seed: int,
        device: torch.device,
        crop_padding: int = 0,
        flip: bool = False,
        label_noise: float = 0.0,
        target_noise: float = 0.0,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self._batch_size = batch_size
        self._size = len(dataset.train.labels)
        if batch_size > self._size:
            raise InputError(f"batch_size: {batch_size} is more than the {self._size} training examples")
        self._num_classes = dataset.num_classes
        self._image_shape = dataset.image_shape
        self._device = device
        self._crop_padding, self._flip = crop_padding, flip
        self._label_noise, self._target_noise = label_noise, target_noise
        self._normalize = Normalizer(dataset, device, memory_format)
        padding = (crop_padding,) * 4
        self._images = functional.pad(dataset.train.images.to(device), padding)
        self._labels = dataset.train.labels.to(device)
        self.steps_per_epoch = self._size // batch_size
        channels, height, width = self._image_shape
        batch_bytes = 4 * batch_size * channels * height * width
        self._batches_per_chunk = max(1, min(self.steps_per_epoch, _CHUNK_BYTES[device.type] // batch_bytes))
        self._generator = torch.Generator().manual_seed(seed)
        self._start_epoch()

    @classmethod
    def of(
        cls,
        settings: DataSettings,
        dataset: Dataset,
        batch_size: int,
        *,
        seed: int,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> BatchLoader:
        """The training batches of `dataset` with the augmentation and noise that `settings` ask for."""
        return cls(
            dataset,
            batch_size,
            seed=seed,
            device=device,
            crop_padding=getattr(settings, "crop_padding", 0),
            flip=getattr(settings, "flip", False),
            label_noise=settings.label_noise,
            target_noise=settings.target_noise,
            memory_format=memory_format,
        )

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
        generator, n = self._generator, self._size
        self._order = self._to_device(torch.randperm(n, generator=generator))
        if self._crop_padding:
            span = 2 * self._crop_padding + 1
            self._corners = self._to_device(torch.randint(span, (2, n), generator=generator))
        if self._flip:
            self._flipped = self._to_device(torch.rand(n, generator=generator) < 0.5)
        if self._label_noise:
            # Adding 1 … classes − 1 modulo classes gives each of the other classes with the same probability.
            shift = torch.randint(1, self._num_classes, (n,), generator=generator)
            replaced = torch.rand(n, generator=generator) < self._label_noise
            self._label_shift = self._to_device(shift * replaced)
        if self._target_noise:
            noise = torch.randn(n, self._num_classes, generator=generator)
            self._target_noises = self._to_device(self._target_noise * noise)

    def _to_device(self, draws: Tensor) -> Tensor:
        if self._device.type == "cuda":  # from pinned memory, so that the host need not wait
            draws = draws.pin_memory()
        return draws.to(self._device, non_blocking=True)

    def _make_chunk(self, number: int) -> None:
        """Make chunk `number` of the epoch, whole also after a resume in its middle.

        So a batch always has the same place in memory, on which the last bits of a matrix product can depend.
        """
        self._chunk_number = number
        start = number * self._batches_per_chunk
        stop = min(start + self._batches_per_chunk, self.steps_per_epoch)
        drawn = slice(start * self._batch_size, stop * self._batch_size)
        chosen = self._order[drawn]
        if self._crop_padding:
            _, height, width = self._image_shape
            windows = self._images.unfold(2, height, 1).unfold(3, width, 1)
            top, left = self._corners[:, drawn]
            raw = windows[chosen, :, top, left]
        else:
            raw = self._images[chosen]
        if self._flip:
            raw = torch.where(self._flipped[drawn].view(-1, 1, 1, 1), raw.flip(-1), raw)
        labels = self._labels[chosen]
        if self._label_noise:
            labels = (labels + self._label_shift[drawn]) % self._num_classes
        images = self._normalize(raw)
        noise = self._target_noises[drawn] if self._target_noise else None
        size = self._batch_size
        self._chunk = [
            Batch(images[k : k + size], labels[k : k + size], noise[k : k + size] if noise is not None else None)
            for k in range(0, len(labels), size)
        ]


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
