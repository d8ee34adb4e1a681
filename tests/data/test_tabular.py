"""Tables as data sets: kinds of columns, targets, splits; and what is refused, in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stochastic_collapse.config import TabularSettings
from stochastic_collapse.data.dataset import Dataset, first
from stochastic_collapse.data.datasets import load_dataset
from stochastic_collapse.errors import InputError

ROWS = 40
RNG = np.random.default_rng(0)


def table(**columns: Any) -> pd.DataFrame:
    """Numbers, a switch, text; and `y`, text of two classes."""
    given = {
        "size": RNG.normal(size=ROWS),
        "on": np.arange(ROWS) % 3 == 0,
        "colour": np.array(["red", "green", "blue"])[np.arange(ROWS) % 3],
        "y": np.array(["no", "yes"])[np.arange(ROWS) % 2],
        **columns,
    }
    return pd.DataFrame({name: column for name, column in given.items() if column is not None})


def load(frame: pd.DataFrame, path: Path, **given: Any) -> Dataset:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in path.suffixes else ",")
    return load_dataset(
        TabularSettings.model_validate(
            {"name": "tabular", "path": str(path), "target": "y", "normalize": False, **given}
        )
    )


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.parquet"])
def test_columns_become_numbers_in_their_order(name: str, tmp_path: Path) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    frame = table()
    dataset = load(frame, tmp_path / name, test_share=0.25)
    assert dataset.task.input_shape == (1 + 1 + 3,)
    assert (dataset.task.kind, dataset.task.outputs) == ("classification", 2)
    found = np.concatenate([first(part.inputs).numpy() for part in (dataset.train, dataset.test)])
    targets = np.concatenate([part.targets.numpy() for part in (dataset.train, dataset.test)])
    one_hot = [(frame["colour"] == one).to_numpy() for one in ("blue", "green", "red")]
    wanted = np.column_stack([frame["size"], frame["on"], *one_hot, frame["y"] == "yes"]).astype(np.float32)
    rows = np.column_stack([found, targets]).astype(np.float32)
    np.testing.assert_allclose(rows[rows[:, 0].argsort()], wanted[wanted[:, 0].argsort()], rtol=1e-6)
    assert np.bincount(dataset.test.targets.numpy()).tolist() == [5, 5]


@pytest.mark.parametrize(
    ("y", "given", "kind", "outputs"),
    [
        (np.arange(ROWS) % 4 * 10 - 5, {}, "classification", 4),  # ranks among the sorted classes
        (np.arange(ROWS) % 2 == 0, {}, "classification", 2),
        (RNG.normal(size=ROWS), {}, "regression", 1),
        (np.arange(ROWS), {"task": "regression"}, "regression", 1),
        (np.arange(ROWS) % 2 * 1.0, {"task": "classification"}, "classification", 2),
    ],
)
def test_targets(y: Any, given: dict[str, Any], kind: str, outputs: int, tmp_path: Path) -> None:
    dataset = load(table(y=y), tmp_path / "t.csv", **given)
    assert (dataset.task.kind, dataset.task.outputs) == (kind, outputs)
    if kind == "classification":
        assert set(dataset.train.targets.tolist()) == set(range(outputs))


def test_columns_that_are_left_out(tmp_path: Path) -> None:
    dataset = load(table(), tmp_path / "t.csv", drop=["colour", "on"])
    assert dataset.task.input_shape == (1,)


def test_a_category_of_test_rows_alone_is_none_of_those_to_train_with(tmp_path: Path) -> None:
    frame = table(on=None, size=None, colour=[f"c{k}" for k in range(ROWS)])
    dataset = load(frame, tmp_path / "t.csv", test_share=0.25)
    assert first(dataset.train.inputs).sum(1).tolist() == [1] * 30
    assert first(dataset.test.inputs).sum(1).tolist() == [0] * 10


def test_normalization_is_by_the_training_rows(tmp_path: Path) -> None:
    dataset = load(table(y=RNG.normal(9, 4, ROWS)), tmp_path / "t.csv", normalize=True)
    train = first(dataset.train.inputs).double().numpy()
    np.testing.assert_allclose(np.array(dataset.mean), train.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.array(dataset.std), train.std(0), rtol=1e-5)
    assert dataset.train.targets.mean().item() == pytest.approx(0, abs=1e-6)
    assert dataset.train.targets.std(correction=0).item() == pytest.approx(1, rel=1e-5)


MISSING = np.where(np.arange(ROWS) == 6, np.nan, 1.0)


@pytest.mark.parametrize(
    ("columns", "given", "message"),
    [
        ({}, {"target": "z"}, "data.target: no column 'z' in "),
        ({}, {"target": "coluor"}, "data.target: no column 'coluor' in .*; the nearest names are colour"),
        ({}, {"drop": ["sise"]}, "data.drop: no column 'sise' in .*; the nearest names are size"),
        ({}, {"drop": ["y"]}, "data.drop: y is what data.target asks to predict"),
        ({"size": None, "on": None, "colour": None}, {}, "no column is left to predict y from"),
        ({"size": MISSING}, {}, "column 'size': 1 of 40 values are missing, the first in row 7; drop it"),
        ({"size": np.where(MISSING == 1, 1, np.inf)}, {}, "column 'size': 1 of 40 values are infinite, .* row 7"),
        ({"y": MISSING}, {}, "column 'y': 1 of 40 values are missing"),
        ({"y": ["a\nb"] * ROWS}, {}, "data.target: y: all rows are a b, expected two classes or more"),
        ({"y": ["a"] * (ROWS - 1) + ["b\nc"]}, {}, "data.target: y: class b c has one example"),
        ({"y": ["same"] * ROWS}, {}, "data.target: y: all rows are same, expected two classes or more"),
        ({"y": RNG.normal(size=ROWS)}, {"task": "classification"}, "data.target: y: .* in row 1 is no class"),
        ({}, {"task": "regression"}, "data.target: y: text, expected numbers to predict by data.task: regression"),
        ({"y": ["a"] * (ROWS - 1) + ["b"]}, {}, "data.target: y: class b has one example"),
        ({"y": RNG.normal(size=ROWS)}, {"label_noise": 0.1}, "data.label_noise: replaces classes by others"),
    ],
)
def test_what_is_wrong_is_one_line(
    columns: dict[str, Any], given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(table(**columns), tmp_path / "t.csv", **given)
    assert str(caught.value).startswith("data.")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "", "no readable table"),
        ("t.csv", "a,y\n", "no row"),
        ("t.csv", "a,b,a,y\n" + "1,2,3,4\n" * 9, "two columns 'a', expected other names for all but one"),
        ("t.tsv", "a\ty\ty\n" + "1\t2\t3\n" * 9, "two columns 'y', expected other names"),
        ("t.csv", "a,y\n" + f"{10**30},1\n" * 9, "column 'a': values of kind integer, expected numbers, text"),
        ("t.csv", "a,y\n" + "".join(f"1e300,{k % 2}\n" for k in range(20)), "too large for float32"),
        ("t.csv.gz", "a,y\n", "no readable table"),
        ("t.csv", "a,b,y\n1,2\n1,2,3,4,5\n", "no readable table"),
        ("t.xlsx", "a", "expected a file .csv, .tsv or .parquet"),
        ("t.parquet", "a", "no readable table"),
        ("t.csv", "\n".join(["a,y", *(f"t{k},{k % 2}" for k in range(300))]), "texts, expected 100 or fewer"),
    ],
)
def test_files_that_are_none(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(TabularSettings(name="tabular", path=str(tmp_path / name), target="y"))
    assert str(caught.value).startswith(f"data.path: {tmp_path / name}")
    assert "\n" not in str(caught.value)


def test_rows_are_split_once_and_for_all_and_keep_the_shares_of_classes(tmp_path: Path) -> None:
    frame = table(size=np.arange(ROWS), y=["a"] * 30 + ["b"] * 10, on=None, colour=None)
    dataset, again = (load(frame, tmp_path / "t.csv", test_share=0.2) for _ in range(2))
    assert np.bincount(dataset.test.targets.numpy()).tolist() == [6, 2]
    assert first(dataset.test.inputs).tolist() == first(again.test.inputs).tolist()
    rows = [int(row) for part in (dataset.train, dataset.test) for row in first(part.inputs)[:, 0]]
    assert sorted(rows) == list(range(ROWS))


def test_classes_that_float64_would_merge_are_told_apart(tmp_path: Path) -> None:
    dataset = load(table(y=2**53 + np.arange(ROWS) % 3), tmp_path / "t.csv")
    assert dataset.task.outputs == 3
    dataset = load(table(y=np.uint64(2**63) + (np.arange(ROWS) % 2).astype(np.uint64)), tmp_path / "t.csv")
    assert dataset.task.outputs == 2


@pytest.mark.parametrize(
    ("column", "width"),
    [
        (pd.array([k % 4 for k in range(ROWS)], dtype="Int64"), 1),
        (pd.array([k % 4 == 0 for k in range(ROWS)], dtype="boolean"), 1),
        (pd.Categorical(["u", "v", "w", "u"] * (ROWS // 4)), 3),
        (np.arange(ROWS, dtype=np.float16), 1),
    ],
)
def test_types_of_pandas(column: Any, width: int, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    dataset = load(table(on=None, colour=None, new=column), tmp_path / "t.parquet")
    assert dataset.task.input_shape == (1 + width,)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pd.to_datetime(np.arange(ROWS)), "datetime"),
        (pd.to_timedelta(np.arange(ROWS)), "timedelta"),
        ([[1, 2]] * ROWS, "mixed"),
        ([b"x"] * ROWS, "bytes"),
    ],
)
def test_columns_of_other_kinds_are_named(column: Any, kind: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    message = f"^data.path: .*: column 'new': values of kind {kind}, expected numbers, text or switches; drop it"
    with pytest.raises(InputError, match=message):
        load(table(new=column), tmp_path / "t.parquet")
    assert load(table(new=column), tmp_path / "t.parquet", drop=["new"]).task.input_shape == (5,)


def test_two_columns_of_one_name_in_a_parquet_file(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table([pa.array([1, 2])] * 3, names=["a", "a", "y"]), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"^data.path: .*t\.parquet: .* a") as caught:
        load_dataset(TabularSettings(name="tabular", path=str(tmp_path / "t.parquet"), target="y"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv.bz2", "t.csv.xz", "t.csv.zip", "t.parquet"])
def test_no_damage_is_a_traceback(name: str, tmp_path: Path) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    load(table(), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(0)
    said = []
    for trial in range(40):
        damaged = bytearray(whole[: rng.integers(len(whole)) if trial % 4 == 0 else None])
        for place in rng.integers(0, len(damaged), 4 * (trial % 4 > 0)):
            damaged[place] = rng.integers(256)
        (tmp_path / name).write_bytes(damaged)
        try:
            load_dataset(TabularSettings(name="tabular", path=str(tmp_path / name), target="y"))
        except InputError as error:
            said.append(str(error))
    assert len(said) > 10
    assert all(one.startswith("data.") and "\n" not in one for one in said)


@pytest.mark.parametrize(("name", "package"), [("t.parquet", "pyarrow"), ("t.csv.zst", ".zst")])
def test_a_package_that_is_missing_is_named(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise ImportError("Missing optional dependency.\nUse pip.")

    for reader in ("read_parquet", "read_csv"):
        monkeypatch.setattr(pd, reader, missing)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=f"{name}: reading .*{package}.*, which is not installed: Missing .* Use pip"):
        load_dataset(TabularSettings(name="tabular", path=str(tmp_path / name), target="y"))


def test_names_that_are_no_text_become_it(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({0: np.arange(ROWS), 1: np.arange(ROWS) % 2})
    assert load(frame, tmp_path / "t.parquet", target="1").task.input_shape == (1,)
    with pytest.raises(InputError, match=r"^data.target: no column '2' in"):
        load(frame, tmp_path / "t.parquet", target="2")
