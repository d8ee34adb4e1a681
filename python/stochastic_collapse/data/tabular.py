"""Tables as a data set: one column is to be predicted from the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..config import TabularSettings
from ..errors import InputError, nearest
from . import checks
from .arrays import Part, dataset_of
from .checks import Array
from .dataset import Dataset

if TYPE_CHECKING:
    import pandas as pd

_INSTEAD = "where it is a quantity, take data.task: regression"
_MOST_CATEGORIES = 100
_Kind = Literal["number", "switch", "text"]


def load(settings: TabularSettings) -> Dataset:
    """A CSV or Parquet file, its rows split into those to train and those to test with.

    Columns become columns of inputs in their order: numbers as they are, switches 0 and 1, and text one for each
    category that the training rows have, sorted; another category in a test row is none of them. Text, switches and
    whole numbers to predict are classes: their ranks among the sorted values. For normalization see
    `arrays.dataset_of`.

    Raises `InputError` for a file that cannot be read, columns that are not there, missing values, other kinds of
    values, more than 100 categories, and targets that are neither classes nor real.
    """
    path = checks.file_at(settings.path, "data.path")
    where = f"data.path: {path}"
    table = _read(path, where)
    table.columns = names = [str(name) for name in table.columns]
    for setting, name in [("data.target", settings.target), *(("data.drop", one) for one in settings.drop)]:
        if name not in names:
            raise InputError(f"{setting}: no column {name!r} in {path}{checks.one_line(nearest(name, names))}")
    if settings.target in settings.drop:
        raise InputError(f"data.drop: {settings.target} is what data.target asks to predict")
    used = [name for name in names if name not in (settings.target, *settings.drop)]
    if not used:
        raise InputError(f"{where}: no column is left to predict {settings.target} from")
    if len(table) == 0:
        raise InputError(f"{where}: no row")
    kinds = {name: _kind(table[name], f"{where}: column {name!r}") for name in [settings.target, *used]}
    target, target_where = table[settings.target], f"data.target: {settings.target}"
    values, is_class = _targets(target, kinds[settings.target], settings.task, target_where)
    train, test = checks.split(len(table), values if is_class else None, settings.test_share, target_where, _INSTEAD)
    targets = np.unique(values, return_inverse=True)[1] if is_class else values
    columns = [_columns(table[name], kinds[name], train, f"{where}: column {name!r}") for name in used]
    inputs = np.concatenate(columns, axis=1)
    parts = [Part(inputs[rows], targets[rows], where, target_where) for rows in (train, test)]
    task: Literal["classification", "regression"] = "classification" if is_class else "regression"
    return dataset_of(parts, task=task, normalize=settings.normalize, instead=_INSTEAD)


def _read(path: Path, where: str) -> pd.DataFrame:
    import pandas as pd  # takes a second

    suffixes = [suffix.lower() for suffix in path.suffixes][-2:]
    is_parquet = suffixes[-1:] in ([".parquet"], [".pq"])
    # One suffix more is that of a compressed file.
    separator = next((sign for suffix, sign in ((".tsv", "\t"), (".csv", ",")) if suffix in suffixes), None)
    if not is_parquet and separator is None:
        raise InputError(f"{where}: expected a file .csv, .tsv or .parquet")
    try:
        if is_parquet:
            return pd.read_parquet(path)
        table = pd.read_csv(path, sep=separator, low_memory=False)
        # As written: of two columns with one name pandas calls the second otherwise.
        header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str).iloc[0].dropna()
    except ImportError as error:
        missing = "Parquet takes pyarrow" if is_parquet else f"{suffixes[-1]} takes a package"
        raise InputError(f"{where}: reading {missing}, which is not installed: {checks.one_line(error)}") from None
    except Exception as error:  # of the parser, the decoder, and each compression
        raise InputError(f"{where}: no readable table: {checks.one_line(error)}") from None
    if (twice := header[header.duplicated()]).size:
        raise InputError(f"{where}: two columns {twice.iloc[0]!r}, expected other names for all but one")
    return table


def _kind(column: pd.Series, where: str) -> _Kind:
    import pandas as pd

    missing = column.isna().to_numpy()
    if missing.any():
        raise InputError(
            f"{where}: {missing.sum()} of {len(column)} values are missing, the first in row {missing.argmax() + 1}; "
            "drop it (data.drop), or fill them in"
        )
    types = pd.api.types
    if types.is_bool_dtype(column.dtype):
        return "switch"
    if types.is_numeric_dtype(column.dtype) and not types.is_complex_dtype(column.dtype):
        values = column.to_numpy(np.float64)
        if (infinite := np.isinf(values)).any():
            raise InputError(
                f"{where}: {infinite.sum()} of {len(column)} values are infinite, the first in row "
                f"{infinite.argmax() + 1}; drop it (data.drop), or replace them"
            )
        return "number"
    found = types.infer_dtype(column.astype(object))
    if found == "boolean":
        return "switch"
    if found == "string" or isinstance(column.dtype, pd.CategoricalDtype):
        return "text"
    raise InputError(f"{where}: values of kind {found}, expected numbers, text or switches; drop it (data.drop)")


def _targets(
    target: pd.Series, kind: _Kind, task: Literal["auto", "classification", "regression"], where: str
) -> tuple[Array, bool]:
    """What is to be predicted, and whether it is classes."""
    import pandas as pd

    whole = kind != "number" or pd.api.types.is_integer_dtype(target.dtype)
    if kind == "number":
        unsigned = pd.api.types.is_unsigned_integer_dtype(target.dtype)
        values: Array = target.to_numpy((np.uint64 if unsigned else np.int64) if whole else np.float64)
    else:
        values = target.to_numpy(bool) if kind == "switch" else _text(target)
    if task == "regression" or (task == "auto" and not whole):
        if kind == "text":
            raise InputError(f"{where}: text, expected numbers to predict by data.task: regression")
        return values.astype(np.float64), False
    if kind == "number" and (broken := np.flatnonzero(values != np.floor(values))).size:
        raise InputError(
            f"{where}: {values[broken[0]]} in row {broken[0] + 1} is no class, expected whole numbers or text; "
            f"{_INSTEAD}"
        )
    if (values == values[0]).all():
        raise InputError(f"{where}: all rows are {checks.one_line(values[0])}, expected two classes or more")
    return values, True


def _columns(column: pd.Series, kind: _Kind, train: Array, where: str) -> Array:
    """(rows, 1) numbers, or (rows, categories) zeros and ones."""
    if kind != "text":
        return column.to_numpy(bool if kind == "switch" else np.float64).astype(np.float64)[:, None]
    values = _text(column)
    categories = np.unique(values[train])
    if len(categories) > _MOST_CATEGORIES:
        raise InputError(
            f"{where}: {len(categories)} different texts, expected {_MOST_CATEGORIES} or fewer; drop it (data.drop), "
            "or turn it into numbers"
        )
    return (values[:, None] == categories).astype(np.float64)


def _text(column: pd.Series) -> Array:
    return column.astype(str).to_numpy(np.str_)
