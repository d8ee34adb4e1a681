"""What the terminal shows: progress bars on stderr (nothing in a pipe) and tables on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd


def steps_bar() -> Progress:
    """A bar over optimization steps; its task needs the field `report`, the news of the last log."""
    return _bar(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[report]}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )


def bytes_bar() -> Progress:
    """A bar over bytes read."""
    return _bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )


def _bar(*columns: ProgressColumn) -> Progress:
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A line and a table on stdout, the first column to the left and the others to the right."""
    table = Table()
    for k, column in enumerate(columns):
        table.add_column(column, justify="left" if k == 0 else "right")
    for row in rows:
        table.add_row(*row)
    print(title)
    Console().print(table)


def print_collapse(title: str, collapse: pd.DataFrame) -> None:
    """The rows of a collapse.csv."""
    print_table(
        title,
        ["layer", "step", "neurons", "vanished", "independent", "fraction", "effective rank"],
        [
            [
                str(row.layer),
                *(str(count) for count in (row.step, row.neurons, row.vanished, row.independent)),
                f"{row.fraction_independent:.3f}",
                f"{row.effective_rank:.1f}",
            ]
            for row in collapse.itertuples(index=False)
        ],
    )


def print_comparison(columns: Sequence[tuple[str, pd.DataFrame, float | None]]) -> None:
    """Fractions of independent neurons by layer, a column per run: its label, its collapse.csv, its test accuracy.

    Of each table the last step counts.
    """
    last = [table[table["step"] == table["step"].max()].set_index("layer") for _, table, _ in columns]
    layers = list(dict.fromkeys(layer for table in last for layer in table.index))
    rows = [
        [layer, *(f"{t.loc[layer, 'fraction_independent']:.3f}" if layer in t.index else "–" for t in last)]
        for layer in layers
    ]
    rows.append(["all layers", *(f"{t['independent'].sum() / t['neurons'].sum():.3f}" for t in last)])
    rows.append(["test accuracy", *("–" if a is None else f"{a:.1%}" for _, _, a in columns)])
    print_table("fraction of independent neurons", ["layer", *(label for label, _, _ in columns)], rows)
