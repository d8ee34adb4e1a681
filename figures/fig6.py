"""Figure 6: the longer SGD runs at a high learning rate, the more it collapses, and the better it is after the drop.

For each network of the sweep (DESIGN §5): training loss and test accuracy of the run at the high learning rate and of
its continuations at the low one, each starting at a drop time; test accuracy just before the drop and at the end of the
continuation; fraction of independent neurons of each layer at the drop times. Continuations of other lengths, such as a
control that trains an early drop as long in all as a late one, are drawn beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stochastic_collapse.config import identity
from stochastic_collapse.errors import InputError
from stochastic_collapse.runs import METRICS
from stochastic_collapse.sweeps import SweptRun

from . import style
from .sources import Sweep, by_network

SETTING = "from.step"
SWEEPS = (Sweep("learning-rate-drop", SETTING),)

_HIGH = "0.55"  # colour of the run at the high learning rate
_OTHER_LENGTH = "--"  # line of continuations that are longer than the shortest
_UPRIGHT = 4  # names of layers that an axis has room for side by side


@dataclass(frozen=True)
class Network:
    """A run at a high learning rate, and those that were fine-tuned from it; replicates together."""

    name: str
    high: pd.DataFrame
    """Rows of metrics.csv of the run at the high learning rate."""
    after: pd.DataFrame
    """Those of the fine-tuned runs, with the columns `drop`, from which their steps count on, and `length`."""
    accuracy: pd.DataFrame
    """A row for each fine-tuned run: drop, length, replicate, before and after, test accuracies between 0 and 1."""
    collapse: pd.DataFrame
    """Rows of collapse.csv of the run at the high learning rate at the drop times."""


def load(runs: Sequence[Sequence[SweptRun]]) -> list[Network]:
    """Pair the fine-tuned runs of the sweep with the runs they started from, which their settings name.

    Raises `InputError` where no run at the high learning rate is finished.
    """
    (members,) = runs
    sources: dict[str, list[SweptRun]] = {}
    for run in members:
        if SETTING not in run.varied:
            sources.setdefault(identity(run.directory.config()), []).append(run)
    if not sources:
        raise InputError("figure fig6: no run of the sweep at the high learning rate is finished")
    tuned = by_network(members, SETTING)
    networks = []
    for key, source in sources.items():
        of_source = {label: drops for label, drops in tuned.items() if _origin(drops[0]) == key}
        plain = [run for label, drops in of_source.items() if label == drops[0].experiment for run in drops]
        others = [drops for label, drops in of_source.items() if label != drops[0].experiment]
        networks += [_network(source, drops) for drops in ([plain] if plain or not others else []) + others]
    return networks


def _origin(run: SweptRun) -> str | None:
    """Identity of the run that `run` was fine-tuned from."""
    origin = run.directory.config().origin
    return origin.identity if origin is not None else None


def _network(source: Sequence[SweptRun], drops: Sequence[SweptRun]) -> Network:
    """One network from the replicates of its run at the high learning rate, and all that were fine-tuned from them."""
    replicates = {run.replicate: run.directory for run in source}
    after, accuracy = [], []
    for run in drops:
        metrics, drop = run.directory.metrics(), int(run.varied[SETTING])
        length = int(metrics["step"].max())
        after.append(metrics.assign(drop=drop, length=length, replicate=run.replicate))
        before = replicates[run.replicate].eval_accuracy(drop) if run.replicate in replicates else None
        accuracy.append((drop, length, run.replicate, before, run.directory.eval_accuracy(length)))
    table = pd.DataFrame(accuracy, columns=["drop", "length", "replicate", "before", "after"]).astype(float)
    collapse = _all(directory.collapse() for directory in replicates.values())
    return Network(
        source[0].experiment,
        _all(directory.metrics() for directory in replicates.values()),
        _all(after) if after else pd.DataFrame(columns=[*METRICS, "drop", "length", "replicate"]),
        table,
        collapse[collapse["step"].isin(table["drop"])],
    )


def _all(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(list(tables), ignore_index=True)


def draw(results: Sequence[Network]) -> Figure:
    """Four panels for each network, of means over replicates.

    The band of the accuracy and the error bars of the fractions are ± one standard deviation, the error bars of the
    accuracy at the drops ± one standard error. Earlier drops are lighter.
    """
    figure = Figure(figsize=(style.TWO_COLUMNS, 4.1 * len(results)))
    for network, block in zip(results, np.ravel(np.asarray(figure.subfigures(len(results), 1))), strict=True):
        (loss, accuracy), (gained, collapsed) = block.subplots(2, 2)
        drops = sorted(network.accuracy["drop"].unique())
        colours = dict(zip(drops, style.in_order(len(drops))[::-1], strict=True))
        _loss(loss, network, colours)
        _accuracy(accuracy, network, colours)
        _gained(gained, network, colours)
        _collapsed(collapsed, network.collapse, colours)
        handles, names = loss.get_legend_handles_labels()
        legend = block.legend(handles, names, loc="outside upper center", ncols=5, title=network.name)
        legend.get_title().set_fontweight("bold")
    return figure


def _loss(panel: Axes, network: Network, colours: Mapping[float, Any]) -> None:
    panel.set_title("training loss", loc="left")
    panel.set_yscale("log")
    for axis_format in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
        axis_format(lambda value, _position: f"{value:g}")
    # No bands: on this scale that of one run that spikes would fill the panel.
    _curves(panel, network, network.high, network.after, "train_loss", colours, band=False)


def _accuracy(panel: Axes, network: Network, colours: Mapping[float, Any]) -> None:
    panel.set_title("test accuracy (%)", loc="left")
    high, after = (table.assign(percent=100 * table["eval_accuracy"]) for table in (network.high, network.after))
    _curves(panel, network, high, after, "percent", colours)
    means = high.dropna(subset="percent").groupby("step")["percent"].mean()
    late = means[means.index >= min(colours, default=0)]
    if len(late):  # what comes before the first drop, and rare spikes, may leave the panel
        low, top = late.quantile(0.05), np.nanmax([late.max(), after["percent"].max()])
        panel.set_ylim(low - 0.4 * (top - low) - 0.2, min(top + 0.3 * (top - low) + 0.2, 100.2))


def _curves(
    panel: Axes,
    network: Network,
    high: pd.DataFrame,
    after: pd.DataFrame,
    column: str,
    colours: Mapping[float, Any],
    *,
    band: bool = True,
) -> None:
    """`column` of the run at the high learning rate and of each continuation, with lines at the drop times."""
    high, after = high.dropna(subset=column), after.dropna(subset=column)
    style.curve(panel, high, column, f"lr {_rate(network.high)}", _HIGH, band=band)
    for drop, colour in colours.items():
        panel.axvline(drop, color=colour, linestyle="--", linewidth=0.7)
    for drop, length in sorted(set(zip(after["drop"], after["length"], strict=True))):
        of_drop = after[(after["drop"] == drop) & (after["length"] == length)]
        usual = length == after["length"].min()
        label = f"lr {_rate(of_drop)} from {style.thousands(drop)}" + (
            "" if usual else f" for {style.thousands(length)}"
        )
        shifted, line = of_drop.assign(step=of_drop["step"] + drop), "-" if usual else _OTHER_LENGTH
        style.curve(panel, shifted, column, label, colours[drop], band=band and usual, line=line)
    panel.set_xlim(left=0)
    panel.xaxis.set_major_formatter(style.thousands)
    panel.set_xlabel("SGD steps")


def _rate(metrics: pd.DataFrame) -> str:
    return f"{metrics['lr'].iloc[-1]:g}" if len(metrics) else "unknown"


def _gained(panel: Axes, network: Network, colours: Mapping[float, Any]) -> None:
    """Test accuracy just before each drop and at the end of its continuation."""
    panel.set_title("test accuracy (%) before and after the drop", loc="left")
    panel.set_xlabel("steps at the high learning rate")
    if network.accuracy.empty:
        style.absent(panel, "no continuation\nis finished")
        return
    percent = network.accuracy.assign(after=100 * network.accuracy["after"], before=100 * network.accuracy["before"])
    for length in sorted(percent["length"].unique()):
        line = "-" if length == percent["length"].min() else _OTHER_LENGTH
        _means(
            panel,
            percent[percent["length"] == length],
            "after",
            line,
            f"{style.thousands(length)} steps after",
            colours,
        )
    _means(panel, percent.drop_duplicates(["drop", "replicate"]), "before", ":", "just before", colours)
    panel.xaxis.set_major_formatter(style.thousands)
    low, top = panel.get_ylim()
    panel.set_ylim(low - 0.35 * (top - low), top)  # room for the legend
    panel.legend(loc="lower center", ncols=2)


def _means(panel: Axes, table: pd.DataFrame, column: str, line: str, label: str, colours: Mapping[float, Any]) -> None:
    """Mean of `column` over the replicates against the drop time, and error bars of one standard error."""
    at_drop = table.groupby("drop")[column]
    mean, error = at_drop.mean(), at_drop.sem()
    panel.plot(mean.index, mean, line, color=_HIGH, label=label, zorder=1)
    for drop in mean.index:
        filled = None if line != _OTHER_LENGTH else "white"
        panel.errorbar(
            drop,
            mean[drop],
            error[drop],
            color=colours[drop],
            marker="o",
            markerfacecolor=filled,
            capsize=2,
            elinewidth=1,
        )


def _collapsed(panel: Axes, collapse: pd.DataFrame, colours: Mapping[float, Any]) -> None:
    """Fraction of independent neurons of each layer, a line for each drop time."""
    panel.set_title("independent fraction at the drop", loc="left")
    panel.set_ylim(-0.03, 1.05)
    if collapse.empty:
        style.absent(panel, "not measured\nat the drop times")
        return
    layers = list(collapse["layer"].unique())
    for drop, colour in colours.items():
        at_layer = collapse[collapse["step"] == drop].groupby("layer")["fraction_independent"]
        mean, deviation = at_layer.mean().reindex(layers), at_layer.std(ddof=1).reindex(layers)
        panel.errorbar(
            range(len(layers)), mean, deviation, color=colour, marker="o", linewidth=1, elinewidth=0.7, capsize=1.5
        )
    panel.set_xticks(range(len(layers)), labels=layers, rotation=90 if len(layers) > _UPRIGHT else 0)
