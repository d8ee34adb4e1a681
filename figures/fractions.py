"""Panels of Figure 4 and its supplement: fraction of independent neurons of each layer against a swept setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, product

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from stochastic_collapse.errors import InputError
from stochastic_collapse.sweeps import SweptRun

from . import style
from .messages import Message
from .needs import Needs
from .sources import by_network

_AXES = {
    "optimizer.lr": ("learning rate", "log"),
    "data.label_noise": ("label noise", "linear"),
    "data.target_noise": ("noise of the targets σ", "linear"),
    "batch_size": ("batch size", "log"),
}
"""Label and scale of the axis of each setting."""

_FALLING = ("optimizer.lr", "data.label_noise", "data.target_noise")
"""Settings whose largest value has the strongest gradient noise; of others it is the smallest."""

_OF_TWIN = ":"
"""In the name of an experiment, before the name of the control."""

_LINES = ("-", "--", ":", "-.")  # of the runs and their twins

_COLUMNS = 2
_LEGEND = 6  # layers that a legend has room for; more are told apart by a colour bar
_TICKS = 8  # swept values that are written at the axis
_RESNET = (
    "ResNet-18 is measured on its exact invariant sets, 8 inner convolutions and 4 residual streams;\n"
    "the paper shows its 17 convolutions one by one."
)


@dataclass(frozen=True)
class Results:
    """The last measurement of every run."""

    settings: tuple[str, ...]
    """The swept settings, a column of panels for each."""
    table: pd.DataFrame
    """A row for each run and layer: network, twin, model, setting, value, replicate, step, layer, fraction_independent.

    `twin` is empty, or the name of the control that the run is trained for.
    """


def load(needs: Needs, runs: Sequence[Sequence[SweptRun]]) -> Results:
    """Read the last rows of collapse.csv of `runs`, which are those of each sweep of a figure's `needs`."""
    columns = [
        (setting, of_sweep)
        for sizes, of_sweep in zip(zip(*needs.values(), strict=True), runs, strict=True)
        for setting in _varied([sweep.setting for sweep in sizes], of_sweep)
    ]
    tables = [
        _last_measurement(run).assign(network=network, twin=twin, setting=setting, value=_value(run, setting))
        for setting, of_sweep in columns
        for title, members in by_network(of_sweep, setting).items()
        for network, _, twin in [title.partition(_OF_TWIN)]
        for run in members
    ]
    return Results(tuple(setting for setting, _ in columns), pd.concat(tables, ignore_index=True))


def _varied(settings: Sequence[str], runs: Sequence[SweptRun]) -> list[str]:
    """Those of `settings`, which stand for one another in the sizes of a sweep, that `runs` vary; else the first."""
    return [s for s in dict.fromkeys(settings) if any(s in run.varied for run in runs)] or [settings[0]]


def _value(run: SweptRun, setting: str) -> float:
    value = run.varied[setting]
    if value == "full":
        raise InputError(f"{run.directory}: a full batch has no place on the axis; draw a sweep over numbers")
    return float(value)


def _last_measurement(run: SweptRun) -> pd.DataFrame:
    collapse = run.directory.collapse()
    if collapse.empty:
        raise InputError(f"{run.directory}: nothing measured; run `sc analyze {run.directory}`")
    last = collapse.loc[collapse["step"] == collapse["step"].max(), ["step", "layer", "fraction_independent"]]
    return last.assign(model=run.directory.config().model.name, replicate=run.replicate)


def message(results: Results, least: float) -> list[Message]:
    """By `least`, fewer neurons of each network are independent where the gradient noise is strongest than weakest.

    And that its twins show less than half of it.
    """
    said = []
    for (network, setting), table in results.table.groupby(["network", "setting"], sort=False):
        name = _AXES[str(setting)][0]
        mean = table.groupby(["twin", "value"])["fraction_independent"].mean()
        at_value = mean[""]
        weakest, strongest = at_value.index[:: 1 if setting in _FALLING else -1][[0, -1]]
        weak, strong = at_value[weakest], at_value[strongest]
        said.append(
            Message(
                f"The mean fraction of independent neurons is smaller at {name} {strongest:g} than at "
                f"{weakest:g}, by at least {least:g}.",
                f"{network}: {strong:.2f} against {weak:.2f}",
                bool(weak - strong >= least),
            )
        )
        said += [
            Message(
                f"With the control {twin} it falls there by less than half as much.",
                f"{network}: {mean[twin][strongest]:.2f} against {mean[twin][weakest]:.2f}",
                bool(mean[twin][weakest] - mean[twin][strongest] < (weak - strong) / 2),
            )
            for twin in mean.index.unique("twin")
            if twin and {weakest, strongest} <= set(mean[twin].index)
        ]
    return said


def draw(results: Results) -> Figure:
    """A row of panels for each network, a column for each setting; with one setting, the networks side by side.

    Mean over replicates, error bars of ± one standard deviation; twins with open circles.
    """
    networks = list(results.table["network"].unique())
    cells = [(network, setting) for network in networks for setting in results.settings]
    columns = min(_COLUMNS, len(cells))
    rows = math.ceil(len(cells) / columns)
    has_resnet = bool((results.table["model"] == "resnet18").any())
    width = style.TWO_COLUMNS if columns > 1 else style.ONE_COLUMN
    figure = Figure(figsize=(width, 0.15 + 2.05 * rows + 0.3 * has_resnet))
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for unused in panels[len(cells) :]:
        unused.remove()
    for k, (panel, (network, setting)) in enumerate(zip(panels, cells, strict=False)):
        _panel(panel, results.table, network, setting)
        if k % columns == 0:
            panel.set_ylabel("independent fraction")
    each = len(results.settings)
    for k, network in enumerate(networks):
        _name_layers(figure, panels[each * k : each * (k + 1)], _layers(results.table, network))
    if has_resnet:
        figure.supxlabel(_RESNET, fontsize=6.5, color="0.35")
    return figure


def _layers(table: pd.DataFrame, network: str) -> list[str]:
    """In the order of their depth."""
    return list(table.loc[table["network"] == network, "layer"].unique())


def _panel(panel: Axes, table: pd.DataFrame, network: str, setting: str) -> None:
    shown = table[(table["network"] == network) & (table["setting"] == setting)]
    label, scale = _AXES[setting]
    panel.set_ylim(-0.03, 1.05)
    panel.set_xlabel(label)
    if shown.empty:
        panel.set_title(network, loc="left")
        style.absent(panel, f"no finished run\nover the {label}")
        return
    steps = " – ".join(style.thousands(step) for step in sorted({shown["step"].min(), shown["step"].max()}))
    panel.set_title(f"{network}, {steps} steps", loc="left")
    layers = _layers(table, network)
    colours = zip(layers, style.in_order(len(layers)), strict=True)
    for (layer, colour), (twin, line) in product(colours, zip(shown["twin"].unique(), cycle(_LINES), strict=False)):
        at_value = shown[(shown["layer"] == layer) & (shown["twin"] == twin)].groupby("value")["fraction_independent"]
        panel.errorbar(
            at_value.mean().index,
            at_value.mean(),
            at_value.std(ddof=1),
            color=colour,
            label=", ".join(filter(None, (layer, twin))),
            marker="o",
            linestyle=line,
            markerfacecolor="white" if twin else None,
            linewidth=1,
            elinewidth=0.7,
            capsize=1.5,
        )
    values = sorted(shown["value"].unique())
    panel.set_xscale(scale)
    if len(values) <= _TICKS:
        panel.set_xticks(values, labels=[f"{value:g}" for value in values])
        panel.xaxis.set_minor_locator(NullLocator())


def _name_layers(figure: Figure, panels: Sequence[Axes], layers: Sequence[str]) -> None:
    """Which colour is which layer of one network: a legend, or a colour bar at the right of its `panels`."""
    if len(layers) <= _LEGEND:
        drawn = next(panel for panel in panels if panel.has_data())
        drawn.legend(loc="lower left" if drawn.get_xlabel() != _AXES["batch_size"][0] else "lower right")
        return
    n = len(layers)
    edges = [k - 0.5 for k in range(n + 1)]
    colours = ScalarMappable(BoundaryNorm(edges, n), ListedColormap(style.in_order(n)))
    bar = figure.colorbar(colours, ax=list(panels), aspect=25, pad=0.01)
    bar.ax.set_yticks(range(n), labels=list(layers), fontsize=6)
    bar.ax.tick_params(which="both", length=0)
    bar.ax.invert_yaxis()  # the first layer above
    bar.outline.set_visible(False)
