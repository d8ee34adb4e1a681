"""Figure 6: the longer SGD runs at a high learning rate, the more it collapses, and the better it is after the drop.

For each network of the sweep: training loss and test accuracy of the run at the high learning rate and of
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
from stochastic_collapse.scores import score_of
from stochastic_collapse.sweeps import SweptRun

from . import style
from .messages import Message, percent
from .needs import Sweep
from .sources import by_network

SETTING = "from.step"

TITLE = (
    "Figure 6: the longer SGD runs at a high learning rate, the more it collapses, and the better it is after the drop"
)
CAPTION = (
    "Above, training loss and test accuracy at the high learning rate (grey) and after drops to the low one, mean "
    "of the replicates, the band of the accuracy ± one standard deviation. Below left, the test accuracy just "
    "before each drop and at the end of the steps after it, with standard errors; below right, the fraction of "
    "independent neurons of each layer at the drops. Dashed, with open circles: a control, dropped early and "
    "trained as long in all as the last."
)
DIFFERENCES = {
    "paper": "The control is not in the paper. Checkpoints every 10,000 steps for every 1,000: the collapse is "
    "measured while training.",
    "quick": "A network of 64 hidden neurons that learns 200 digits of 8 × 8 pixels by squared error, with noise on "
    "the targets, for VGG-16 and ResNet-18; drops after 2,000, 8,000 and 24,000 steps for 10,000, 20,000 and 40,000, "
    "and 2,000 steps after them for 10,000; 24 replicates for 8. The control is not in the paper; nor is "
    "the same network without any noise, which with 93.1 ± 0.2 % is as good as after the last drop.",
}
NEEDS = Sweep.sizes(("learning-rate-drop", SETTING))

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
    after, scores = [], []
    for run in drops:
        metrics, drop = run.directory.metrics(), int(run.varied[SETTING])
        length = int(metrics["step"].max())
        after.append(metrics.assign(drop=drop, length=length, replicate=run.replicate))
        before = replicates[run.replicate].score(drop) if run.replicate in replicates else None
        scores.append((drop, length, run.replicate, before, run.directory.score(length)))
    table = pd.DataFrame(scores, columns=["drop", "length", "replicate", "before", "after"]).astype(float)
    collapse = _all(directory.collapse() for directory in replicates.values())
    return Network(
        source[0].experiment,
        _all(directory.metrics() for directory in replicates.values()),
        _all(after) if after else source[0].directory.metrics().assign(drop=0, length=0, replicate=0).head(0),
        table,
        collapse[collapse["step"].isin(table["drop"])],
    )


def _all(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(list(tables), ignore_index=True)


def message(results: Sequence[Network]) -> list[Message]:
    """At later drops more has collapsed, and the accuracy afterwards is higher; how a control of equal length does."""
    return [said for network in results if len(network.accuracy) for said in _messages(network)]


def _messages(network: Network) -> list[Message]:
    accuracy, usual = network.accuracy, network.accuracy["length"].min()
    runs = accuracy[accuracy["length"] == usual].pivot(index="replicate", columns="drop", values="after")
    first, last = runs.columns.min(), runs.columns.max()
    gain, error = _difference(runs[last], runs[first])
    means = network.collapse.groupby("step")["fraction_independent"].mean()
    at, fraction = means.index.to_numpy(), means.to_numpy()
    independent = ", ".join(f"{value:.2f} at {style.thousands(step)}" for step, value in zip(at, fraction, strict=True))
    said = [
        Message(
            "At each later drop fewer neurons are independent, at the last fewer by 0.2 than at the first.",
            f"{network.name}: {independent}",
            bool((np.diff(fraction) < 0).all() and fraction[0] - fraction[-1] >= 0.2),
        ),
        Message(
            "The test accuracy after the last drop is higher than after the first, by at least two standard errors of "
            "the replicates' differences.",
            f"{network.name}: {percent(runs[last].mean(), 2)} against {percent(runs[first].mean(), 2)}, "
            f"{_gain(gain, error)} more",
            bool(gain >= 2 * error),
        ),
    ]
    as_long = accuracy[(accuracy["length"] + accuracy["drop"] == usual + last) & (accuracy["drop"] < last)]
    for drop in sorted(as_long["drop"].unique()):
        control = as_long[as_long["drop"] == drop].set_index("replicate")["after"]
        gain, error = _difference(runs[last], control)
        said.append(
            Message(
                "So it is than that of a control that has as many steps in all, but "
                f"{style.thousands(drop)} of them before the drop: it is not their number.",
                f"{network.name}: {percent(control.mean(), 2)}; after the last drop {_gain(gain, error)} more; "
                f"independent at the control's drop {fraction[at == drop].mean():.2f}",
                bool(gain >= 2 * error),
            )
        )
    return said


def _gain(gain: float, error: float) -> str:
    return f"{100 * gain:.2f} ± {percent(error, 2)}"


def _difference(one: pd.Series[float], other: pd.Series[float]) -> tuple[float, float]:
    """Mean of the differences of replicates, and its standard error."""
    difference = (one - other).dropna().to_numpy()
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


def draw(results: Sequence[Network]) -> Figure:
    """Four panels for each network, of means over replicates; that of the accuracies at the drops has two scales.

    The band of the accuracy and the error bars of the fractions are ± one standard deviation, the error bars of the
    accuracy at the drops ± one standard error. Earlier drops are lighter.
    """
    figure = Figure(figsize=(style.TWO_COLUMNS, 4.1 * len(results)))
    for network, block in zip(results, np.ravel(np.asarray(figure.subfigures(len(results), 1))), strict=True):
        (loss, accuracy), (_, collapsed) = panels = block.subplots(2, 2)
        cell = panels[1, 0].get_subplotspec().subgridspec(2, 1, height_ratios=(1.5, 1))
        panels[1, 0].remove()
        after = block.add_subplot(cell[0])
        before = block.add_subplot(cell[1], sharex=after)
        drops = sorted(network.accuracy["drop"].unique())
        colours = dict(zip(drops, style.in_order(len(drops))[::-1], strict=True))
        _loss(loss, network, colours)
        _accuracy(accuracy, network, colours)
        _gained(after, before, network, colours)
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
    panel.set_title(style.score(network.high), loc="left")
    column = score_of(network.high)
    high, after = (table.assign(percent=100 * table[column]) for table in (network.high, network.after))
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


def _gained(after: Axes, before: Axes, network: Network, colours: Mapping[float, Any]) -> None:
    """Test accuracy at the end of each continuation, and below on a scale of its own just before its drop."""
    after.set_title(f"{style.score(network.high)} after and before the drop", loc="left")
    after.tick_params(labelbottom=False)
    before.set_xlabel("steps at the high learning rate")
    if network.accuracy.empty:
        style.absent(after, "no continuation\nis finished")
        style.absent(before, "")
        return
    percent = network.accuracy.assign(after=100 * network.accuracy["after"], before=100 * network.accuracy["before"])
    for length in sorted(percent["length"].unique()):
        line = "-" if length == percent["length"].min() else _OTHER_LENGTH
        label = f"{style.thousands(length)} steps after"
        _means(after, percent[percent["length"] == length], "after", line, label, colours)
    _means(before, percent.drop_duplicates(["drop", "replicate"]), "before", ":", "just before", colours)
    before.xaxis.set_major_formatter(style.thousands)
    for panel in (after, before):
        panel.margins(y=0.2)
        panel.legend(loc="lower right")


def _means(panel: Axes, table: pd.DataFrame, column: str, line: str, label: str, colours: Mapping[float, Any]) -> None:
    """Mean of `column` over the replicates against the drop time, and error bars of one standard error."""
    at_drop = table.groupby("drop")[column]
    mean, error = at_drop.mean(), at_drop.sem()
    filled = None if line != _OTHER_LENGTH else "white"
    panel.plot(mean.index, mean, line, color=_HIGH, label=label, marker="o", markerfacecolor=filled, zorder=1)
    for drop in mean.index:
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
