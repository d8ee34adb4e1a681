"""What the terminal shows: progress bars on stderr (nothing in a pipe) and tables on stdout."""

from __future__ import annotations

import collections
import contextlib
import datetime
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

    from .compression import Compression
    from .runs import RunDirectory
    from .sweeps import Comparison


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


def work_bar() -> Progress:
    """A bar over work of no natural unit; its task needs the field `report`."""
    return _bar(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
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
        # Names of layers are long, and told apart by their ends.
        table.add_column(column, justify="left" if k == 0 else "right", overflow="fold" if k == 0 else "ellipsis")
    for row in rows:
        table.add_row(*row)
    print(title)
    # Whatever reads a pipe or a file gets names whole.
    Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDE).print(table)


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


def print_compression(title: str, compression: Compression) -> None:
    """What was removed and merged in each layer, what the network costs, and why some layers stay as they are."""
    layers = [[str(row.layer), *map(str, row[1:])] for row in compression.layers.itertuples(index=False)]
    print_table(title, ["layer", "neurons", "vanished", "merged", "left"], layers)
    for one in compression.skipped:
        print(f"layer {one.what}: {one.reason}")
    print(compression.summary())


def print_attractivity(title: str, attractivity: pd.DataFrame) -> None:
    """The rows of an attractivity.csv: for each step a table of counts and medians per layer, set and direction."""
    for step, at_step in attractivity.groupby("step"):
        rows = []
        for key, part in at_step.groupby(["layer", "set", "direction"], sort=False):
            counts = [str((part["verdict"] == verdict).sum()) for verdict in ("attracted", "repelled")]
            alpha, error = part["alpha"].median(), part["standard_error"].median()
            shown = "not invariant" if math.isnan(alpha) else f"{alpha:.1e}±{error:.0e}"
            rows.append([*map(str, key), str(len(part)), *counts, shown])
        columns = ["layer", "set", "direction", "of", "attracted", "repelled", "median alpha"]
        print_table(f"{title}, step {step}", columns, rows)


def print_students(summary: pd.DataFrame, *, drops: bool) -> None:
    """The rows of `toys.summarize`, of the end and, where the rate `drops`, of the moment before it."""
    moments = {"_before": "before", "": "at the end"} if drops else {"": "at the end"}
    rows = [
        [
            f"{row['sigma']:g}",
            *(_with_spreads(*(row[f"neurons{m}{of}"] for of in ("", "_students", "_teachers"))) for m in moments),
            *(f"{row[f'test{m}']:.2g}" for m in moments),
        ]
        for row in summary.to_dict("records")
    ]
    columns = ["σ", *(f"neurons\n{m}" for m in moments.values()), *(f"test error\n{m}" for m in moments.values())]
    when = "before the rate drops, and at the end" if drops else "at the end"
    print_table(f"{when}; neurons ± over students ± over teachers", columns, rows)


def _with_spreads(mean: float, *spreads: float) -> str:
    return " ± ".join([f"{mean:.1f}", *("–" if math.isnan(spread) else f"{spread:.1f}" for spread in spreads)])


def print_comparison(columns: Sequence[tuple[str, RunDirectory, pd.DataFrame]]) -> None:
    """Fractions of independent neurons by layer, a column per run: its label, the run, its rows of collapse.csv.

    Of each table the last step counts. SGD at a large learning rate has moments of bad accuracy, so the median of the
    last five evaluations stands beside the accuracy at that step.
    """
    steps = [int(table["step"].max()) for _, _, table in columns]
    last = [table[table["step"] == step].set_index("layer") for (_, _, table), step in zip(columns, steps, strict=True)]
    layers = list(dict.fromkeys(layer for table in last for layer in table.index))
    rows = [
        [str(layer), *(f"{t.loc[layer, 'fraction_independent']:.3f}" if layer in t.index else "–" for t in last)]
        for layer in layers
    ]
    rows.append(["all layers", *(f"{t['independent'].sum() / t['neurons'].sum():.3f}" for t in last)])
    names = " or ".join(dict.fromkeys(run.score_name() for _, run, _ in columns))
    for title, evaluations in ((f"test {names}", 1), ("median of last 5", 5)):
        values = [run.score_in_digits(step, evaluations) for (_, run, _), step in zip(columns, steps, strict=True)]
        rows.append([title, *("–" if value is None else value for value in values)])
    rows.append(["at step", *map(str, steps)])
    print_table("fraction of independent neurons", ["layer", *(label for label, _, _ in columns)], rows)


def print_controls(title: str, comparison: Comparison) -> None:
    """A row for each twin of a run, in several tables where there are many layers, and what they say."""
    layers = list(dict.fromkeys(layer for twin in comparison.twins for layer in twin.effective_rank))
    columns = ["runs", "independent", "collapse left", "test accuracy", *(f"rank {layer}" for layer in layers)]
    rows = []
    for twin in comparison.twins:
        left, ranks = twin.remaining, [twin.effective_rank.get(layer) for layer in layers]
        rows.append(
            [
                str(twin.replicates),
                _spread(*twin.independent, ".3f"),
                "–" if left is None or math.isnan(left.ratio) else _spread(left.ratio, left.error, ".2f"),
                _spread(*twin.accuracy, ".1%"),
                *("–" if rank is None else _spread(*rank, ".1f") for rank in ranks),
            ]
        )
    names = [twin.name for twin in comparison.twins]
    for part in _fitting(columns, rows, Console().width - len(max(names, key=len, default="")) - 4):
        named = [[name, *(row[k] for k in part)] for name, row in zip(names, rows, strict=True)]
        print_table(
            f"{title}: mean ± standard deviation; of the collapse that is left ± of 95 %",
            ["twin", *(columns[k] for k in part)],
            named,
        )
    print(comparison.sentence)


def _fitting(columns: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[list[int]]:
    """Indices of `columns` in portions whose tables take no more than `room` characters, at least one in each."""
    portions: list[list[int]] = []
    left = 0
    for k, column in enumerate(columns):
        width = max(len(cell) for cell in (column, *(row[k] for row in rows))) + 3
        if not portions or width > left:
            portions.append([])
            left = room
        portions[-1].append(k)
        left -= width
    return portions


def _spread(value: float, error: float, form: str) -> str:
    """``0.95±0.01``; without the error where it is not known."""
    return f"{value:{form}}" if math.isnan(error) else f"{value:{form}}±{error:{form}}"


def print_doctor(findings: Mapping[str, Any]) -> None:
    """What `sc doctor` found."""
    packages = ", ".join(f"{name} {version or 'missing'}" for name, version in findings["packages"].items())
    print(f"stochastic-collapse {findings['stochastic_collapse']}, Python {findings['python']}, {findings['platform']}")
    print(f"packages: {packages}")
    print(f"{findings['cpus']} CPUs; GPUs: {', '.join(findings['gpus']) or 'none that PyTorch can use'}")
    for engine in findings["engines"]:
        mark = "available" if engine["available"] else "not available"
        threads = f", {engine['threads']} threads" if "threads" in engine else ""
        print(f"engine {engine['engine']}: {mark}: {engine['reason']}{threads}")
    print(f"auto takes: {findings['auto'] or 'none, since there is none'}")


class RunNews(NamedTuple):
    """How a run of a sweep stands."""

    title: str
    state: str
    step: int
    steps: int
    seconds: float
    """Spent training so far."""
    loss: float | None

    @property
    def eta(self) -> float | None:
        """Seconds to its end at the speed so far; None where nothing is known, or nothing is to do."""
        if self.state != "running" or not self.step:
            return None
        return self.seconds / self.step * (self.steps - self.step)


_SHOWN_AT_MOST = 24
_WIDE = 1000  # columns of a table that is printed to no terminal


def sweep_table(title: str, runs: Sequence[RunNews]) -> Table:
    """The runs of a sweep, the most interesting ones where there are too many for a screen."""
    counts = collections.Counter(run.state for run in runs)
    table = Table(title=f"{title}: " + ", ".join(f"{n} {state}" for state, n in sorted(counts.items())))
    for column in ("run", "state", "step", "loss", "ETA"):
        table.add_column(column, justify="left" if column in ("run", "state") else "right")
    order = ("failed", "diverged", "running", "interrupted", "waiting", "finished")
    ranked = sorted(runs, key=lambda run: order.index(run.state))[:_SHOWN_AT_MOST]
    for run in runs if len(runs) <= _SHOWN_AT_MOST else ranked:
        loss = "" if run.loss is None else f"{run.loss:.4f}"
        eta = "" if run.eta is None else str(datetime.timedelta(seconds=round(run.eta)))
        table.add_row(run.title, run.state, f"{run.step}/{run.steps}", loss, eta)
    if len(runs) > _SHOWN_AT_MOST:
        table.caption = f"and {len(runs) - _SHOWN_AT_MOST} more"
    return table


@contextlib.contextmanager
def sweep_display(title: str) -> Iterator[Callable[[Sequence[RunNews]], None]]:
    """Yield a function that shows how the runs stand, on a terminal in place; in a pipe it shows nothing."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda runs: None
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda runs: live.update(sweep_table(title, runs), refresh=True)


def print_sweep(title: str, runs: Sequence[RunNews]) -> None:
    """How all runs of a sweep stand, on stdout."""
    Console().print(sweep_table(title, runs))
