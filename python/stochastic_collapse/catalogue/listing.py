"""Tables of runs: how they stand, their settings, their last figures."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..runs import runs_root
from .filters import DASH, condition, is_missing
from .reading import SETTINGS, directories, is_figure, row_reader

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("run", "name", "replicate", "identity", "state", "step", "max_steps", "seconds")
"""What every table of runs begins with."""
_NO_SETTINGS = frozenset(COLUMNS).difference(SETTINGS)


def load_runs(root: str | Path | Sequence[str | Path] | None = None, *filters: str) -> pd.DataFrame:
    """A row for each run under `root`, one folder or several (default: `runs_root()`), that passes all `filters`.

    Columns: COLUMNS (seconds spent training), the settings by dotted key, and of metrics.csv the last values of
    ``train_loss`` and of whatever ``eval_…`` it has. A setting that a run has not, and a figure not known yet, is NaN.
    The state is status.json's, or ``waiting`` before there is one, ``interrupted`` where the process of a running one
    is gone, and ``damaged`` where a file cannot be read (`problem` says why).

    A filter is ``key=value``, with the value as in YAML, or has one of ``!=  <  <=  >  >=``, or is ``key~pattern``: a
    regular expression found in the value. A run without the key passes ``!=`` only. Raises `InputError` for a folder
    that does not exist, a malformed filter, and a key that no run has.
    """
    import pandas as pd

    conditions = [condition(text) for text in filters]
    rows = [row for row, _ in map(row_reader(), directories(_folders(root)))]
    keys = {*COLUMNS, *(key for row in rows for key in row)}
    for key, _ in conditions:
        if rows and key not in keys:
            raise InputError(f"filter by {key!r}: no run has this setting or figure{_hint(key, sorted(keys))}")
    chosen = [row for row in rows if all(holds(row.get(key, math.nan)) for key, holds in conditions)]
    table = pd.DataFrame(chosen, columns=_columns(chosen), dtype=object)
    for column in table:
        if table[column].map(type).nunique() == 1:  # in others NaN would take the place of null, or make 8 to 8.0
            table[column] = table[column].infer_objects()
    return table


def settings_of(table: pd.DataFrame) -> list[str]:
    """The columns of a table of runs that are settings."""
    return [column for column in table.columns if column not in _NO_SETTINGS and not is_figure(column)]


def figures_of(table: pd.DataFrame) -> list[str]:
    """The columns of a table of runs that are figures of training and evaluation."""
    return [column for column in table.columns if is_figure(column)]


def differing(table: pd.DataFrame) -> pd.DataFrame:
    """The settings that differ between the rows of a table of runs: as columns, with the index of `table`.

    A DASH stands where a run has not that setting. Damaged runs, of which no setting is known, make no difference.
    """
    import pandas as pd

    settings = table[settings_of(table)].astype(object)
    known = settings[~settings.map(is_missing).all(axis=1)]
    different = [column for column in settings if known[column].map(json.dumps).nunique() > 1]
    return pd.DataFrame(
        {column: [DASH if is_missing(value) else value for value in settings[column]] for column in different},
        index=table.index,
        dtype=object,
    )


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """COLUMNS, settings in the order of their sections, figures; a section that some runs leave null is no column."""
    keys = dict.fromkeys([*COLUMNS, *(key for row in rows for key in row)])
    sections = {key[: dot.start()] for key in keys for dot in re.finditer(r"\.", key)}

    def rank(key: str) -> int:
        if key in COLUMNS:
            return -1
        return len(SETTINGS) if is_figure(key) else SETTINGS.index(key.partition(".")[0])

    return sorted((key for key in keys if key not in sections), key=rank)


def _hint(key: str, keys: Sequence[str]) -> str:
    """The nearest keys: those that end alike, such as optimizer.lr for lr, or else those spelled alike."""
    near = [k for k in keys if k.rpartition(".")[2] == key.rpartition(".")[2]]
    near = near or difflib.get_close_matches(key, keys, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _folders(root: str | Path | Sequence[str | Path] | None) -> list[Path]:
    if root is None:
        return [runs_root()]
    paths = [Path(path) for path in ([root] if isinstance(root, str | Path) else root)]
    for path in paths:
        if not path.is_dir():
            raise InputError(f"{path}: no such run directory, nor folder of runs")
    return paths
