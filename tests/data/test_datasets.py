"""The datasets: fixed splits, and the official binary layout read as it is documented."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from stochastic_collapse.config import CIFAR10Settings, CIFAR100Settings, DigitsSettings, SyntheticSettings
from stochastic_collapse.data.dataset import first
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.data.files import CIFAR10, CIFAR100, Archive
from stochastic_collapse.errors import InputError


def write_records(archive: Archive, root: Path, seed: int = 0) -> dict[str, np.ndarray]:
    """Random files of the right size; labels in range."""
    rng = np.random.default_rng(seed)
    folder = root / archive.folder
    folder.mkdir(parents=True)
    written = {}
    for file in archive.files:
        records = rng.integers(0, 256, (file.records, archive.record_bytes), dtype=np.uint8)
        records[:, : archive.label_bytes] = rng.integers(0, 10, (file.records, archive.label_bytes))
        records.tofile(folder / file.name)
        written[file.name] = records
    return written


def test_digits() -> None:
    digits = load_dataset(DigitsSettings(name="digits"))
    assert first(digits.train.inputs).shape == (1437, 1, 8, 8)
    assert first(digits.test.inputs).shape == (360, 1, 8, 8)
    assert first(digits.train.inputs).max() == 16
    pixels, labels = load_digits(return_X_y=True)
    everything = torch.cat([first(digits.train.inputs), first(digits.test.inputs)]).double().reshape(1797, -1)
    assert sorted(map(tuple, everything.tolist())) == sorted(map(tuple, pixels.tolist()))
    # stratified: each class has its share in the test split
    counts = torch.bincount(digits.test.targets, minlength=10).numpy()
    assert np.abs(counts - 0.2 * np.bincount(labels)).max() < 1
    again = load_dataset(DigitsSettings(name="digits"))
    assert torch.equal(first(again.test.inputs), first(digits.test.inputs))


def test_a_part_of_the_training_set_is_stratified_and_in_order() -> None:
    whole = load_dataset(DigitsSettings(name="digits"))
    part = load_dataset(DigitsSettings(name="digits", train_size=96))
    assert sorted(torch.bincount(part.train.targets).tolist()) == [9] * 4 + [10] * 6
    taken = dict.fromkeys(range(10), 0)
    expected = []
    for k, label in enumerate(whole.train.targets.tolist()):
        if taken[label] < (10 if label < 6 else 9):
            taken[label] += 1
            expected.append(k)
    assert torch.equal(first(part.train.inputs), first(whole.train.inputs)[expected])
    assert torch.equal(part.train.targets, whole.train.targets[expected])
    assert torch.equal(first(part.test.inputs), first(whole.test.inputs))
    assert (part.mean, part.std) == (whole.mean, whole.std)


def test_small_classes_give_all_they_have() -> None:
    counts = torch.bincount(load_dataset(DigitsSettings(name="digits")).train.targets)
    found = torch.bincount(load_dataset(DigitsSettings(name="digits", train_size=1430)).train.targets)
    cut = found < counts
    assert cut.any()
    assert found[~cut].max() <= found[cut].min() + 1
    assert found[cut].max() - found[cut].min() <= 1


@pytest.mark.parametrize(
    ("size", "says"),
    [
        (1438, "data.train_size: 1438 is more than the 1437 training examples of digits"),
        (9, "data.train_size: 9 is less than the 10 classes of digits"),
    ],
)
def test_parts_that_cannot_be_are_refused(size: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_dataset(DigitsSettings(name="digits", train_size=size))


def test_cifar10_layout(tmp_path: Path) -> None:
    written = write_records(CIFAR10, tmp_path)
    dataset = load_dataset(CIFAR10Settings(name="cifar10"), tmp_path)
    assert first(dataset.train.inputs).shape == (50_000, 3, 32, 32)
    assert first(dataset.test.inputs).shape == (10_000, 3, 32, 32)
    record = written["data_batch_3.bin"][17]
    assert dataset.train.targets[20_017] == record[0]
    # red, green, blue planes, each in row order
    assert first(dataset.train.inputs)[20_017, 2, 5, 7] == record[1 + 2 * 1024 + 5 * 32 + 7]
    assert torch.equal(dataset.test.targets, torch.from_numpy(written["test_batch.bin"][:, 0].astype(np.int64)))


def test_cifar100_takes_the_fine_label(tmp_path: Path) -> None:
    written = write_records(CIFAR100, tmp_path)
    dataset = load_dataset(CIFAR100Settings(name="cifar100"), tmp_path)
    assert dataset.num_classes == 100
    assert dataset.train.targets[123] == written["train.bin"][123, 1]
    assert first(dataset.train.inputs)[123, 0, 0, 1] == written["train.bin"][123, 3]


def test_missing_and_damaged_files_say_what_to_do(tmp_path: Path) -> None:
    settings = CIFAR100Settings(name="cifar100")
    with pytest.raises(InputError, match=r"train\.bin: missing; run `sc data cifar100`"):
        load_dataset(settings, tmp_path)
    written = write_records(CIFAR100, tmp_path)
    path = tmp_path / CIFAR100.folder / "train.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="153699999 bytes, expected 153700000: the file is damaged"):
        load_dataset(settings, tmp_path)
    written["train.bin"][0, 1] = 100
    written["train.bin"].tofile(path)
    with pytest.raises(InputError, match="a label of 100 among 100 classes"):
        load_dataset(settings, tmp_path)


def test_synthetic_is_as_normalized_as_it_says() -> None:
    dataset = load_dataset(SyntheticSettings(name="synthetic", train_size=200, shape=(2, 16, 16), num_classes=5))
    pixels = first(dataset.train.inputs).double()
    assert dataset.image_shape == (2, 16, 16)
    assert dataset.mean is not None
    assert dataset.std is not None
    assert pixels.mean().item() == pytest.approx(dataset.mean[0], rel=0.03)
    assert pixels.std().item() == pytest.approx(dataset.std[0], rel=0.03)
    assert torch.bincount(dataset.test.targets).tolist() == [26, 26, 26, 25, 25]
