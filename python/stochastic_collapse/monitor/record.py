"""The rows that a monitor has measured, and their file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ..runs import COLLAPSE, RunDirectory, csv_line, remove_left_overs


class Record:
    """Rows of collapse.csv that become more and more; in a folder, if one is given, they are written at each addition.

    Rows that the folder has already are kept up to the step `up_to`. Each row is put into text once, since a fast loop
    adds thousands of times. Raises `InputError` where the folder's collapse.csv is no such table.
    """

    def __init__(self, folder: Path | None, up_to: int) -> None:
        self._directory = None if folder is None else RunDirectory(folder)
        self._rows: list[dict[str, Any]] = []
        self._lines: list[str] = []
        if self._directory is not None:
            remove_left_overs(self._directory.path)
            before = self._directory.collapse()
            self._extend(before[before["step"] <= up_to].to_dict("records"))

    def add(self, step: int, rows: list[dict[str, Any]]) -> None:
        """Add what was measured at `step`, instead of what there was at this and at later steps."""
        while self._rows and self._rows[-1]["step"] >= step:
            self._rows.pop()
            self._lines.pop()
        self._extend(rows)
        if self._directory is not None:
            self._directory.write_collapse_lines(self._lines)

    def table(self) -> pd.DataFrame:
        """All rows, with the columns COLLAPSE."""
        return pd.DataFrame(self._rows, columns=list(COLLAPSE)).astype(dict(COLLAPSE))

    def _extend(self, rows: list[dict[str, Any]]) -> None:
        self._rows += rows
        self._lines += [csv_line(row[column] for column in COLLAPSE) for row in rows]
