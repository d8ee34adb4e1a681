"""The examples of a training set as a network sees them, and what varies from access to access.

Crops, flips, label and target noise are drawn on the CPU, so that the CPU and the GPU see the same examples and a run
may continue on another device; the work on inputs and targets is the device's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..config import DataSettings
from .dataset import Dataset, Inputs, Split, each, first

# Least and greatest ratio of the sides of random resized crops (Szegedy et al. 2015).
_SIDES = (3 / 4, 4 / 3)


class Draws(NamedTuple):
    """What is random about one access to each of n examples, in the order in which it is drawn; None: not asked for."""

    corners: Tensor | None
    """(n, 2): top and left of a crop in the padded image."""
    boxes: Tensor | None
    """(n, 4): top, left, height and width of a crop that is scaled, in shares of the image."""
    flipped: Tensor | None
    """(n,) bool."""
    label_shift: Tensor | None
    """As the targets, int64, added to the label modulo the number of classes."""
    target_noise: Tensor | None
    """(n, outputs)."""

    def each(self, function: Callable[[Tensor], Tensor]) -> Draws:
        """The results of `function` on what was asked for."""
        return Draws(*(function(draws) if draws is not None else None for draws in self))


NOTHING_DRAWN = Draws(None, None, None, None, None)


class Normalizer:
    """Raw inputs → what the network gets: of images the centre of its size, (value − mean)/std, float32; tokens int64.

    Of several inputs the first one is normalized, and others are as they are.
    """

    def __init__(self, dataset: Dataset, device: torch.device, memory_format: torch.memory_format) -> None:
        self.task, self._memory_format = dataset.task, memory_format
        self._scale = self._shift = None
        if dataset.mean is not None and dataset.std is not None:
            scale = 1 / torch.tensor(dataset.std, dtype=torch.float64)
            shift = -torch.tensor(dataset.mean, dtype=torch.float64) * scale
            axes = (-1, *(1 for _ in self.task.input_shape[1:]))
            self._scale, self._shift = (part.float().view(axes).to(device) for part in (scale, shift))

    def __call__(self, raw: Inputs) -> Inputs:
        if isinstance(raw, Tensor):
            return self._normalized(raw)
        assert self.task.named is not None
        (name, leading), *others = raw.items()
        tokens = {key for key, one in self.task.named.items() if one.vocabulary is not None}
        return {
            name: self._normalized(leading),
            **{key: one.long() if key in tokens else one.float() for key, one in others},
        }

    def _normalized(self, raw: Tensor) -> Tensor:
        if self.task.vocabulary is not None:
            return raw.long()
        values = self._centred(raw).float()
        if self._scale is not None and self._shift is not None:
            values = torch.addcmul(self._shift, values, self._scale)
        return values.contiguous(memory_format=self._memory_format) if self.task.has_images else values.contiguous()

    def _centred(self, raw: Tensor) -> Tensor:
        """The part of images that a network sees."""
        if not self.task.has_images:
            return raw
        _, height, width = self.task.input_shape
        top, left = (raw.shape[-2] - height) // 2, (raw.shape[-1] - width) // 2
        return raw[..., top : top + height, left : left + width]


class Examples:
    """A training set, and what varies from access to access: crops, flips, label and target noise.

    It lies on the device, as raw bytes, where that has room for it (`fits`); otherwise where it is, such as in a file
    that is mapped into memory, and what is used of it is fetched ahead of time.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        device: torch.device,
        crop_padding: int = 0,
        flip: bool = False,
        random_resized_crop: tuple[float, float] | None = None,
        label_noise: float = 0.0,
        target_noise: float = 0.0,
        memory_format: torch.memory_format = torch.contiguous_format,
        resident: bool | None = None,
    ) -> None:
        self.device, self.task = device, dataset.task
        self._flip, self._shares = flip, random_resized_crop
        self._label_noise, self._target_noise = label_noise, target_noise
        self._normalize = Normalizer(dataset, device, memory_format)
        self._padding = crop_padding
        raw = dataset.train.inputs
        # The room around the part that the network sees, in which crops are drawn.
        self._room = self._room_of(first(raw)) if crop_padding else (0, 0)
        self.augmented = crop_padding > 0 or flip or random_resized_crop is not None
        self.is_resident = fits(dataset.train, crop_padding, device) if resident is None else resident
        self._targets = dataset.train.targets.to(device)
        self._raw = self._on_device(raw) if self.is_resident else raw
        self._fetcher = None if self.is_resident else ThreadPoolExecutor(1, thread_name_prefix="examples")

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
            random_resized_crop=getattr(settings, "random_resized_crop", None),
            label_noise=settings.label_noise,
            target_noise=settings.target_noise,
            memory_format=memory_format,
        )

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._targets)

    def draw(self, generator: torch.Generator, *, noise: bool = True) -> Draws:
        """The random part of one access to each example, on the CPU; without `noise` only crops and flips."""
        n = len(self)
        corners = boxes = flipped = label_shift = target_noise = None
        if self._padding:
            tall, wide = self._room
            if tall == wide:
                corners = torch.randint(tall + 1, (2, n), generator=generator).T
            else:
                tops = torch.randint(tall + 1, (n,), generator=generator)
                corners = torch.stack([tops, torch.randint(wide + 1, (n,), generator=generator)], dim=1)
        if self._shares is not None:
            boxes = random_boxes(n, self._shares, generator)
        if self._flip:
            flipped = torch.rand(n, generator=generator) < 0.5
        if noise and self._label_noise:
            # Adding 1 … classes − 1 modulo classes gives each of the other classes with the same probability.
            shape = tuple(self._targets.shape)
            shift = torch.randint(1, self.task.outputs, shape, generator=generator)
            replaced = torch.rand(shape, generator=generator) < self._label_noise
            label_shift = shift * replaced
        if noise and self._target_noise:
            gaussian = torch.randn(n, self.task.outputs, generator=generator)
            target_noise = self._target_noise * gaussian
        return Draws(corners, boxes, flipped, label_shift, target_noise)

    def to_device(self, draws: Tensor) -> Tensor:
        """Random draws, or fetched inputs, where they are needed."""
        if self.device.type == "cuda":  # from pinned memory, so that the host need not wait
            draws = draws.pin_memory()
        return draws.to(self.device, non_blocking=True)

    def fetch_ahead(self, chosen: Tensor) -> Callable[[], Inputs]:
        """Begin to fetch raw inputs of the examples `chosen`, on the CPU; call what is returned to get them."""
        assert self._fetcher is not None
        return self._fetcher.submit(lambda: each(self._raw, lambda one: one[chosen])).result

    def inputs(self, chosen: Tensor | slice, draws: Draws, fetched: Inputs | None = None) -> Inputs:
        """Inputs of the examples `chosen`, cropped and flipped as `draws` say, normalized; crops need a tensor.

        `fetched` are their raw ones, where the set does not lie on the device.
        """
        source: Inputs = self._raw
        if fetched is not None:
            source = self._on_device(fetched)
            chosen = torch.arange(len(first(source)), device=self.device)
        if isinstance(source, Tensor):
            return self._normalize(self._augmented(source, chosen, draws))
        (name, leading), *others = source.items()
        return self._normalize({name: self._augmented(leading, chosen, draws), **{k: v[chosen] for k, v in others}})

    def targets(self, chosen: Tensor | slice, draws: Draws) -> Tensor:
        """Targets of the examples `chosen`, labels of them replaced as `draws` say."""
        targets = self._targets[chosen]
        if self.task.kind == "regression":
            return targets
        targets = targets.long()
        return targets if draws.label_shift is None else (targets + draws.label_shift) % self.task.outputs

    def expected_targets(self) -> Tensor:
        """The targets of all; with label noise the probability of each label, along a last axis of its own."""
        if not self._label_noise:
            return self.targets(slice(None), NOTHING_DRAWN)
        others = self._label_noise / (self.task.outputs - 1)
        probabilities = torch.full((*self._targets.shape, self.task.outputs), others, device=self.device)
        return probabilities.scatter_(-1, self._targets.long()[..., None], 1 - self._label_noise)

    def _room_of(self, images: Tensor) -> tuple[int, int]:
        _, height, width = self.task.input_shape
        return images.shape[-2] + 2 * self._padding - height, images.shape[-1] + 2 * self._padding - width

    def _on_device(self, raw: Inputs) -> Inputs:
        """Raw inputs there, the first one with its padding."""
        if isinstance(raw, Tensor):
            return self._padded(self._moved(raw))
        (name, leading), *others = raw.items()
        return {name: self._padded(self._moved(leading)), **{key: self._moved(one) for key, one in others}}

    def _moved(self, raw: Tensor) -> Tensor:
        return raw.to(self.device) if self.is_resident else self.to_device(raw)

    def _padded(self, images: Tensor) -> Tensor:
        return functional.pad(images, (self._padding,) * 4) if self._padding else images

    def _augmented(self, raw: Tensor, chosen: Tensor | slice, draws: Draws) -> Tensor:
        if draws.corners is not None:
            _, height, width = self.task.input_shape
            windows = raw.unfold(2, height, 1).unfold(3, width, 1)
            top, left = draws.corners.T
            raw = windows[chosen, :, top, left]
        else:
            raw = raw[chosen]
        if draws.boxes is not None:
            raw = resized(raw, draws.boxes, self.task.input_shape[1:])
        if draws.flipped is not None:
            raw = torch.where(draws.flipped.view(-1, 1, 1, 1), raw.flip(-1), raw)
        return raw


def fits(split: Split, padding: int, device: torch.device) -> bool:
    """Whether the inputs take no more than half of the memory that is free on the device, or of all that a CPU has."""
    inputs = [split.inputs] if isinstance(split.inputs, Tensor) else list(split.inputs.values())
    needed = sum(one.numel() * one.element_size() for one in inputs)
    if padding:
        height, width = inputs[0].shape[-2:]
        needed = needed * (height + 2 * padding) * (width + 2 * padding) // (height * width)
    if device.type == "cuda":
        room = torch.cuda.mem_get_info(device)[0]
    else:
        room = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return needed <= room // 2


def random_boxes(n: int, shares: tuple[float, float], generator: torch.Generator) -> Tensor:
    """(n, 4): tops, lefts, heights and widths of boxes within a square of side 1.

    Areas are uniform between the two `shares`; the logarithm of width over height is uniform between those of 3:4 and
    4:3, of which a large box has only what lets it fit (torchvision's RandomResizedCrop draws such a box again, up to
    ten times).
    """
    area = torch.empty(n).uniform_(*shares, generator=generator)
    narrow, wide = (math.log(side) for side in _SIDES)
    low, high = torch.log(area).clamp(min=narrow), -torch.log(area).clamp(min=-wide)
    logarithm = low + (high - low) * torch.rand(n, generator=generator)
    height, width = (area * torch.exp(-logarithm)).sqrt(), (area * torch.exp(logarithm)).sqrt()
    top = torch.rand(n, generator=generator) * (1 - height)
    left = torch.rand(n, generator=generator) * (1 - width)
    return torch.stack([top, left, height, width], dim=1)


def resized(images: Tensor, boxes: Tensor, size: tuple[int, ...]) -> Tensor:
    """The parts of (n, C, H, W) images in `boxes` (n, 4), scaled to `size` (height, width) bilinearly, as float32."""
    n, (height, width) = len(images), size
    top, left, tall, wide = boxes.T
    zero = torch.zeros_like(top)
    # What is sampled at (x, y) of the result, both from −1 to 1, in the same units of the image.
    across = torch.stack([wide, zero, 2 * left + wide - 1], dim=1)
    down = torch.stack([zero, tall, 2 * top + tall - 1], dim=1)
    grid = functional.affine_grid(
        torch.stack([across, down], dim=1), [n, images.shape[1], height, width], align_corners=False
    )
    return functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
