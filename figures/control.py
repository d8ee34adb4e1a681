"""A run beside its twins: collapse and effective rank of each layer, the test accuracy, and what they say of the noise.

The runs are those of `sc control`, as far as they are finished.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stochastic_collapse.errors import InputError
from stochastic_collapse.runs import RunDirectory
from stochastic_collapse.sweeps import THE_RUN, by_run, compare, control_runs, measured

from . import style

_ALL_LAYERS = "all layers"
_LINE = 118
"""Characters of a line of the title."""

_FEW = 5
"""Layers; of more, dots are small, and a line through the run's mean is drawn for all layers together only."""


@dataclass(frozen=True)
class Twins:
    """A run and its twins."""

    title: str
    """Of the run, as its directory has it."""
    table: pd.DataFrame
    """A row for each twin, replicate and layer, with the columns `sweeps.remaining.MEASURED`."""


def load(runs: Sequence[RunDirectory]) -> Twins:
    """What is finished of the experiment in `runs` and its twins.

    Raises `InputError` where there are several experiments, or no twin is finished.
    """
    title, swept = control_runs([run.path for run in runs])
    table = measured(swept)
    if not set(table["twin"]) - {THE_RUN}:
        raise InputError(f"{title}: no twin of it is finished; run `sc control {runs[0]}`")
    return Twins(title, table)


def draw(results: Twins) -> Figure:
    """A row for each twin; small dots are replicates, markers their means, bars ± one standard deviation."""
    table = results.table
    comparison = compare(table)
    twins, layers = [twin.name for twin in comparison.twins], list(table["layer"].unique())
    together = by_run(table).reset_index().assign(layer=_ALL_LAYERS)
    collapse = pd.concat([together, table.assign(collapsed=1 - table["independent"] / table["neurons"])])
    row = 0.22 + 0.04 * len(layers)
    lines = textwrap.wrap(f"{results.title}: {comparison.sentence}", _LINE)
    figure = Figure(figsize=(style.TWO_COLUMNS, 0.95 + 0.14 * len(lines) + row * len(twins)))
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=8)
    panels = figure.subplots(1, 3, sharey=True, width_ratios=[1.25, 1.25, 1])
    colours = dict(zip(layers, style.in_order(len(layers)), strict=True)) | {_ALL_LAYERS: style.COLOURS[1]}
    _dots(panels[0], collapse.assign(shown=100 * collapse["collapsed"]), twins, [_ALL_LAYERS, *layers], colours)
    _dots(panels[1], table.assign(shown=table["effective_rank"]), twins, layers, colours)
    _dots(panels[2], together.assign(shown=100 * together["accuracy"]), twins, [_ALL_LAYERS], {_ALL_LAYERS: "black"})
    for panel, label in zip(panels, ("collapsed neurons (%)", "effective rank", "test accuracy (%)"), strict=True):
        panel.set_xlabel(label)
        panel.grid(axis="y", visible=False)
        for k in range(0, len(twins), 2):
            panel.axhspan(k - 0.5, k + 0.5, color="0.96", linewidth=0, zorder=0)
        panel.tick_params(axis="y", length=0)
    panels[0].set_xlim(left=min(0, panels[0].get_xlim()[0]))
    panels[0].set_yticks(range(len(twins)), twins)
    panels[0].get_yticklabels()[0].set_fontweight("bold" if twins[0] == THE_RUN else "normal")
    panels[0].set_ylim(len(twins) - 0.5, -0.5)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 9))
    return figure


def _dots(panel: Axes, table: pd.DataFrame, twins: Sequence[str], layers: Sequence[str], colours: Any) -> None:
    """In each twin's row the column `shown`, the layers below one another; a line goes through the run's mean."""
    size = 3.5 if len(layers) <= _FEW else 2.2
    offsets = np.linspace(-0.3, 0.3, len(layers)) if len(layers) > 1 else np.zeros(1)
    for layer, offset in zip(layers, offsets, strict=True):
        of_layer = table[table["layer"] == layer]
        grouped = of_layer.groupby("twin")["shown"]
        mean, deviation = grouped.mean().reindex(twins), grouped.std(ddof=1).reindex(twins)
        colour, row = colours[layer], np.arange(len(twins)) + offset
        if np.isfinite(reference := mean.get(THE_RUN, np.nan)) and (len(layers) <= _FEW or layer == _ALL_LAYERS):
            panel.axvline(reference, color=colour, linewidth=0.6, linestyle=":", zorder=1)
        places = of_layer["twin"].map(dict(zip(twins, row, strict=True)))
        panel.plot(of_layer["shown"], places, ".", color=colour, markersize=0.8 * size, alpha=0.5, markeredgewidth=0)
        marker = "D" if layer == _ALL_LAYERS else "o"
        panel.errorbar(
            mean, row, xerr=deviation.fillna(0), fmt=marker, color=colour, markersize=size, elinewidth=1, label=layer
        )
