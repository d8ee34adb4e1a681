"""The table of a run's compressions, with what is missing for its last checkpoint filled in."""

from __future__ import annotations

import pandas as pd

from ..errors import StochasticCollapseError
from ..runs import RunDirectory

TOLERANCES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5)
"""Those that the report draws a curve through; 0.1 is that of the definitions (docs/definitions.md#measures)."""


def compressions(run: RunDirectory) -> tuple[pd.DataFrame, list[str]]:
    """The rows of compression.csv, by step and tolerance, and a note where some could not be computed.

    Tolerances missing for the last checkpoint are computed and added to the file, unless another process is working in
    the run.
    """
    notes = []
    try:
        _fill_in(run)
    except (StochasticCollapseError, OSError) as error:
        notes.append(f"Compression was not computed: {error}.")
    return run.compression().sort_values(["step", "tolerance"], kind="stable"), notes


def _fill_in(run: RunDirectory) -> None:
    if not (checkpoints := run.checkpoints()):
        return
    table = run.compression()
    there = set(table.loc[table["step"] == max(checkpoints), "tolerance"])
    if not there.issuperset(TOLERANCES):
        from ..training import compression_curve

        compression_curve(run, TOLERANCES)
