"""The collapse of any runs: fraction of independent neurons of each layer over the steps, and the test accuracy."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from stochastic_collapse.errors import InputError
from stochastic_collapse.runs import RunDirectory, labelled
from stochastic_collapse.scores import score_of

from . import style

_COLUMNS = 4
_TITLE = 24  # characters that a line above a panel holds
_LINE = 100  # characters that a line of the legend holds, about
_COLOURS = list(itertools.islice(itertools.cycle(style.COLOURS), 1000))


@dataclass(frozen=True)
class Curves:
    """What is drawn in one colour: the runs of one experiment, its replicates together."""

    label: str
    collapse: pd.DataFrame
    """Rows of collapse.csv of all replicates."""
    metrics: pd.DataFrame
    """Rows of metrics.csv of all replicates."""


def load(runs: Sequence[RunDirectory]) -> list[Curves]:
    """Read the tables of `runs`, replicates of one experiment together. `InputError` where a run has no measurement."""
    tables: dict[str, list[tuple[pd.DataFrame, pd.DataFrame]]] = {}
    for run, label in labelled(runs):
        collapse = run.collapse()
        if collapse.empty:
            raise InputError(f"{run}: nothing measured yet; run `sc analyze {run} --every-checkpoint`")
        tables.setdefault(label, []).append((collapse, run.metrics()))
    return [
        Curves(label, pd.concat([c for c, _ in pairs]), pd.concat([m for _, m in pairs]))
        for label, pairs in tables.items()
    ]


def draw(results: Sequence[Curves]) -> Figure:
    """One panel per layer and one for the test accuracy; mean over replicates, shaded ± one standard deviation."""
    sizes = pd.concat([curves.collapse for curves in results]).groupby("layer", sort=False)["neurons"].unique()
    neurons = {str(layer): ", ".join(map(str, sorted(of_layer))) for layer, of_layer in sizes.items()}
    panels_needed = len(neurons) + 1
    columns = min(_COLUMNS, panels_needed)
    rows = math.ceil(panels_needed / columns)
    figure = Figure(figsize=(style.TWO_COLUMNS, 0.45 + 1.75 * rows))
    panels = list(figure.subplots(rows, columns, sharex=True, squeeze=False).flat)
    for unused in panels[panels_needed:]:
        unused.remove()
    for k, (panel, layer) in enumerate(zip(panels, neurons, strict=False)):
        for curves, colour in zip(results, _COLOURS, strict=False):
            of_layer = curves.collapse[curves.collapse["layer"] == layer]
            style.curve(panel, of_layer, "fraction_independent", curves.label, colour)
        panel.set_title(_title(layer, neurons[layer]))
        panel.set_ylim(-0.03, 1.05)
        if k % columns == 0:
            panel.set_ylabel("independent fraction")
    scores = panels[panels_needed - 1]
    for curves, colour in zip(results, _COLOURS, strict=False):
        column = score_of(curves.metrics)
        evaluated = curves.metrics.dropna(subset=column)
        style.curve(scores, evaluated.assign(percent=100 * evaluated[column]), "percent", curves.label, colour)
    scores.set_title(style.score(*(curves.metrics for curves in results)))
    for k, panel in enumerate(panels[:panels_needed]):
        panel.set_xlim(left=0)
        panel.xaxis.set_major_formatter(style.thousands)
        if k + columns >= panels_needed:
            panel.set_xlabel("SGD steps")
            panel.tick_params(labelbottom=True)
    # A panel of a layer that one of the runs lacks has no line of it; that of the accuracy has all.
    handles, names = scores.get_legend_handles_labels()
    names = [textwrap.shorten(name, _LINE, placeholder=" …") for name in names]
    columns = max(1, min(len(names), _LINE // (6 + max(map(len, names)))))
    figure.legend(handles, names, loc="outside upper center", ncols=columns)
    return figure


def _title(layer: str, neurons: str) -> str:
    """Of a panel, on two lines where one has no room for it."""
    title = f"{layer} ({neurons} neurons)"
    return title if len(title) <= _TITLE else f"{style.ending(layer, _TITLE)}\n{neurons} neurons"
