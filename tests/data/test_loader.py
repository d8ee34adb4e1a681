"""The batch loader against plain indexing, its statistics, and its position in the stream."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from stochastic_collapse.config import SyntheticSettings
from stochastic_collapse.data.dataset import Dataset, Split, first
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.data.examples import NOTHING_DRAWN, Examples, random_boxes, resized
from stochastic_collapse.data.loader import Batch, BatchLoader, EvaluationBatches, FullBatches
from stochastic_collapse.errors import InputError
from stochastic_collapse.task import Input, Task

CPU = torch.device("cpu")


def numbered(size: int, shape: tuple[int, int, int] = (3, 6, 5), classes: int = 7) -> Dataset:
    """Images in which the pixel at the top left corner of channel 0 tells which image it is."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (size, *shape), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.arange(size) % classes)
    return Dataset(split, split, Task(shape, classes), mean=(100.0, 120.0, 140.0), std=(50.0, 60.0, 70.0))


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
        (x is None and y is None) or (x is not None and y is not None and torch.equal(first(x), first(y)))
        for one, other in zip(a, b, strict=True)
        for x, y in zip(one, other, strict=True)
    )


def test_an_epoch_is_every_example_once_with_its_label() -> None:
    dataset = numbered(22)
    source = loader(dataset)
    assert source.steps_per_epoch == 5  # two examples are dropped
    for _ in range(3):
        batches = take(source, 5)
        images = raw(dataset, torch.cat([first(b.inputs) for b in batches]))
        labels = torch.cat([b.targets for b in batches])
        which = [(dataset.train.inputs == image).flatten(1).all(1).nonzero().item() for image in images]
        assert len(set(which)) == 20
        assert torch.equal(labels, dataset.train.targets[which])


def test_epochs_differ_and_seeds_differ() -> None:
    dataset = numbered(20)
    source = loader(dataset)
    first, second = take(source, 5), take(source, 5)
    assert not same(first, second)
    assert same(first, take(loader(dataset), 5))
    assert not same(first, take(loader(dataset, seed=2), 5))


def test_normalization_is_per_channel() -> None:
    dataset = numbered(4)
    images = first(next(iter(EvaluationBatches(dataset, dataset.test, device=CPU, batch_size=2000))).inputs)
    pixels = first(dataset.test.inputs).double()
    assert dataset.mean is not None
    assert dataset.std is not None
    for channel in range(3):
        expected = (pixels[:, channel] - dataset.mean[channel]) / dataset.std[channel]
        torch.testing.assert_close(images[:, channel].double(), expected, rtol=0, atol=1e-6)


def test_crops_are_windows_of_the_zero_padded_image_and_all_occur() -> None:
    dataset = numbered(8)
    padded = torch.nn.functional.pad(first(dataset.train.inputs), (2, 2, 2, 2))
    seen = set()
    source = loader(dataset, crop_padding=2)
    for batch in take(source, 400):
        for image in raw(dataset, first(batch.inputs)):
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
        for image in raw(dataset, first(batch.inputs)):
            straight = (dataset.train.inputs == image).flatten(1).all(1).any()
            mirrored = (first(dataset.train.inputs).flip(-1) == image).flatten(1).all(1).any()
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
        before = torch.tensor([clean[tuple(image.flatten().tolist())] for image in raw(dataset, first(batch.inputs))])
        shifts += torch.bincount((batch.targets - before) % 7, minlength=7)
        epochs.append(batch.targets)
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
    batch, second = plain.next(), plain.next()
    assert torch.equal(raw(dataset, first(batch.inputs)), first(dataset.train.inputs))
    assert torch.equal(batch.targets, dataset.train.targets)
    assert batch.inputs is second.inputs  # made once
    noisy = Examples(dataset, device=CPU, crop_padding=1, flip=True, label_noise=0.5, target_noise=0.1)
    stream = FullBatches(noisy, seed=1)
    for a, b in zip(stream.next(), stream.next(), strict=True):
        assert not torch.equal(a, b)  # type: ignore[arg-type]
    expected = FullBatches(noisy, seed=1, expected=True).next()
    assert expected.target_noise is None
    one_hot = torch.nn.functional.one_hot(dataset.train.targets, 7)
    torch.testing.assert_close(expected.targets, 0.5 * one_hot + 0.5 / 6 * (1 - one_hot))
    state = stream.state_dict()
    rest = [stream.next() for _ in range(3)]
    stream.load_state_dict(state)
    assert same([stream.next() for _ in range(3)], rest)


def test_a_set_that_stays_off_the_device_gives_the_same_batches() -> None:
    options: dict[str, Any] = {"crop_padding": 2, "flip": True, "label_noise": 0.5, "batch_size": 3}
    for dataset in (numbered(22), numbered(800)):  # one chunk an epoch, and several
        here, away = (loader(dataset, resident=resident, **options) for resident in (True, False))
        batches = take(here, 2 * here.steps_per_epoch)
        assert same(batches, take(away, 2 * here.steps_per_epoch))
        state = here.state_dict()
        rest = take(here, 10)
        away.load_state_dict(state)
        assert same(rest, take(away, 10))
    with pytest.raises(InputError, match="needs them on the device"):
        FullBatches(Examples(numbered(8), device=CPU, resident=False), seed=1)


def test_larger_images_are_seen_in_part() -> None:
    whole = numbered(60)
    dataset = dataclasses.replace(whole, task=Task((3, 4, 3), 7))
    centre = first(whole.train.inputs)[:, :, 1:5, 1:4]
    assert torch.equal(
        raw(dataset, first(loader(dataset, batch_size=60).examples.inputs(slice(None), NOTHING_DRAWN))), centre
    )
    [batch] = EvaluationBatches(dataset, dataset.test, device=CPU, batch_size=100)
    assert torch.equal(raw(dataset, first(batch.inputs)), centre)
    padded = torch.nn.functional.pad(first(whole.train.inputs), (1, 1, 1, 1))
    seen = set()
    for batch in take(loader(dataset, crop_padding=1), 200):
        for image in raw(dataset, first(batch.inputs)):
            found = [
                (top, left)
                for top in range(5)
                for left in range(5)
                if (padded[:, :, top : top + 4, left : left + 3] == image).flatten(1).all(1).any()
            ]
            assert found
            seen.update(found)
    assert len(seen) == 25  # missed by 800 draws: below 25·(24/25)^800 < 2e-13


def test_random_boxes() -> None:
    boxes = random_boxes(100_000, (0.08, 1.0), torch.Generator().manual_seed(0))
    top, left, height, width = boxes.double().T
    tolerance = 1e-6
    assert (boxes >= 0).all()
    assert (top + height <= 1 + tolerance).all()
    assert (left + width <= 1 + tolerance).all()
    area, ratio = height * width, (width / height).log()
    assert (ratio.abs() <= math.log(4 / 3) + tolerance).all()
    # Uniform from 0.08 to 1: mean 0.54, deviation 0.92/√12; false alarms: 7e-6 each.
    assert abs(area.mean() - 0.54) < 4.5 * 0.92 / math.sqrt(12 * len(boxes))
    assert abs(ratio.mean()) < 4.5 * ratio.std() / math.sqrt(len(boxes))
    small = area < 0.5  # where a box of any such ratio fits
    assert abs(ratio[small].std() - math.log(16 / 9) / math.sqrt(12)) < 0.005


def test_resized_parts_of_a_linear_image_are_linear() -> None:
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(10.0), indexing="ij")
    image = torch.stack([rows, columns])[None]  # of pixels at (r + 1/2)/12, (c + 1/2)/10
    box = torch.tensor([[0.25, 0.3, 0.5, 0.4]])
    found = resized(image, box, (3, 4))[0]
    expected_rows = 12 * (0.25 + 0.5 * (torch.arange(3) + 0.5) / 3) - 0.5
    expected_columns = 10 * (0.3 + 0.4 * (torch.arange(4) + 0.5) / 4) - 0.5
    torch.testing.assert_close(found[0], expected_rows[:, None].expand(3, 4), rtol=0, atol=1e-5)
    torch.testing.assert_close(found[1], expected_columns[None].expand(3, 4), rtol=0, atol=1e-5)
    whole = resized(image, torch.tensor([[0.0, 0.0, 1.0, 1.0]]), (12, 10))
    torch.testing.assert_close(whole, image, rtol=0, atol=1e-5)
    dataset = numbered(16, shape=(3, 6, 6))
    batch = loader(dataset, random_resized_crop=(1.0, 1.0)).next()  # the whole image, all that has an area of 1
    images = [image.flatten().tolist() for image in raw(dataset, first(batch.inputs))]
    assert all(image in first(dataset.train.inputs).flatten(1).tolist() for image in images)


def test_tokens_and_several_inputs() -> None:
    data = torch.arange(41, dtype=torch.uint8)
    windows = Split(data[:-1].view(8, 5), data[1:].view(8, 5))
    tokens = Dataset(windows, windows, Task((5,), 64, "next_token", vocabulary=64))
    batch = loader(tokens, batch_size=8).next()
    assert batch.inputs.dtype == batch.targets.dtype == torch.int64  # type: ignore[union-attr]
    assert torch.equal(first(batch.inputs) + 1, batch.targets)
    noisy = loader(tokens, batch_size=8, label_noise=0.5).next()
    changed = first(noisy.inputs).add(1).ne(noisy.targets).double().mean()
    assert 0.2 < changed < 0.8  # 40 draws: outside with probability 1e-4; the seed is fixed
    named = {"x": torch.randn(6, 2), "mask": torch.arange(6)}
    split = Split(named, torch.randn(6, 3))
    task = Task((2,), 3, "regression", named={"x": Input((2,)), "mask": Input((), 6)})
    several = Dataset(split, split, task, mean=(1.0, 2.0), std=(2.0, 4.0))
    batch = loader(several, batch_size=6).next()
    assert not isinstance(batch.inputs, Tensor)
    order = batch.inputs["mask"]
    torch.testing.assert_close(batch.inputs["x"], (named["x"][order] - torch.tensor([1.0, 2])) / torch.tensor([2.0, 4]))
    assert torch.equal(batch.targets, split.targets[order])
    assert [len(part.inputs["x"]) for part in batch.split(4)] == [4, 2]  # type: ignore[index]


def test_memory_format() -> None:
    batch = loader(numbered(8), memory_format=torch.channels_last).next()
    assert first(batch.inputs).is_contiguous(memory_format=torch.channels_last)


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
        torch.testing.assert_close(first(a.inputs).cpu(), first(b.inputs))
        assert torch.equal(a.targets.cpu(), b.targets)
