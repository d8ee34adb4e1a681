"""Arrays of NumPy as data sets: names, layouts, statistics, splits; and what is refused, in one line."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from stochastic_collapse.config import ArraysSettings
from stochastic_collapse.data.dataset import Dataset, first
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.errors import InputError

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)


def settings(path: Path, **given: Any) -> ArraysSettings:
    return ArraysSettings.model_validate({"name": "arrays", "path": str(path), **given})


def saved(tmp_path: Path, **arrays: Array) -> Path:
    np.savez(tmp_path / "set.npz", **arrays)  # type: ignore[arg-type]
    return tmp_path / "set.npz"


def halves(x: Array, y: Array) -> dict[str, Array]:
    half = len(x) // 2
    return {"x_train": x[:half], "y_train": y[:half], "x_test": x[half:], "y_test": y[half:]}


def inputs(dataset: Dataset) -> tuple[Array, Array]:
    return first(dataset.train.inputs).numpy(), first(dataset.test.inputs).numpy()


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "Y_train", "X_val", "Y_val"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("features_train", "targets_train", "features_validation", "targets_validation"),
        ("trainx", "trainy", "testx", "testy"),
        ("training_data", "training_target", "valid_data", "valid_target"),
        ("input_train", "label_train", "input_test", "label_test"),
    ],
)
def test_names_that_people_use(names: tuple[str, ...], tmp_path: Path) -> None:
    parts = halves(RNG.normal(size=(20, 3)), np.arange(20) % 4)
    path = saved(tmp_path, **dict(zip(names, parts.values(), strict=True)))
    dataset = load_dataset(settings(path, normalize=False))
    train, test = inputs(dataset)
    np.testing.assert_array_equal(train, parts["x_train"].astype(np.float32))
    np.testing.assert_array_equal(test, parts["x_test"].astype(np.float32))
    assert dataset.test.targets.tolist() == parts["y_test"].tolist()
    assert (dataset.task.kind, dataset.task.outputs, dataset.mean) == ("classification", 4, None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (RNG.integers(0, 256, (12, 8, 9, 3), dtype=np.uint8), lambda x: x.transpose(0, 3, 1, 2)),
        (RNG.normal(size=(12, 8, 9, 1)), lambda x: x.transpose(0, 3, 1, 2).astype(np.float32)),
        (RNG.integers(0, 256, (12, 3, 8, 9), dtype=np.uint8), lambda x: x),
        (RNG.integers(0, 256, (12, 8, 9), dtype=np.uint8), lambda x: x[:, None]),
        (RNG.normal(size=(12, 8, 9)), lambda x: x.astype(np.float32)),
        (RNG.normal(size=12), lambda x: x[:, None].astype(np.float32)),
        (RNG.normal(size=(12, 5)) > 0, lambda x: x.astype(np.uint8)),
        (RNG.integers(-9, 9, (12, 5)), lambda x: x.astype(np.float32)),
        (RNG.integers(0, 60_000, (12, 5), dtype=np.uint16), lambda x: x.astype(np.float32)),
        (RNG.normal(size=(12, 5)).astype(np.float16), lambda x: x.astype(np.float32)),
        (RNG.normal(size=(12, 5)).astype(">f8"), lambda x: x.astype(np.float32)),
        (np.asfortranarray(RNG.normal(size=(12, 5, 2))), lambda x: x.astype(np.float32)),
    ],
)
def test_layouts(given: Array, expected: Callable[[Array], Array], tmp_path: Path) -> None:
    dataset = load_dataset(settings(saved(tmp_path, **halves(given, np.arange(12) % 2)), normalize=False))
    wanted = expected(given)
    found = np.concatenate(inputs(dataset))
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)
    assert dataset.task.input_shape == wanted.shape[1:]


def test_statistics_are_those_of_the_training_set_along_the_channels(tmp_path: Path) -> None:
    x = RNG.normal(3, 2, size=(30, 3, 4, 5)) * np.array([1, 5, 0])[:, None, None] + 7
    dataset = load_dataset(settings(saved(tmp_path, **halves(x, np.arange(30) % 3))))
    train = x[:15]
    np.testing.assert_allclose(np.array(dataset.mean), train.mean((0, 2, 3)), rtol=1e-6)
    constant = 1
    np.testing.assert_allclose(np.array(dataset.std), [*train.std((0, 2, 3))[:2], constant], rtol=1e-6)


def test_numbers_far_from_zero_keep_their_differences(tmp_path: Path) -> None:
    """Such as years or timestamps: in float32 10⁹ and 10⁹ + 1 are one number."""
    x = 1e9 + np.arange(20.0)[:, None]
    dataset = load_dataset(settings(saved(tmp_path, **halves(x, np.arange(20) % 2))))
    assert len(np.unique(inputs(dataset)[0])) == 10
    assert dataset.std == pytest.approx((x[:10].std(),))


@pytest.mark.parametrize("normalize", [True, False])
def test_real_targets(normalize: bool, tmp_path: Path) -> None:
    x, y = RNG.normal(size=(40, 3)), RNG.normal(5, 3, size=(40, 2))
    dataset = load_dataset(settings(saved(tmp_path, **halves(x, y)), normalize=normalize))
    assert (dataset.task.kind, dataset.task.outputs) == ("regression", 2)
    mean, std = (y[:20].mean(0), y[:20].std(0)) if normalize else (0, 1)
    for part, wanted in ((dataset.train, y[:20]), (dataset.test, y[20:])):
        assert part.targets.dtype == torch.float32
        np.testing.assert_allclose(part.targets.numpy(), (wanted - mean) / std, rtol=1e-5, atol=1e-5)


def test_whole_numbers_are_real_targets_where_that_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, **halves(RNG.normal(size=(40, 3)), np.arange(40)))
    dataset = load_dataset(settings(path, task="regression", normalize=False))
    assert dataset.train.targets[:, 0].tolist() == list(range(20))


def test_a_test_set_is_drawn_once_and_for_all_and_keeps_the_shares_of_classes(tmp_path: Path) -> None:
    x, y = np.arange(100)[:, None], np.array([0] * 80 + [1] * 20)
    dataset, again = (
        load_dataset(settings(saved(tmp_path, x=x, y=y), test_share=0.25, normalize=False)) for _ in range(2)
    )
    train, test = inputs(dataset)
    assert sorted(np.concatenate([train, test])[:, 0].tolist()) == list(range(100))
    assert np.bincount(dataset.test.targets.numpy()).tolist() == [20, 5]
    assert [part.tolist() for part in inputs(again)] == [train.tolist(), test.tolist()]
    np.testing.assert_array_equal(y[test[:, 0].astype(int)], dataset.test.targets.numpy())


def test_files_of_one_array_each(tmp_path: Path) -> None:
    x, y = RNG.normal(size=(20, 3)).astype(np.float32), np.arange(20) % 2
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    given = {"targets": str(tmp_path / "y.npy"), "normalize": False, "test_share": 0.5}
    dataset = load_dataset(settings(tmp_path / "x.npy", **given))
    assert sorted(map(tuple, np.concatenate(inputs(dataset)))) == sorted(map(tuple, x))


def test_a_part_of_the_training_set_has_equal_shares_of_classes(tmp_path: Path) -> None:
    path = saved(tmp_path, **halves(np.arange(40)[:, None], np.arange(40) % 4))
    dataset = load_dataset(settings(path, train_size=8, normalize=False))
    assert np.bincount(dataset.train.targets.numpy()).tolist() == [2, 2, 2, 2]


GOOD = halves(RNG.normal(size=(20, 3)), np.arange(20) % 4)
NAN = np.where(np.arange(30).reshape(10, 3) == 16, np.nan, 1.0)


@pytest.mark.parametrize(
    ("arrays", "given", "message"),
    [
        ({**GOOD, "x_train": NAN}, {}, r"x_train: 1 of 30 numbers are NaN.*the first in example 5 \(counted from 0\)"),
        ({**GOOD, "x_test": np.full((10, 3), np.inf)}, {}, "x_test: 30 of 30 numbers are NaN, infinite or too large"),
        ({**GOOD, "x_train": np.full((10, 3), 1e300)}, {}, "x_train: 30 of 30 numbers .* too large for float32"),
        ({**GOOD, "y_train": GOOD["y_train"] - 1}, {}, "y_train: a label of -1, expected classes, counted from 0"),
        ({**GOOD, "y_train": 0 * GOOD["y_train"], "y_test": 0 * GOOD["y_test"]}, {}, "all labels are 0"),
        ({**GOOD, "y_train": 0 * GOOD["y_train"] + 3, "y_test": 0 * GOOD["y_test"] + 3}, {}, "all labels are 3"),
        ({**GOOD, "y_train": GOOD["y_train"].astype(str)}, {}, "y_train: text, expected numbers"),
        ({**GOOD, "y_train": np.full(10, np.nan)}, {}, "y_train: 10 of 10 numbers are NaN"),
        ({**GOOD, "y_train": np.zeros((10, 2)), "y_test": np.zeros((10, 3))}, {}, "y_test: 3 outputs, and those"),
        ({**GOOD, "y_test": np.full(10, 2**63, np.uint64)}, {}, "a label of 9223372036854775808, expected classes"),
        ({**GOOD, "x_train": np.float64(1)}, {}, "x_train: one number, expected one or more for each example"),
        ({**GOOD, "x_train": np.zeros((10, 0))}, {}, "x_train: examples without a number"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(3)}, {"test_share": 0.9}, r"3 examples, of which 3 .* none is left"),
        ({"x": np.zeros((8, 2)), "y": np.arange(8) % 4}, {}, "6 examples to train and 2 to test .* each of 4 classes"),
        ({**GOOD, "y_test": GOOD["y_test"] * 99}, {}, "a label of 297, and so more classes than the 20 examples"),
        ({**GOOD, "y_train": GOOD["y_train"][:7]}, {}, "y_train: 7 targets for 10 inputs"),
        ({**GOOD, "y_train": GOOD["y_train"] + 0.5}, {"task": "classification"}, "y_train: .* is no class"),
        ({**GOOD, "y_train": np.eye(4)[GOOD["y_train"]].astype(int)}, {}, "of one-hot ones their argmax"),
        ({**GOOD, "y_train": np.zeros((10, 2, 2))}, {}, r"of shape \(10, 2, 2\), expected"),
        ({**GOOD, "x_test": np.zeros((10, 4))}, {}, r"x_test: examples of shape \(4,\), and those to train with have"),
        ({**GOOD, "x_train": np.array([["a"] * 3] * 10)}, {}, "x_train: text, expected numbers"),
        ({**GOOD, "x_train": np.zeros((10, 3), complex)}, {}, "x_train: complex128, expected numbers"),
        ({**GOOD, "x_train": np.zeros((0, 3)), "y_train": np.zeros(0, int)}, {}, "x_train: no example"),
        ({"a": np.zeros(3), "b": np.zeros(3)}, {}, "it has a, b, expected x_train, y_train, x_test and y_test"),
        ({"a\nb": np.zeros(3)}, {}, "it has a b, expected x_train"),
        ({"x_train": np.zeros(3), "x_test": np.zeros(3)}, {}, "expected x_train, y_train, x_test and y_test"),
        ({**GOOD, "images_train": np.zeros(3)}, {}, "both x_train and images_train"),
        ({"x": np.zeros((5, 2)), "y": np.array([0, 0, 0, 0, 1])}, {}, "class 1 has one example"),
        ({**GOOD, "x_train": np.array([None] * 10)}, {}, "x_train cannot be read: it holds Python objects"),
        (GOOD, {"targets": "y.npy"}, "data.targets: goes with a .npy file"),
        (GOOD, {"label_noise": 0.1, "task": "regression"}, "data.label_noise: replaces classes by others"),
        (GOOD, {"flip": True}, "data.flip: is for images, and these inputs are numbers of shape"),
        (GOOD, {"train_size": 11}, "data.train_size: 11 is more than the 10 training examples"),
    ],
)
def test_what_is_wrong_is_one_line(
    arrays: dict[str, Array], given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(settings(saved(tmp_path, **arrays), **given))
    assert str(caught.value).startswith("data.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("set.npz", b"PK\x03\x04 half", "no readable .npz file"),
        ("set.npz", b"", "no readable .npz file"),
        ("set.npy", b"\x93NUMPY", "no readable .npy file"),
        ("set.npz", b"\x80\x04N.", "it holds Python objects, or is damaged"),
        ("set.txt", b"1 2", "expected a .npz or a .npy file"),
        ("sett.npz", b"", r"set.npz: no such file; the nearest names are sett.npz"),
    ],
)
def test_files_that_are_none(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    path = tmp_path / ("set.npz" if name == "sett.npz" else name)
    np.save(tmp_path / "y.npy", np.zeros(3))
    given = {"targets": str(tmp_path / "y.npy")} if name.endswith("npy") else {}
    with pytest.raises(InputError, match=re.escape("data.path: ") + ".*" + message):
        load_dataset(settings(path, **given))


def test_targets_are_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 2)))
    with pytest.raises(InputError, match=r"data.targets: missing; the .npy file with a target for each input"):
        load_dataset(settings(tmp_path / "x.npy"))


@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels"), ("DATA", "Target"), ("features", "targets")])
def test_one_part_is_split(names: tuple[str, str], tmp_path: Path) -> None:
    arrays = dict(zip(names, (np.arange(20)[:, None], np.arange(20) % 4), strict=True))
    dataset = load_dataset(settings(saved(tmp_path, **arrays, names=np.array(["a"])), normalize=False))
    assert (len(dataset.train), len(dataset.test)) == (16, 4)
    assert sorted(dataset.test.targets.tolist()) == [0, 1, 2, 3]


def test_a_test_set_goes_before_one_for_validation(tmp_path: Path) -> None:
    parts = {f"{name}_{part}": np.full((4, *shape), k) % 3 for k, part in enumerate(("train", "val", "test"))
             for name, shape in (("x", (2,)), ("y", ()))}  # fmt: skip
    dataset = load_dataset(settings(saved(tmp_path, **parts), normalize=False))
    assert dataset.train.targets.tolist() == [0] * 4
    assert dataset.test.targets.tolist() == [2] * 4


@pytest.mark.parametrize("shape", [(10, 3, 4, 5), (10, 4, 5, 3), (10, 6, 7), (10, 6)])
def test_bytes_have_the_statistics_of_numpy(shape: tuple[int, ...], tmp_path: Path) -> None:
    x = RNG.integers(0, 256, shape, dtype=np.uint8)
    dataset = load_dataset(settings(saved(tmp_path, x_train=x, y_train=np.arange(10), x_test=x, y_test=np.arange(10))))
    raw, _ = inputs(dataset)
    axes = (0, *range(2, raw.ndim))
    np.testing.assert_allclose(np.array(dataset.mean), raw.mean(axes, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(np.array(dataset.std), raw.std(axes, dtype=float), rtol=1e-12)


def test_bytes_to_train_with_and_others_to_test_with_are_of_one_kind(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (20, 3))
    parts = {**halves(x, np.arange(20) % 4), "x_train": x[:10].astype(np.uint8)}
    for found, wanted in zip(inputs(load_dataset(settings(saved(tmp_path, **parts)))), (x[:10], x[10:]), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("y", "task", "expected"),
    [
        (np.arange(20) % 3, "auto", ("classification", 3)),
        (np.arange(20)[:, None] % 3, "auto", ("classification", 3)),
        (np.arange(20) % 2 == 0, "auto", ("classification", 2)),
        (np.arange(20) % 3 * 1.0, "auto", ("regression", 1)),
        (np.arange(20) % 3 * 1.0, "classification", ("classification", 3)),
        (np.arange(20) % 3, "regression", ("regression", 1)),
        (np.arange(40).reshape(20, 2), "regression", ("regression", 2)),
        ((np.arange(20) % 3).astype(">i2"), "auto", ("classification", 3)),
    ],
)
def test_the_kind_of_task_is_that_of_the_targets(
    y: Array, task: str, expected: tuple[str, int], tmp_path: Path
) -> None:
    dataset = load_dataset(settings(saved(tmp_path, x=np.arange(20), y=y), task=task))
    assert (dataset.task.kind, dataset.task.outputs) == expected
    assert dataset.train.targets.dtype == (torch.int64 if expected[0] == "classification" else torch.float32)


def test_the_first_real_targets_are_kept(tmp_path: Path) -> None:
    path = saved(tmp_path, **halves(np.arange(20), np.arange(20.0)))
    whole, part = load_dataset(settings(path)), load_dataset(settings(path, train_size=4))
    assert torch.equal(part.train.targets, whole.train.targets[:4])
    assert (part.mean, part.std) == (whole.mean, whole.std)


@pytest.mark.parametrize("name", ["set.npz", "packed.npz", "x.npy"])
def test_no_damage_is_a_traceback(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x=RNG.random((8, 3)), y=np.arange(8) % 2)
    np.savez_compressed(tmp_path / "packed.npz", x=RNG.random((8, 3)), y=np.arange(8) % 2)
    np.save(tmp_path / "x.npy", RNG.random((8, 3)))
    np.save(tmp_path / "y.npy", np.arange(8) % 2)
    whole = (tmp_path / name).read_bytes()
    given = {"targets": str(tmp_path / "y.npy")} if name == "x.npy" else {}
    rng = np.random.default_rng(0)
    said = []
    for trial in range(200):
        damaged = bytearray(whole[: rng.integers(len(whole)) if trial % 4 == 0 else None])
        for place in rng.integers(0, len(damaged) if trial % 2 else min(128, len(damaged)), 4 * (trial % 4 > 0)):
            damaged[place] = rng.integers(256)
        path = tmp_path / f"{trial}{Path(name).suffix}"  # another each time: some are mapped into memory
        path.write_bytes(damaged)
        try:
            load_dataset(settings(path, **given))
        except InputError as error:
            said.append(str(error))
    assert len(said) > 50
    assert all(one.startswith("data.") and "\n" not in one for one in said)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("folder.npz", "folder.npz: a folder, expected a file"),
        ("one.npz", "one.npz: one array, as in a .npy file; expected an archive with x_train"),
        ("two.npy", "two.npy: no .npy file but an archive; expected one array"),
        ("objects.npy", "objects.npy: no readable .npy file: it holds Python objects, or is damaged"),
        ("text.npz", "text.npz: y is no array"),
        ("~nobody-of-this-name/set.npz", "~nobody-of-this-name/set.npz: no such home directory"),
        (f"{'x' * 300}.npz", "x.npz: File name too long"),
    ],
)
def test_files_of_another_kind(path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.npz").mkdir()
    with Path("one.npz").open("wb") as one, Path("two.npy").open("wb") as two:
        np.save(one, np.zeros(3))
        np.savez(two, np.zeros(3))
    np.save("objects.npy", np.array([{}, None]), allow_pickle=True)
    np.save("y.npy", np.arange(3))
    np.savez("text.npz", x=np.zeros(3))
    with zipfile.ZipFile("text.npz", "a") as archive:
        archive.writestr("y", "1 2 3")
    given = {"targets": "y.npy"} if path.endswith(".npy") else {}
    with pytest.raises(InputError, match=f"^data.path: .*{re.escape(message)}") as caught:
        load_dataset(settings(Path(path), **given))
    assert "\n" not in str(caught.value)


def test_targets_that_are_not_there_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 2)))
    with pytest.raises(InputError, match=r"^data.targets: .*z\.npy: no such file; the nearest names are x\.npy"):
        load_dataset(settings(tmp_path / "x.npy", targets=str(tmp_path / "z.npy")))
