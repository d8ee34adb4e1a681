"""The batch loader against plain indexing, its statistics, and its position in the stream."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from stochastic_collapse.config import SyntheticSettings
from stochastic_collapse.data.datasets import Dataset, Split, load_dataset
from stochastic_collapse.data.loader import Batch, BatchLoader, EvaluationBatches, Examples, FullBatches
from stochastic_collapse.errors import InputError

CPU = torch.device("cpu")


def numbered(size: int, shape: tuple[int, int, int] = (3, 6, 5), classes: int = 7) -> Dataset:
    """Images in which the pixel at the top left corner of channel 0 tells which image it is."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (size, *shape), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.arange(size) % classes)
    return Dataset(split, split, classes, mean=(100.0, 120.0, 140.0), std=(50.0, 60.0, 70.0))


def loader(dataset: Dataset, batch_size: int = 4, seed: int = 1, **options: Any) -> BatchLoader:
    return BatchLoader(Examples(dataset, device=CPU, **options), batch_size, seed=seed)


def raw(dataset: Dataset, images: Tensor) -> Tensor:
    """Undo the normalization."""
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (dataset.mean, dataset.std))
    return (images * std + mean).round().to(torch.uint8)


def take(source: BatchLoader, count: int) -> list[Batch]:
    return [source.next() for _ in range(count)]


def same(a: list[Batch], b: list[Batch]) -> bool:
    return all(
        (x is None and y is None) or (x is not None and y is not None and torch.equal(x, y))
        for first, second in zip(a, b, strict=True)
        for x, y in zip(first, second, strict=True)
    )


def test_an_epoch_is_every_example_once_with_its_label() -> None:
    dataset = numbered(22)
    source = loader(dataset)
    assert source.steps_per_epoch == 5  # two examples are dropped
    for _ in range(3):
        batches = take(source, 5)
        images = raw(dataset, torch.cat([b.images for b in batches]))
        labels = torch.cat([b.labels for b in batches])
        which = [(dataset.train.images == image).flatten(1).all(1).nonzero().item() for image in images]
        assert len(set(which)) == 20
        assert torch.equal(labels, dataset.train.labels[which])


def test_epochs_differ_and_seeds_differ() -> None:
    dataset = numbered(20)
    source = loader(dataset)
    first, second = take(source, 5), take(source, 5)
    assert not same(first, second)
    assert same(first, take(loader(dataset), 5))
    assert not same(first, take(loader(dataset, seed=2), 5))


def test_normalization_is_per_channel() -> None:
    dataset = numbered(4)
    images = next(iter(EvaluationBatches(dataset, dataset.test, device=CPU, batch_size=2000))).images
    pixels = dataset.test.images.double()
    for channel in range(3):
        expected = (pixels[:, channel] - dataset.mean[channel]) / dataset.std[channel]
        torch.testing.assert_close(images[:, channel].double(), expected, rtol=0, atol=1e-6)


def test_crops_are_windows_of_the_zero_padded_image_and_all_occur() -> None:
    dataset = numbered(8)
    padded = torch.nn.functional.pad(dataset.train.images, (2, 2, 2, 2))
    seen = set()
    source = loader(dataset, crop_padding=2)
    for batch in take(source, 400):
        for image in raw(dataset, batch.images):
            found = [
                (top, left)
                for top in range(5)
                for left in range(5)
                if (padded[:, :, top : top + 6, left : left + 5] == image).flatten(1).all(1).any()
            ]
            assert found
            seen.update(found if len(found) == 1 else [])
    # 1,600 draws of 25 corners: one is missing with probability below 25·(24/25)^1600 < 1e-26.
    assert len(seen) == 25


def test_flips_mirror_half_of_the_images() -> None:
    dataset = numbered(8)
    flipped = total = 0
    for batch in take(loader(dataset, flip=True), 500):
        for image in raw(dataset, batch.images):
            straight = (dataset.train.images == image).flatten(1).all(1).any()
            mirrored = (dataset.train.images.flip(-1) == image).flatten(1).all(1).any()
            assert straight != mirrored
            flipped += int(mirrored)
            total += 1
    assert abs(flipped / total - 0.5) < 4.5 * 0.5 / math.sqrt(total)  # false alarms: 7e-6


def test_label_noise_replaces_by_other_classes_uniformly_and_anew() -> None:
    dataset = numbered(1000, shape=(3, 1, 1))
    clean = {tuple(image.flatten().tolist()): label for image, label in zip(*vars(dataset.train).values(), strict=True)}
    source = loader(dataset, batch_size=1000, label_noise=0.3)
    shifts = torch.zeros(7)
    epochs = []
    for batch in take(source, 40):
        before = torch.tensor([clean[tuple(image.flatten().tolist())] for image in raw(dataset, batch.images)])
        shifts += torch.bincount((batch.labels - before) % 7, minlength=7)
        epochs.append(batch.labels)
    n = shifts.sum().item()
    assert abs(1 - shifts[0] / n - 0.3) < 4.5 * math.sqrt(0.3 * 0.7 / n)  # false alarms: 7e-6
    expected = 0.3 * n / 6
    # χ² with 5 degrees of freedom exceeds 30.9 with probability 1e-5.
    assert ((shifts[1:] - expected) ** 2 / expected).sum() < 30.9


def test_target_noise_is_gaussian() -> None:
    dataset = numbered(500)
    noise = torch.cat([b.target_noise for b in take(loader(dataset, batch_size=500, target_noise=0.2), 20)])  # type: ignore[misc]
    assert noise.shape == (10_000, 7)
    assert abs(noise.mean()) < 4.5 * 0.2 / math.sqrt(noise.numel())  # false alarms: 7e-6 each
    assert abs(noise.std() / 0.2 - 1) < 4.5 / math.sqrt(2 * noise.numel())


@pytest.mark.parametrize("taken", [0, 1, 4, 5, 6, 13])
def test_the_stream_continues_exactly(taken: int) -> None:
    dataset = numbered(22)
    options: dict[str, Any] = {"crop_padding": 2, "flip": True, "label_noise": 0.5, "target_noise": 0.1}
    source = loader(dataset, **options)
    take(source, taken)
    state = source.state_dict()
    rest = take(source, 12)
    other = loader(dataset, seed=99, **options)
    take(other, 3)
    other.load_state_dict(state)
    assert same(take(other, 12), rest)


def test_the_stream_does_not_depend_on_how_many_batches_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = numbered(40)
    options: dict[str, Any] = {"crop_padding": 1, "flip": True, "label_noise": 0.5}
    many = take(loader(dataset, **options), 25)
    monkeypatch.setattr("stochastic_collapse.data.loader._CHUNK_BYTES", {"cpu": 1})
    assert same(many, take(loader(dataset, **options), 25))


def test_full_batches_lie_in_order_and_are_drawn_anew() -> None:
    dataset = numbered(20)
    plain = FullBatches(Examples(dataset, device=CPU), seed=1)
    first, second = plain.next(), plain.next()
    assert torch.equal(raw(dataset, first.images), dataset.train.images)
    assert torch.equal(first.labels, dataset.train.labels)
    assert first.images is second.images  # made once
    noisy = Examples(dataset, device=CPU, crop_padding=1, flip=True, label_noise=0.5, target_noise=0.1)
    stream = FullBatches(noisy, seed=1)
    first, second = stream.next(), stream.next()
    for a, b in zip(first, second, strict=True):
        assert not torch.equal(a, b)  # type: ignore[arg-type]
    expected = FullBatches(noisy, seed=1, expected=True).next()
    assert expected.target_noise is None
    one_hot = torch.nn.functional.one_hot(dataset.train.labels, 7)
    torch.testing.assert_close(expected.labels, 0.5 * one_hot + 0.5 / 6 * (1 - one_hot))
    state = stream.state_dict()
    rest = [stream.next() for _ in range(3)]
    stream.load_state_dict(state)
    assert same([stream.next() for _ in range(3)], rest)


def test_memory_format() -> None:
    batch = loader(numbered(8), memory_format=torch.channels_last).next()
    assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_too_large_a_batch_is_refused() -> None:
    with pytest.raises(InputError, match="batch_size: 9 is more than the 8 training examples"):
        loader(numbered(8), batch_size=9)


@pytest.mark.cuda
def test_cuda_sees_the_same_batches() -> None:
    dataset = load_dataset(SyntheticSettings(name="synthetic"))
    options: dict[str, Any] = {"crop_padding": 4, "flip": True, "label_noise": 0.5, "target_noise": 0.1}
    on_cuda = BatchLoader(Examples(dataset, device=torch.device("cuda"), **options), 32, seed=1)
    on_cpu = loader(dataset, 32, **options)
    for a, b in zip(take(on_cuda, 40), take(on_cpu, 40), strict=True):
        torch.testing.assert_close(a.images.cpu(), b.images)
        assert torch.equal(a.labels.cpu(), b.labels)
